"""`tool_choice`: which functions the model is shown, and what the prompt says about them.

Ollama ignores the field of that name, so each choice has to take effect in the prompt.
"""

from __future__ import annotations

from typing import Any

from attrs import frozen

from codex_bridge.errors import invalid
from codex_bridge.tools.toolbox import Toolbox

NAMED_BY_TYPE = {"tool_search": "tool_search", "local_shell": "local_shell"}
"""Types that have one tool -> its name."""
TYPES = ("function", "custom", *NAMED_BY_TYPE)
"""Types of the tools that the bridge offers."""
MUST_CALL = "Answer with a function call now, not with text."


@frozen
class ToolChoice:
    """A choice as the upstream is given it, beside the functions that are left out."""

    field: str | None = None
    """Chat's `tool_choice`, for servers that know it: "required"; None for "auto", the default."""
    words: str | None = None
    """A sentence for the model."""


def choose(choice: Any, toolbox: Toolbox) -> ToolChoice:
    """Narrow `toolbox` to what `choice` allows. Raises ApiError if it names no declared tool."""
    if choice == "none":
        toolbox.offer_only([])
    elif choice == "required":
        return _required(toolbox)
    elif isinstance(choice, dict) and choice.get("type") in TYPES:
        (function,) = _functions([choice], toolbox, "tool_choice")
        toolbox.offer_only([function])
        # It is the only one that is offered. Of the servers that know the field, LM Studio refuses
        # an object here, and llama.cpp takes it for "auto".
        return ToolChoice("required", f"Call the function {function} now.")
    elif isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        entries = choice.get("tools")
        if not isinstance(entries, list):
            raise invalid("tool_choice.tools must be an array.", "tool_choice.tools")
        toolbox.offer_only(_functions(entries, toolbox, "tool_choice.tools"))
        if choice.get("mode") == "required":
            return _required(toolbox)
    return ToolChoice()


def _required(toolbox: Toolbox) -> ToolChoice:
    return ToolChoice("required", MUST_CALL) if toolbox.offered else ToolChoice()


def _functions(entries: list[Any], toolbox: Toolbox, where: str) -> list[str]:
    """The functions that the entries name; hosted tools are left out.

    `where` is the entries' place in the request, for the ApiError of one that names no tool.
    """
    functions = []
    for entry in entries:
        name = entry.get("name") if isinstance(entry, dict) else None
        namespace = entry.get("namespace") if isinstance(entry, dict) else None
        if not isinstance(namespace, str | None):
            raise invalid(f"{where}.namespace must be a string.", f"{where}.namespace")
        if not isinstance(entry, dict) or entry.get("type") not in TYPES:
            continue
        name = NAMED_BY_TYPE.get(entry["type"], name)
        function = toolbox.function_name(str(name), namespace or None)
        if toolbox.tool(function) is None:
            raise invalid(f"{where} names {name}, which is not among the tools.", where)
        functions.append(function)
    return functions
