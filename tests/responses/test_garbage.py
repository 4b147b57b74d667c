"""Tools of any shape: what cannot be read is refused by its place, and all else works."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codex_bridge.errors import ApiError
from codex_bridge.repair.calls import repair_call
from codex_bridge.responses import events
from codex_bridge.tools.shown import ToolProfile
from codex_bridge.tools.toolbox import Toolbox
from tests.responses.asked import translate

KEYS = ["type", "name", "properties", "required", "items", "enum", "anyOf", "$ref", "description"]
garbage: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4) | st.just("object"),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=8,
)
NAMES = ["exec_command", "apply_patch", "spawn_agent", "other", "mcp__x__y"]
tools = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["function", "custom", "tool_search", "local_shell", "web_search"]),
        "name": st.sampled_from(NAMES),
    },
    optional={
        "parameters": st.dictionaries(st.sampled_from(KEYS), garbage, max_size=4),
        "description": garbage,
        "format": garbage,
        "strict": garbage,
    },
)
arguments = garbage.map(lambda value: orjson.dumps(value).decode()) | st.text(max_size=12)


def refused_field(**fields: Any) -> str:
    """The field for which a request is refused; "" if it is not."""
    try:
        translate({"model": "m", "input": "hi", **fields})
    except ApiError as error:
        return re.split(r"[.\[]", str(error.param))[0]
    return ""


@given(st.lists(tools, max_size=3), st.sampled_from(list(ToolProfile)))
def test_any_tool_can_be_shown(declared: list[Any], profile: ToolProfile) -> None:
    request = {"model": "m", "input": "hi", "tools": declared}
    orjson.dumps(translate(request, tool_profile=profile).chat.functions)


@given(tools, arguments, st.booleans())
def test_any_call_of_any_tool_becomes_an_item(tool: Any, text: str, repair: bool) -> None:
    toolbox = Toolbox.from_request([tool])
    for name in [*toolbox.offered, "shell", "apply_patch"]:
        settled = repair_call(name, text, toolbox, repair=repair)
        orjson.dumps(events.call_item(settled, "id", "call", "completed"))


@given(st.lists(garbage, max_size=2))
def test_what_is_no_tool_at_all_is_refused(declared: list[Any]) -> None:
    assert refused_field(tools=declared) in {"", "tools"}


@given(garbage)
def test_any_tool_choice_is_taken_or_refused(choice: Any) -> None:
    tool = {"type": "function", "name": "a"}
    assert refused_field(tools=[tool], tool_choice=choice) in {"", "tool_choice"}


@pytest.mark.parametrize("entry", [None, 5, "function", [], {"type": None}])
def test_odd_entries_of_allowed_tools_are_passed_over(entry: Any) -> None:
    choice = {"type": "allowed_tools", "tools": [entry]}
    tool = {"type": "function", "name": "a"}
    chat = translate({"model": "m", "input": "hi", "tools": [tool], "tool_choice": choice}).chat
    assert chat.functions == []
