"""A model's final text -> the JSON that `text.format` asks for, if only its form is wrong."""

from __future__ import annotations

from typing import Any

import orjson
from attrs import frozen

from codex_bridge.repair import lenient_json
from codex_bridge.repair.conversions import converted
from codex_bridge.repair.validation import (
    EXACT_DEPTH,
    CannotTell,
    Validator,
    is_of_type,
    is_same,
    parts_in_order,
)
from codex_bridge.tools.schemas import (
    list_of,
    look_up,
    properties_of,
    required_of,
    types_of,
    variants_of,
)
from codex_bridge.vocabulary import Json

LONGEST_MISFIT = 200
"""Characters."""
DOUBTFUL = frozenset({"unclosed", "lost brace", "trailing text"})
"""Slips that may mean that a part of the value is missing, or that there is another one."""
NOT_JSON = "it is not one JSON object"
TYPE_NAMES = {
    "object": "an object",
    "array": "a list",
    "string": "a string",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "null": "null",
}
LIMITS = {
    "minimum": "must be at least",
    "maximum": "must be at most",
    "exclusiveMinimum": "must be more than",
    "exclusiveMaximum": "must be less than",
    "multipleOf": "must be a multiple of",
    "minLength": "must be at least so many characters long:",
    "maxLength": "must be at most so many characters long:",
    "minItems": "must be at least so many entries long:",
    "maxItems": "must be at most so many entries long:",
    "minProperties": "must have at least so many keys:",
    "maxProperties": "must have at most so many keys:",
    "pattern": "must match",
    "format": "must be a valid",
}
"""Keyword -> what a value that does not keep to it must be, before the keyword's own value."""


def fitted(text: str, text_format: Json) -> str | None:
    """`text`, a whole answer, as JSON that fits `text_format` (in chat's shape); None if none does.

    A text that fits comes back byte for byte. Otherwise what stands around its JSON is left out,
    slips in the JSON are mended, and values get the type that the schema wants ("5" -> 5). Nothing
    is added, left out of the JSON or renamed. `validation.py` says which keywords are not checked.
    """
    mender = _Mender(Validator(_schema(text_format), exact=True))
    try:
        value = mender.read(text)
        if mender.fits(value):
            is_plain = _is_json(text)
            return text if is_plain else orjson.dumps(value).decode()
        value = mender.mended(value, mender.root, 0)
        return orjson.dumps(value).decode() if mender.fits(value) else None
    except (ValueError, CannotTell, RecursionError, orjson.JSONEncodeError):
        return None


def misfit(text: str, text_format: Json) -> str:
    """What is wrong with a text that `fitted` cannot mend: one problem, in a few words."""
    mender = _Mender(Validator(_schema(text_format), exact=True))
    try:
        value = mender.mended(mender.read(text), mender.root, 0)
        problem = mender.problem(value, mender.root, "", 0)
    except ValueError as error:
        problem = str(error)
    except (CannotTell, RecursionError):
        problem = "it has parts that cannot be checked"
    return problem if len(problem) <= LONGEST_MISFIT else problem[: LONGEST_MISFIT - 1] + "…"


def _schema(text_format: Json) -> Json:
    schema = text_format.get("json_schema", {}).get("schema")
    return schema if isinstance(schema, dict) else {"type": "object"}


def _is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


@frozen
class _Mender:
    """Reads and mends answers for one schema."""

    validator: Validator

    @property
    def root(self) -> Json:
        return self.validator.root

    def fits(self, value: Any) -> bool:
        return self.validator.accepts(value, self.root, 0)

    def read(self, text: str) -> Any:
        """The JSON in a text. Raises ValueError if there is none, or not just one."""
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            pass
        opening, closing = "[]" if types_of(self.root) == ["array"] else "{}"
        start, end = text.find(opening), text.rfind(closing)
        if start < 0 or end < start:
            raise ValueError(NOT_JSON)
        try:
            value, slips = lenient_json.loads(text[start : end + 1])
        except ValueError as error:
            raise ValueError(f"it is not valid JSON: {error}") from None
        if "unclosed" in slips:
            raise ValueError("it is not valid JSON: a bracket is not closed")
        if slips & DOUBTFUL:
            raise ValueError(NOT_JSON)
        return value

    def mended(self, value: Any, schema: Any, depth: int) -> Any:
        """`value` with the types that `schema`, `depth` levels below the root, wants."""
        if depth > EXACT_DEPTH or self.validator.accepts(value, schema, depth):
            return value
        if not isinstance(schema, dict):
            return value
        for part in self._parts_beside(schema):
            value = self.mended(value, part, depth + 1)
        for variant in variants_of(schema):
            changed = self.mended(value, variant, depth + 1)
            if self.validator.accepts(changed, variant, depth + 1):
                value = changed
                break
        types = types_of(schema)
        if types and not any(is_of_type(value, kind) for kind in types):
            changes = (_as_type(value, kind) for kind in types)
            value = next((changed for changed in changes if changed is not value), value)
        return self._mended_inside(value, schema, depth)

    def _mended_inside(self, value: Any, schema: Json, depth: int) -> Any:
        """The same for the entries of an object or a list."""
        if isinstance(value, dict):
            changed = dict(value)
            for name in value:
                for part in self.validator.parts_for(name, schema):
                    changed[name] = self.mended(changed[name], part, depth + 1)
            return changed
        if isinstance(value, list):
            parts = zip(value, parts_in_order(schema), strict=False)
            return [self.mended(entry, part, depth + 1) for entry, part in parts]
        return value

    def _parts_beside(self, schema: Json) -> list[Any]:
        """The schemas that hold for the same value: that of a reference, and of `allOf`."""
        reference = schema.get("$ref")
        referred = [look_up(reference, self.root)] if isinstance(reference, str) else []
        return [*referred, *list_of(schema, "allOf")]

    def problem(self, value: Any, schema: Any, path: str, depth: int) -> str:
        """Why `value`, which stands at `path`, does not fit `schema`."""
        where = _place(path)
        if not isinstance(schema, dict):
            return f"{where} is not allowed"
        types = types_of(schema)
        if types and not any(is_of_type(value, kind) for kind in types):
            return f"{where} must be {_any_of(types)}"
        choices = [schema["const"]] if "const" in schema else list_of(schema, "enum")
        if choices and not any(is_same(value, choice) for choice in choices):
            return f"{where} must be {' or '.join(orjson.dumps(each).decode() for each in choices)}"
        if keyword := self.validator.failing_limit(value, schema):
            return f"{where} {LIMITS[keyword]} {schema[keyword]}"
        for part in self._parts_beside(schema):
            if not self.validator.accepts(value, part, depth + 1):
                return self.problem(value, part, path, depth + 1)
        return (
            self._problem_inside(value, schema, path, depth)
            or self._problem_of_variants(value, variants_of(schema), path, depth)
            or f"{where} does not fit the schema"
        )

    def _problem_inside(self, value: Any, schema: Json, path: str, depth: int) -> str:
        """The same for the first of its entries that does not fit; "" if each does."""
        entries: list[tuple[str, Any, Any]] = []
        if isinstance(value, dict):
            prefix = f"{path}." if path else ""
            for name in required_of(schema):
                if name not in value:
                    return f'"{prefix}{name}" is missing'
            entries = [
                (prefix + name, entry, part)
                for name, entry in value.items()
                for part in self.validator.parts_for(name, schema)
            ]
        elif isinstance(value, list):
            parts = zip(value, parts_in_order(schema), strict=False)
            entries = [(f"{path}[{n}]", entry, part) for n, (entry, part) in enumerate(parts)]
        for inner, entry, part in entries:
            if not self.validator.accepts(entry, part, depth + 1):
                return self.problem(entry, part, inner, depth + 1)
        return ""

    def _problem_of_variants(self, value: Any, variants: list[Any], path: str, depth: int) -> str:
        """The same for a value that fits none of `variants`; "" if it fits one."""
        if any(self.validator.accepts(value, variant, depth + 1) for variant in variants):
            return ""
        meant = [variant for variant in variants if self._is_like(value, variant)]
        if len(meant) == 1:
            return self.problem(value, meant[0], path, depth + 1)
        types = [kind for variant in variants for kind in types_of(self._followed(variant))]
        if meant or not types:
            return ""
        return f"{_place(path)} must be {_any_of(types)}"

    def _is_like(self, value: Any, variant: Any) -> bool:
        """Whether `value` is of the type of `variant`, and has the constants that it names."""
        schema = self._followed(variant)
        if not all(is_of_type(value, kind) for kind in types_of(schema)[:1]):
            return False
        if not isinstance(value, dict):
            return True
        constants = {
            name: part["const"]
            for name, part in properties_of(schema).items()
            if isinstance(part, dict) and "const" in part
        }
        return all(is_same(value.get(name), const) for name, const in constants.items())

    def _followed(self, schema: Any) -> Json:
        """`schema`, or the one that it refers to."""
        if isinstance(schema, dict) and isinstance(schema.get("$ref"), str):
            schema = look_up(schema["$ref"], self.root)
        return schema if isinstance(schema, dict) else {}


def _place(path: str) -> str:
    return f'"{path}"' if path else "it"


def _as_type(value: Any, kind: str) -> Any:
    """`value` as the JSON type `kind`; unchanged if that takes more than another form."""
    if isinstance(value, str) and kind in {"object", "array"}:
        try:
            inner = orjson.loads(value)
        except orjson.JSONDecodeError:
            return value
        return inner if is_of_type(inner, kind) else value
    # Without a name: that of a parameter would make a command line of a list.
    return converted(value, kind, "")[0]


def _any_of(types: list[str]) -> str:
    names = [TYPE_NAMES.get(kind, kind) for kind in dict.fromkeys(types)]
    return " or ".join(names)
