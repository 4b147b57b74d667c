"""The schema of an answer that is a call or a text, and its reader."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from codex_bridge.tools.constrained import call_schema, read_constrained

Json = dict[str, Any]
STRING = {"type": "string"}
ANSWER = {
    "type": "object",
    "properties": {"answer": STRING},
    "required": ["answer"],
    "additionalProperties": False,
}


def function(name: str, **parameters: Any) -> Json:
    schema = {"type": "object", "properties": {}} | parameters
    return {"type": "function", "function": {"name": name, "parameters": schema}}


def arguments_of(**parameters: Any) -> Json:
    """The schema of the arguments of one function with these parameters."""
    (variant,) = call_schema([function("f", **parameters)], may_answer=False)["anyOf"]
    arguments: Json = variant["properties"]["arguments"]
    return arguments


def test_an_answer_calls_one_of_the_functions_or_is_a_text() -> None:
    shell = function("shell", properties={"cmd": STRING, "dir": STRING}, required=["cmd"])
    schema = call_schema([shell, function("goal")], may_answer=True)
    first, second, text = schema["anyOf"]
    assert first == {
        "type": "object",
        "properties": {
            "name": {"enum": ["shell"]},
            "arguments": {
                "type": "object",
                "properties": {"cmd": STRING, "dir": STRING},
                "required": ["cmd"],
                "additionalProperties": False,
            },
        },
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }
    assert second["properties"]["name"] == {"enum": ["goal"]}
    assert second["properties"]["arguments"]["properties"] == {}
    assert text == ANSWER
    assert call_schema([], may_answer=True) == {"anyOf": [ANSWER]}


def test_an_answer_that_must_be_a_call_cannot_be_a_text() -> None:
    assert ANSWER not in call_schema([function("f")], may_answer=False)["anyOf"]


def test_the_name_comes_first_and_parameters_keep_their_order() -> None:
    schema = call_schema(
        [function("f", properties={"z": STRING, "a": STRING}, required=["a", "z"])],
        may_answer=False,
    )
    text = orjson.dumps(schema).decode()
    assert text.index('"name"') < text.index('"arguments"')
    assert text.index('"z":{') < text.index('"a":{')
    assert '"required":["z","a"]' in text


CLOSED_A = {
    "type": "object",
    "properties": {"a": STRING},
    "required": [],
    "additionalProperties": False,
}
NODES: list[tuple[Any, Json]] = [
    # What llama.cpp refuses, or takes for no schema at all.
    (True, {}),
    (False, {}),
    ({"type": "file"}, {}),
    ({"type": ["string", "file"]}, STRING),
    ({"type": "string", "enum": []}, STRING),
    ({"anyOf": []}, {}),
    # What it ignores.
    ({"type": "string", "description": "d", "pattern": "^(a$"}, STRING),
    ({"type": "string", "anyOf": [{"enum": ["a"]}, {}]}, {"anyOf": [{"enum": ["a"]}, STRING]}),
    ({"type": "string", "enum": ["a", "b"]}, {"enum": ["a", "b"]}),
    ({"type": ["integer", "null"]}, {"type": ["integer", "null"]}),
    ({}, {}),
    # An object that is not closed lets a model write keys without an end.
    ({"type": "object", "properties": {"a": STRING}}, CLOSED_A),
    ({"properties": {"a": STRING}}, CLOSED_A),
    (
        {"type": "object", "properties": {"a": STRING}, "required": ["a", "b"]},
        CLOSED_A | {"required": ["a"]},
    ),
    (
        {"type": ["object", "null"], "properties": {"a": STRING}},
        CLOSED_A | {"type": ["object", "null"]},
    ),
    # But one without declared keys has some of its own.
    ({"type": "object"}, {"type": "object"}),
    ({"type": "object", "properties": {}}, {"type": "object"}),
    ({"type": "array"}, {"type": "array"}),
    (
        {"type": "array", "items": {"type": "object", "properties": {"a": STRING}}},
        {"type": "array", "items": CLOSED_A},
    ),
    (
        {"anyOf": [STRING, {"type": "array", "items": True}]},
        {"anyOf": [STRING, {"type": "array"}]},
    ),
]


@pytest.mark.parametrize(("node", "expected"), NODES)
def test_a_parameter_in_keywords_that_engines_obey(node: Any, expected: Json) -> None:
    assert arguments_of(properties={"p": node})["properties"]["p"] == expected


READ: list[tuple[str, Any]] = [
    ('{"name": "f", "arguments": {"a": 1}}', ("f", '{"a":1}')),
    ('{"name": "f", "arguments": {}}\n\n    ', ("f", "{}")),
    # Engines may write line breaks and blanks between any two tokens.
    ('\n{"name"\n : "f",\n\n  "arguments": {"a": [1 ]\n }\n}', ("f", '{"a":[1]}')),
    # An Ollama that writes the schema anew sorts its keys.
    ('{"arguments": {"a": 1}, "name": "f"}', ("f", '{"a":1}')),
    ('{"name": "f", "arguments": {"a": "ü\\n\\"x\\""}}', ("f", '{"a":"ü\\n\\"x\\""}')),
    ('{"answer": "It is done."}', "It is done."),
    ('{ "answer": "" }', ""),
    ('{"name": "f", "arguments": {"a": 1}', None),
    ('{"name": "f", "arguments": {"a": "x', None),
    ('{"answer": "It is', None),
    ("", None),
    ("It is done.", None),
    ('"f"', None),
    ("[]", None),
    ("{}", None),
    ('{"name": "f"}', None),
    ('{"name": 1, "arguments": {}}', None),
    ('{"name": "f", "arguments": "{}"}', None),
    ('{"name": "f", "arguments": {}, "answer": "x"}', None),
    ('{"answer": 1}', None),
    ('{"name": "f", "arguments": {"a": %s}}' % ("[" * 400 + "]" * 400), None),
]


@pytest.mark.parametrize(("text", "expected"), READ)
def test_what_an_answer_says(text: str, expected: Any) -> None:
    assert read_constrained(text) == expected
