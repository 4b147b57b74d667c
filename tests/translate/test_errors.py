"""Failures of the upstream in the client's words."""

from __future__ import annotations

import pytest

from codex_bridge.translate.errors import from_upstream, internal, too_large
from codex_bridge.vocabulary import FailureKind, UpstreamFailure

URL = "http://localhost:11433"


@pytest.mark.parametrize(
    ("failure", "status", "code", "passing", "says"),
    [
        (
            UpstreamFailure(FailureKind.UNREACHABLE, "connection refused"),
            502,
            "upstream_unreachable",
            True,
            URL,
        ),
        (UpstreamFailure(FailureKind.BROKEN, "it ended"), 502, "upstream_broken", True, "ended"),
        (UpstreamFailure(FailureKind.GARBLED, "x"), 502, "upstream_garbled", False, URL),
        (
            UpstreamFailure(FailureKind.REFUSED, "model 'qwen3:14b' not found", 404),
            404,
            "model_not_found",
            False,
            "ollama pull qwen3:14b",
        ),
        (
            UpstreamFailure(
                FailureKind.REFUSED,
                '{"error":{"message":"request (9412 tokens) exceeds the available context size"}}',
                400,
            ),
            400,
            "context_length_exceeded",
            False,
            "qwen3:14b",
        ),
        (
            UpstreamFailure(FailureKind.REFUSED, "server busy", 503),
            503,
            "upstream_error",
            True,
            "server busy",
        ),
        (
            UpstreamFailure(FailureKind.REFUSED, "gemma3 does not support tools", 400),
            400,
            "upstream_error",
            False,
            "does not support tools",
        ),
    ],
)
def test_each_failure_has_status_code_and_a_sentence(
    failure: UpstreamFailure, status: int, code: str, passing: bool, says: str
) -> None:
    error = from_upstream(failure, "qwen3:14b", URL)
    assert (error.status, error.code, error.passing) == (status, code, passing)
    assert says in error.message


def test_an_error_body_has_the_four_keys_of_openai() -> None:
    for error in (too_large(10), internal("resp_1")):
        assert set(error.body()["error"]) == {"message", "type", "param", "code"}
