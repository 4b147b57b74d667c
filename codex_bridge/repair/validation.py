"""Whether a value fits a JSON schema.

The keywords are those that tools use and those that OpenAI's structured outputs allow, and a few
more. What is not checked: `if`, `contains`, `uniqueItems`, `propertyNames`, the `dependent…` and
`unevaluated…` keywords, `$anchor` and `$dynamicRef`, and formats that `formats.py` does not list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from itertools import repeat
from operator import ge, gt, le, lt
from typing import Any

from attrs import define

from codex_bridge.repair.formats import FORMATS
from codex_bridge.repair.patterns import NotUnderstood, matches
from codex_bridge.tools.schemas import (
    list_of,
    look_up,
    properties_of,
    required_of,
    resolve,
    types_of,
)
from codex_bridge.vocabulary import Json

MAX_DEPTH = 40
"""Levels of a schema; whatever is deeper fits."""
MAX_STEPS = 20_000
"""Visits to subschemas in the repair of one call; variants inside of variants multiply."""
EXACT_DEPTH, EXACT_STEPS = 100, 100_000
"""The same for an exact validator."""
JSON_TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
}
Limits = dict[str, Callable[[Any, Any], bool]]
NUMBER_LIMITS: Limits = {
    "minimum": ge,
    "maximum": le,
    "exclusiveMinimum": gt,
    "exclusiveMaximum": lt,
    # As decimal numbers: 0.3 is a multiple of 0.1.
    "multipleOf": lambda value, unit: unit <= 0 or Fraction(str(value)) % Fraction(str(unit)) == 0,
}
LENGTH_LIMITS: dict[type, Limits] = {
    str: {"minLength": ge, "maxLength": le},
    list: {"minItems": ge, "maxItems": le},
    dict: {"minProperties": ge, "maxProperties": le},
}


class CannotTell(Exception):
    """Whether a value fits cannot be told."""


class TooManyVariants(CannotTell):
    """The schema has more ways to fit than are worth trying."""


@define
class Validator:
    """Checks values against the parts of one schema; counts its steps."""

    root: Json
    """The whole schema, in which `$ref`s are looked up."""
    exact: bool = False
    """Whether nothing may fit that was not checked, such as what a `$ref` to nowhere means."""
    steps: int = 0

    def count(self, steps: int = 1) -> None:
        """Count `steps` more. Raises TooManyVariants once they are too many in all."""
        self.steps += steps
        if self.steps > (EXACT_STEPS if self.exact else MAX_STEPS):
            raise TooManyVariants

    def accepts(self, value: Any, schema: Any, depth: int) -> bool:
        """Whether `value` fits `schema`, a part of the root `depth` levels below it.

        Raises TooManyVariants; an exact validator also CannotTell.
        """
        self.count()
        if isinstance(schema, bool):
            return schema
        if depth > (EXACT_DEPTH if self.exact else MAX_DEPTH):
            return self._untold()
        if not isinstance(schema, dict):
            return True
        if self.exact and isinstance(schema.get("$ref"), str):
            # What stands beside a reference counts, too.
            target = look_up(schema["$ref"], self.root)
            if not isinstance(target, dict | bool):
                raise CannotTell
            if not self.accepts(value, target, depth + 1):
                return False
            schema = {key: part for key, part in schema.items() if key != "$ref"}
        schema = resolve(schema, self.root)
        types = types_of(schema)
        if types and not any(is_of_type(value, name) for name in types):
            return False
        if "const" in schema and not is_same(value, schema["const"]):
            return False
        choices = schema.get("enum")
        if isinstance(choices, list) and not any(is_same(value, choice) for choice in choices):
            return False
        return (
            self.failing_limit(value, schema) is None
            and self._accepts_variants(value, schema, depth)
            and self._accepts_inside(value, schema, depth)
        )

    def _accepts_variants(self, value: Any, schema: Json, depth: int) -> bool:
        one = _exactly_one if self.exact else any
        for keyword, enough in (("anyOf", any), ("oneOf", one), ("allOf", all)):
            parts = list_of(schema, keyword)
            if parts and not enough(self.accepts(value, part, depth + 1) for part in parts):
                return False
        is_excluded = self.exact and "not" in schema
        return not is_excluded or not self.accepts(value, schema["not"], depth + 1)

    def _accepts_inside(self, value: Any, schema: Json, depth: int) -> bool:
        """Whether the entries of an object or a list fit."""
        if isinstance(value, dict):
            if any(name not in value for name in required_of(schema)):
                return False
            return all(
                self.accepts(entry, part, depth + 1)
                for name, entry in value.items()
                for part in self.parts_for(name, schema)
            )
        if isinstance(value, list):
            return all(
                self.accepts(entry, part, depth + 1)
                for entry, part in zip(value, parts_in_order(schema), strict=False)
            )
        return True

    def parts_for(self, name: str, schema: Json) -> list[Any]:
        """The parts of an object's schema that hold for the entry `name`."""
        properties = properties_of(schema)
        parts = [properties[name]] if name in properties else []
        by_pattern = schema.get("patternProperties")
        if isinstance(by_pattern, dict):
            parts += [part for pattern, part in by_pattern.items() if self._has(pattern, name)]
        if not parts and "additionalProperties" in schema:
            parts = [schema["additionalProperties"]]
        return parts

    def failing_limit(self, value: Any, schema: Json) -> str | None:
        """The keyword of the limit or the form that `value` does not keep to."""
        is_number = is_of_type(value, "number")
        limits = NUMBER_LIMITS if is_number else LENGTH_LIMITS.get(type(value), {})
        size = value if is_number or not limits else len(value)
        for keyword, keeps in limits.items():
            limit = schema.get(keyword)
            if is_of_type(limit, "number") and not keeps(size, limit):
                return keyword
        if isinstance(value, str):
            pattern, is_valid = schema.get("pattern"), FORMATS.get(str(schema.get("format")))
            if isinstance(pattern, str) and not self._has(pattern, value):
                return "pattern"
            if is_valid is not None and not is_valid(value):
                return "format"
        return None

    def _has(self, pattern: str, text: str) -> bool:
        try:
            return matches(pattern, text)
        except NotUnderstood:
            return self._untold()

    def _untold(self) -> bool:
        """For what cannot be told: it fits, or raises CannotTell."""
        if self.exact:
            raise CannotTell
        return True


def _exactly_one(fits: Iterable[bool]) -> bool:
    return sum(fits) == 1


def parts_in_order(schema: Json) -> Iterator[Any]:
    """The parts of a list's schema that hold for its entries, one after another."""
    rest = schema.get("items")
    if isinstance(rest, list):
        # As `prefixItems` was called before 2020.
        rest = schema.get("additionalItems")
    yield from list_of(schema, "prefixItems") or list_of(schema, "items")
    yield from repeat(True if rest is None else rest)


def is_same(one: Any, other: Any) -> bool:
    """Whether two values are equal as JSON: true is not 1, but 1.0 is."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(is_same(one[key], other[key]) for key in one)
    return bool(one == other)


def is_of_type(value: Any, name: str) -> bool:
    """Whether `value` is of the JSON type `name`; of an unknown type every value is."""
    if name in {"integer", "number"}:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and (name == "number" or isinstance(value, int) or value.is_integer())
    wanted = JSON_TYPES.get(name)
    return wanted is None or isinstance(value, wanted)
