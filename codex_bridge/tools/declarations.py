"""Tool declarations as Codex sends them, of every kind, read into one shape."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum, auto
from typing import Any

import orjson
from attrs import field, frozen

from codex_bridge.errors import ApiError, invalid
from codex_bridge.vocabulary import Json

INPUT = "input"
"""The one parameter of the function that stands for a freeform tool."""
SHELL_TOOLS = ("exec_command", "shell_command", "shell", "local_shell")
"""Codex's tools that run commands, best first."""
FREEFORM_SCHEMA: Json = {
    "type": "object",
    "properties": {INPUT: {"type": "string"}},
    "required": [INPUT],
    "additionalProperties": False,
}
SEARCH_SCHEMA: Json = {
    "type": "object",
    "properties": {"query": {"type": "string"}, "limit": {"type": "number"}},
    "required": ["query"],
    "additionalProperties": False,
}
LOCAL_SHELL_SCHEMA: Json = {
    "type": "object",
    "properties": {
        "command": {
            "type": "array",
            "items": {"type": "string"},
            "description": 'The program and its arguments, e.g. ["bash", "-lc", "ls -la"].',
        },
        "working_directory": {"type": "string"},
        "timeout_ms": {"type": "integer"},
    },
    "required": ["command"],
    "additionalProperties": False,
}


OFFERED = ("function", "custom", "tool_search", "local_shell")
"""Types of the tools that a model can be offered: the client runs them."""


class Kind(Enum):
    """The type of a tool's declaration; it decides which item Codex wants back for a call."""

    FUNCTION = auto()
    CUSTOM = auto()
    """Takes raw text: a freeform tool."""
    SEARCH = auto()
    """`tool_search`: Codex answers with more tools."""
    LOCAL_SHELL = auto()
    EDITOR = auto()
    """One of ours for small models, see editor.py: its calls become calls of Codex's tools."""


@frozen
class Tool:
    """A tool as Codex declared it. `namespace` is None for a plain one.

    Hashable, and equal to a tool with the same bytes of JSON, so that what it is shown as can be
    cached from one request to the next.
    """

    kind: Kind
    name: str
    namespace: str | None
    description: str
    parameters: Json = field(eq=orjson.dumps)
    """The declared schema of its arguments; for a freeform tool, that of the function for it."""
    format: Json | None = field(default=None, eq=orjson.dumps)
    """A freeform tool's format: `{"type": "grammar", "syntax": "lark", "definition": …}`."""

    @property
    def full_name(self) -> str:
        """Name and namespace, for people."""
        return f"{self.namespace}.{self.name}" if self.namespace else self.name

    @property
    def is_mcp(self) -> bool:
        """Whether it comes from an MCP server, and not from Codex itself."""
        return (self.namespace or self.name).startswith("mcp__")

    @property
    def runs_commands(self) -> bool:
        """Whether this is one of Codex's tools that run commands."""
        return self.name in SHELL_TOOLS and not self.is_mcp


def declared(tools: Any) -> list[Tool]:
    """Read the `tools` of a Responses request, in their order.

    Hosted tools, which the client expects the server to run, are left out: no upstream runs
    them. Raises ApiError for a declaration that is malformed.
    """
    if tools is None:
        return []
    if not isinstance(tools, list):
        raise invalid("tools must be an array of tool objects.", "tools", "invalid_type")
    return [tool for n, entry in enumerate(tools) for tool in _tools(entry, f"tools[{n}]")]


def hosted(tools: Any) -> list[str]:
    """The types of the declared tools that are left out: the server would have to run them."""
    entries = tools if isinstance(tools, list) else []
    kinds = [str(entry.get("type")) for entry in entries if isinstance(entry, dict)]
    return sorted({kind for kind in kinds if kind not in (*OFFERED, "namespace")})


def declared_by_items(items: Iterable[Json]) -> list[Tool]:
    """Read the tools that came later: found by a search, or added by an item of their own.

    Malformed declarations are left out: they are history, and refusing them would end the
    session.
    """
    return [
        tool
        for item in items
        if item.get("type") in ("tool_search_output", "additional_tools")
        for tool in declared_by_item(item)
    ]


def declared_by_item(item: Json) -> list[Tool]:
    """Read the tools in one `tool_search_output` or `additional_tools` item."""
    entries = item.get("tools")
    tools: list[Tool] = []
    for entry in entries if isinstance(entries, list) else []:
        try:
            tools += _tools(entry, "tools")
        except ApiError:
            continue
    return tools


def _tools(entry: Any, where: str, namespace: str | None = None) -> Iterator[Tool]:
    """The tools in one entry of `tools`: one, those of a namespace, or none.

    `where` is its place in the request, for the ApiError of a malformed one.
    """
    if not isinstance(entry, dict):
        raise invalid(f"{where} must be an object.", where, "invalid_type")
    kind = entry.get("type")
    if kind == "function":
        yield _function(entry, where, namespace)
    elif kind == "custom":
        yield _custom(entry, where, namespace)
    elif kind == "tool_search" and namespace is None:
        schema = _schema(entry, where) or SEARCH_SCHEMA
        yield Tool(Kind.SEARCH, "tool_search", None, _description(entry), schema)
    elif kind == "local_shell" and namespace is None:
        description = "Run a program on the user's machine and return its output."
        yield Tool(Kind.LOCAL_SHELL, "local_shell", None, description, LOCAL_SHELL_SCHEMA)
    elif kind == "namespace" and namespace is None:
        members = entry.get("tools")
        if not isinstance(members, list):
            raise invalid(f"{where}.tools must be an array.", f"{where}.tools", "invalid_type")
        for n, member in enumerate(members):
            yield from _tools(member, f"{where}.tools[{n}]", _name(entry, where))


def _function(entry: Json, where: str, namespace: str | None) -> Tool:
    schema = _schema(entry, where) or {"type": "object", "properties": {}}
    return Tool(Kind.FUNCTION, _name(entry, where), namespace, _description(entry), schema)


def _custom(entry: Json, where: str, namespace: str | None) -> Tool:
    name, description, form = _name(entry, where), _description(entry), entry.get("format")
    form = form if isinstance(form, dict) else None
    return Tool(Kind.CUSTOM, name, namespace, description, FREEFORM_SCHEMA, form)


def _schema(entry: Json, where: str) -> Json | None:
    parameters = entry.get("parameters")
    if parameters is not None and not isinstance(parameters, dict):
        raise invalid(f"{where}.parameters must be an object.", f"{where}.parameters")
    return parameters


def _description(entry: Json) -> str:
    description = entry.get("description")
    return description if isinstance(description, str) else ""


def _name(entry: Json, where: str) -> str:
    name = entry.get("name")
    if not isinstance(name, str) or not name:
        raise invalid(f"{where}.name must be a non-empty string.", f"{where}.name")
    return name
