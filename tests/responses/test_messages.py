"""Input items -> messages."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codex_bridge.responses.messages import to_messages
from codex_bridge.tools.toolbox import Toolbox
from tests.responses.items import (
    IMAGE,
    IMAGE_PART,
    TOOLBOX,
    Json,
    assistant,
    call,
    chat_call,
    message,
    messages,
    reasoning,
    result,
    tool,
    user,
)

CASES = {
    "a string content": ([{"type": "message", "role": "user", "content": "hi"}], [user("hi")]),
    "parts are joined": ([message("user", "a", "b")], [user("a\nb")]),
    "neighbouring user messages stay apart": (
        [message("user", "a"), message("user", "b")],
        [user("a"), user("b")],
    ),
    "an image behind its text": (
        [
            {
                "type": "message",
                "role": "user",
                "content": [IMAGE, {"type": "input_text", "text": "x"}],
            }
        ],
        [user([{"type": "text", "text": "x"}, IMAGE_PART])],
    ),
    "one assistant message per turn": (
        [
            reasoning("hm"),
            message("assistant", "I run."),
            call("a"),
            call("b"),
            result("a"),
            result("b"),
        ],
        [
            assistant("I run.", chat_call("a"), chat_call("b"), reasoning="hm"),
            tool("a"),
            tool("b"),
        ],
    ),
    "results in call order": (
        [call("a"), call("b"), result("b", "B"), result("a", "A")],
        [assistant("", chat_call("a"), chat_call("b")), tool("a", "A"), tool("b", "B")],
    ),
    "each round its own turn": (
        [call("a"), result("a"), call("b"), result("b"), message("assistant", "ok")],
        [
            assistant("", chat_call("a")),
            tool("a"),
            assistant("", chat_call("b")),
            tool("b"),
            assistant("ok"),
        ],
    ),
    "a user message between call and result moves behind it": (
        [call("a"), message("user", "Warning"), result("a"), message("assistant", "ok")],
        [assistant("", chat_call("a")), tool("a"), user("Warning"), assistant("ok")],
    ),
    "a call without a result": (
        [call("a"), message("user", "stop"), message("assistant", "ok")],
        [assistant("", chat_call("a")), tool("a", "aborted"), user("stop"), assistant("ok")],
    ),
    "a result without a call": (
        [message("user", "x"), result("a", "lost")],
        [user("x"), user("<tool_result>\nlost\n</tool_result>")],
    ),
    "two results for one call": (
        [call("a"), result("a", "1"), result("a", "2")],
        [assistant("", chat_call("a")), tool("a", "1\n2")],
    ),
    "the same call id in two turns": (
        [call("a"), result("a", "1"), call("a"), result("a", "2")],
        [
            assistant("", chat_call("a")),
            tool("a", "1"),
            assistant("", chat_call("a_2")),
            tool("a_2", "2"),
        ],
    ),
    "the same call id in one turn": (
        [call("a"), call("a"), result("a", "1"), result("a", "2")],
        [assistant("", chat_call("a"), chat_call("a_2")), tool("a", "1"), tool("a_2", "2")],
    ),
    "missing call ids": (
        [call(None), result(None, "1")],
        [assistant("", chat_call("call")), tool("call", "1")],
    ),
    "a result without an id goes to the call that waits": (
        [call("a"), call("b"), result("a", "A"), result(None, "B")],
        [assistant("", chat_call("a"), chat_call("b")), tool("a", "A"), tool("b", "B")],
    ),
    "a file is named, not lost without a word": (
        [{"type": "message", "role": "user", "content": [{"type": "input_file", "filename": "x"}]}],
        [user("[The file x was left out: it has no file_data.]")],
    ),
    "a namespaced call keeps its flat name": (
        [call("a", name="spawn", namespace="agents"), result("a")],
        [assistant("", chat_call("a", name="agents__spawn")), tool("a", name="agents__spawn")],
    ),
    "images of a result follow the results": (
        [
            call("a"),
            call("b"),
            result("a", [{"type": "input_text", "text": "see"}, IMAGE]),
            result("b"),
            message("assistant", "nice"),
        ],
        [
            assistant("", chat_call("a"), chat_call("b")),
            tool("a", "see"),
            tool("b"),
            user([IMAGE_PART]),
            assistant("nice"),
        ],
    ),
    "a later developer message stays in its place": (
        [message("user", "x"), message("developer", "be brief"), message("user", "y")],
        [user("x"), user("<developer>\nbe brief\n</developer>"), user("y")],
    ),
    "broken items make no fault": (
        [
            {"type": "message", "role": "user"},
            {"type": "message", "content": [1, {"type": "input_text"}]},
            {"type": "reasoning", "summary": None},
            {"type": "function_call"},
            {"type": "function_call_output"},
        ],
        [
            user(""),
            user(""),
            assistant("", chat_call("call", name="None")),
            tool("call", "", name="None"),
        ],
    ),
}


@pytest.mark.parametrize(("items", "expected"), CASES.values(), ids=CASES.keys())
def test_conversation(items: list[Json], expected: list[Json]) -> None:
    assert messages(*items) == expected


def test_instructions_and_all_leading_developer_items_are_one_system_message() -> None:
    head, *rest = messages(
        message("developer", "B"), message("system", "C"), message("user", "x"), instructions="A"
    )
    assert head == {"role": "system", "content": "A\n\nB\n\nC"}
    assert rest == [user("x")]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ('{"b": 1, "a": 2}', '{"b": 1, "a": 2}'),
        ("", "{}"),
        ("  ", "{}"),
        (None, "{}"),
        ("null", "{}"),
        ({"a": 1}, '{"a":1}'),
        ("[1]", '{"input":"[1]"}'),
        ('{"a":', '{"input":"{\\"a\\":"}'),
        ("3", '{"input":"3"}'),
    ],
)
def test_arguments_in_history_are_always_an_object_in_a_string(
    arguments: Any, expected: str
) -> None:
    (turn, _) = messages(call("a", arguments), result("a"))
    assert turn["tool_calls"][0]["function"]["arguments"] == expected


item = st.one_of(
    st.builds(message, st.sampled_from(["user", "assistant", "developer"]), st.text(max_size=4)),
    st.builds(call, st.sampled_from(["a", "b", None]), st.sampled_from(["{}", "", "[", '{"x":1}'])),
    st.builds(result, st.sampled_from(["a", "b", None]), st.text(max_size=4)),
    st.builds(reasoning, st.text(max_size=4)),
)


@given(st.lists(item, max_size=12))
def test_every_history_has_the_shape_that_ollama_accepts(items: list[Json]) -> None:
    waiting: list[str] = []
    ids: list[str] = []
    for position, entry in enumerate(messages(*items, instructions="x")):
        if entry["role"] == "tool":
            assert entry["tool_call_id"] == waiting.pop(0)
            assert isinstance(entry["content"], str)
            continue
        assert not waiting, "a call's result does not follow it"
        assert (entry["role"] == "system") == (position == 0)
        assert isinstance(entry["content"], str)
        for made in entry.get("tool_calls", []):
            waiting.append(made["id"])
            ids.append(made["id"])
            assert isinstance(orjson.loads(made["function"]["arguments"]), dict)
    assert not waiting
    assert len(set(ids)) == len(ids)


@given(st.lists(st.lists(item, max_size=4), max_size=6))
def test_a_grown_conversation_only_appends_messages(rounds: list[list[Json]]) -> None:
    """The model's prompt cache lives on this."""
    items: list[Json] = [message("user", "start")]
    before: list[Json] = []
    for n, extra in enumerate(rounds):
        # What a client sends: everything so far, a complete tool round, a word of the user.
        items += [call(f"c{n}"), result(f"c{n}"), message("assistant", "ok"), *extra]
        items.append(message("user", f"go on {n}"))
        now = messages(*items, instructions="x")
        if not any(entry["type"] == "function_call" for entry in extra):
            assert now[: len(before)] == before
        before = now


PATCH = "*** Begin Patch\n*** Delete File: a\n*** End Patch\n"


def call_in(message: Any) -> tuple[str, Any]:
    (made,) = message["tool_calls"]
    return made["function"]["name"], orjson.loads(made["function"]["arguments"])


def test_a_freeform_call_and_its_result() -> None:
    _, assistant, result = to_messages(
        None,
        [
            {"role": "user", "type": "message", "content": "hi"},
            {"type": "custom_tool_call", "call_id": "c", "name": "apply_patch", "input": PATCH},
            {
                "type": "custom_tool_call_output",
                "call_id": "c",
                "output": [{"type": "input_text", "text": "Done"}],
            },
        ],
        TOOLBOX,
    )
    assert call_in(assistant) == ("apply_patch", {"input": PATCH})
    assert result == {
        "role": "tool",
        "tool_call_id": "c",
        "name": "apply_patch",
        "content": "Done",
    }


def test_a_search_tells_what_can_be_called_now() -> None:
    tool = {"type": "function", "name": "echo", "description": "Says it again. Twice."}
    found = {"type": "namespace", "name": "mcp__demo", "tools": [tool]}
    items = [
        {"type": "tool_search_call", "call_id": "s", "arguments": {"query": "echo", "limit": 3}},
        {"type": "tool_search_output", "call_id": "s", "tools": [found]},
        {"type": "tool_search_call", "call_id": "t", "arguments": {"query": "nothing"}},
        {"type": "tool_search_output", "call_id": "t", "tools": []},
    ]
    toolbox = Toolbox.from_request([{"type": "tool_search"}], items)
    first, listed, second, empty = to_messages(None, items, toolbox)
    assert call_in(first) == ("tool_search", {"query": "echo", "limit": 3})
    assert "- mcp__demo__echo: Says it again. Twice." in listed["content"]
    assert call_in(second)[0] == "tool_search"
    assert "No tools" in empty["content"]


def test_a_local_shell_call_and_its_result() -> None:
    action = {
        "type": "exec",
        "command": ["ls"],
        "timeout_ms": None,
        "working_directory": "/",
        "env": {},
    }
    assistant, result = to_messages(
        None,
        [
            {"type": "local_shell_call", "call_id": "c", "action": action},
            {"type": "local_shell_call_output", "call_id": "c", "output": "a b"},
        ],
        TOOLBOX,
    )
    assert call_in(assistant) == ("local_shell", {"command": ["ls"], "working_directory": "/"})
    assert result["content"] == "a b"


def test_what_an_agent_was_told_is_a_message() -> None:
    parts = [
        {"type": "input_text", "text": "Do this."},
        {"type": "encrypted_content", "encrypted_content": "And that."},
    ]
    item = {"type": "agent_message", "author": "/root", "recipient": "/root/x", "content": parts}
    (message,) = to_messages(None, [item], TOOLBOX)
    assert message["role"] == "user"
    assert "Do this.\nAnd that." in message["content"]
    assert "/root/x" in message["content"]


fields = st.sampled_from(
    ["type", "text", "name", "tools", "command", "query", "input", "content", "image_url"]
)
garbage = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(fields, inner, max_size=3),
    max_leaves=6,
)
KINDS = [
    "function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output",
    "tool_search_call", "tool_search_output", "additional_tools", "local_shell_call",
    "local_shell_call_output", "agent_message", "message", "reasoning", "web_search_call", "new",
]  # fmt: skip
STRINGS = ["role", "name", "namespace", "call_id"]
GARBAGE = ["arguments", "input", "output", "tools", "action", "content", "summary", "author"]
ITEM = st.fixed_dictionaries(
    {"type": st.sampled_from(KINDS)},
    optional={
        **dict.fromkeys(STRINGS, st.text(max_size=3)),
        **dict.fromkeys(GARBAGE, garbage),
    },
)


@given(st.lists(ITEM, max_size=8))
def test_no_item_of_any_shape_breaks_the_history(items: list[Any]) -> None:
    toolbox = Toolbox.from_request(None, items)
    for answer in to_messages("system", items, toolbox):
        orjson.dumps(answer)
        for made in answer.get("tool_calls", []):
            assert isinstance(orjson.loads(made["function"]["arguments"]), dict)
