"""Ollama's error messages -> what they mean. Ollama reports most failures without a code."""

from __future__ import annotations

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
        ),
    ),
    (FailureKind.NO_TOOLS, ("does not support tools",)),
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
        ("XML syntax error", "error parsing tool call", "failed to parse JSON"),
    ),
    (FailureKind.BUSY, ("server busy", "maximum pending requests")),
    (
        FailureKind.NO_MEMORY,
        ("requires more system memory", "out of memory", "cudaMalloc failed"),
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
        ),
    ),
)
"""What a failure means -> phrases, of Ollama from 0.9 to 0.33 and of llama.cpp, that tell it."""
SLIPS = frozenset({"EOF", "unexpected EOF"})
"""Whole messages that mean a call which ends in the middle."""
MISSING = ("not found", "does not exist")
"""Phrases of a 404 that is about a missing model; a 404 without them is about the route."""
BY_STATUS = {
    401: FailureKind.NO_ACCESS,
    403: FailureKind.NO_ACCESS,
    404: FailureKind.NO_MODEL,
    429: FailureKind.BUSY,
    502: FailureKind.BROKEN,
    503: FailureKind.BUSY,
    504: FailureKind.BROKEN,
}
"""HTTP status -> what it means where the words say nothing."""


def refusal(message: str, status: int) -> UpstreamFailure:
    """What an HTTP status other than 200 means, with the sentence that came with it."""
    kind = _meaning(message) or BY_STATUS.get(status, FailureKind.REFUSED)
    if kind is FailureKind.NO_MODEL and not any(words in message for words in MISSING):
        # A server that knows no such route, perhaps.
        kind = FailureKind.REFUSED
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
    """The sentence of an error body, `{"error": {"message"}}` or `{"error": ""}`; "" if none."""
    error = answer.get("error") if isinstance(answer, dict) else None
    if isinstance(error, dict):
        error = error.get("message")
    return error if isinstance(error, str) else ""


def _meaning(message: str) -> FailureKind | None:
    if message.strip() in SLIPS:
        return FailureKind.MALFORMED_CALL
    for kind, phrases in MEANINGS:
        if any(phrase in message for phrase in phrases):
            return kind
    return None
