"""Calls that Ollama could not read."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codex_bridge.repair.complaints import call_from_complaint
from codex_bridge.tools.toolbox import Toolbox


def tool(name: str, *required: str) -> dict[str, Any]:
    properties = {key: {"type": "string"} for key in required}
    parameters = {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }
    return {"type": "function", "name": name, "parameters": parameters}


TOOLS = [
    tool("exec_command", "cmd"),
    tool("send", "target", "message"),
    tool("ask", "question"),
    tool("tell", "question"),
    {"type": "custom", "name": "apply_patch", "format": {"type": "grammar"}},
]
BOX = Toolbox.from_request(TOOLS, [])


def complaint(raw: str) -> str:
    return f"error parsing tool call: raw='{raw}', err=invalid character '}}' after object key"


RECOVERED = {
    "arguments of one function alone": ('{"cmd": "ls"}', "exec_command", {"cmd": "ls"}),
    "with a comma too many": ('{"cmd": "ls",}', "exec_command", {"cmd": "ls"}),
    "with quotes inside": ("""{"cmd": "echo 'a'"}""", "exec_command", {"cmd": "echo 'a'"}),
    "over several lines": ('{\n"cmd": "ls"\n}', "exec_command", {"cmd": "ls"}),
    "with the name": (
        '{"name": "tell", "arguments": {"question": "why"}}',
        "tell",
        {"question": "why"},
    ),
    "of a freeform tool": ('{"input": "x"}', "apply_patch", {"input": "x"}),
    "with parameters": (
        '{"name": "tell", "parameters": {"question": "why"}}',
        "tell",
        {"question": "why"},
    ),
    "with both": (
        '{"name": "tell", "arguments": {"question": "a"}, "parameters": {"question": "b"}}',
        "tell",
        {"question": "a"},
    ),
    "with another name for it": (
        '{"name": "functions.tell", "arguments": {"any": "thing"}}',
        "functions.tell",
        {"any": "thing"},
    ),
}


@pytest.mark.parametrize(("raw", "name", "arguments"), RECOVERED.values(), ids=RECOVERED.keys())
def test_a_call_that_is_whole_is_made(raw: str, name: str, arguments: Any) -> None:
    call = call_from_complaint(complaint(raw), BOX)
    assert call is not None
    assert (call.name, orjson.loads(call.arguments)) == (name, arguments)
    assert (call.index, call.id) == (0, "")


LOST = {
    "cut off": '{"cmd": "rm -rf /home/me/ol',
    "cut off behind a value": '{"target": "a"',
    "of two functions at once": '{"question": "why"}',
    "of no function": '{"path": "x"}',
    "with a parameter missing": '{"target": "a"}',
    "with one too many": '{"cmd": "ls", "path": "x"}',
    "empty": "{}",
    "no object": '["cmd"]',
    "a name alone": '{"name": "tell"}',
    "text": "I will call tell.",
    "an unknown name": '{"name": "nope", "arguments": {"question": "why"}}',
    "no name": '{"name": 5, "arguments": {"question": "why"}}',
    "arguments that need a repair": '{"cmd": 5}',
    "input and more": '{"input": "x", "more": "y"}',
    "arguments that are no object": '{"name": "tell", "arguments": "why"}',
}


@pytest.mark.parametrize("raw", LOST.values(), ids=LOST.keys())
def test_what_leaves_open_what_is_meant_is_not_made(raw: str) -> None:
    assert call_from_complaint(complaint(raw), BOX) is None


def test_a_complaint_that_quotes_nothing_holds_no_call() -> None:
    assert call_from_complaint("XML syntax error on line 5", BOX) is None


@given(st.text(), st.integers(0, 40))
def test_no_complaint_is_too_strange(text: str, cut: int) -> None:
    call_from_complaint(complaint(text), BOX)
    call_from_complaint(complaint('{"cmd": "ls"}')[cut:], BOX)


def test_an_empty_object_is_no_call_even_where_nothing_is_required() -> None:
    assert call_from_complaint(complaint("{}"), Toolbox.from_request([tool("wait")], [])) is None
