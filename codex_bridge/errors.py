"""Every way an exchange can fail, as one sentence, an HTTP status and OpenAI's error object."""

from __future__ import annotations

import re

from attrs import asdict, frozen

from codex_bridge.text import printable
from codex_bridge.vocabulary import FailureKind, Json, ServerWords, UpstreamFailure

LONGEST_WHY = 1000
"""Characters of the upstream's own words that a sentence holds."""
QUOTED_CALL = re.compile(r"raw='(.*)', err=", re.DOTALL)
"""`error parsing tool call: raw='{…', err=…`: Ollama quotes what the model wrote."""


def without_quoted_call(complaint: str) -> str:
    """`complaint`, an error message of Ollama, without the call of the model that it quotes.

    What the model wrote must reach neither the log nor, as part of an error, the client.
    """
    return QUOTED_CALL.sub("", complaint)


class ApiError(Exception):
    """A failure as the client reads it.

    `is_temporary`: the failure is temporary, so the same request may succeed a moment later.
    `retry_after`: the number of seconds after which the client may repeat the request.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        is_temporary: bool = False,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.is_temporary = is_temporary or retry_after is not None
        self.retry_after = retry_after

    @property
    def type(self) -> str:
        """OpenAI's name for this class of errors."""
        if self.status == 404:
            return "not_found_error"
        if self.status in {429, 503}:
            return "overloaded_error"
        return "invalid_request_error" if self.status < 500 else "server_error"

    def body(self) -> Json:
        """`{"error": {"message", "type", "param", "code"}}`."""
        return {
            "error": {
                "message": self.message,
                "type": self.type,
                "param": self.param,
                "code": self.code,
            }
        }


def invalid(message: str, param: str | None = None, code: str = "invalid_value") -> ApiError:
    """A mistake of the client, found before anything was sent to the upstream."""
    return ApiError(400, message, code=code, param=param)


def too_large(limit: int) -> ApiError:
    """The request body is larger than `limit` bytes."""
    return ApiError(
        413,
        f"The request body is larger than the {limit} bytes that codex-bridge accepts. "
        f"Start a new conversation, or raise --max-body-size.",
        code="request_too_large",
    )


def internal(log_id: str) -> ApiError:
    """A bug of codex-bridge. The log has its traceback under `log_id`."""
    return ApiError(
        500,
        f"codex-bridge has a bug: its log has the traceback under {log_id}.",
        code="internal_error",
    )


def stopping() -> ApiError:
    """The bridge is being stopped before the answer is whole."""
    return ApiError(
        503,
        "codex-bridge is being stopped. When it runs again, the same request will work.",
        code="server_stopping",
        is_temporary=True,
    )


@frozen
class _Row:
    """How the client reads one kind of failure. The sentence may name `{model}`, `{why}`, and each
    field of `ServerWords`."""

    status: int
    code: str
    sentence: str
    is_temporary: bool = False
    """Whether asking again may help."""
    retry_after: int | None = None
    param: str | None = None


TABLE: dict[FailureKind, _Row] = {
    FailureKind.UNREACHABLE: _Row(
        502,
        "upstream_unreachable",
        "{name} does not answer at {url}: {why}. Check that it runs there{start}.",
        is_temporary=True,
    ),
    FailureKind.BUSY: _Row(
        503,
        "upstream_busy",
        # Codex reads the number of seconds from the sentence and waits that long.
        "{name} has too much to do: {why}. Please try again in 10s.",
        retry_after=10,
    ),
    FailureKind.LOADING: _Row(
        503,
        "upstream_loading",
        "{name} still loads its model. Please try again in 10s.",
        retry_after=10,
    ),
    FailureKind.BROKEN: _Row(
        502,
        "upstream_broken",
        "{name} broke off its answer: {why}. Its own log may tell more.",
        is_temporary=True,
    ),
    FailureKind.SILENT: _Row(
        504,
        "upstream_silent",
        "{name} said {why}. Is it stuck? Restart it; or raise --upstream-timeout where a model "
        "needs longer.",
    ),
    FailureKind.MALFORMED_CALL: _Row(
        502,
        "malformed_call",
        "{name} cannot read the tool call that {model} wrote: {why}. Ask again; if this happens "
        "often, try another model.",
        is_temporary=True,
    ),
    FailureKind.EMPTY: _Row(
        502,
        "empty_answer",
        "{model} answered with nothing, though it was asked again. Ask in other words.",
    ),
    FailureKind.SWALLOWED: _Row(
        502,
        "malformed_call",
        "{name} dropped the tool call that {model} wrote, because it cannot read it. Ask again; if "
        "this happens often, try another model.",
        is_temporary=True,
    ),
    FailureKind.NO_SUMMARY: _Row(
        502,
        "no_summary",
        "{model} did not write a summary of the conversation: {why}. Compact it again, choose "
        "another model, or start a new conversation.",
    ),
    FailureKind.UNFIT: _Row(
        502,
        "answer_unfit",
        "The answer of {model} does not fit the JSON schema that was asked for: {why}. Ask in "
        "other words, or try another model.",
    ),
    FailureKind.OVERTHINKING: _Row(
        502,
        "endless_thought",
        "{model} did not come to an answer: {why}. Ask in other words, or try another model.",
    ),
    FailureKind.REPETITIVE: _Row(
        502,
        "endless_answer",
        "{model} only repeated itself, so its answer was ended. Ask in other words, or try "
        "another model.",
    ),
    FailureKind.GARBLED: _Row(
        502,
        "upstream_garbled",
        "The answer from {url} cannot be read: {why}. Is a model server running there?",
    ),
    FailureKind.OVERSIZED: _Row(
        502,
        "answer_too_large",
        "The answer of {model} is too large: {why}. If the model repeats itself, ask in other "
        "words.",
    ),
    FailureKind.TOO_LONG: _Row(
        400,
        "context_length_exceeded",
        "The prompt does not fit into the context of {model}: {why}. Shorten the conversation, "
        "or give the model more context ({context_remedy}).",
        param="input",
    ),
    FailureKind.CONTEXT_FULL: _Row(
        400,
        "context_length_exceeded",
        "The answer of {model} did not fit: the conversation left too little of its context "
        "({why}). Shorten the conversation, or give the model more context ({context_remedy}).",
        param="input",
    ),
    FailureKind.NO_MODEL: _Row(
        404,
        "model_not_found",
        "{name} has no model {model}. {how_to_get}",
        param="model",
    ),
    FailureKind.NO_TOOLS: _Row(
        400,
        "tools_unsupported",
        "{model} cannot call tools ({why}). Choose another model.",
        param="model",
    ),
    FailureKind.NO_VISION: _Row(
        400,
        "vision_unsupported",
        "{model} cannot see pictures ({why}). Choose another model, or start a new conversation.",
        param="model",
    ),
    FailureKind.NO_LOGPROBS: _Row(
        400,
        "logprobs_unsupported",
        "{name} gives no probabilities of tokens. Leave out top_logprobs, and "
        "message.output_text.logprobs in include.",
        param="top_logprobs",
    ),
    FailureKind.NO_MEMORY: _Row(
        500,
        "out_of_memory",
        "{name} has too little memory for {model}: {why}. Choose a smaller model, or a smaller "
        "context ({context_remedy}).",
    ),
    FailureKind.NO_ACCESS: _Row(
        403,
        "upstream_access_denied",
        "{name} has no permission to use {model}: {why}.{sign_in}",
    ),
    FailureKind.NO_KEY: _Row(
        403,
        "upstream_access_denied",
        "The server at {url} denies access: {why}.",
    ),
    FailureKind.MISCONFIGURED: _Row(
        502,
        "upstream_misconfigured",
        "codex-bridge cannot talk to the server at {url}: {why}.",
    ),
}
"""Kind of failure -> how the client reads it. Other kinds are told in the upstream's words."""


def from_upstream(
    failure: UpstreamFailure,
    model: str,
    server: ServerWords,
    *,
    tried: bool = False,
) -> ApiError:
    """What the client reads when the upstream did not give a whole answer.

    `tried`: the bridge has repeated the request as often as that can help, so the client need
    not repeat it.
    """
    is_gone = failure.is_unreachable or failure.kind is FailureKind.STALE
    kind = FailureKind.UNREACHABLE if is_gone else failure.kind
    row = TABLE.get(kind)
    # What a server says may be a whole page, and hold commands for a terminal.
    words = " ".join(without_quoted_call(failure.message).split())
    why = printable(words, LONGEST_WHY).rstrip(".")
    fields = asdict(server) | {"how_to_get": server.how_to_get.format(model=model, url=server.url)}
    if row is None:
        # A status that is no error, such as a redirect, must not become the reply's status.
        status = failure.status if failure.status and 400 <= failure.status < 600 else 502
        message = f"{server.name} refused the request ({failure.status}): {why}"
        return ApiError(
            status, message, code="upstream_error", is_temporary=status >= 500 and not tried
        )
    return ApiError(
        row.status,
        row.sentence.format(model=model, why=why, **fields),
        code=row.code,
        param=row.param,
        is_temporary=row.is_temporary and not tried,
        retry_after=row.retry_after,
    )
