"""A schema for a model's whole answer: one call of an offered function, or a text. And its reader.

An engine that makes a grammar of it lets the model write nothing else. The schema has only
keywords that every engine obeys. llama.cpp refuses a boolean schema, an empty list of choices, a
type that it does not know, and a `$ref` (which would lead elsewhere inside of this schema); some of
its builds then generate without any grammar, and do not say so. It ignores what stands beside
`anyOf`. In an object that is not closed a model may write on in a key of its own, without an end.
"""

from __future__ import annotations

from typing import Any

import orjson

from codex_bridge.tools.schemas import list_of, properties_of, required_of, types_of
from codex_bridge.vocabulary import Json

TYPES = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})


def call_schema(functions: list[Json], *, may_answer: bool) -> Json:
    """The schema of an answer that calls one of `functions` (chat's `tools`, as they are shown).

    With `may_answer` it may be a text instead. Equal functions give equal bytes.
    """
    variants = [_call_of(function["function"]) for function in functions]
    if may_answer:
        variants.append(_closed({"answer": {"type": "string"}}))
    return {"anyOf": variants}


def read_constrained(text: str) -> tuple[str, str] | str | None:
    """Read an answer of this schema: the name and the arguments (JSON) of a call, or a text.

    None for any other text, such as an answer that was cut.
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(value, dict):
        return None
    if value.keys() == {"answer"} and isinstance(value["answer"], str):
        return value["answer"]
    name, arguments = value.get("name"), value.get("arguments")
    if len(value) != 2 or not isinstance(name, str) or not isinstance(arguments, dict):
        return None
    try:
        return name, orjson.dumps(arguments).decode()
    except orjson.JSONEncodeError:
        # orjson reads deeper nesting than it writes.
        return None


def _call_of(function: Json) -> Json:
    parameters = properties_of(function["parameters"])
    arguments = _closed(_grammatical_all(parameters), required_of(function["parameters"]))
    return _closed({"name": {"enum": [function["name"]]}, "arguments": arguments})


def _closed(properties: Json, required: list[str] | None = None) -> Json:
    """An object with these properties and no others; all are required unless `required` is given.

    The model writes them in this order.
    """
    needed = [name for name in properties if required is None or name in required]
    return {
        "type": "object",
        "properties": properties,
        "required": needed,
        "additionalProperties": False,
    }


def _grammatical_all(properties: Json) -> Json:
    return {name: _grammatical(node) for name, node in properties.items()}


def _grammatical(node: Any) -> Json:
    """`node`, a part of a portable schema (see `schemas.portable`), without what engines refuse."""
    if not isinstance(node, dict):
        return {}
    if choices := list_of(node, "enum"):
        return {"enum": choices}
    types = [name for name in types_of(node) if name in TYPES]
    kind: Json = {"type": types if len(types) > 1 else types[0]} if types else {}
    if properties := properties_of(node):
        return {**_closed(_grammatical_all(properties), required_of(node)), **kind}
    if isinstance(node.get("items"), dict):
        return {"type": "array", **kind, "items": _grammatical(node["items"])}
    if variants := list_of(node, "anyOf"):
        return {"anyOf": [_grammatical({**kind, **v}) for v in variants if isinstance(v, dict)]}
    return kind
