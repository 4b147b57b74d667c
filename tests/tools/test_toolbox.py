"""Tools <-> functions."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codex_bridge.errors import ApiError
from codex_bridge.tools.declarations import Kind
from codex_bridge.tools.toolbox import Toolbox
from tests.tools import declared as codex


def function(name: str) -> dict[str, Any]:
    return {"type": "function", "name": name, "parameters": {"type": "object", "properties": {}}}


def namespace(name: str, *tools: str) -> dict[str, Any]:
    return {"type": "namespace", "name": name, "tools": [function(tool) for tool in tools]}


def names(toolbox: Toolbox) -> list[str]:
    return [entry["function"]["name"] for entry in toolbox.functions()]


def codex_name(toolbox: Toolbox, function: str) -> tuple[str, str | None]:
    tool = toolbox.tool(function)
    assert tool
    return tool.name, tool.namespace


@pytest.mark.parametrize(
    ("tools", "expected"),
    [
        (None, []),
        ([], []),
        ([function("exec_command")], ["exec_command"]),
        ([namespace("multi_agent_v1", "spawn_agent")], ["multi_agent_v1__spawn_agent"]),
        ([namespace("mcp__demo__", "echo")], ["mcp__demo__echo"]),
        ([namespace("mcp__demo", "echo")], ["mcp__demo__echo"]),
        ([function("a"), function("a")], ["a"]),
        ([{"type": "web_search", "external_web_access": False}, function("a")], ["a"]),
        ([{"type": "image_generation"}, {"type": "of tomorrow"}], []),
    ],
)
def test_function_names(tools: Any, expected: list[str]) -> None:
    assert names(Toolbox.from_request(tools)) == expected


def test_names_that_clash_stay_apart_and_lead_back() -> None:
    toolbox = Toolbox.from_request(
        [namespace("mcp__demo", "echo"), namespace("mcp__demo__", "echo"), function("mcp.demo")]
    )
    assert len(set(names(toolbox))) == 3
    assert {codex_name(toolbox, name) for name in names(toolbox)} == {
        ("echo", "mcp__demo"),
        ("echo", "mcp__demo__"),
        ("mcp.demo", None),
    }


def test_a_tool_declared_later_renames_no_earlier_one() -> None:
    few = [namespace("mcp__demo", "echo")]
    more = [*few, namespace("mcp__demo__", "echo"), function("mcp__demo__echo")]
    assert names(Toolbox.from_request(more))[0] == names(Toolbox.from_request(few))[0]


def test_history_names_a_tool_as_the_declaration_does_even_once_it_is_gone() -> None:
    declared = Toolbox.from_request([namespace("multi_agent_v1", "spawn_agent")])
    gone = Toolbox([])
    assert declared.function_name("spawn_agent", "multi_agent_v1") == "multi_agent_v1__spawn_agent"
    assert gone.function_name("spawn_agent", "multi_agent_v1") == "multi_agent_v1__spawn_agent"


def test_a_declaration_keeps_description_and_schema_and_loses_codex_keywords() -> None:
    tool = {
        "type": "function",
        "name": "f",
        "description": "Does it.",
        "strict": False,
        "parameters": {"type": "object", "properties": {"x": {"type": "string"}}},
    }
    assert Toolbox.from_request([tool]).functions() == [
        {
            "type": "function",
            "function": {
                "name": "f",
                "description": "Does it.",
                "parameters": {"type": "object", "properties": {"x": {"type": "string"}}},
            },
        }
    ]


@pytest.mark.parametrize("parameters", [None, {}])
def test_a_tool_without_parameters_gets_the_schema_of_an_empty_object(parameters: Any) -> None:
    tool = {"type": "function", "name": "f", "parameters": parameters}
    (entry,) = Toolbox.from_request([tool]).functions()
    assert entry["function"]["parameters"] == {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    ("tools", "param"),
    [
        ({}, "tools"),
        (["exec"], "tools[0]"),
        ([{"type": "function"}], "tools[0].name"),
        ([function("a"), {"type": "function", "name": 3}], "tools[1].name"),
        ([{"type": "namespace", "name": "n"}], "tools[0].tools"),
        (
            [{"type": "namespace", "name": "n", "tools": [{"type": "function"}]}],
            "tools[0].tools[0].name",
        ),
        ([{"type": "function", "name": "a", "parameters": []}], "tools[0].parameters"),
    ],
)
def test_a_declaration_that_makes_no_sense_is_refused_by_its_place(tools: Any, param: str) -> None:
    with pytest.raises(ApiError) as caught:
        Toolbox.from_request(tools)
    assert (caught.value.status, caught.value.param) == (400, param)


name = st.text(min_size=1, max_size=90)


@given(st.lists(st.tuples(name, st.none() | name), unique=True, max_size=12))
def test_every_tool_has_one_valid_name_that_leads_back(tools: list[tuple[str, str | None]]) -> None:
    toolbox = Toolbox.from_request(
        [namespace(space, tool) if space else function(tool) for tool, space in tools]
    )
    for flat, (tool, space) in zip(toolbox.offered, tools, strict=True):
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", flat)
        assert codex_name(toolbox, flat) == (tool, space)
        assert toolbox.function_name(tool, space) == flat


@pytest.mark.parametrize(
    ("tool", "kind", "expected"),
    [
        (codex.PATCH, Kind.CUSTOM, "apply_patch"),
        (codex.SEARCH, Kind.SEARCH, "tool_search"),
        ({"type": "local_shell"}, Kind.LOCAL_SHELL, "local_shell"),
        (codex.namespace("collab", codex.CODE), Kind.CUSTOM, "collab__exec"),
        (codex.namespace("functions", codex.EXEC), Kind.FUNCTION, "exec_command"),
        ({"type": "tool_search"}, Kind.SEARCH, "tool_search"),
    ],
)
def test_every_kind_of_tool_is_a_function(tool: Any, kind: Kind, expected: str) -> None:
    toolbox = Toolbox.from_request([tool])
    assert names(toolbox) == [expected]
    found = toolbox.tool(expected)
    assert found
    assert found.kind is kind
    (entry,) = toolbox.functions()
    assert entry["function"]["parameters"]["properties"]


def test_tools_that_items_bring_come_last_in_their_order() -> None:
    items = [
        {"type": "additional_tools", "tools": [codex.namespace("functions", codex.STDIN)]},
        {"type": "message", "role": "user", "content": "hi", "tools": [codex.GOAL]},
        {"type": "tool_search_output", "tools": [codex.MCP, "nonsense", {"type": "function"}]},
        {"type": "tool_search_output", "tools": "none"},
        {"type": "tool_search_output", "tools": [codex.MCP, codex.PLAN]},
    ]
    toolbox = Toolbox.from_request([codex.EXEC], items)
    assert names(toolbox) == ["exec_command", "write_stdin", "mcp__demo__echo_text", "update_plan"]


def test_three_hundred_tools_of_twenty_servers_have_names_of_their_own() -> None:
    spaces = [
        namespace(
            f"mcp__server{'-' * (n % 2)}{n // 2}{'x' * 40}", *(f"do.it{m}" for m in range(15))
        )
        for n in range(20)
    ]
    toolbox = Toolbox.from_request(spaces)
    found = names(toolbox)
    assert len(set(found)) == 300
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) for name in found)
    routed = {codex_name(toolbox, name) for name in found}
    declared = {(tool["name"], space["name"]) for space in spaces for tool in space["tools"]}
    assert routed == declared
    assert names(Toolbox.from_request(spaces[:5])) == found[:75]


@pytest.mark.parametrize(
    ("name", "space", "expected"),
    [
        ("a" * 64, None, "a" * 64),
        ("a" * 65, None, "a" * 55 + "_e04581de"),
        ("b" * 62, "n", "n__" + "b" * 52 + "_29b8bc76"),
        ("do.it", None, "do_it_ffbfe192"),
        ("", None, "_a51ad9ee"),
        ("echo", "mcp__demo__", "mcp__demo__echo"),
        ("echo", "", "echo"),
        ("echo", "functions", "echo"),
    ],
)
def test_a_function_name_is_the_same_in_every_request(
    name: str, space: str | None, expected: str
) -> None:
    """Another name for the same tool would invalidate the model's prompt cache."""
    assert Toolbox().function_name(name, space) == expected


def test_the_second_tool_of_a_name_gets_a_digest() -> None:
    toolbox = Toolbox.from_request([namespace("n", "x"), function("n__x"), namespace("n_", "x")])
    first, *others = names(toolbox)
    assert first == "n__x"
    assert all(re.fullmatch(r"n__x_[0-9a-f]{8}", other) for other in others)
    assert len(toolbox) == 3


def test_of_two_declarations_of_a_tool_the_first_counts() -> None:
    first = function("a") | {"description": "First."}
    toolbox = Toolbox.from_request([first, function("a") | {"description": "Second."}])
    assert len(toolbox) == 1
    tool = toolbox.tool("a")
    assert tool
    assert tool.description == "First."


def test_tools_that_are_not_offered_are_still_known() -> None:
    toolbox = Toolbox.from_request([function("a"), function("b"), function("c")])
    toolbox.offer_only(["c", "a", "x"])
    assert names(toolbox) == ["a", "c"]
    assert list(toolbox.offered) == ["a", "c"]
    assert toolbox.tool("b")
    assert toolbox.tool("x") is None
