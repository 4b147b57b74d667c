"""A call that Ollama could not read -> the call, where Ollama's error message quotes all of it."""

from __future__ import annotations

import orjson

from codex_bridge.errors import QUOTED_CALL
from codex_bridge.repair import lenient_json
from codex_bridge.repair.arguments import repair_arguments
from codex_bridge.repair.judge import Judge
from codex_bridge.tools.declarations import INPUT, Kind, Tool
from codex_bridge.tools.toolbox import Toolbox
from codex_bridge.vocabulary import Json, ToolCallDelta

ARGUMENT_KEYS = ("arguments", "parameters")


def call_from_complaint(complaint: str, toolbox: Toolbox) -> ToolCallDelta | None:
    """The call that `complaint` quotes.

    None if the quotation is not whole, or could be a call of more than one offered function.
    """
    quoted = QUOTED_CALL.search(complaint)
    if not quoted:
        return None
    try:
        value, _ = lenient_json.loads(quoted[1])
    except ValueError:
        return None
    if not isinstance(value, dict):
        return None
    named = _named_call(value, toolbox)
    if named:
        return named
    # Some of Ollama's parsers quote the arguments alone.
    takers = [name for name, tool in toolbox.offered.items() if _takes(tool, value)]
    return _call(takers[0], value) if len(takers) == 1 else None


def _named_call(value: Json, toolbox: Toolbox) -> ToolCallDelta | None:
    """The call `{"name": …, "arguments": {…}}` of an offered function."""
    name = value.get("name")
    if not isinstance(name, str) or not Judge(toolbox).known(name):
        return None
    for key in ARGUMENT_KEYS:
        if isinstance(value.get(key), dict):
            return _call(name, value[key])
    return None


def _call(name: str, arguments: Json) -> ToolCallDelta:
    return ToolCallDelta(0, "", name, orjson.dumps(arguments).decode())


def _takes(tool: Tool, value: Json) -> bool:
    """Whether `value` can be the arguments of `tool` without any repair."""
    if tool.kind is Kind.CUSTOM:
        return set(value) == {INPUT}
    repaired = repair_arguments(orjson.dumps(value).decode(), tool.parameters)
    return bool(value) and repaired.fits and not repaired.steps
