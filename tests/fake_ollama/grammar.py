"""What a grammar lets a model write, and answers of scripts that no grammar would let through."""

from __future__ import annotations

from typing import Any

import orjson

from tests.fake_ollama import wire
from tests.fake_ollama.facts import ModelFacts
from tests.fake_ollama.script import Answer, Die, Raw, Refuse, Say, Think

Json = dict[str, Any]
Version = tuple[int, ...]
TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "number": (int, float),
    "integer": int,
    "boolean": bool,
    "null": type(None),
}


def holds_at_once(form: Any, facts: ModelFacts, think: bool | str | None, version: Version) -> bool:
    """Whether the grammar of `format` holds from the first token of a chat's answer.

    For a model that can think it does not, unless thinking is turned off. Before 0.31.2 turning it
    off was not enough for models that have a parser of their own.
    """
    if not form:
        return False
    if facts.template == "jinja" or "thinking" not in facts.capabilities:
        return True
    return think is False and (facts.template in {"go", "keep"} or version >= (0, 31, 2))


def impossible(steps: Answer, effective: Json, facts: ModelFacts) -> str | None:
    """Why a model could not have given this answer under the grammar of `format`; else None.

    Where the grammar does not hold at once, it holds for the text behind a thought, if no call
    comes first. An answer that breaks off is not looked at.
    """
    form = effective.get("format")
    is_cut = wire.ending(steps).reason == "length"
    if not form or is_cut or any(isinstance(step, Die | Refuse | Raw) for step in steps):
        return None
    spoken = [step for step in steps if isinstance(step, Say | Think) or wire.calls_of(step)]
    thought = [step for step in spoken if isinstance(step, Think)]
    rest = [step for step in spoken if not isinstance(step, Think)]
    if not effective["constrained"]:
        if not thought or not rest or not isinstance(rest[0], Say):
            return None
    elif thought and facts.template != "jinja":
        return "a grammar holds from the first token, but the answer has a thought"
    if any(wire.calls_of(step) for step in rest):
        return "a grammar holds, but the answer has a call that is not part of its text"
    text = wire.texts(steps, Say)
    return None if allows(form, text) else f"the grammar of {form!r} does not allow {text!r}"


def allows(form: Any, text: str) -> bool:
    """Whether the grammar of a `format` (a schema, or "json" for any object) produces a text."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return isinstance(value, dict) if form == "json" else _fits(value, form, form)


def _fits(value: Any, schema: Any, root: Json) -> bool:
    """By the keywords of which llama.cpp makes rules."""
    if not isinstance(schema, dict):
        return schema is not False
    if "$ref" in schema:
        part: Any = root
        for key in schema["$ref"].removeprefix("#/").split("/"):
            part = part[key]
        return _fits(value, part, root)
    if "const" in schema or "enum" in schema:
        return value in schema.get("enum", [schema.get("const")])
    for key, enough in (("anyOf", any), ("oneOf", any), ("allOf", all)):
        if key in schema and not enough(_fits(value, part, root) for part in schema[key]):
            return False
    kinds = schema.get("type", ())
    if kinds and not any(
        _is(value, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds)
    ):
        return False
    return _fits_inside(value, schema, root)


def _fits_inside(value: Any, schema: Json, root: Json) -> bool:
    """Entries and properties; llama.cpp writes only the properties that are declared."""
    if isinstance(value, list):
        return all(_fits(entry, schema.get("items", True), root) for entry in value)
    if not isinstance(value, dict) or "properties" not in schema:
        return True
    known, others = schema["properties"], schema.get("additionalProperties", False)
    has_all = set(schema.get("required", ())) <= set(value)
    return has_all and all(_fits(value[key], known.get(key, others), root) for key in value)


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, TYPES[kind])
