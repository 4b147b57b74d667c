"""Whether a value fits a schema."""

from __future__ import annotations

from typing import Any

import pytest

from codex_bridge.repair.validation import TooManyVariants, Validator

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
    ([1], {"prefixItems": [STRING]}, True),
    ({"a": {"a": 1}}, {"properties": {"a": OBJECT}}, False),
    ([["x"], [1]], {"items": {"items": STRING}}, False),
    (1, {"$ref": "#/$defs/s"}, False),
    ("x", {"$ref": "#/$defs/s"}, True),
    (1, {"$ref": "#/nowhere"}, True),
]


@pytest.mark.parametrize(("value", "schema", "fits"), FITS)
def test_a_value_fits_by_the_keywords_that_tools_use(value: Any, schema: Any, fits: bool) -> None:
    assert Validator({"$defs": {"s": STRING}}).accepts(value, schema, 0) is fits


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
