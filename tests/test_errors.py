"""Failures of the upstream in the client's words."""

from __future__ import annotations

import pytest

from codex_bridge.errors import from_upstream, internal, stopping, too_large
from codex_bridge.vocabulary import FailureKind, UpstreamFailure

URL = "http://localhost:11433"
MODEL = "qwen3:14b"

TOLD = {
    # kind: (status, code, whether asking again may help, what the sentence says)
    FailureKind.UNREACHABLE: (502, "upstream_unreachable", True, "ollama serve"),
    FailureKind.STALE: (502, "upstream_unreachable", True, "ollama serve"),
    FailureKind.BUSY: (503, "upstream_busy", True, "try again in 10s"),
    FailureKind.BROKEN: (502, "upstream_broken", True, "broke off"),
    FailureKind.SILENT: (504, "upstream_silent", False, "--upstream-timeout"),
    FailureKind.MALFORMED_CALL: (502, "malformed_call", True, "tool call"),
    FailureKind.EMPTY: (502, "empty_answer", False, "twice"),
    FailureKind.GARBLED: (502, "upstream_garbled", False, URL),
    FailureKind.TOO_LONG: (400, "context_length_exceeded", False, "--num-ctx"),
    FailureKind.CONTEXT_FULL: (400, "context_length_exceeded", False, "--num-ctx"),
    FailureKind.NO_MODEL: (404, "model_not_found", False, f"ollama pull {MODEL}"),
    FailureKind.NO_TOOLS: (400, "tools_unsupported", False, "ollama show"),
    FailureKind.NO_EFFORT: (400, "upstream_error", False, "Ollama refused"),
    FailureKind.NO_MEMORY: (500, "out_of_memory", False, "memory"),
    FailureKind.NO_ACCESS: (403, "upstream_access_denied", False, "ollama signin"),
    FailureKind.REFUSED: (418, "upstream_error", False, "(418): because."),
}


@pytest.mark.parametrize("kind", FailureKind)
def test_each_failure_has_status_code_and_a_sentence(kind: FailureKind) -> None:
    status, code, passing, says = TOLD[kind]
    error = from_upstream(UpstreamFailure(kind, "because.", status), MODEL, URL)
    assert (error.status, error.code, error.passing) == (status, code, passing)
    assert says in f"{error.message}."
    assert ".." not in error.message


@pytest.mark.parametrize("kind", FailureKind)
def test_what_was_tried_in_vain_is_final_except_when_only_time_helps(kind: FailureKind) -> None:
    error = from_upstream(UpstreamFailure(kind, "because", 500), MODEL, URL, tried=True)
    assert error.passing is (kind is FailureKind.BUSY)


def test_a_status_that_is_no_error_is_not_told_as_one() -> None:
    error = from_upstream(UpstreamFailure(FailureKind.REFUSED, "Moved", 301), MODEL, URL)
    assert error.status == 502


def test_an_error_body_has_the_four_keys_of_openai() -> None:
    for error in (too_large(10), internal("resp_1"), stopping()):
        assert set(error.body()["error"]) == {"message", "type", "param", "code"}
