"""What Ollama's sentences mean."""

from __future__ import annotations

import orjson
import pytest

from codex_bridge.engines.refusals import broken_off, refusal
from codex_bridge.vocabulary import FailureKind

LLAMA_SERVER = orjson.dumps(
    {
        "error": {
            "code": 400,
            "message": "request (9412 tokens) exceeds the available context size (8192 tokens)",
            "type": "exceed_context_size_error",
        }
    }
).decode()
CASES = {
    "a model that is not there": (404, "model 'nope:1b' not found", FailureKind.NO_MODEL),
    "another server's words": (404, "The model `nope` does not exist.", FailureKind.NO_MODEL),
    "a route that is not there": (404, "404 page", FailureKind.REFUSED),
    "no tools": (400, "library/gemma3:4b does not support tools", FailureKind.NO_TOOLS),
    "no thinking": (400, '"q:1b" does not support thinking', FailureKind.NO_EFFORT),
    "an effort too many": (
        400,
        'think value "medium" is not supported for this model',
        FailureKind.NO_EFFORT,
    ),
    "a queue that is full": (
        503,
        "server busy, please try again.  maximum pending requests exceeded",
        FailureKind.BUSY,
    ),
    "any 429": (429, "slow down", FailureKind.BUSY),
    "llama-server's JSON": (400, LLAMA_SERVER, FailureKind.TOO_LONG),
    "a long prompt": (
        400,
        "the prompt is longer than the context length currently available to the model",
        FailureKind.TOO_LONG,
    ),
    "a template that fails": (
        500,
        '{"error":{"code":500,"message":"System message must be at the beginning"}}',
        FailureKind.REFUSED,
    ),
    "XML": (
        500,
        "XML syntax error on line 5: element <parameter> closed",
        FailureKind.MALFORMED_CALL,
    ),
    "raw": (500, "error parsing tool call: raw='{', err=EOF", FailureKind.MALFORMED_CALL),
    "JSON": (500, "failed to parse JSON: unexpected end of JSON input", FailureKind.MALFORMED_CALL),
    "an end": (500, "EOF", FailureKind.MALFORMED_CALL),
    "a runner that died": (
        500,
        "an error was encountered while running the model: unexpected EOF",
        FailureKind.BROKEN,
    ),
    "a runner that is gone": (
        500,
        "llama-server process has terminated: signal: killed",
        FailureKind.BROKEN,
    ),
    "no memory": (
        500,
        "model requires more system memory (30.1 GiB) than is available (15.2 GiB)",
        FailureKind.NO_MEMORY,
    ),
    "the cloud": (401, "unauthorized", FailureKind.NO_ACCESS),
    "TLS alone, by a server in Go": (
        400,
        "Client sent an HTTP request to an HTTPS server.",
        FailureKind.MISCONFIGURED,
    ),
    "TLS alone, by nginx": (
        400,
        "<center>The plain HTTP request was sent to HTTPS port</center>",
        FailureKind.MISCONFIGURED,
    ),
    "TLS alone, by Apache": (
        400,
        "Reason: You're speaking plain HTTP to an SSL-enabled server port.<br />",
        FailureKind.MISCONFIGURED,
    ),
    "a proxy between": (502, "Bad Gateway", FailureKind.BROKEN),
    "anything else": (400, "invalid message role", FailureKind.REFUSED),
}


@pytest.mark.parametrize(("status", "message", "kind"), CASES.values(), ids=CASES.keys())
def test_a_refusal_is_known_by_its_words_and_else_by_its_status(
    status: int, message: str, kind: FailureKind
) -> None:
    failure = refusal(message, status)
    assert (failure.kind, failure.status) == (kind, status)


def test_a_sentence_inside_of_json_is_told_without_the_json() -> None:
    assert refusal(LLAMA_SERVER, 400).message.startswith("request (9412 tokens) exceeds")
    assert refusal('{"error":"in Ollama\'s shape"}', 400).message == "in Ollama's shape"
    assert refusal("{broken", 400).message == "{broken"


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("XML syntax error on line 5", FailureKind.MALFORMED_CALL),
        (LLAMA_SERVER, FailureKind.TOO_LONG),
        ("something else", FailureKind.BROKEN),
    ],
)
def test_an_error_inside_of_an_answer_means_the_same(message: str, kind: FailureKind) -> None:
    assert broken_off(message).kind is kind
