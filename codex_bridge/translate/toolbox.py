"""One Toolbox per request: every tool that Codex declared <-> the function the model is shown.

A tool is known to Codex by name and namespace, to the model by one flat function name. The
Toolbox decides the names and keeps the table; nothing ever splits a name to guess.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any

from attrs import frozen

from codex_bridge.translate.errors import invalid
from codex_bridge.vocabulary import Json

MAX_NAME = 64
"""Longest function name that the chat API allows."""


@frozen
class Tool:
    """A function tool as Codex declared it. `namespace` is None for a plain one."""

    name: str
    namespace: str | None
    description: str
    parameters: Json


class Toolbox:
    """The bijection between the tools of one request and the functions the model sees."""

    def __init__(self, tools: list[Tool]) -> None:
        self._by_function: dict[str, Tool] = {}
        self._functions: dict[tuple[str | None, str], str] = {}
        for tool in tools:
            self._add(tool)

    @classmethod
    def from_request(cls, tools: Any) -> Toolbox:
        """Take the `tools` of a Responses request, in their order.

        Hosted tools, which the client expects the server to run, are left out: no local
        model can run them. Raises ApiError for a declaration that makes no sense.
        """
        if tools is None:
            tools = []
        if not isinstance(tools, list):
            raise invalid("tools must be an array of tool objects.", "tools", "invalid_type")
        return cls([tool for n, entry in enumerate(tools) for tool in _tools(entry, f"tools[{n}]")])

    def functions(self) -> list[Json]:
        """The declarations for the chat request, in the order of the tools."""
        return [
            {
                "type": "function",
                "function": {
                    "name": function,
                    "description": tool.description,
                    "parameters": tool.parameters,
                },
            }
            for function, tool in self._by_function.items()
        ]

    def function_name(self, name: str, namespace: str | None) -> str:
        """The function name of a tool; for one that is not declared, the name it would get."""
        return self._functions.get((namespace, name)) or flat_name(name, namespace)

    def codex_name(self, function: str) -> tuple[str, str | None]:
        """Name and namespace by which Codex routes a call of `function`.

        An unknown function keeps its name, so that Codex can tell the model about it.
        """
        tool = self._by_function.get(function)
        return (tool.name, tool.namespace) if tool else (function, None)

    def __len__(self) -> int:
        return len(self._by_function)

    def _add(self, tool: Tool) -> None:
        key = (tool.namespace, tool.name)
        if key in self._functions:
            return
        function = flat_name(tool.name, tool.namespace)
        if function in self._by_function:
            function = _with_digest(function, tool.name, tool.namespace)
        self._by_function[function] = tool
        self._functions[key] = function


def flat_name(name: str, namespace: str | None) -> str:
    """`namespace` and `name` as one name of `[A-Za-z0-9_-]{1,64}`, the same on every call."""
    full = f"{namespace.rstrip('_')}__{name}" if namespace else name
    flat = re.sub(r"[^A-Za-z0-9_-]", "_", full)
    if flat == full and 0 < len(flat) <= MAX_NAME:
        return flat
    return _with_digest(flat, name, namespace)


def _with_digest(flat: str, name: str, namespace: str | None) -> str:
    digest = hashlib.sha256(f"{namespace}\0{name}".encode()).hexdigest()[:8]
    return f"{flat[: MAX_NAME - 9]}_{digest}"


def _tools(entry: Any, where: str, namespace: str | None = None) -> Iterator[Tool]:
    """The function tools in one entry of `tools`: one, those of a namespace, or none."""
    if not isinstance(entry, dict):
        raise invalid(f"{where} must be an object.", where, "invalid_type")
    kind = entry.get("type")
    if kind == "function":
        yield _function(entry, where, namespace)
    elif kind == "namespace" and namespace is None:
        members = entry.get("tools")
        if not isinstance(members, list):
            raise invalid(f"{where}.tools must be an array.", f"{where}.tools", "invalid_type")
        for n, member in enumerate(members):
            yield from _tools(member, f"{where}.tools[{n}]", _name(entry, where))


def _function(entry: Json, where: str, namespace: str | None) -> Tool:
    description = entry.get("description")
    parameters = entry.get("parameters")
    if parameters is not None and not isinstance(parameters, dict):
        raise invalid(f"{where}.parameters must be an object.", f"{where}.parameters")
    # Ollama refuses a schema that is not an object's.
    schema = {"type": "object", "properties": {}} | (parameters or {})
    return Tool(
        name=_name(entry, where),
        namespace=namespace,
        description=description if isinstance(description, str) else "",
        parameters=schema,
    )


def _name(entry: Json, where: str) -> str:
    name = entry.get("name")
    if not isinstance(name, str) or not name:
        raise invalid(f"{where}.name must be a non-empty string.", f"{where}.name")
    return name
