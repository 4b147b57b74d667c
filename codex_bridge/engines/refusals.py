"""Servers' error messages -> what they mean. Ollama reports most failures without a code."""

from __future__ import annotations

import re
from typing import Any

import orjson

from codex_bridge.vocabulary import FailureKind, UpstreamFailure

MEANINGS: tuple[tuple[FailureKind, tuple[str, ...]], ...] = (
    (
        FailureKind.TOO_LONG,
        (
            "exceed_context_size_error",
            "exceeds the available context size",
            "longer than the context length",
            "input length exceeds",
            "maximum context length",
            "longer than the model's context length",
            "greater than the context length",
            "when context the overflows",
            "n_keep (",
            "Context size has been exceeded",
            "exceeds the KV memory budget",
        ),
    ),
    (
        FailureKind.NO_TOOLS,
        (
            "does not support tools",
            "requires --enable-auto-tool-choice",
            "requires --tool-call-parser",
            "tools param requires --jinja",
        ),
    ),
    (
        FailureKind.NO_VISION,
        (
            "image input is not supported",
            "is not a multimodal model",
            "At most 0 image",
            "Only 'text' content type is supported",
            "does not support image",
        ),
    ),
    (
        FailureKind.NO_EFFORT,
        (
            "does not support thinking",
            "is not supported for this model",
            "invalid reasoning value",
            "invalid think value",
        ),
    ),
    (
        FailureKind.MALFORMED_CALL,
        (
            "XML syntax error",
            "error parsing tool call",
            "failed to parse JSON",
            "output that does not match the expected",
        ),
    ),
    (FailureKind.LOADING, ("Loading model",)),
    (
        FailureKind.BUSY,
        (
            "server busy",
            "maximum pending requests",
            "queue is full",
            "currently busy",
            "Server is busy",
            "token backlog limit",
            "model limit reached",
            "no slot available",
        ),
    ),
    (
        FailureKind.NO_MEMORY,
        (
            "requires more system memory",
            "out of memory",
            "cudaMalloc failed",
            "insufficient system resources",
        ),
    ),
    (
        FailureKind.NO_MODEL,
        (
            "Invalid model identifier",
            "No models loaded",
            # mlx_lm.server looks for a model that it lacks in the Hub of Hugging Face.
            "Repository Not Found",
            "no local server found for requested model",
            "no router for requested model",
            # SGLang takes what stands behind a colon for the name of an adapter.
            "was requested, but LoRA is not enabled",
        ),
    ),
    (
        FailureKind.BROKEN,
        (
            "process has terminated",
            "process no longer running",
            "error was encountered while running the model",
            "timed out waiting for llama",
            "connection reset by peer",
            "forcibly closed",
            "model has crashed",
            "upstream exited unexpectedly",
            "upstream command exited prematurely",
        ),
    ),
    (
        # What the servers written in Go, nginx and Apache say on a port for TLS.
        FailureKind.MISCONFIGURED,
        (
            "sent an HTTP request to an HTTPS server",
            "plain HTTP request was sent to HTTPS port",
            "speaking plain HTTP to an SSL-enabled server port",
        ),
    ),
)
"""What a failure means -> phrases that tell it: of Ollama from 0.9 to 0.33, and of the servers in
`llama_cpp.py` and `chat_servers.py`, and of web servers."""
SLIPS = frozenset({"EOF", "unexpected EOF"})
"""Whole messages that mean a call which ends in the middle."""
MISSING = ("not found", "does not exist")
"""Phrases of a 404 that is about a missing model; a 404 without them is about the route."""
NAMED_MODEL = re.compile(r"^model '.*' not found$")
"""What a server of llama.cpp with several models says of one that it lacks, with a 400."""
BY_STATUS = {
    401: FailureKind.NO_ACCESS,
    403: FailureKind.NO_ACCESS,
    429: FailureKind.BUSY,
    502: FailureKind.BROKEN,
    503: FailureKind.BUSY,
    504: FailureKind.BROKEN,
}
"""HTTP status -> what it means where the words say nothing."""


def refusal(message: str, status: int) -> UpstreamFailure:
    """What an HTTP status other than 200 means, with the sentence that came with it."""
    kind = _meaning(message) or BY_STATUS.get(status, FailureKind.REFUSED)
    # A 404 without these words may come from a server that knows no such route.
    is_missing = status == 404 and any(words in message for words in MISSING)
    if NAMED_MODEL.search(message) or (kind is FailureKind.REFUSED and is_missing):
        kind = FailureKind.NO_MODEL
    return UpstreamFailure(kind, innermost(message), status)


def broken_off(message: str) -> UpstreamFailure:
    """What an error inside of an answer means."""
    return UpstreamFailure(_meaning(message) or FailureKind.BROKEN, innermost(message))


def innermost(message: str) -> str:
    """The sentence in a message that is itself an error as JSON, as those of llama.cpp are."""
    if not message.lstrip().startswith("{"):
        return message
    try:
        error = orjson.loads(message)
    except orjson.JSONDecodeError:
        return message
    return error_text(error) or message


def error_text(answer: Any) -> str:
    """The sentence of an error body of any of the servers; "" for what is none.

    `{"error": {"message"}}`, `{"error": ""}`, SGLang's `{"object": "error", "message"}`, and
    `{"detail": ""}` or `{"detail": {"msg"}}` of servers written with FastAPI.
    """
    if not isinstance(answer, dict):
        return ""
    error = answer.get("error") or answer.get("detail")
    if answer.get("object") == "error":
        error = answer.get("message")
    if isinstance(error, dict):
        error = error.get("message") or error.get("msg")
    return error if isinstance(error, str) else ""


def _meaning(message: str) -> FailureKind | None:
    if message.strip() in SLIPS:
        return FailureKind.MALFORMED_CALL
    for kind, phrases in MEANINGS:
        if any(phrase in message for phrase in phrases):
            return kind
    return None
