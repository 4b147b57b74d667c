"""The request for a title needs next to nothing."""

from __future__ import annotations

from typing import Any

import pytest

from codex_bridge.vocabulary import ModelInfo
from tests.responses.asked import translate

SCHEMA = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}
FORM = {"type": "json_schema", "strict": True, "schema": SCHEMA, "name": "codex_output_schema"}
ITEMS = [
    {"type": "message", "role": "developer", "content": "Long instructions."},
    {"type": "message", "role": "user", "content": "<environment_context>"},
    {"type": "message", "role": "user", "content": "Make a title of: hi"},
]
THINKS = ModelInfo("m", capabilities=frozenset({"thinking"}), server_version=(0, 33, 0))


def chat(**change: Any) -> Any:
    request = {"model": "m", "input": ITEMS, "tools": [], "text": {"format": FORM}}
    return translate(request | change, THINKS).chat


def test_a_title_is_asked_for_without_the_instructions_and_without_thinking() -> None:
    made = chat(instructions="More.")
    assert made.messages == [{"role": "user", "content": "Make a title of: hi"}]
    assert made.effort == "none"
    assert made.response_format["json_schema"]["schema"] == SCHEMA


@pytest.mark.parametrize(
    "change",
    [
        {"tools": [{"type": "function", "name": "run"}]},
        {"text": {"format": FORM | {"name": "mine"}}},
        {"text": {"format": FORM | {"schema": {"properties": {"title": {}, "text": {}}}}}},
        {"text": {}},
        {"input": ITEMS[:1]},
        {"input": "hi"},
    ],
)
def test_every_other_request_keeps_its_prompt(change: Any) -> None:
    made = chat(instructions="More.", **change)
    assert "More." in made.messages[0]["content"]
