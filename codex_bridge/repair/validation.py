"""Whether a value fits a JSON schema, by the keywords that tools use."""

from __future__ import annotations

from typing import Any

from attrs import define

from codex_bridge.tools.schemas import list_of, properties_of, required_of, resolve, types_of
from codex_bridge.vocabulary import Json

MAX_DEPTH = 40
"""Levels of a schema; whatever is deeper fits."""
MAX_STEPS = 20_000
"""Visits to subschemas in the repair of one call; variants inside of variants multiply."""
JSON_TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
}


class TooManyVariants(Exception):
    """The schema has more ways to fit than are worth trying."""


@define
class Validator:
    """Checks values against the parts of one schema; counts its steps."""

    root: Json
    """The whole schema, in which `$ref`s are looked up."""
    steps: int = 0

    def count(self, steps: int = 1) -> None:
        """Count `steps` more. Raises TooManyVariants once they are more than MAX_STEPS in all."""
        self.steps += steps
        if self.steps > MAX_STEPS:
            raise TooManyVariants

    def accepts(self, value: Any, schema: Any, depth: int) -> bool:
        """Whether `value` fits `schema`, a part of the root `depth` levels below it."""
        self.count()
        if isinstance(schema, bool):
            return schema
        if depth > MAX_DEPTH or not isinstance(schema, dict):
            return True
        schema = resolve(schema, self.root)
        types = types_of(schema)
        if types and not any(is_of_type(value, name) for name in types):
            return False
        if "const" in schema and value != schema["const"]:
            return False
        if isinstance(schema.get("enum"), list) and value not in schema["enum"]:
            return False
        for keyword, enough in (("anyOf", any), ("oneOf", any), ("allOf", all)):
            parts = list_of(schema, keyword)
            if parts and not enough(self.accepts(value, part, depth + 1) for part in parts):
                return False
        if isinstance(value, dict):
            return self._accepts_object(value, schema, depth)
        if isinstance(value, list) and "items" in schema:
            return all(self.accepts(entry, schema["items"], depth + 1) for entry in value)
        return True

    def _accepts_object(self, value: Json, schema: Json, depth: int) -> bool:
        properties = properties_of(schema)
        if any(name not in value for name in required_of(schema)):
            return False
        if schema.get("additionalProperties") is False and not value.keys() <= properties.keys():
            return False
        return all(
            self.accepts(entry, properties[name], depth + 1)
            for name, entry in value.items()
            if name in properties
        )


def is_of_type(value: Any, name: str) -> bool:
    """Whether `value` is of the JSON type `name`; of an unknown type every value is."""
    if name in {"integer", "number"}:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and (name == "number" or isinstance(value, int) or value.is_integer())
    wanted = JSON_TYPES.get(name)
    return wanted is None or isinstance(value, wanted)
