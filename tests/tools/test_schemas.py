"""Schemas in the words that every Ollama keeps."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codex_bridge.tools.schemas import portable
from tests.fake_ollama.schemas import read_tools

Json = dict[str, Any]
STRING = {"type": "string"}


def one(schema: Any, *, required: bool = False, **root: Any) -> Any:
    """What becomes of one parameter."""
    parent = {"type": "object", "properties": {"p": schema}, **root}
    return portable(parent | ({"required": ["p"]} if required else {}))["properties"]["p"]


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (STRING, STRING),
        (True, {}),
        (False, {}),
        ({}, {}),
        (None, {}),
        ({"type": ["string"]}, STRING),
        ({"type": ["string", "null"]}, STRING),
        ({"type": ["string", "integer"]}, {"type": ["string", "integer"]}),
        ({"type": 3}, {}),
        ({"type": "string", "description": ["no", "text"]}, STRING),
        ({"type": "string", "title": "T", "examples": ["x"], "default": "x"}, STRING),
        ({"type": "string", "format": "uri", "pattern": "x", "minLength": 1}, STRING),
        ({"const": "a"}, {"type": "string", "enum": ["a"]}),
        ({"const": 1}, {"type": "integer", "enum": [1]}),
        ({"enum": ["a", "b"]}, {"type": "string", "enum": ["a", "b"]}),
        ({"enum": ["a", None]}, {"enum": ["a"]}),
        ({"enum": "a"}, {}),
        ({"oneOf": [STRING, {"type": "null"}]}, STRING),
        ({"anyOf": [STRING, {"type": "integer"}]}, {"type": ["string", "integer"]}),
        ({"oneOf": [{"const": "a"}, {"const": "b"}]}, {"type": "string", "enum": ["a", "b"]}),
        (
            {"oneOf": [STRING, {"type": "array", "items": STRING}]},
            {"anyOf": [STRING, {"type": "array", "items": STRING}]},
        ),
        (
            {"allOf": [STRING, {"description": "both"}]},
            {"type": "string", "description": "both"},
        ),
        ({"type": "array", "items": True}, {"type": "array"}),
        ({"items": STRING}, {"type": "array", "items": STRING}),
        ({"properties": {"x": STRING}}, {"type": "object", "properties": {"x": STRING}}),
    ],
)
def test_one_parameter(schema: Any, expected: Any) -> None:
    assert one(schema) == expected


def test_a_required_parameter_keeps_its_null() -> None:
    """A strict schema requires everything; without the null the model would have to invent."""
    assert one({"type": ["string", "null"]}, required=True) == {"type": ["string", "null"]}
    assert one({"anyOf": [STRING, {"type": "null"}]}, required=True) == {"type": ["string", "null"]}


def test_references_are_inlined() -> None:
    root = {
        "$defs": {"point": {"type": "object", "properties": {"x": {"$ref": "#/definitions/n"}}}},
        "definitions": {"n": {"type": "number"}},
    }
    assert one({"$ref": "#/$defs/point", "description": "Where."}, **root) == {
        "type": "object",
        "description": "Where.",
        "properties": {"x": {"type": "number"}},
    }


def test_a_reference_to_itself_ends() -> None:
    tree = {"type": "object", "properties": {"left": {"$ref": "#/$defs/tree"}}}
    made = one({"$ref": "#/$defs/tree"}, **{"$defs": {"tree": tree}})
    assert made == {"type": "object", "properties": {"left": {}}}


@pytest.mark.parametrize("reference", ["#/nowhere", "http://example.com/schema", "x.json#/a", "#"])
def test_a_reference_that_leads_nowhere_says_nothing(reference: str) -> None:
    made = one({"$ref": reference, "description": "Kept."})
    assert made.get("description") == "Kept."


def test_references_that_multiply_end_soon() -> None:
    levels = {
        f"l{n}": {
            "type": "object",
            "properties": {
                "a": {"$ref": f"#/$defs/l{n + 1}"},
                "b": {"$ref": f"#/$defs/l{n + 1}"},
            },
        }
        for n in range(40)
    }
    assert one({"$ref": "#/$defs/l0"}, **{"$defs": levels})["type"] == "object"


def test_alternatives_at_the_top_give_all_their_parameters() -> None:
    made = portable(
        {
            "oneOf": [
                {"properties": {"a": STRING}, "required": ["a"]},
                {"properties": {"b": STRING}, "required": ["b"]},
            ]
        }
    )
    assert made == {"type": "object", "properties": {"a": STRING, "b": STRING}}


def test_what_is_required_inside_moves_into_the_description() -> None:
    """A second key beside type and description is rendered in random order by one renderer."""
    inner = {"type": "object", "properties": {"x": STRING}, "required": ["x"], "description": "It."}
    assert one(inner) == {
        "type": "object",
        "description": "It. Required: x.",
        "properties": {"x": STRING},
    }


def test_only_names_that_exist_are_required() -> None:
    made = portable({"properties": {"a": STRING}, "required": ["a", "b", 3, None]})
    assert made["required"] == ["a"]


words = st.sampled_from(["a", "b", "type", "x"])
scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=3)
KINDS = ["string", "object", "array", "null", "integer", "number", "boolean"]


def nodes(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    lists = st.lists(children, max_size=3)
    return st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(KINDS) | st.lists(st.sampled_from(KINDS)) | scalars,
            "description": scalars,
            "properties": st.dictionaries(words, children, max_size=3) | scalars,
            "required": st.lists(words | scalars, max_size=3) | scalars,
            "items": children | lists | scalars,
            "enum": st.lists(scalars, max_size=3) | scalars,
            "const": scalars,
            "anyOf": lists | scalars,
            "oneOf": lists | scalars,
            "allOf": lists | scalars,
            "$ref": st.sampled_from(["#", "#/properties/a", "#/$defs/b", "u"]) | scalars,
            "$defs": st.dictionaries(words, children, max_size=2),
            "title": scalars,
            "not": children,
        },
    )


schemas = st.recursive(st.booleans() | scalars, nodes, max_leaves=12)


@settings(max_examples=100)
@given(nodes(schemas))
def test_any_schema_is_accepted_by_every_ollama(schema: Json) -> None:
    made = portable(schema)
    assert portable(schema) == made
    tool = {"type": "function", "function": {"name": "t", "parameters": made}}
    for version in [(0, 9, 0), (0, 11, 3), (0, 13, 5), (0, 20, 0), (0, 33, 0)]:
        read_tools([tool], version)
    assert set(made) <= {"type", "properties", "required"}
    for node in made["properties"].values():
        assert len(set(node) - {"type", "description"}) <= 1


@given(nodes(schemas))
def test_no_parameter_is_lost(schema: Json) -> None:
    given_properties = schema.get("properties")
    names = set(given_properties) if isinstance(given_properties, dict) else set()
    assert names <= set(portable(schema)["properties"])
