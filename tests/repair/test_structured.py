"""Final answers and the JSON that the client asked for."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codex_bridge.repair.structured import fitted, misfit

Json = dict[str, Any]
STRING, WHOLE = {"type": "string"}, {"type": "integer"}
OBJECT: Json = {"type": "json_object"}


def of(schema: Any) -> Json:
    """`text.format`, in the shape of chat completions."""
    return {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": schema}}


def strict(**properties: Any) -> Json:
    """A schema as OpenAI's strict mode wants it."""
    return {
        "type": "object",
        "properties": properties,
        "required": [*properties],
        "additionalProperties": False,
    }


NODE = strict(name=STRING, next={"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]})
REPORT = strict(n=WHOLE, files={"type": "array", "items": STRING})
FITTING: list[tuple[str, Json]] = [
    ('{"n": 1, "files": []}', of(REPORT)),
    (' {"n":1,\n\t"files":["a"]}\n', of(REPORT)),
    ('{"n": 1.0, "files": []}', of(REPORT)),
    ("[1]", of({"type": "array", "items": WHOLE})),
    ('"x"', of(STRING)),
    ('"{}"', of(STRING)),
    ("{}", OBJECT),
    ('{"a": {"b": [1]}}', OBJECT),
    ('{"name": "a", "next": {"name": "b", "next": null}}', of(NODE | {"$defs": {"node": NODE}})),
]


@pytest.mark.parametrize(("text", "form"), FITTING)
def test_a_text_that_fits_comes_back_byte_for_byte(text: str, form: Json) -> None:
    assert fitted(text, form) == text


ONE = '{"n":1,"files":["a"]}'
MENDED: list[tuple[str, str]] = [
    ('```json\n{"n": 1, "files": ["a"]}\n```', ONE),
    ('```\n{"n": 1, "files": ["a"]}', ONE),
    ('Here it is:\n\n```json\n{"n": 1, "files": ["a"]}\n```\nAnything else?', ONE),
    ('The result is {"n": 1, "files": ["a"]}.', ONE),
    ("{'n': 1, 'files': ['a']}", ONE),
    ('{"n": 1, "files": ["a",],}', ONE),
    ('{"n": 1, // how many\n "files": ["a"] /* all */}', ONE),
    ('{n: 1, files: ["a"]}', ONE),
    ('{"n": "1", "files": ["a"]}', ONE),
    ('{"n": 1, "files": "[\\"a\\"]"}', ONE),
    ('"{\\"n\\": 1, \\"files\\": [\\"a\\"]}"', ONE),
    ('{"n": 1, "files": ["a"]}{"n": 1, "files": ["a"]}', ONE),
    ('{"n": 1, "files": [5]}', '{"n":1,"files":["5"]}'),
    ('{"n": 1, "files": ["grep "x" f"]}', '{"n":1,"files":["grep \\"x\\" f"]}'),
]


@pytest.mark.parametrize(("text", "expected"), MENDED)
def test_a_wrong_form_is_mended(text: str, expected: str) -> None:
    assert fitted(text, of(REPORT)) == expected


MENDED_VALUES: list[tuple[Any, Any, Any]] = [
    (WHOLE, "5", 5),
    ({"type": "number"}, "2.5", 2.5),
    ({"type": "boolean"}, "True", True),
    (STRING, 5, "5"),
    ({"type": ["integer", "null"]}, "5", 5),
    ({"anyOf": [WHOLE, {"type": "null"}]}, "5", 5),
    ({"oneOf": [{"type": "null"}, strict(a=WHOLE)]}, {"a": "5"}, {"a": 5}),
    ({"allOf": [WHOLE]}, "5", 5),
    ({"$ref": "#/$defs/whole"}, "5", 5),
    ({"type": "array", "items": {"$ref": "#/$defs/whole"}}, ["5", 6], [5, 6]),
    ({"type": "object", "additionalProperties": WHOLE}, {"a": "5"}, {"a": 5}),
    ({"type": "array", "prefixItems": [STRING, WHOLE]}, [1, "2", "3"], ["1", 2, "3"]),
    # What a command line is for a tool is a list of strings here.
    (strict(cmd={"type": "array", "items": STRING}), {"cmd": ["ls", 5]}, {"cmd": ["ls", "5"]}),
]


@pytest.mark.parametrize(("schema", "written", "meant"), MENDED_VALUES)
def test_a_value_gets_its_type(schema: Any, written: Any, meant: Any) -> None:
    form = of(strict(v=schema) | {"$defs": {"whole": WHOLE}})
    text = fitted(orjson.dumps({"v": written}).decode(), form)
    assert text is not None
    assert orjson.loads(text) == {"v": meant}


def in_v(schema: Any) -> Json:
    return strict(v=schema) | {"$defs": {"whole": WHOLE}}


# Schema, text, and what the model is told.
WRONG: list[tuple[Any, str, str]] = [
    (REPORT, "", "it is not one JSON object"),
    (REPORT, "I could not find any files.", "it is not one JSON object"),
    (REPORT, '{"n": 1}', '"files" is missing'),
    (REPORT, '{"n": "one", "files": []}', '"n" must be a whole number'),
    (REPORT, '{"n": 1.5, "files": []}', '"n" must be a whole number'),
    (REPORT, '{"n": true, "files": []}', '"n" must be a whole number'),
    (REPORT, '{"n": null, "files": []}', '"n" must be a whole number'),
    (REPORT, '{"n": 1, "files": "a.txt"}', '"files" must be a list'),
    (REPORT, '{"n": 1, "files": ["a", null]}', '"files[1]" must be a string'),
    (REPORT, '{"n": 1, "files": "[\\"a\\""}', '"files" must be a list'),
    (REPORT, '{"n": 1, "files": [], "note": "x"}', '"note" is not allowed'),
    (REPORT, "[]", "it must be an object"),
    (REPORT, '{"N": 1, "files": []}', '"n" is missing'),
    # One of two is not chosen, and what breaks off may lack its end.
    (REPORT, '{"n": 1, "files": []} or {"n": 2, "files": []}', "it is not one JSON object"),
    (
        REPORT,
        '{"n": 1, "files": []}\n{"n": 2, "files": []}',
        "it is not valid JSON: more than one value",
    ),
    (REPORT, '{"files": ["a"], "n": 1', "it is not one JSON object"),
    (
        strict(a=REPORT),
        '{"a": {"n": 1, "files": []}',
        "it is not valid JSON: a bracket is not closed",
    ),
    (REPORT, '"n": 1, "files": []}', "it is not one JSON object"),
    (
        REPORT,
        '{"files": ["a], "n": 1}',
        "it is not valid JSON: quotes that do not pair at character 19",
    ),
    (strict(v=REPORT), '{"v": {"n": 1}}', '"v.files" is missing'),
    (strict(v={"type": "array", "items": REPORT}), '{"v": [{"n": 1}]}', '"v[0].files" is missing'),
    (in_v({"const": "k"}), '{"v": "l"}', '"v" must be "k"'),
    (in_v({"enum": ["a", 1]}), '{"v": "A"}', '"v" must be "a" or 1'),
    (in_v({"enum": [1]}), '{"v": true}', '"v" must be 1'),
    (in_v(STRING | {"pattern": "^[a-z]+$"}), '{"v": "A"}', '"v" must match ^[a-z]+$'),
    (in_v(STRING | {"format": "date"}), '{"v": "2023-02-29"}', '"v" must be a valid date'),
    (in_v(WHOLE | {"minimum": 3}), '{"v": 2}', '"v" must be at least 3'),
    (in_v(WHOLE | {"maximum": 3}), '{"v": 4}', '"v" must be at most 3'),
    (in_v(WHOLE | {"exclusiveMinimum": 3}), '{"v": 3}', '"v" must be more than 3'),
    (in_v(WHOLE | {"exclusiveMaximum": 3}), '{"v": 3}', '"v" must be less than 3'),
    (
        in_v({"type": "number", "multipleOf": 0.1}),
        '{"v": 0.35}',
        '"v" must be a multiple of 0.1',
    ),
    (
        in_v({"type": "array", "items": WHOLE, "minItems": 1}),
        '{"v": []}',
        '"v" must be at least so many entries long: 1',
    ),
    (
        in_v({"type": "array", "items": WHOLE, "maxItems": 1}),
        '{"v": [1, 2]}',
        '"v" must be at most so many entries long: 1',
    ),
    (
        in_v(STRING | {"minLength": 2}),
        '{"v": "a"}',
        '"v" must be at least so many characters long: 2',
    ),
    (in_v({"$ref": "#/$defs/whole"}), '{"v": "x"}', '"v" must be a whole number'),
    (
        in_v({"anyOf": [WHOLE, {"type": "null"}]}),
        '{"v": "x"}',
        '"v" must be a whole number or null',
    ),
    (in_v({"anyOf": [REPORT, {"type": "null"}]}), '{"v": {"n": 1}}', '"v.files" is missing'),
    (
        in_v({"anyOf": [strict(k={"const": "a"}, x=WHOLE), strict(k={"const": "b"}, y=WHOLE)]}),
        '{"v": {"k": "b"}}',
        '"v.y" is missing',
    ),
    (in_v({"not": STRING}), '{"v": "x"}', '"v" does not fit the schema'),
    (in_v(False), '{"v": 1}', '"v" is not allowed'),
    # Nothing fits that cannot be checked.
    (in_v({"$ref": "#/$defs/none"}), '{"v": 1}', "it has parts that cannot be checked"),
    (in_v({"$ref": "https://a.org"}), '{"v": 1}', "it has parts that cannot be checked"),
    (in_v(STRING | {"pattern": r"(a)\1"}), '{"v": "aa"}', "it has parts that cannot be checked"),
    ({"anyOf": [{"$ref": "#"}]}, "{}", "it has parts that cannot be checked"),
]


@pytest.mark.parametrize(("schema", "text", "told"), WRONG)
def test_what_does_not_fit_is_not_made_to_fit(schema: Any, text: str, told: str) -> None:
    assert fitted(text, of(schema)) is None
    assert misfit(text, of(schema)) == told


def test_a_problem_is_told_in_two_hundred_characters() -> None:
    choices = [f"choice number {n}" for n in range(100)]
    told = misfit('{"v": 1}', of(strict(v={"enum": choices})))
    assert told.startswith('"v" must be "choice number 0" or "choice')
    assert len(told) == 200
    key = "k" * 500
    assert len(misfit("{}", of(strict(**{key: WHOLE})))) == 200


def test_every_json_object_fits_where_no_schema_is_given() -> None:
    assert fitted("```json\n{'a': 1}\n```", OBJECT) == '{"a":1}'
    assert fitted("[1]", OBJECT) is None
    assert misfit("[1]", OBJECT) == "it must be an object"


def test_a_list_is_found_where_a_list_is_wanted() -> None:
    form = of({"type": "array", "items": WHOLE})
    assert fitted("The numbers: [1, '2',]", form) == "[1,2]"
    assert misfit("The numbers: 1, 2", form) == "it is not one JSON object"


@pytest.mark.parametrize("levels", [20, 200, 900])
def test_a_value_that_is_too_deep_never_fits_by_accident(levels: int) -> None:
    value: Any = {"name": 5, "next": None}
    for _ in range(levels):
        value = {"name": "a", "next": value}
    text = (
        orjson.dumps(value).decode()
        if levels < 200
        else '{"name":"a","next":' * levels + '{"name":[],"next":null}' + "}" * levels
    )
    form = of(NODE | {"$defs": {"node": NODE}})
    assert sys.getrecursionlimit() == 1000
    result = fitted(text, form)
    assert (result is not None) is (levels == 20)
    assert len(misfit(text, form)) <= 200


# An independent check, for schemas of a few keywords.
def holds(value: Any, schema: Json) -> bool:
    if "anyOf" in schema:
        return any(holds(value, each) for each in schema["anyOf"])
    if "enum" in schema:
        return any(type(value) is type(each) and value == each for each in schema["enum"])
    kind = schema["type"]
    if kind == "object":
        return (
            isinstance(value, dict)
            and list(map(str, sorted(value))) == sorted(schema["properties"])
            and all(holds(value[name], part) for name, part in schema["properties"].items())
        )
    if kind == "array":
        return (
            isinstance(value, list)
            and len(value) >= schema.get("minItems", 0)
            and all(holds(each, schema["items"]) for each in value)
        )
    if kind == "integer":
        return type(value) in (int, float) and value == int(value) >= schema.get("minimum", value)
    return isinstance(value, {"string": str, "boolean": bool, "null": type(None)}[kind])


LEAVES = st.sampled_from(
    [
        STRING,
        WHOLE,
        {"type": "integer", "minimum": 3},
        {"type": "boolean"},
        {"type": "null"},
        {"enum": ["a", 1, None]},
    ]
)
NAMES = st.sampled_from(["a", "b", "cmd"])
SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.dictionaries(NAMES, inner, max_size=3).map(lambda parts: strict(**parts)),
        st.builds(
            lambda part, n: {"type": "array", "items": part, "minItems": n},
            inner,
            st.integers(0, 2),
        ),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"anyOf": parts}),
    ),
    max_leaves=6,
).map(lambda schema: strict(a=schema))
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(0, 9), st.sampled_from(["", "a", "5", "true"])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=6,
).map(lambda value: {"a": value})
WRITTEN = st.one_of(
    VALUES.map(lambda value: orjson.dumps(value).decode()),
    VALUES.map(lambda value: f"So: {value!r}."),
    VALUES.map(lambda value: orjson.dumps(orjson.dumps(value).decode()).decode()),
    st.text('{}[]"a:,5 ', max_size=20),
)


@given(WRITTEN, SCHEMAS)
def test_whatever_comes_back_is_json_that_fits(text: str, schema: Json) -> None:
    result = fitted(text, of(schema))
    if result is None:
        told = misfit(text, of(schema))
        assert told
        assert len(told) <= 200
        with suppress(orjson.JSONDecodeError):
            assert not holds(orjson.loads(text), schema)
    else:
        assert holds(orjson.loads(result), schema)


@given(VALUES, SCHEMAS, st.integers(0, 100))
def test_a_text_that_breaks_off_is_never_completed(value: Json, schema: Json, at: int) -> None:
    text = orjson.dumps(value).decode()
    if at < len(text):
        assert fitted(text[:at], of(schema)) is None
