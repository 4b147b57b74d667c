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


NULL = {"type": "null"}
NUMBER = {"type": "number"}
CONSTANTS = {"type": "string", "enum": ["a"]}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": []}, {}),
        ({"type": [3, "string"]}, STRING),
        ({"type": ["string", "integer", "null"]}, {"type": ["string", "integer", "null"]}),
        ({"const": True}, {"type": "boolean", "enum": [True]}),
        ({"const": 1.5}, {"type": "number", "enum": [1.5]}),
        ({"const": None}, {"type": "null", "enum": [None]}),
        ({"const": "a", "enum": ["b"]}, CONSTANTS),
        ({"enum": [1, "a"]}, {"enum": [1, "a"]}),
        ({"enum": [[], [1]]}, {"enum": [[], [1]]}),
        ({"type": "string", "enum": []}, STRING),
        ({"type": "string", "description": ""}, STRING),
        ({"type": "array", "items": {}}, {"type": "array"}),
        ({"type": "object", "properties": {}}, {"type": "object"}),
        ({"anyOf": [], "oneOf": [STRING]}, STRING),
        ({"anyOf": [STRING], "oneOf": [NUMBER]}, STRING),
        ({"anyOf": [NULL]}, NULL),
        ({"anyOf": [NULL, NULL]}, NULL),
        ({"anyOf": [STRING, NULL]}, {"type": ["string", "null"]}),
        ({"anyOf": [CONSTANTS, NULL]}, {"type": ["string", "null"], "enum": ["a"]}),
        ({"anyOf": [{"type": ["string", "number"]}, NULL]}, {"type": ["string", "number"]}),
        ({"anyOf": [{"description": "D."}, NULL]}, {"description": "D."}),
        ({"anyOf": [STRING, STRING]}, STRING),
        ({"anyOf": [STRING, NUMBER, NULL]}, {"type": ["string", "number", "null"]}),
        (
            {"anyOf": [CONSTANTS, {"type": "string", "enum": ["b", "c"]}]},
            {"type": "string", "enum": ["a", "b", "c"]},
        ),
        (
            {"anyOf": [CONSTANTS, {"const": 1}]},
            {"anyOf": [CONSTANTS, {"type": "integer", "enum": [1]}]},
        ),
        ({"anyOf": [CONSTANTS, STRING]}, {"anyOf": [CONSTANTS, STRING]}),
        (
            {"anyOf": [{"type": "string", "description": "D."}, NUMBER]},
            {"anyOf": [{"type": "string", "description": "D."}, NUMBER]},
        ),
        (
            {"anyOf": [{"type": ["string", "null"]}, NUMBER]},
            {"anyOf": [{"type": ["string", "null"]}, NUMBER]},
        ),
        ({"type": "string", "anyOf": [NUMBER]}, STRING),
        ({"allOf": [STRING, NUMBER, {"description": "D."}]}, {**STRING, "description": "D."}),
        (
            {
                "allOf": [
                    {"properties": {"x": STRING}, "required": ["x"]},
                    {"properties": {"x": NUMBER, "y": NUMBER}, "required": ["y", "x"]},
                ]
            },
            {
                "type": "object",
                "description": "Required: x, y.",
                "properties": {"x": STRING, "y": NUMBER},
            },
        ),
        (
            {"type": "array", "description": "D.", "enum": [[1]], "items": STRING},
            {"type": "array", "description": "D.", "items": STRING},
        ),
        (
            {"properties": {"x": STRING}, "items": STRING, "anyOf": [NULL, {"enum": [1, "a"]}]},
            {"type": "object", "properties": {"x": STRING}},
        ),
    ],
)
def test_a_required_parameter_keeps_what_ollama_can_render(schema: Any, expected: Any) -> None:
    assert one(schema, required=True) == expected


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": ["string", "integer", "null"]}, {"type": ["string", "integer"]}),
        ({"anyOf": [CONSTANTS, STRING, NULL]}, {"anyOf": [CONSTANTS, STRING]}),
        ({"type": "string", "enum": ["a", None, "b"]}, {"type": "string", "enum": ["a", "b"]}),
        (NULL, NULL),
    ],
)
def test_an_optional_parameter_loses_its_null(schema: Any, expected: Any) -> None:
    assert one(schema) == expected


def test_a_parameter_inside_of_an_object_keeps_its_own_required_names() -> None:
    inner = {"type": "object", "properties": {"x": STRING, "y": NULL}, "required": ["x", "z"]}
    made = one({"type": "array", "items": inner})
    assert made["items"] == inner
    assert list(made["items"]) == ["type", "properties", "required"]


def test_an_object_inside_of_a_list_keeps_its_empty_properties() -> None:
    empty = {"type": "object", "properties": {}}
    assert one({"type": "array", "items": empty}) == {"type": "array", "items": empty}


@pytest.mark.parametrize(
    ("reference", "root"),
    [
        ("#/$defs/a~1b", {"$defs": {"a/b": NUMBER}}),
        ("#/$defs/a~0b", {"$defs": {"a~b": NUMBER}}),
        ("#/$defs/a~01b", {"$defs": {"a~1b": NUMBER}}),
        ("#/n", {"n": {"$ref": "#/m"}, "m": NUMBER}),
        ("#/$defs/deep/er", {"$defs": {"deep": {"er": NUMBER}}}),
    ],
)
def test_a_reference_is_looked_up_by_its_steps(reference: str, root: Json) -> None:
    assert one({"$ref": reference}, **root) == NUMBER


@pytest.mark.parametrize("reference", ["n", "x#/n", "#n", "#/n/type", "#/n/0", 5])
def test_any_other_reference_says_nothing(reference: Any) -> None:
    shown = one({"$ref": reference, "description": "Kept."}, n=NUMBER)
    assert shown["description"] == "Kept."
    assert shown.get("type") in (None, "object")


def test_what_stands_beside_a_reference_counts_more() -> None:
    root = {"$defs": {"d": {"type": "string", "description": "Theirs."}}}
    assert one({"$ref": "#/$defs/d", "description": "Ours."}, **root)["description"] == "Ours."


def test_references_in_a_circle_say_nothing() -> None:
    root = {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a", "title": "B"}}}
    assert one({"$ref": "#/$defs/a"}, **root) == {}


def test_a_schema_may_be_referred_to_more_than_once() -> None:
    made = portable(
        {
            "properties": {"p": {"$ref": "#/$defs/d"}, "q": {"$ref": "#/$defs/d"}},
            "$defs": {"d": {"items": {"$ref": "#/$defs/n"}}, "n": NUMBER},
        }
    )
    assert made["properties"]["q"] == {"type": "array", "items": NUMBER}


def test_two_thousand_subschemas_are_shown_and_no_more() -> None:
    made = portable({"properties": {f"p{n}": STRING for n in range(3000)}})["properties"]
    assert len(made) == 3000
    # The schema itself is the first.
    assert [name for name, node in made.items() if node][-1] == "p1998"


def test_forty_levels_are_shown_and_no_more() -> None:
    schema: Json = {"type": "array", "description": "50"}
    for n in range(49, -1, -1):
        schema = {"type": "array", "description": str(n), "items": schema}
    node, levels = one(schema), 0
    while "items" in node:
        node, levels = node["items"], levels + 1
    # The schema of all the arguments is the first level, the parameter the second.
    assert (levels, node.get("description")) == (38, "38")


def test_alternatives_at_the_top_add_to_its_own_parameters() -> None:
    made = portable(
        {
            "properties": {"a": STRING},
            "required": ["a"],
            "anyOf": [
                {"properties": {"a": NUMBER, "b": NUMBER}},
                {"properties": {"c": NUMBER}},
                {"type": "string"},
            ],
        }
    )
    assert made == {
        "type": "object",
        "properties": {"a": STRING, "b": NUMBER, "c": NUMBER},
        "required": ["a"],
    }


def test_the_keys_of_a_parameter_keep_their_order() -> None:
    either = [{"type": "object", "properties": {"x": STRING}}, STRING]
    node = one({"anyOf": either, "items": {"required": ["b"], "description": "D.", "enum": [1],
                "properties": {"b": STRING}, "type": "object"}})  # fmt: skip
    assert list(node) == ["type", "items"]
    assert list(node["items"]) == ["type", "description", "enum", "properties", "required"]


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
