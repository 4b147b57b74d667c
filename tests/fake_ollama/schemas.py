"""Tool declarations as Ollama reads them: what it refuses, keeps and drops."""

from __future__ import annotations

from typing import Any

from tests.fake_ollama.facts import Rejected
from tests.fake_ollama.golang import go_kind, go_mismatch

Json = dict[str, Any]
Version = tuple[int, ...]
TOOLS = "ChatCompletionRequest.tools"


def read_tools(tools: list[Any], version: Version) -> list[Json]:
    """The declarations as a template gets them. Raises Rejected for a value of a wrong type."""
    return [_tool(tool, version) for tool in tools]


def _tool(tool: Any, version: Version) -> Json:
    if not isinstance(tool, dict):
        raise go_mismatch(tool, TOOLS, "api.Tool")
    function = _object(tool, "function", TOOLS, "api.ToolFunction")
    return {
        "type": _text(tool, "type", TOOLS),
        "function": {
            "name": _text(function, "name", f"{TOOLS}.function"),
            "description": _text(function, "description", f"{TOOLS}.function"),
            "parameters": _parameters(function, version),
        },
    }


def _parameters(function: Json, version: Version) -> Json:
    """The top level of a schema, of which fewer keywords are read than of a property."""
    where = f"{TOOLS}.function.parameters"
    given = _object(function, "parameters", f"{TOOLS}.function", "api.ToolFunctionParameters")
    kept: Json = {"type": _text(given, "type", where)}
    kept |= {key: given[key] for key in ("$defs", "items") if given.get(key) is not None}
    if required := _required(given, where):
        kept["required"] = required
    return kept | {"properties": _properties(given, where, version)}


def _properties(given: Json, where: str, version: Version) -> Json:
    """The properties; versions before 0.14 sort them by name."""
    entries = _object(given, "properties", where, "map[string]api.ToolProperty")
    names = sorted(entries) if version < (0, 14) else entries
    return {name: _property(entries[name], version) for name in names}


def _property(given: Any, version: Version) -> Json:
    """One property with the keywords that this version reads."""
    if given is None:
        return {}
    where = f"{TOOLS}.function.parameters.properties"
    if not isinstance(given, dict):
        raise go_mismatch(given, where, "api.ToolProperty")
    kept: Json = {}
    if kind := _type(given):
        kept["type"] = kind
    if description := _text(given, "description", where):
        kept["description"] = description
    if given.get("items") is not None:
        kept["items"] = given["items"]
    if enum := _list(given, "enum", where, "[]interface {}"):
        kept["enum"] = enum
    if any_of := _list(given, "anyOf", where, "[]api.ToolProperty"):
        kept["anyOf"] = [_property(entry, version) for entry in any_of]
    if version >= (0, 13, 5) and (properties := _properties(given, where, version)):
        kept["properties"] = properties
    if version >= (0, 20) and (required := _required(given, where)):
        kept["required"] = required
    return kept


def _type(given: Json) -> str | list[str]:
    """The name of a type, or a list of names."""
    kind = given.get("type") or ""
    if isinstance(kind, str):
        return kind
    if isinstance(kind, list) and all(isinstance(name, str) for name in kind):
        return kind
    raise Rejected(400, f"json: cannot unmarshal {go_kind(kind)} into Go value of type []string")


def _text(given: Json, key: str, where: str) -> str:
    value = given.get(key)
    if value is not None and not isinstance(value, str):
        raise go_mismatch(value, f"{where}.{key}", "string")
    return value or ""


def _object(given: Json, key: str, where: str, wanted: str) -> Json:
    value = given.get(key)
    if value is not None and not isinstance(value, dict):
        raise go_mismatch(value, f"{where}.{key}", wanted)
    return value or {}


def _list(given: Json, key: str, where: str, wanted: str) -> list[Any]:
    value = given.get(key)
    if value is not None and not isinstance(value, list):
        raise go_mismatch(value, f"{where}.{key}", wanted)
    return value or []


def _required(given: Json, where: str) -> list[str]:
    names = _list(given, "required", where, "[]string")
    for name in names:
        if not isinstance(name, str):
            raise go_mismatch(name, f"{where}.required", "string")
    return names
