"""The public schemas of the Open Responses specification, held against events and responses.

They are not part of this project: where their folder is missing, nothing is held against them,
and `test_schemas.py` is skipped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import fastjsonschema

Json = dict[str, Any]
ROOT = Path(__file__).parents[2]
FOLDER = Path(
    os.environ.get("OPEN_RESPONSES_SCHEMAS", ROOT.parent / "shared" / "reference" / "schemas")
)
IS_HERE = (FOLDER / "openresponses.schema.json").is_file()
CODEX_ITEMS = ("custom_tool_call", "tool_search_call", "local_shell_call")
"""Kinds of output items that the specification does not have; each is an extension."""


def check(event: Json) -> None:
    """Raises AssertionError for an event that does not fit the schema of its type."""
    name = _names().get(event["type"]) if IS_HERE else None
    if name is not None:
        _hold(event, name)


def check_response(response: Json) -> None:
    """Raises AssertionError for a response object that does not fit its schema."""
    if IS_HERE:
        _hold(response, "ResponseResource")


def _hold(value: Json, name: str) -> None:
    try:
        _validator(name)(value)
    except fastjsonschema.JsonSchemaException as error:
        raise AssertionError(f"{name}: {error.message}") from None


@cache
def _names() -> dict[str, str]:
    """Type of an event -> the name of its schema."""
    return dict(json.loads((FOLDER / "openresponses.events.json").read_text()))


@cache
def _definitions() -> Json:
    """The schemas by name, and where the bridge gives more than they know."""
    schemas: Json = json.loads((FOLDER / "openresponses.schema.json").read_text())["$defs"]
    extension = {"type": "object", "properties": {"type": {"enum": CODEX_ITEMS}}}
    schemas["ItemField"]["oneOf"].append(extension | {"required": ["type", "id"]})
    # Tools, choices and efforts of other kinds are repeated as they came, and so are items in
    # `instructions`, as OpenAI's own types have them.
    other = {"type": "object", "required": ["type"]}
    known = ["function", "allowed_tools"]
    other["properties"] = {"type": {"type": "string", "not": {"enum": known}}}
    schemas["Tool"]["oneOf"].append(other)
    response = schemas["ResponseResource"]["properties"]
    response["tool_choice"]["oneOf"].append(other)
    response["instructions"]["anyOf"].append({"type": "array"})
    schemas["ReasoningEffortEnum"] = {"type": "string"}
    return schemas


@cache
def _validator(name: str) -> Callable[[Json], Any]:
    schema = {"$ref": f"#/$defs/{name}", "$defs": _definitions()}
    compiled: Callable[[Json], Any] = fastjsonschema.compile(schema, use_default=False)
    return compiled
