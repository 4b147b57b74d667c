"""Every way an exchange can fail, as one sentence, an HTTP status and OpenAI's error object."""

from __future__ import annotations

from codex_bridge.vocabulary import FailureKind, Json, UpstreamFailure

CONTEXT_PHRASES = (
    "exceed_context_size_error",
    "exceeds the available context size",
    "longer than the context length",
    "input length exceeds",
)
"""How Ollama and llama.cpp say that a prompt is too long."""


class ApiError(Exception):
    """A failure in the words of the API: what the client reads.

    `passing` tells whether the same request may well succeed a moment later.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        passing: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.passing = passing

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
    """The client's own mistake, found before anything was sent upstream."""
    return ApiError(400, message, code=code, param=param)


def too_large(limit: int) -> ApiError:
    """The request body is larger than `limit` bytes."""
    return ApiError(
        413,
        f"The request body is larger than the {limit} bytes that codex-bridge accepts. "
        f"Start a new conversation, or raise --max-body-size.",
        code="request_too_large",
    )


def internal(exchange_id: str) -> ApiError:
    """A bug of ours; `exchange_id` finds its traceback in the log."""
    return ApiError(
        500,
        f"codex-bridge failed inside; its log tells why under {exchange_id}.",
        code="internal_error",
    )


def from_upstream(failure: UpstreamFailure, model: str, url: str) -> ApiError:
    """What the client is told when the upstream at `url` did not give a whole answer."""
    if failure.kind is FailureKind.UNREACHABLE:
        return ApiError(
            502,
            f"Ollama does not answer at {url}: {failure.message}. Check that it runs there "
            f"(ollama serve).",
            code="upstream_unreachable",
            passing=True,
        )
    if failure.kind is FailureKind.BROKEN:
        return ApiError(
            502,
            f"Ollama broke off its answer: {failure.message}.",
            code="upstream_broken",
            passing=True,
        )
    if failure.kind is FailureKind.GARBLED:
        return ApiError(
            502,
            f"What answers at {url} does not speak chat completions: {failure.message}.",
            code="upstream_garbled",
        )
    if failure.kind is FailureKind.TOO_LONG:
        return ApiError(
            400,
            f"The prompt does not fit into the context of {model}: {failure.message}. Shorten the "
            f"conversation, or give the model more context (--num-ctx).",
            code="context_length_exceeded",
            param="input",
        )
    return _refused(failure, model)


def _refused(failure: UpstreamFailure, model: str) -> ApiError:
    # What is no error as a status (a redirect, say) must not look like one to the client.
    status = failure.status if failure.status and 400 <= failure.status < 600 else 502
    if any(phrase in failure.message for phrase in CONTEXT_PHRASES):
        return ApiError(
            400,
            f"The prompt is longer than the context of {model}: {failure.message}",
            code="context_length_exceeded",
            param="input",
        )
    if status == 404 and "not found" in failure.message:
        return ApiError(
            404,
            f"Model {model} is not in Ollama. Run: ollama pull {model}",
            code="model_not_found",
            param="model",
        )
    message = f"Ollama refused the request ({failure.status}): {failure.message}"
    return ApiError(status, message, code="upstream_error", passing=status >= 500)
