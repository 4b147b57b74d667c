"""`tool_choice`: which functions the model is shown, and what the prompt says about them.

Ollama ignores the field of that name, so each choice has to take effect in the prompt.
"""

from __future__ import annotations

from typing import Any

from attrs import frozen

from codex_bridge.errors import invalid
from codex_bridge.text import printable
from codex_bridge.tools.declarations import OFFERED
from codex_bridge.tools.toolbox import Toolbox

NAMED_BY_TYPE = {"tool_search": "tool_search", "local_shell": "local_shell"}
"""Types that have one tool -> its name."""
MUST_CALL = "Answer with a function call now, not with text."


@frozen
class ToolChoice:
    """A choice as the upstream is given it, beside the functions that are left out."""

    field: str | None = None
    """Chat's `tool_choice`, for servers that know it: "required"; None for "auto", the default."""
    words: str | None = None
    """A sentence for the model."""


def choose(choice: Any, toolbox: Toolbox) -> ToolChoice:
    """Narrow `toolbox` to what `choice` allows.

    Raises ApiError for a choice that names no declared tool, requires a tool that nothing here
    runs, or cannot be read.
    """
    if choice in (None, "auto"):
        return ToolChoice()
    if choice == "none":
        toolbox.offer_only([])
    elif choice == "required":
        return _required(toolbox, "tool_choice")
    elif isinstance(choice, dict) and choice.get("type") in OFFERED:
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
            return _required(toolbox, "tool_choice.tools")
    elif isinstance(choice, dict) and isinstance(choice.get("type"), str):
        raise invalid(
            f"tool_choice requires the tool {printable(choice['type'])}, which the server would "
            f"have to run, and nothing here runs it.",
            "tool_choice",
            "unsupported_tool",
        )
    else:
        raise invalid(
            'tool_choice must be "none", "auto", "required" or an object with a type.',
            "tool_choice",
        )
    return ToolChoice()


def _required(toolbox: Toolbox, where: str) -> ToolChoice:
    if not toolbox.offered:
        raise invalid(
            "tool_choice requires a call, and there is no tool that the model could call.", where
        )
    return ToolChoice("required", MUST_CALL)


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
        if not isinstance(entry, dict) or entry.get("type") not in OFFERED:
            continue
        name = NAMED_BY_TYPE.get(entry["type"], name)
        function = toolbox.function_name(str(name), namespace or None)
        if toolbox.tool(function) is None:
            raise invalid(f"{where} names {name}, which is not among the tools.", where)
        functions.append(function)
    return functions
