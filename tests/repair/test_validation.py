"""Whether a value fits a schema."""

from __future__ import annotations

from typing import Any

import pytest

from codex_bridge.repair.validation import CannotTell, TooManyVariants, Validator

STRING = {"type": "string"}
OBJECT = {"type": "object", "properties": {"a": STRING}}
FITS: list[tuple[Any, Any, bool]] = [
    *((value, True, True) for value in (None, 1, {})),
    *((value, False, False) for value in (None, 1, {})),
    *((value, {}, True) for value in (None, 1, {}, [], "x", True)),
    (1, None, True),
    (1, "no schema", True),
    ("x", STRING, True),
    (1, STRING, False),
    (1, {"type": "integer"}, True),
    (1.0, {"type": "integer"}, True),
    (1.5, {"type": "integer"}, False),
    ("1", {"type": "integer"}, False),
    (True, {"type": "integer"}, False),
    (1.5, {"type": "number"}, True),
    (1, {"type": "number"}, True),
    (True, {"type": "number"}, False),
    (True, {"type": "boolean"}, True),
    (1, {"type": "boolean"}, False),
    (None, {"type": "null"}, True),
    (0, {"type": "null"}, False),
    ({}, {"type": "object"}, True),
    ([], {"type": "object"}, False),
    ([], {"type": "array"}, True),
    ({}, {"type": "array"}, False),
    (1, {"type": "of tomorrow"}, True),
    (1, {"type": 5}, True),
    (1, {"type": ["string", "integer"]}, True),
    (None, {"type": ["string", "integer"]}, False),
    (1, {"const": 1}, True),
    (2, {"const": 1}, False),
    (None, {"const": None}, True),
    ("a", {"enum": ["a", "b"]}, True),
    ("c", {"enum": ["a", "b"]}, False),
    ("c", {"enum": "ab"}, True),
    (1, {"anyOf": [STRING, {"type": "integer"}]}, True),
    (None, {"anyOf": [STRING, {"type": "integer"}]}, False),
    (1, {"oneOf": [STRING, {"type": "integer"}]}, True),
    (None, {"oneOf": [STRING, {"type": "integer"}]}, False),
    ("a", {"allOf": [STRING, {"enum": ["a"]}]}, True),
    ("b", {"allOf": [STRING, {"enum": ["a"]}]}, False),
    (1, {"anyOf": [], "oneOf": None, "allOf": "x"}, True),
    ({}, OBJECT, True),
    ({"a": "x"}, OBJECT, True),
    ({"a": 1}, OBJECT, False),
    ({"b": 1}, OBJECT, True),
    ({"b": 1}, OBJECT | {"additionalProperties": True}, True),
    ({"b": 1}, OBJECT | {"additionalProperties": False}, False),
    ({"a": "x"}, OBJECT | {"additionalProperties": False}, True),
    ({}, OBJECT | {"required": ["a"]}, False),
    ({"a": "x"}, OBJECT | {"required": ["a"]}, True),
    ({"a": "x"}, OBJECT | {"required": ["a", 5]}, True),
    ({"b": 1}, {"required": ["a"]}, False),
    (["x"], {"items": STRING}, True),
    (["x", 1], {"items": STRING}, False),
    ([1], {"items": False}, False),
    ([1], {"prefixItems": [STRING]}, False),
    (["x", 1], {"prefixItems": [STRING]}, True),
    ({"a": {"a": 1}}, {"properties": {"a": OBJECT}}, False),
    ([["x"], [1]], {"items": {"items": STRING}}, False),
    (1, {"$ref": "#/$defs/s"}, False),
    ("x", {"$ref": "#/$defs/s"}, True),
    (1, {"$ref": "#/nowhere"}, True),
    (True, {"const": 1}, False),
    (1.0, {"const": 1}, True),
    (False, {"enum": [0]}, False),
    ([1, {"a": True}], {"const": [1, {"a": 1}]}, False),
    ([1, {"a": 1}], {"const": [1.0, {"a": 1}]}, True),
    (2, {"minimum": 3}, False),
    ("2", {"minimum": 3}, True),
    (True, {"minimum": 3}, True),
    (3, {"minimum": "4"}, True),
    (0.3, {"multipleOf": 0.1}, True),
    (5, {"multipleOf": 0}, True),
    ("aé", {"maxLength": 2}, True),
    ([1, 2], {"maxItems": 1}, False),
    ({"a": 1}, {"minProperties": 2}, False),
    ("A", {"pattern": "^[a-z]"}, False),
    (1, {"pattern": "^[a-z]"}, True),
    ("x", {"pattern": "("}, True),
    ("x", {"format": "date"}, False),
    ("x", {"format": "of tomorrow"}, True),
    ({"b": 1}, OBJECT | {"additionalProperties": STRING}, False),
    ({"ab": 1}, OBJECT | {"patternProperties": {"^a": STRING}}, False),
    ({"ab": "x"}, {"patternProperties": {"^a": STRING}, "additionalProperties": False}, True),
    (["x", 1, 2], {"items": [STRING], "additionalItems": {"type": "integer"}}, True),
    (["x", 1], {"prefixItems": [STRING], "items": False}, False),
]


@pytest.mark.parametrize(("value", "schema", "fits"), FITS)
def test_a_value_fits_by_the_keywords_that_tools_use(value: Any, schema: Any, fits: bool) -> None:
    assert Validator({"$defs": {"s": STRING}}).accepts(value, schema, 0) is fits


EXACT: list[tuple[Any, Any, bool]] = [
    (1, {"oneOf": [{"type": "integer"}, {"type": "number"}]}, False),
    (1, {"not": {"type": "integer"}}, False),
    ("x", {"not": {"type": "integer"}}, True),
    # What stands beside a reference counts, too.
    ("x", {"$ref": "#/$defs/s", "enum": ["y"]}, False),
    ({"a": "x"}, {"$ref": "#/$defs/o", "required": ["b"]}, False),
    ({"b": "x"}, {"$ref": "#/$defs/o", "required": ["b"]}, False),
    ("x", {"$ref": "#/$defs/any/anyOf/1"}, True),
    (1, {"$ref": "#/$defs/any/anyOf/1"}, False),
]
DEFS = {
    "s": STRING,
    "o": OBJECT | {"required": ["a"]},
    "any": {"anyOf": [{"type": "integer"}, STRING]},
}


@pytest.mark.parametrize(("value", "schema", "fits"), EXACT)
def test_an_exact_validator_checks_more(value: Any, schema: Any, fits: bool) -> None:
    assert Validator({"$defs": DEFS}, exact=True).accepts(value, schema, 0) is fits


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        (1, {"$ref": "#/nowhere"}),
        (1, {"not": {"$ref": "#/nowhere"}}),
        (1, {"$ref": "#/$defs/any/anyOf/2"}),
        (1, {"$ref": "#"}),
        ("x", {"pattern": "("}),
        ({"a": 1}, {"patternProperties": {"(": STRING}}),
    ],
)
def test_nothing_fits_that_an_exact_validator_cannot_tell(value: Any, schema: Any) -> None:
    with pytest.raises(CannotTell):
        Validator({"$defs": DEFS, "$ref": "#"}, exact=True).accepts(value, schema, 0)


def nested(levels: int, keyword: str) -> tuple[Any, Any]:
    """A value and a schema of so many levels, which do not fit at the last one."""
    value: Any = 5
    schema: Any = STRING
    for _ in range(levels):
        if keyword == "properties":
            value, schema = {"a": value}, {"properties": {"a": schema}}
        elif keyword == "items":
            value, schema = [value], {"items": schema}
        else:
            schema = {keyword: [schema]}
    return value, schema


@pytest.mark.parametrize("keyword", ["properties", "items", "anyOf", "oneOf", "allOf"])
def test_whatever_is_deeper_than_forty_levels_fits(keyword: str) -> None:
    for levels, fits in ((40, False), (41, True)):
        value, schema = nested(levels, keyword)
        assert Validator({}).accepts(value, schema, 0) is fits


def test_twenty_thousand_steps_are_enough() -> None:
    validator = Validator({})
    validator.count(19_999)
    assert validator.accepts(1, {}, 0)
    with pytest.raises(TooManyVariants):
        validator.accepts(1, {}, 0)
