"""The types that the packages share: what is asked of a model, and the deltas of its answer.

`responses` makes a `ChatRequest`; `engines` sends it and yields deltas; `responses` turns those
into events. Neither of the two imports the other.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from attrs import field, frozen

Json = dict[str, Any]
"""A parsed JSON object."""


@frozen
class ChatRequest:
    """One request for a model's next answer, before a dialect encodes it.

    `messages` and `functions` are in the shape of chat completions. A field that is None is not
    sent.
    """

    model: str
    messages: list[Json]
    functions: list[Json] = field(factory=list)
    tool_choice: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    max_tokens: int | None = None
    effort: str | None = None
    response_format: Json | None = None
    logprobs: int | None = None
    """How many alternatives are wanted for each token, with their probabilities; None: neither."""

    @property
    def has_images(self) -> bool:
        """Whether a message has a picture."""
        parts = (part for each in self.messages for part in _parts(each.get("content")))
        return any(part.get("type") == "image_url" for part in parts)


def _parts(content: Any) -> list[Json]:
    return content if isinstance(content, list) else []


@frozen
class ModelInfo:
    """What is known of a model and of its server. None: the server does not tell."""

    name: str
    capabilities: frozenset[str] | None = None
    """Ollama's words: completion, tools, thinking, vision, …"""
    family: str = ""
    template: str = ""
    """The template that makes a prompt of messages; it shows how the model writes calls."""
    trained_context: int | None = None
    """The longest context that the model was trained for, in tokens."""
    own_context: int | None = None
    """`num_ctx` of its Modelfile, in tokens."""
    allocated_context: int | None = None
    """The context it is loaded with at the moment, in tokens."""
    temperature: float | None = None
    """`temperature` of its Modelfile."""
    top_p: float | None = None
    """`top_p` of its Modelfile."""
    server_version: tuple[int, ...] | None = None
    """The version of Ollama, such as (0, 33, 0); None: the server is not Ollama."""
    remote: bool = False
    """Whether Ollama says that it runs on another machine."""
    is_loaded: bool | None = None
    """Whether it is in memory."""
    size: int | None = None
    """Bytes of its weights."""
    parameters: int | None = None
    """How many weights it has."""
    quantization: str = ""
    """In which form its weights are kept: Q4_K_M, F16, fp8."""

    lacks: frozenset[str] = frozenset()
    """Capabilities that it turned out not to have, whatever the server tells."""
    gives_own_words: bool = False
    """Whether its own words are asked for from the start: its server drops calls that it writes."""

    def can(self, capability: str) -> bool:
        """Whether it has a capability. True where the server does not tell capabilities."""
        if capability in self.lacks:
            return False
        return self.capabilities is None or capability in self.capabilities

    @property
    def is_remote(self) -> bool:
        """Whether it runs in the cloud: nothing is loaded here, and no context allocated."""
        return self.remote or self.name.lower().endswith((":cloud", "-cloud"))

    @property
    def is_described(self) -> bool:
        """Whether the server described it; Ollama says nothing of a model it lacks."""
        contexts = self.trained_context, self.allocated_context
        return self.capabilities is not None or any(contexts)

    @property
    def is_missing(self) -> bool:
        """Whether the server, an Ollama, does not have it."""
        return self.is_ollamas and not self.is_described

    @property
    def is_ollamas(self) -> bool:
        """Whether its server is an Ollama; other servers tell no version."""
        return self.server_version is not None


@frozen
class ServerWords:
    """What messages say of the upstream."""

    url: str
    name: str = "Ollama"
    """Begins a sentence."""
    context_remedy: str = "--num-ctx"
    """The option or command that gives a model more or less context."""
    how_to_get: str = "Run: ollama pull {model}"
    """What to do where the server lacks a model; may name `{model}` and `{url}`."""
    start: str = " (ollama serve)"
    """How to start it, in brackets; "" where that is not known."""
    sign_in: str = " For a cloud model, run: ollama signin"
    """What to do where it asks for credentials."""


@frozen
class TextDelta:
    """A piece of the answer's text."""

    text: str
    logprobs: tuple[Json, ...] = ()
    """Its tokens with their probabilities, where they were asked for: each has `token`, `logprob`,
    `bytes` and `top_logprobs`."""


@frozen
class ReasoningDelta:
    """A piece of the model's reasoning."""

    text: str


@frozen
class ToolCallDelta:
    """A call of a function, or a fragment of one.

    Ollama sends each call whole; other servers send the name first and the arguments in
    fragments that carry only `index`. Ollama up to 0.20 repeats index 0 for every call,
    so a new `id` under a known index is a new call.
    """

    index: int
    id: str
    name: str
    arguments: str


@frozen
class FinishDelta:
    """The model ended its answer: "stop", "tool_calls", "length" or the server's own word."""

    reason: str


@frozen
class UsageDelta:
    """The tokens that the server counted for one answer and its prompt.

    `input_tokens` includes the cached ones.
    """

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    load_seconds: float = 0.0
    """Seconds until the model was ready, as far as the server tells: see `reloads.py`."""


Delta = TextDelta | ReasoningDelta | ToolCallDelta | FinishDelta | UsageDelta


class FailureKind(Enum):
    """How an upstream failed."""

    UNREACHABLE = "unreachable"
    """No connection, or it ended before an answer began."""
    NOT_RUNNING = "not running"
    """The connection was refused, so nothing was sent: no server listens at the address."""
    STALE = "stale connection"
    """The server closed a kept connection just as it was used; nothing was generated."""
    BUSY = "busy"
    """The server refuses the request because too many requests are waiting."""
    LOADING = "loading"
    """The server has been started, and still loads its model."""
    BROKEN = "broken"
    """The answer ended without a finish reason: a process died, or the connection was lost."""
    SILENT = "silent"
    """Nothing came within `--upstream-timeout`."""
    MALFORMED_CALL = "malformed call"
    """The model wrote a call that its server cannot read."""
    EMPTY = "empty"
    """The model finished without text and without calls."""
    SWALLOWED = "swallowed"
    """The server counted tokens that it did not deliver: it dropped a call that it could not read
    or whose function it does not know."""
    UNCERTAIN = "uncertain"
    """The model may only have quoted or shown the calls that it wrote."""
    ANNOUNCED = "announced"
    """The model announced its next step and did not take it."""
    NOT_CALLED = "not called"
    """The client requires a call, and the model made none."""
    NO_SUMMARY = "no summary"
    """The model did not write the summary of the conversation that it was asked for."""
    UNFIT = "unfit"
    """The text does not fit the schema that the client asked for."""
    OVERTHINKING = "overthinking"
    """The model's reasoning used up `--think-budget`, or repeats itself."""
    REPETITIVE = "repetitive"
    """The answer only repeats itself, without an end."""
    GARBLED = "garbled"
    """The answer is not in the dialect that was asked for."""
    OVERSIZED = "oversized"
    """The answer is larger than `--max-answer-size`, or has too many calls, or too large ones."""
    TOO_LONG = "too long"
    """The prompt does not fit into the context."""
    CONTEXT_FULL = "context full"
    """The answer used up what the prompt left of the context."""
    NO_MODEL = "no model"
    """The server does not have the model."""
    NO_TOOLS = "no tools"
    """The server refuses tools for the model."""
    NO_VISION = "no vision"
    """The server refuses pictures for the model."""
    NO_LOGPROBS = "no probabilities"
    """The server gives no probabilities of tokens."""
    NO_EFFORT = "no effort"
    """The model cannot think, or not with this effort."""
    NO_MEMORY = "no memory"
    """The model does not fit into the machine."""
    NO_ACCESS = "no access"
    """Ollama asks for a sign-in, as it does for models in the cloud."""
    NO_KEY = "no key"
    """The server asks for a key, or refuses the one that the bridge has."""
    MISCONFIGURED = "misconfigured"
    """The server is there, but not as the settings say: it redirects, it speaks TLS or speaks none,
    or its certificate is not trusted."""
    REFUSED = "refused"
    """An HTTP status other than 200 that means none of the above."""


class UpstreamFailure(Exception):
    """The upstream did not give a whole answer.

    `message` is the upstream's own sentence where it has one; `status` its HTTP status.
    `context` is the tokens of context that the model was asked with; None where nobody knows.
    """

    def __init__(
        self,
        kind: FailureKind,
        message: str,
        status: int | None = None,
        context: int | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.status = status
        self.context = context

    @property
    def is_unreachable(self) -> bool:
        """Whether no answer began, for whatever reason."""
        return self.kind in {FailureKind.UNREACHABLE, FailureKind.NOT_RUNNING}
