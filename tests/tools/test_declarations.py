"""Tool declarations of every kind, read into one shape."""

from __future__ import annotations

from typing import Any

import pytest

from codex_bridge.errors import ApiError
from codex_bridge.tools.declarations import Kind, declared, declared_by_item, declared_by_items

STRING = {"type": "string"}
OBJECT = {"type": "object", "properties": {"x": STRING}}
INPUT_SCHEMA = {
    "type": "object",
    "properties": {"input": STRING},
    "required": ["input"],
    "additionalProperties": False,
}
SEARCH_SCHEMA = {
    "type": "object",
    "properties": {"query": STRING, "limit": {"type": "number"}},
    "required": ["query"],
    "additionalProperties": False,
}
SHELL_SCHEMA = {
    "type": "object",
    "properties": {
        "command": {
            "type": "array",
            "items": STRING,
            "description": 'The program and its arguments, e.g. ["bash", "-lc", "ls -la"].',
        },
        "working_directory": STRING,
        "timeout_ms": {"type": "integer"},
    },
    "required": ["command"],
    "additionalProperties": False,
}
LARK = {"type": "grammar", "syntax": "lark", "definition": "start: /x/"}
KINDS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "function": (
        {"type": "function", "name": "f", "description": "Does it.", "parameters": OBJECT},
        (Kind.FUNCTION, "f", "Does it.", OBJECT, None),
    ),
    "function without parameters": (
        {"type": "function", "name": "f", "description": 5},
        (Kind.FUNCTION, "f", "", {"type": "object", "properties": {}}, None),
    ),
    "custom": (
        {"type": "custom", "name": "c", "description": "Runs.", "format": LARK},
        (Kind.CUSTOM, "c", "Runs.", INPUT_SCHEMA, LARK),
    ),
    "custom without a format": (
        {"type": "custom", "name": "c", "format": "text"},
        (Kind.CUSTOM, "c", "", INPUT_SCHEMA, None),
    ),
    "search": (
        {"type": "tool_search", "description": "Finds.", "parameters": OBJECT},
        (Kind.SEARCH, "tool_search", "Finds.", OBJECT, None),
    ),
    "search without parameters": (
        {"type": "tool_search"},
        (Kind.SEARCH, "tool_search", "", SEARCH_SCHEMA, None),
    ),
    "shell": (
        {"type": "local_shell"},
        (
            Kind.LOCAL_SHELL,
            "local_shell",
            "Run a program on the user's machine and return its output.",
            SHELL_SCHEMA,
            None,
        ),
    ),
}


@pytest.mark.parametrize(("entry", "expected"), KINDS.values(), ids=KINDS)
def test_every_kind_is_read_with_description_and_schema(
    entry: Any, expected: tuple[Any, ...]
) -> None:
    (tool,) = declared([entry])
    assert (tool.kind, tool.name, tool.description, tool.parameters, tool.format) == expected
    assert tool.namespace is None
    assert tool.full_name == tool.name


def test_the_tools_of_a_namespace_carry_its_name() -> None:
    members = [{"type": "function", "name": "f"}, {"type": "custom", "name": "c"}]
    tools = declared([{"type": "namespace", "name": "n", "tools": members}])
    assert [(tool.namespace, tool.name, tool.full_name) for tool in tools] == [
        ("n", "f", "n.f"),
        ("n", "c", "n.c"),
    ]


@pytest.mark.parametrize("kind", ["tool_search", "local_shell", "namespace", "web_search"])
def test_a_namespace_holds_functions_and_freeform_tools_only(kind: str) -> None:
    member = {"type": kind, "name": "x", "tools": [{"type": "function", "name": "f"}]}
    assert declared([{"type": "namespace", "name": "n", "tools": [member]}]) == []


def test_tools_of_mcp_servers_are_known_by_their_prefix() -> None:
    function = {"type": "function", "name": "mcp__demo__echo"}
    plain = {"type": "function", "name": "demo__mcp__echo"}
    spaces = [
        {"type": "namespace", "name": name, "tools": [plain]} for name in ("mcp__demo", "agents")
    ]
    assert [tool.is_mcp for tool in declared([function, plain, *spaces])] == [
        *(True, False),
        *(True, False),
    ]


def test_equal_declarations_are_equal_tools_and_share_a_cache_entry() -> None:
    entries = [KINDS["function"][0], KINDS["custom"][0]]
    assert declared(entries) == declared(entries)
    assert {hash(tool) for tool in declared(entries)} == {hash(tool) for tool in declared(entries)}
    changed = KINDS["function"][0] | {"parameters": {"type": "object", "properties": {}}}
    assert declared([changed]) != declared([KINDS["function"][0]])
    other = KINDS["custom"][0] | {"format": LARK | {"definition": "start: /y/"}}
    assert declared([other]) != declared([KINDS["custom"][0]])


REFUSED = {
    "no list": ({}, "tools", "tools must be an array of tool objects.", "invalid_type"),
    "no object": (["x"], "tools[0]", "tools[0] must be an object.", "invalid_type"),
    "no name": (
        [{"type": "function", "name": ""}],
        "tools[0].name",
        "tools[0].name must be a non-empty string.",
        None,
    ),
    "custom without a name": (
        [{"type": "custom"}],
        "tools[0].name",
        "tools[0].name must be a non-empty string.",
        None,
    ),
    "parameters": (
        [{"type": "tool_search", "parameters": 5}],
        "tools[0].parameters",
        "tools[0].parameters must be an object.",
        None,
    ),
    "no members": (
        [{"type": "namespace", "name": "n", "tools": {}}],
        "tools[0].tools",
        "tools[0].tools must be an array.",
        "invalid_type",
    ),
    "no name of a namespace": (
        [{"type": "namespace", "tools": [{"type": "function", "name": "f"}]}],
        "tools[0].name",
        "tools[0].name must be a non-empty string.",
        None,
    ),
}


@pytest.mark.parametrize(("tools", "param", "message", "code"), REFUSED.values(), ids=REFUSED)
def test_a_malformed_declaration_is_refused_with_its_place(
    tools: Any, param: str, message: str, code: str | None
) -> None:
    with pytest.raises(ApiError) as caught:
        declared(tools)
    error = caught.value
    assert (error.status, error.param, error.message) == (400, param, message)
    assert code is None or error.code == code


def test_a_malformed_tool_in_the_history_is_left_out_alone() -> None:
    item = {"tools": [{"type": "function"}, {"type": "function", "name": "f"}]}
    assert [tool.name for tool in declared_by_item(item)] == ["f"]
    assert declared_by_item({"tools": None}) == []
    found = [item | {"type": kind} for kind in ("tool_search_output", "message", "other")]
    assert [tool.name for tool in declared_by_items(found)] == ["f"]
    assert len(declared_by_items([item | {"type": "additional_tools"}])) == 1
