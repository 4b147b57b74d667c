"""Failures of the upstream in the client's words."""

from __future__ import annotations

import pytest

from codex_bridge.errors import (
    ApiError,
    from_upstream,
    internal,
    invalid,
    stopping,
    too_large,
    without_quoted_call,
)
from codex_bridge.vocabulary import FailureKind, ServerWords, UpstreamFailure

SERVER = ServerWords("http://localhost:11433")
MODEL = "qwen3:14b"

TOLD = {
    # kind: (status, code, whether asking again may help, what the sentence says)
    FailureKind.UNREACHABLE: (502, "upstream_unreachable", True, "ollama serve"),
    FailureKind.NOT_RUNNING: (502, "upstream_unreachable", True, "ollama serve"),
    FailureKind.STALE: (502, "upstream_unreachable", True, "ollama serve"),
    FailureKind.BUSY: (503, "upstream_busy", True, "try again in 10s"),
    FailureKind.LOADING: (503, "upstream_loading", True, "try again in 10s"),
    FailureKind.BROKEN: (502, "upstream_broken", True, "broke off"),
    FailureKind.SILENT: (504, "upstream_silent", False, "--upstream-timeout"),
    FailureKind.MALFORMED_CALL: (502, "malformed_call", True, "tool call"),
    FailureKind.EMPTY: (502, "empty_answer", False, "nothing, though it was asked again"),
    FailureKind.SWALLOWED: (502, "malformed_call", True, "dropped the tool call"),
    FailureKind.NO_SUMMARY: (502, "no_summary", False, "a summary of the conversation: because"),
    FailureKind.UNFIT: (502, "answer_unfit", False, "JSON schema that was asked for: because"),
    FailureKind.OVERTHINKING: (502, "endless_thought", False, "to an answer: because"),
    FailureKind.REPETITIVE: (502, "endless_answer", False, "only repeated itself"),
    FailureKind.GARBLED: (502, "upstream_garbled", False, SERVER.url),
    FailureKind.OVERSIZED: (502, "answer_too_large", False, "too large: because"),
    FailureKind.TOO_LONG: (400, "context_length_exceeded", False, "--num-ctx"),
    FailureKind.CONTEXT_FULL: (400, "context_length_exceeded", False, "--num-ctx"),
    FailureKind.NO_MODEL: (404, "model_not_found", False, f"ollama pull {MODEL}"),
    FailureKind.NO_TOOLS: (400, "tools_unsupported", False, "cannot call tools"),
    FailureKind.NO_VISION: (400, "vision_unsupported", False, "cannot see pictures"),
    FailureKind.NO_LOGPROBS: (400, "logprobs_unsupported", False, "top_logprobs"),
    FailureKind.NO_EFFORT: (400, "upstream_error", False, "Ollama refused"),
    FailureKind.NO_MEMORY: (500, "out_of_memory", False, "memory"),
    FailureKind.NO_ACCESS: (403, "upstream_access_denied", False, "ollama signin"),
    FailureKind.NO_KEY: (
        403,
        "upstream_access_denied",
        False,
        "denies access: because",
    ),
    FailureKind.MISCONFIGURED: (502, "upstream_misconfigured", False, f"{SERVER.url}: because"),
    FailureKind.REFUSED: (418, "upstream_error", False, "(418): because."),
}


ANSWERS = {FailureKind.UNCERTAIN, FailureKind.ANNOUNCED, FailureKind.NOT_CALLED}
"""With these the exchange ends as an answer."""


def test_every_failure_that_can_end_an_exchange_is_told() -> None:
    assert set(TOLD) | ANSWERS == set(FailureKind)


@pytest.mark.parametrize("kind", TOLD)
def test_each_failure_has_status_code_and_a_sentence(kind: FailureKind) -> None:
    status, code, is_temporary, says = TOLD[kind]
    error = from_upstream(UpstreamFailure(kind, "because.", status), MODEL, SERVER)
    assert (error.status, error.code, error.is_temporary) == (status, code, is_temporary)
    assert says in f"{error.message}."
    assert ".." not in error.message


@pytest.mark.parametrize("kind", FailureKind)
def test_what_was_tried_in_vain_is_final_except_when_only_time_helps(kind: FailureKind) -> None:
    error = from_upstream(UpstreamFailure(kind, "because", 500), MODEL, SERVER, tried=True)
    assert error.is_temporary is (kind in {FailureKind.BUSY, FailureKind.LOADING})


@pytest.mark.parametrize(
    ("status", "told"),
    [(None, 502), (301, 502), (399, 502), (400, 400), (599, 599), (600, 502)],
)
def test_a_status_that_is_no_error_is_not_told_as_one(status: int | None, told: int) -> None:
    error = from_upstream(UpstreamFailure(FailureKind.REFUSED, "Moved", status), MODEL, SERVER)
    assert error.status == told


@pytest.mark.parametrize(("status", "is_temporary"), [(499, False), (500, True), (501, True)])
def test_only_an_unknown_failure_of_the_server_may_pass(status: int, is_temporary: bool) -> None:
    failure = UpstreamFailure(FailureKind.REFUSED, "why", status)
    assert from_upstream(failure, MODEL, SERVER).is_temporary is is_temporary


@pytest.mark.parametrize(
    ("kind", "param"),
    [
        (FailureKind.TOO_LONG, "input"),
        (FailureKind.CONTEXT_FULL, "input"),
        (FailureKind.NO_MODEL, "model"),
        (FailureKind.NO_TOOLS, "model"),
        (FailureKind.NO_VISION, "model"),
        (FailureKind.NO_MEMORY, None),
    ],
)
def test_the_error_names_the_parameter_that_has_to_change(
    kind: FailureKind, param: str | None
) -> None:
    assert from_upstream(UpstreamFailure(kind, "why"), MODEL, SERVER).param == param


def test_a_busy_server_is_asked_again_when_the_sentence_says() -> None:
    error = from_upstream(UpstreamFailure(FailureKind.BUSY, "why"), MODEL, SERVER)
    assert error.retry_after == 10
    assert error.message.endswith("in 10s.")


def test_the_sentence_names_the_remedy_of_the_server_in_use() -> None:
    failure = UpstreamFailure(FailureKind.TOO_LONG, "why")
    server = ServerWords("http://gpu:8080", "llama.cpp", "--ctx-size")
    assert "(--ctx-size)" in from_upstream(failure, MODEL, server).message


def test_the_sentence_names_the_server_and_its_own_way_to_a_model() -> None:
    server = ServerWords("http://gpu:8080", "vLLM", how_to_get="See {url}/v1/models.")
    error = from_upstream(UpstreamFailure(FailureKind.NO_MODEL, "why", 404), MODEL, server)
    assert error.message == f"vLLM has no model {MODEL}. See http://gpu:8080/v1/models."


def test_the_words_of_the_model_are_taken_out_of_a_complaint() -> None:
    complaint = "error parsing tool call: raw='{\"a\":\n1', err=unexpected end"
    assert without_quoted_call(complaint) == "error parsing tool call: unexpected end"


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (400, "invalid_request_error"),
        (404, "not_found_error"),
        (413, "invalid_request_error"),
        (429, "overloaded_error"),
        (499, "invalid_request_error"),
        (500, "server_error"),
        (502, "server_error"),
        (503, "overloaded_error"),
    ],
)
def test_the_type_of_an_error_follows_from_its_status(status: int, name: str) -> None:
    assert ApiError(status, "x").type == name


@pytest.mark.parametrize(
    ("error", "status", "code", "is_temporary"),
    [
        (invalid("x", "tools"), 400, "invalid_value", False),
        (invalid("x", code="unsupported_value"), 400, "unsupported_value", False),
        (too_large(10), 413, "request_too_large", False),
        (internal("resp_1"), 500, "internal_error", False),
        (stopping(), 503, "server_stopping", True),
    ],
)
def test_failures_of_the_bridge_have_status_and_code(
    error: ApiError, status: int, code: str, is_temporary: bool
) -> None:
    assert (error.status, error.code, error.is_temporary) == (status, code, is_temporary)


def test_an_error_body_has_the_four_keys_of_openai() -> None:
    assert invalid("The sentence.", "tools[0]").body() == {
        "error": {
            "message": "The sentence.",
            "type": "invalid_request_error",
            "param": "tools[0]",
            "code": "invalid_value",
        }
    }
