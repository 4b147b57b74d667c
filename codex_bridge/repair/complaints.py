"""A call that Ollama could not read -> the call, where all of it stands in the complaint."""

from __future__ import annotations

import orjson

from codex_bridge.errors import QUOTED_CALL
from codex_bridge.repair import arguments, lenient_json
from codex_bridge.repair.calls import Judge
from codex_bridge.tools.declarations import INPUT, Kind, Tool
from codex_bridge.tools.toolbox import Toolbox
from codex_bridge.vocabulary import Json, ToolCallDelta

ARGUMENT_KEYS = ("arguments", "parameters")


def call_from_complaint(complaint: str, toolbox: Toolbox) -> ToolCallDelta | None:
    """The call that `complaint` quotes; None where it is not whole or could be of two functions."""
    quoted = QUOTED_CALL.search(complaint)
    if not quoted:
        return None
    try:
        value, _ = lenient_json.loads(quoted[1])
    except ValueError:
        return None
    if not isinstance(value, dict):
        return None
    named = _named(value, toolbox)
    if named:
        return named
    # Some parsers quote the arguments alone.
    takers = [name for name, tool in toolbox.offered.items() if _takes(tool, value)]
    return _call(takers[0], value) if len(takers) == 1 else None


def _named(value: Json, toolbox: Toolbox) -> ToolCallDelta | None:
    name = value.get("name")
    if not isinstance(name, str) or not Judge(toolbox).known(name):
        return None
    given = next((value[key] for key in ARGUMENT_KEYS if isinstance(value.get(key), dict)), None)
    return None if given is None else _call(name, given)


def _call(name: str, value: Json) -> ToolCallDelta:
    return ToolCallDelta(0, "", name, orjson.dumps(value).decode())


def _takes(tool: Tool, value: Json) -> bool:
    """Whether `value` can be the arguments of `tool`, as they stand."""
    if tool.kind is Kind.CUSTOM:
        return set(value) == {INPUT}
    mended = arguments.mend(orjson.dumps(value).decode(), tool.parameters)
    return bool(value) and mended.fits and not mended.steps
