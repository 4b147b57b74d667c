"""What the code for one kind of upstream has to be able to do. `recognition.py` picks one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from attrs import frozen
from twisted.web.http_headers import Headers

from codex_bridge.engines import refusals
from codex_bridge.vocabulary import (
    ChatRequest,
    Delta,
    Json,
    ModelInfo,
    ServerWords,
    UpstreamFailure,
)

Ask = Callable[[str, str, Json | None], Awaitable[Json | None]]
"""(method, path, body) -> the JSON object answered, None if refused.

Raises UpstreamFailure: one that `is_unreachable` without an answer, another kind if the server is
in trouble.
"""
Version = tuple[int, ...]
"""A version of Ollama, such as (0, 33, 0)."""
DEFAULT_NUM_CTX = 32768
"""Tokens of context that Codex works well with."""


@frozen
class ContextPolicy:
    """What the user wants of contexts; see the settings of the same names."""

    api: str = "auto"
    """auto, chat or ollama."""
    num_ctx: int | None = None
    """Tokens."""
    keep_alive: str | None = None
    guard: bool = True


@frozen
class Plan:
    """How a model is asked."""

    context: int | None
    """Tokens that the prompt and its answer may take; None where nobody knows."""
    reason: str
    """Why, in words for the log."""
    num_ctx: int | None = None
    """Tokens of context to ask for with every request; None asks for none."""
    is_default: bool = False
    """Whether `context` is what the server gives the model by itself."""


class Decoder(Protocol):
    """Bytes of an answer -> deltas; see `parsing.LineReader`."""

    over: bool

    @property
    def held(self) -> int:
        """Bytes that came and are no deltas yet."""

    def feed(self, data: bytes) -> Sequence[Delta]: ...
    def eof(self) -> Sequence[Delta]: ...


class Engine(Protocol):
    """The code for one kind of upstream. It does no I/O of its own and keeps no state.

    What is implemented here is right for a server that tells nothing of itself and its models.
    """

    @property
    def version(self) -> Version | None:
        """Ollama's version; None where the server is another one."""
        return None

    @property
    def server(self) -> str:
        """The server's name for people, such as llama.cpp; it begins a sentence."""
        return "The model server"

    @property
    def release(self) -> str:
        """The version that the server tells, as it writes it; "" where it tells none."""
        return ""

    @property
    def is_ollama(self) -> bool:
        """Whether the server has Ollama's native routes, such as /api/tags."""
        return False

    @property
    def name(self) -> str:
        """As --upstream-api and /__health call it."""

    @property
    def path(self) -> str:
        """Where requests go."""

    @property
    def how_to_get(self) -> str:
        """What to do where the server lacks a model; may name `{model}` and `{url}`."""
        return "{url}/v1/models lists those that are there."

    @property
    def remedy(self) -> str:
        """The option or command that gives a model more or less context, for error messages."""

    @property
    def warning(self) -> str:
        """What the user has to know, such as that the server is too old; "" for nothing."""
        return ""

    @property
    def cuts_in_silence(self) -> bool:
        """Whether the server may leave out a part of a prompt that is too long."""

    @property
    def gives_logprobs(self) -> bool:
        """Whether the server gives the probabilities of tokens, in the form that is read here."""
        return True

    @property
    def can_read_ahead(self) -> bool:
        """Whether the server keeps what it reads of a prompt, and stops when the client leaves."""
        return False

    @property
    def counts_whole_prompt(self) -> bool:
        """Whether the server's count of a prompt is known to include what it had in its cache."""
        return False

    def words(self, url: str) -> ServerWords:
        """What messages say of the server, which is at `url`."""
        return ServerWords(url, self.server, self.remedy, self.how_to_get, start="", sign_in="")

    def key(self, model: str) -> str:
        """A key that is the same for all names that the server takes for the same model."""
        return model

    async def describe(self, model: str, ask: Ask) -> ModelInfo:
        """What the server tells of a model. Raises UpstreamFailure."""
        return ModelInfo(model)

    def plan(self, info: ModelInfo, default: int | None) -> Plan:
        """How to ask a model which gets `default` tokens of context by itself, if that is known."""
        return Plan(None, "the server does not report it")

    def expected_context(
        self, info: ModelInfo, default: int | None, estimate: int | None
    ) -> int | None:
        """Tokens of context that a model will get, for Codex's catalog. None: nobody knows.

        `default` as for `plan`; `estimate` is what another model got by itself.
        """
        return self.plan(info, default).context

    def load_request(self, info: ModelInfo) -> tuple[str, bytes] | None:
        """Path and body of a POST that has a model loaded as the server does it by itself.

        Only such a load shows `default`. None: the plan does not depend on that.
        """
        return None

    def tool_trial(self, info: ModelInfo) -> tuple[str, bytes, bytes] | None:
        """Path and bodies of two short POSTs, with a function and without.

        A model whose prompt has the same length for both is not shown tools. None: the server
        tells whether it is, or there is no way to see it.
        """
        return None

    def encode(
        self, request: ChatRequest, info: ModelInfo, plan: Plan, *, stream: bool
    ) -> tuple[str, bytes]:
        """Path and body. The same request gives the same bytes."""

    def render_request(
        self, request: ChatRequest, info: ModelInfo, plan: Plan
    ) -> tuple[str, bytes] | None:
        """Path and body of a POST that shows the prompt which the server makes of `request`.

        None: the server cannot show it.
        """
        return None

    def rendered(self, answer: Json) -> str:
        """The prompt in an answer to `render_request`; "" if it has none."""
        return ""

    def tokenize_request(self, prompt: str, info: ModelInfo) -> tuple[str, bytes] | None:
        """Path and body of a POST that answers the tokens of `prompt` as the list `tokens`.

        `prompt` is one that `render_request` shows. None: the server has no such route.
        """
        return None

    def own_words_request(
        self, request: ChatRequest, prompt: str, info: ModelInfo, plan: Plan, *, stream: bool
    ) -> tuple[str, bytes] | None:
        """Path and body of a POST for what the model writes behind `prompt`, before any parser.

        `prompt` is the one that `render_request` shows for `request`. None: the server cannot give
        it, or not so that the calls can still be told from the text.
        """
        return None

    def decoder(self, headers: Headers, *, stream: bool) -> Decoder:
        """A decoder for an answer with these headers; `stream`: whether a stream was asked for.

        It reads the answers to `own_words_request`, too.
        """

    def refusal(self, message: str, status: int) -> UpstreamFailure:
        """What an HTTP status other than 200 means, with the sentence that came with it."""
        return refusals.refusal(message, status)


def called(engine: Engine) -> str:
    """How the log and the reports call the server: its name, and its version if it tells one."""
    return f"{engine.server} {engine.release}".strip()
