"""One Toolbox per request: every tool that Codex declared <-> the function the model is shown.

Codex knows a tool by name and namespace, the model by one flat function name. The Toolbox chooses
the function names and keeps the table, so that no name is ever split to guess its namespace.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Sequence
from itertools import takewhile
from typing import Any

from codex_bridge.tools.declarations import Tool, declared, declared_by_items
from codex_bridge.tools.editor import EDITOR_TOOLS
from codex_bridge.tools.shown import ToolProfile, declaration, is_hidden
from codex_bridge.vocabulary import Json

MAX_NAME = 64
"""Longest function name that the chat API allows."""
DEFAULT_NAMESPACE = "functions"
"""Codex's name for its plain tools where it puts those, too, into a namespace."""


class Toolbox:
    """The bijection between the tools of one request and the functions the model sees."""

    def __init__(
        self,
        tools: Iterable[Tool] = (),
        profile: ToolProfile = ToolProfile.ESSENTIAL,
        later: Iterable[Tool] = (),
        *,
        has_planned: bool = False,
    ) -> None:
        """`later`: tools that were declared in the course of the conversation. `has_planned`:
        whether Codex was in Plan mode in it."""
        self._profile = profile
        tools, later = list(tools), list(later)
        names = {tool.name for tool in tools if not tool.namespace}
        self.has_editor = (
            profile is ToolProfile.SMALL
            and any(tool.runs_commands for tool in tools)
            and names.isdisjoint(tool.name for tool in EDITOR_TOOLS)
        )
        """Whether the model is shown our functions for files, in place of patches."""
        if self.has_editor:
            tools = [*EDITOR_TOOLS, *tools]
        self._by_function: dict[str, Tool] = {}
        self._functions: dict[tuple[str | None, str], str] = {}
        for tool in tools:
            self._add(tool)
        at_first = list(self._by_function)
        for tool in later:
            self._add(tool)
        self._offered = dict(self._by_function)
        self._hidden = {
            function
            for function, tool in self._by_function.items()
            if is_hidden(tool, profile, has_planned=has_planned, has_editor=self.has_editor)
        }
        self.shown_at_first = [
            name
            for name in at_first
            if not is_hidden(
                self._by_function[name], profile, has_planned=False, has_editor=self.has_editor
            )
        ]
        """The functions that the model was shown before anything changed that."""

    @classmethod
    def from_request(
        cls,
        tools: Any,
        items: Sequence[Json] = (),
        profile: ToolProfile = ToolProfile.ESSENTIAL,
        *,
        has_planned: bool = False,
    ) -> Toolbox:
        """Take the `tools` of a Responses request, then those that its `input` items bring.

        Tools that came later are last, so that those shown before keep name and place in the
        prompt. Raises ApiError for a malformed declaration in `tools`.
        """
        # Some versions of Codex send all their tools in an item, the first one.
        first = list(takewhile(lambda item: item.get("type") == "additional_tools", items))
        return cls(
            [*declared(tools), *declared_by_items(first)],
            profile,
            declared_by_items(items[len(first) :]),
            has_planned=has_planned,
        )

    def offer_only(self, functions: Collection[str]) -> None:
        """Offer these functions alone, each shown; all tools keep their names in the history."""
        wanted = set(functions)
        self._hidden -= wanted
        self._offered = {name: tool for name, tool in self._by_function.items() if name in wanted}

    @property
    def offered(self) -> dict[str, Tool]:
        """What the model may call: function name -> tool, in the order of declaration."""
        return self._offered

    @property
    def declared(self) -> dict[str, Tool]:
        """All tools by function name, also those that are not offered."""
        return self._by_function

    def functions(self) -> list[Json]:
        """The declarations that the model is shown, in the order of the tools."""
        return [
            {"type": "function", "function": declaration(function, tool, self._profile)}
            for function, tool in self._offered.items()
            if function not in self._hidden
        ]

    def function_name(self, name: str, namespace: str | None) -> str:
        """The function name of a tool; for one that is not declared, the name it would get."""
        return self._functions.get((namespace, name)) or flat_name(name, namespace)

    def tool(self, function: str) -> Tool | None:
        """The tool behind a function name, or None if there is none."""
        return self._by_function.get(function)

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
    """One name of `[A-Za-z0-9_-]{1,64}` for `namespace` and `name`, always the same one."""
    plain = not namespace or namespace == DEFAULT_NAMESPACE
    full = name if plain else f"{str(namespace).rstrip('_')}__{name}"
    flat = re.sub(r"[^A-Za-z0-9_-]", "_", full)
    if flat == full and 0 < len(flat) <= MAX_NAME:
        return flat
    return _with_digest(flat, name, namespace)


def _with_digest(flat: str, name: str, namespace: str | None) -> str:
    digest = hashlib.sha256(f"{namespace}\0{name}".encode()).hexdigest()[:8]
    return f"{flat[: MAX_NAME - 9]}_{digest}"
