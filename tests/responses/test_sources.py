"""Which texts of a request a model may quote, and whether it was asked to show something."""

from __future__ import annotations

from typing import Any

import pytest

from codex_bridge.responses.request import read
from codex_bridge.responses.sources import all_texts, asks_to_show, results

Json = dict[str, Any]
USER: Json = {"type": "message", "role": "user", "content": "from a user"}
ITEMS: list[Json] = [
    USER,
    {"type": "message", "role": "developer", "content": "from a developer"},
    {"type": "message", "role": "assistant", "content": "from the model"},
    {"type": "reasoning", "summary": [{"type": "summary_text", "text": "a thought"}]},
    {"type": "function_call", "call_id": "1", "name": "run", "arguments": '{"a": "a call"}'},
    {"type": "function_call_output", "call_id": "1", "output": "a result"},
    {"type": "custom_tool_call", "call_id": "2", "name": "x", "input": "a freeform call"},
    {
        "type": "custom_tool_call_output",
        "call_id": "2",
        "output": [{"type": "input_text", "text": "parts of a result"}],
    },
    {"type": "mcp_call", "output": "an unknown kind"},
    {"type": "compaction", "text": "a summary"},
    {
        "type": "agent_message",
        "author": "/a",
        "recipient": "/b",
        "content": [{"type": "input_text", "text": "from an agent"}],
    },
    {
        "type": "message",
        "role": "assistant",
        "content": '{"author": "/a", "recipient": "/b", "content": "a task", "other": "x"}',
    },
]


def asked(*items: Json, **more: Any) -> Any:
    return read({"model": "m", "input": list(items)} | more)


def test_what_tools_returned() -> None:
    texts = list(results(asked(*ITEMS)))
    assert [text for text in texts if "agent" not in text] == [
        "a result",
        "parts of a result",
        "an unknown kind",
    ]


def test_all_that_the_model_did_not_write() -> None:
    texts = "\n".join(all_texts(asked(*ITEMS, instructions="instructions")))
    for read_text in (
        *("from a user", "from a developer", "a result", "parts of a result", "an unknown kind"),
        *("from an agent", "a task", "instructions", "a summary"),
    ):
        assert read_text in texts
    for own in ("from the model", "a thought", "a call", "a freeform call"):
        assert own not in texts


@pytest.mark.parametrize(
    ("text", "shows"),
    [
        ("Print it as JSON", True),
        ("Show me the call", True),
        ("Give an example of it", True),
        ("What is the request body?", True),
        ("Gib mir ein Codebeispiel", True),
        ("Fix the bug in the examples_test.py file", False),
        ("Run the tests", False),
        ("给我一个例子", True),
        ("運行してください", False),
    ],
)
def test_a_user_may_ask_to_be_shown_something(text: str, shows: bool) -> None:
    assert asks_to_show(asked(USER, USER | {"content": text})) is shows
    assert asks_to_show(asked(USER | {"content": text}, USER)) is False


def test_a_schema_for_the_answer_asks_for_json() -> None:
    assert asks_to_show(asked(USER, text={"format": {"type": "json_object"}}))
    assert not asks_to_show(asked({"type": "message", "role": "developer", "content": "JSON"}))
