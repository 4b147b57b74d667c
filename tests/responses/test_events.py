"""The response object as a client gets it, field by field."""

from __future__ import annotations

from typing import Any

import pytest

from codex_bridge.responses.echo import echoed
from codex_bridge.responses.events import ResponseTemplate, reasoning_delta, text_done
from tests.responses import schemas

Json = dict[str, Any]
BARE: Json = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1000,
    "completed_at": None,
    "status": "in_progress",
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "model": "",
    "output": [],
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "store": True,
    "background": False,
    "service_tier": "default",
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "truncation": "disabled",
    "usage": None,
    "metadata": {},
    "safety_identifier": None,
    "prompt_cache_key": None,
}
ASKED: Json = {
    "model": "qwen3:14b",
    "instructions": "Be short.",
    "tools": [{"type": "web_search"}],
    "tool_choice": "required",
    "parallel_tool_calls": False,
    "max_tool_calls": 3,
    "max_output_tokens": 500,
    "reasoning": {"effort": "high", "summary": "auto", "max_tokens": 9},
    "text": {"verbosity": "low", "format": {"type": "json_object"}},
    "temperature": 0,
    "top_p": 0.5,
    "presence_penalty": 0.1,
    "frequency_penalty": 0.2,
    "metadata": {"a": "b"},
    "prompt_cache_key": "key",
    "safety_identifier": "someone",
    "user": "me",
    "top_logprobs": 2,
    "truncation": "auto",
    "service_tier": "flex",
    "store": False,
    "background": True,
    "previous_response_id": "resp_0",
}


def test_a_response_has_every_field_of_the_api() -> None:
    assert ResponseTemplate("resp_1", 1000, {}).response("in_progress", []) == BARE


@pytest.mark.parametrize("more", [{}, {"input": "x", "stream": True, "include": []}])
def test_a_response_repeats_what_was_asked(more: Json) -> None:
    template = ResponseTemplate("resp_1", 1000, echoed(ASKED | more))
    assert template.response("in_progress", []) == BARE | ASKED


NULLS = dict.fromkeys(ASKED)


@pytest.mark.parametrize("asked", [NULLS, {key: [1] for key in ASKED}, dict.fromkeys(ASKED, True)])
def test_a_field_that_says_nothing_is_repeated_as_its_default(asked: Json) -> None:
    odd = {"tools": [], "instructions": None, "store": True, "background": False}
    odd |= {"parallel_tool_calls": True}
    template = ResponseTemplate("resp_1", 1000, echoed(asked | odd))
    assert template.response("in_progress", []) == BARE


WEATHER = {"type": "function", "name": "weather"}
SCHEMA = {"type": "json_schema", "name": "n", "schema": {"type": "object"}}


@pytest.mark.parametrize(
    ("field", "sent", "repeated"),
    [
        (
            "tools",
            [WEATHER],
            [WEATHER | {"description": None, "parameters": None, "strict": None}],
        ),
        (
            "tools",
            [WEATHER | {"description": "d", "parameters": {"type": "object"}, "strict": True}],
            [WEATHER | {"description": "d", "parameters": {"type": "object"}, "strict": True}],
        ),
        ("tools", [{"type": "mcp", "server_label": "x"}], [{"type": "mcp", "server_label": "x"}]),
        ("text", {"verbosity": "low"}, {"verbosity": "low", "format": {"type": "text"}}),
        ("text", {"verbosity": None, "format": None}, {"format": {"type": "text"}}),
        (
            "text",
            {"format": SCHEMA},
            {"format": SCHEMA | {"description": None, "strict": False}},
        ),
        (
            "text",
            {"format": SCHEMA | {"description": "d", "strict": True}},
            {"format": SCHEMA | {"description": "d", "strict": True}},
        ),
        ("reasoning", {"summary": "auto"}, {"effort": None, "summary": "auto"}),
        ("reasoning", {"context": "x"}, {"effort": None, "summary": None, "context": "x"}),
        (
            "instructions",
            [{"role": "developer", "content": "x"}],
            [{"role": "developer", "content": "x"}],
        ),
        ("service_tier", "auto", "default"),
        ("service_tier", "priority", "priority"),
        (
            "tool_choice",
            {"type": "allowed_tools", "tools": [WEATHER]},
            {"type": "allowed_tools", "mode": "auto", "tools": [WEATHER]},
        ),
    ],
)
def test_what_a_client_left_out_of_a_field_is_completed(
    field: str, sent: Any, repeated: Any
) -> None:
    template = ResponseTemplate("resp_1", 1000, echoed({"model": "m", field: sent}))
    response = template.response("in_progress", [])
    assert response[field] == repeated
    schemas.check_response(response)


def test_the_prompt_is_left_out_for_clients_that_do_not_need_it() -> None:
    response = ResponseTemplate("resp_1", 1000, echoed(ASKED), False).response("completed", [])
    assert (response["instructions"], response["tools"]) == (None, [])
    assert response["tool_choice"] == "required"


def test_the_events_of_text_and_reasoning_have_their_fields() -> None:
    assert text_done("msg_1", 2, "Hi.") == {
        "type": "response.output_text.done",
        "item_id": "msg_1",
        "output_index": 2,
        "content_index": 0,
        "text": "Hi.",
        "logprobs": [],
    }
    assert reasoning_delta("rs_1", 2, "Hm.") == {
        "type": "response.reasoning_summary_text.delta",
        "item_id": "rs_1",
        "output_index": 2,
        "summary_index": 0,
        "delta": "Hm.",
    }
