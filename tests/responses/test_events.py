"""The response object as a client gets it, field by field."""

from __future__ import annotations

from typing import Any

import pytest

from codex_bridge.responses.events import ResponseTemplate, reasoning_delta, text_done
from codex_bridge.responses.request import echoed

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
    "store": False,
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
    "tools": [{"type": "function", "name": "run"}],
    "tool_choice": "required",
    "parallel_tool_calls": False,
    "max_tool_calls": 3,
    "max_output_tokens": 500,
    "reasoning": {"effort": "high"},
    "text": {"verbosity": "low"},
    "temperature": 0,
    "top_p": 0.5,
    "presence_penalty": 0.1,
    "frequency_penalty": 0.2,
    "metadata": {"a": "b"},
    "prompt_cache_key": "key",
}


def test_a_response_has_every_field_of_the_api() -> None:
    assert ResponseTemplate("resp_1", 1000, {}).response("in_progress", []) == BARE


@pytest.mark.parametrize("more", [{}, {"input": "x", "stream": True, "store": True}])
def test_a_response_repeats_what_was_asked(more: Json) -> None:
    template = ResponseTemplate("resp_1", 1000, echoed(ASKED | more))
    assert template.response("in_progress", []) == BARE | ASKED


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
