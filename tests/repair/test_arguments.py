"""Arguments that fit the tool's own schema."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codex_bridge.repair.arguments import repair_arguments
from tests.tools.declared import EXEC, GOAL, IMAGE, MCP, PLAN, STDIN, function

Json = dict[str, Any]
WAIT = function("wait_agent", ["targets"], targets={"type": "array", "items": {"type": "string"}})
SHELL = function("shell", ["command"], command={"type": "array", "items": {"type": "string"}})
OPEN = {"type": "function", "name": "open", "parameters": {"properties": {"a": {"type": "string"}}}}
NULLABLE = function("n", ["a"], a={"type": ["string", "null"]}, b={"type": ["integer", "null"]})
CHOICE = function(
    "c",
    value={
        "anyOf": [{"type": "integer"}, {"type": "object", "properties": {"n": {"type": "integer"}}}]
    },
)
TREE = {
    "type": "function",
    "name": "tree",
    "parameters": {
        "$defs": {"leaf": {"type": "object", "properties": {"size": {"type": "integer"}}}},
        "type": "object",
        "properties": {"leaf": {"$ref": "#/$defs/leaf"}},
    },
}


@pytest.mark.parametrize(
    ("tool", "written", "expected"),
    [
        (EXEC, "", {}),
        (EXEC, "{'cmd': 'ls'}", {"cmd": "ls"}),
        (EXEC, {"cmd": "ls", "yield_time_ms": "1000"}, {"cmd": "ls", "yield_time_ms": 1000}),
        (EXEC, {"cmd": "ls", "yield_time_ms": 1000.0}, {"cmd": "ls", "yield_time_ms": 1000}),
        (EXEC, {"cmd": "ls", "tty": "True"}, {"cmd": "ls", "tty": True}),
        (EXEC, {"cmd": "ls", "tty": "false"}, {"cmd": "ls", "tty": False}),
        (EXEC, {"cmd": "ls", "workdir": None}, {"cmd": "ls"}),
        (EXEC, {"command": "ls"}, {"cmd": "ls"}),
        (EXEC, {"Cmd": "ls", "workDir": "/"}, {"cmd": "ls", "workdir": "/"}),
        (EXEC, {"cmd": "ls", "cwd": "/"}, {"cmd": "ls", "workdir": "/"}),
        (EXEC, {"cmd": ["ls", "-l", "a b"]}, {"cmd": "ls -l 'a b'"}),
        (EXEC, {"command": ["bash", "-lc", "ls | wc"]}, {"cmd": "ls | wc"}),
        (EXEC, {"cmd": ["make test"]}, {"cmd": "make test"}),
        (EXEC, {"cmd": "ls", "prefix_rule": "git"}, {"cmd": "ls", "prefix_rule": ["git"]}),
        (EXEC, {"cmd": "ls", "timeout": 10}, {"cmd": "ls"}),
        (EXEC, {"cmd": 5}, {"cmd": "5"}),
        (EXEC, {"arguments": {"cmd": "ls"}}, {"cmd": "ls"}),
        (EXEC, {"name": "exec_command", "parameters": {"command": "ls"}}, {"cmd": "ls"}),
        (MCP["tools"][0], "null", {}),
        (MCP["tools"][0], "[]", {}),
        (IMAGE, '"a.png"', {"path": "a.png"}),
        (STDIN, {"session_id": "12", "input": "y\n"}, {"session_id": 12, "chars": "y\n"}),
        (STDIN, {"sessionId": 12.0}, {"session_id": 12}),
        (
            PLAN,
            {"plan": {"step": "a", "status": "pending"}},
            {"plan": [{"step": "a", "status": "pending"}]},
        ),
        (
            PLAN,
            {"plan": '[{"step": "a", "status": "pending"}]'},
            {"plan": [{"step": "a", "status": "pending"}]},
        ),
        (
            PLAN,
            {"steps": [{"step": "a", "status": "done", "id": 1}]},
            {"plan": [{"step": "a", "status": "done"}]},
        ),
        (IMAGE, {"file_path": "a.png"}, {"path": "a.png"}),
        (IMAGE, {"filename": "a.png"}, {"path": "a.png"}),
        (GOAL, {"status": "Complete"}, {"status": "complete"}),
        (WAIT, {"targets": "a1"}, {"targets": ["a1"]}),
        (WAIT, {"agent_id": "a1"}, {"targets": ["a1"]}),
        (WAIT, {"targets": '["a1", "a2"]'}, {"targets": ["a1", "a2"]}),
        (SHELL, {"command": "ls | wc"}, {"command": ["bash", "-lc", "ls | wc"]}),
        (NULLABLE, {"a": None, "b": None}, None),
        (CHOICE, {"value": "5"}, {"value": 5}),
        (CHOICE, {"value": {"n": "5"}}, {"value": {"n": 5}}),
        (TREE, {"leaf": {"size": "3"}}, {"leaf": {"size": 3}}),
    ],
)
def test_the_form_is_fitted(tool: Json, written: Any, expected: Json | None) -> None:
    text = written if isinstance(written, str) else orjson.dumps(written).decode()
    repaired = repair_arguments(text, tool["parameters"])
    assert orjson.loads(repaired.text) == (orjson.loads(text) if expected is None else expected)
    assert bool(repaired.steps) == (expected is not None and text != "")


@pytest.mark.parametrize(
    ("tool", "written"),
    [
        (EXEC, {}),
        (EXEC, {"workdir": "/"}),
        (EXEC, {"cmd": {"a": 1}}),
        (EXEC, {"cmd": ["cd /tmp", "ls"]}),
        (EXEC, {"cmd": "ls", "yield_time_ms": "soon"}),
        (EXEC, {"cmd": "ls", "yield_time_ms": "1e999"}),
        (STDIN, {"session_id": "007"}),
        (STDIN, {"session_id": True}),
        (IMAGE, {"path": None}),
        (GOAL, {"status": "finished"}),
        (EXEC, {"cmd": ["make", "test", "&&", "make", "install"]}),
        (EXEC, {"cmd": ["cat", "*.txt"]}),
        (EXEC, {"cmd": 3.1}),
        (function("t", op={"enum": ["=", "in"]}), {"op": "!="}),
        (MCP["tools"][0], {"text": "x", "times": 1.5}),
    ],
)
def test_what_cannot_be_repaired_goes_out_as_it_came(tool: Json, written: Json) -> None:
    """Codex tells the model what is wrong; a value of ours it would just run."""
    text = orjson.dumps(written).decode()
    repaired = repair_arguments(text, tool["parameters"])
    assert (repaired.text, repaired.steps, repaired.fits) == (text, [], False)


@pytest.mark.parametrize(
    "text", ["ls -la", '{"cmd": "rm -rf /home/me/ol', '{"cmd": }', "[1, 2]", "5"]
)
def test_what_is_no_object_goes_out_as_it_came(text: str) -> None:
    repaired = repair_arguments(text, EXEC["parameters"])
    assert (repaired.text, repaired.fits) == (text, False)


def test_a_wrong_key_that_may_mean_two_things_stays() -> None:
    tool = function("t", cwd="string", workdir="string")
    text = '{"directory":"/"}'
    assert "undeclared key" in repair_arguments(text, tool["parameters"]).steps
    loose = {"properties": {"cwd": {"type": "string"}, "workdir": {"type": "string"}}}
    assert repair_arguments(text, loose).text == text


def test_of_several_variants_none_is_taken_that_leaves_something_out() -> None:
    closed = {"type": "object", "additionalProperties": False}
    variants = [
        closed | {"properties": {"kind": {"const": kind}, key: {"type": "string"}}}
        for kind, key in (("x", "n"), ("y", "m"))
    ]
    text = '{"value":{"m":"keep","z":1}}'
    assert repair_arguments(text, {"properties": {"value": {"anyOf": variants}}}).text == text


def test_a_key_that_the_schema_allows_is_not_renamed() -> None:
    schema = {"properties": {"id": {"type": "string"}}}
    assert repair_arguments('{"target":"x"}', schema).text == '{"target":"x"}'
    assert repair_arguments('{"target":"x"}', schema | {"required": ["id"]}).text == '{"id":"x"}'


def test_variants_that_multiply_are_given_up_on() -> None:
    node: Json = {
        "properties": {
            "children": {"type": "array", "items": {"$ref": "#/$defs/any"}},
            "n": {"type": "integer"},
        }
    }
    root = {"$defs": {"any": {"oneOf": [node] * 4}}, "properties": {"a": {"$ref": "#/$defs/any"}}}
    value: Json = {"n": "x"}
    for _ in range(15):
        value = {"children": [value]}
    text = orjson.dumps({"a": value}).decode()
    assert repair_arguments(text, root).text == text


def test_undeclared_keys_stay_where_the_schema_allows_them() -> None:
    text = '{"a":"x","more":1}'
    assert repair_arguments(text, OPEN["parameters"]).text == text


def test_every_step_is_counted() -> None:
    repaired = repair_arguments(
        "{'command': ['ls'], 'tty': 'true', 'x': 1, 'y': 2}", EXEC["parameters"]
    )
    assert sorted(repaired.steps) == [
        "boolean in a string",
        "key",
        "single quotes",
        "undeclared key",
        "undeclared key",
        "word list",
    ]


def test_arguments_too_deep_to_be_written_go_out_as_they_came() -> None:
    text = '{"cmd": "ls", "tty": "true", "prefix_rule": ' + "[" * 400 + "]" * 400 + "}"
    assert repair_arguments(text, EXEC["parameters"]).text == text


@pytest.mark.parametrize(
    "schema",
    [{}, {"properties": None}, {"properties": {"a": None}}, {"properties": {"a": {"type": 7}}},
     {"required": "a"}, {"anyOf": [None, 3]}, {"$ref": "#"}, {"properties": {"a": {"$ref": "#"}}}],
)  # fmt: skip
def test_a_schema_that_makes_no_sense_changes_nothing(schema: Json) -> None:
    assert repair_arguments('{"a":{"a":1}}', schema).text == '{"a":{"a":1}}'


def lists(items: Any) -> Json:
    return {"type": "array", "items": items}


INTEGER, STRING = {"type": "integer"}, {"type": "string"}
CLOSED: Json = {"type": "object", "additionalProperties": False}
FORMS: list[tuple[Any, str, str, list[str]]] = [
    # The schema of the parameter `p`, its value as written and as repaired, the steps.
    (INTEGER, "5.0", "5", ["whole number"]),
    ({"type": ["string", "integer"]}, "5.0", "5", ["whole number"]),
    ({"type": ["null", "number"]}, '"5"', "5", ["number in a string"]),
    ({"type": ["string", "integer"]}, '"5"', '"5"', []),
    ({"type": "number"}, "2.5", "2.5", []),
    ({"allOf": [INTEGER, {"description": "D."}]}, '"5"', "5", ["number in a string"]),
    ({"oneOf": [INTEGER, {"type": "boolean"}]}, '"true"', "true", ["boolean in a string"]),
    ({"anyOf": [INTEGER, STRING]}, '"5"', '"5"', []),
    ({"anyOf": [lists(INTEGER), {"type": "null"}]}, '"5"', "[5]",
     ["number in a string", "lone value"]),
    (lists(INTEGER), '["5",6]', "[5,6]", ["number in a string"]),
    (lists(INTEGER), '"[5]"', "[5]", ["double encoding"]),
    (lists(INTEGER), '"x"', '"x"', []),
    (lists(STRING), '"x"', '["x"]', ["lone value"]),
    (lists(STRING), "5", '["5"]', ["number as string", "lone value"]),
    ({"type": "array"}, "5", "[5]", ["lone value"]),
    (lists(lists(STRING)), '"x"', '[["x"]]', ["lone value", "lone value"]),
    (lists({"type": "object"}), '{"a":1}', '[{"a":1}]', ["lone value"]),
    ({"enum": ["a_b", "c"]}, '"A-B"', '"a_b"', ["choice"]),
    ({"enum": ["ab", "a_b"]}, '"A-B"', '"A-B"', []),
    ({"enum": [5, "c"]}, '"C"', '"c"', ["choice"]),
    ({"enum": ["a"]}, "5", "5", []),
    (STRING, '["ls","-l"]', '["ls","-l"]', []),
    ({"properties": {"yield_ms": INTEGER}} | CLOSED, '{"yieldMs":"5"}', '{"yield_ms":5}',
     ["key", "number in a string"]),
    ({"properties": {"path": STRING}} | CLOSED, '{"file":"x","more":1}', '{"path":"x"}',
     ["key", "undeclared key"]),
    ({"properties": {"path": STRING}} | CLOSED, '{"file":"x","filename":"y"}', '{"path":"x"}',
     ["key", "undeclared key"]),
    ({"properties": {"path": STRING}} | CLOSED, '{"path":"x","file":"y"}', '{"path":"x"}',
     ["undeclared key"]),
    ({"properties": {"path": STRING}}, '{"Path":"x"}', '{"path":"x"}', ["key"]),
    ({"properties": {"path": STRING}}, '{"file":"x"}', '{"file":"x"}', []),
    ({"properties": {"path": STRING}, "required": ["path"]}, '{"file":"x"}', '{"path":"x"}',
     ["key"]),
    ({"properties": {"a": STRING, "b": STRING}, "required": ["a"]}, '{"a":null,"b":null}',
     '{"a":null}', ["null"]),
    ({"properties": {"a": {"type": ["string", "null"]}}}, '{"a":null}', '{"a":null}', []),
    ({"properties": {"a": {}}}, '{"a":null}', '{"a":null}', []),
    (CLOSED, '{"a":1}', "{}", ["undeclared key"]),
    (CLOSED | {"patternProperties": {"a": {}}}, '{"a":1}', '{"a":1}', []),
    ({"properties": {"a": INTEGER}, "patternProperties": {"b": {}}} | CLOSED,
     '{"a":"1","b":2}', '{"a":1,"b":2}', ["number in a string"]),
    ({"type": "object"}, '{"a":1}', '{"a":1}', []),
    ({"type": "object", "properties": {"a": INTEGER}}, '"{\\"a\\":\\"1\\"}"', '{"a":1}',
     ["double encoding", "number in a string"]),
    ({"$ref": "#/$defs/n"}, '"5"', "5", ["number in a string"]),
    (True, '"5"', '"5"', []),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "written", "repaired", "steps"), FORMS)
def test_a_parameter_gets_the_form_of_its_schema(
    schema: Any, written: str, repaired: str, steps: list[str]
) -> None:
    root = {"properties": {"p": schema}, "$defs": {"n": INTEGER}}
    result = repair_arguments(f'{{"p":{written}}}', root)
    assert (result.text, result.steps) == (f'{{"p":{repaired}}}', steps)
    assert result.value == orjson.loads(result.text)


ONE: Json = {"properties": {"n": INTEGER}, "required": ["n"]}


@pytest.mark.parametrize(
    ("text", "schema", "expected", "steps", "fits"),
    [
        ("", {}, "{}", [], True),
        (" \n", ONE, "{}", [], False),
        ("null", {}, "{}", ["no object"], True),
        ("[]", ONE, "{}", ["no object"], False),
        ("5", ONE, '{"n":5}', ["lone value"], True),
        ('"5"', ONE, '"5"', [], False),
        ("5", ONE | {"required": ["n", "m"]}, "5", [], False),
        ("5", ONE | {"required": ["m"]}, "5", [], False),
        ("5", {"properties": {"n": INTEGER}}, "5", [], False),
        ("'x'", {}, "'x'", [], False),
        ('{"arguments":{"n":5}}', ONE, '{"n":5}', ["wrapped"], True),
        ('{"type":"x","name":"y","parameters":{"n":5}}', ONE, '{"n":5}', ["wrapped"], True),
        ('{"arguments":{"n":5},"parameters":{"n":6}}', ONE, '{"n":5}', ["wrapped"], True),
        ('{"arguments":{}}', ONE, '{"arguments":{}}', [], False),
        ('{"arguments":"{}"}', ONE, '{"arguments":"{}"}', [], False),
        ('{"arguments":{"n":5},"id":1}', ONE, '{"arguments":{"n":5},"id":1}', [], False),
        (
            '{"arguments":{"n":5}}',
            {"properties": {"arguments": {}}},
            '{"arguments":{"n":5}}',
            [],
            True,
        ),
        ("oops", ONE, "oops", [], False),
    ],
)
def test_what_is_no_object_becomes_one_where_it_clearly_stands_for_it(
    text: str, schema: Json, expected: str, steps: list[str], fits: bool
) -> None:
    result = repair_arguments(text, schema)
    assert (result.text, result.steps, result.fits) == (expected, steps, fits)


@pytest.mark.parametrize("keyword", ["properties", "items", "allOf", "anyOf"])
def test_a_value_is_repaired_down_to_forty_levels(keyword: str) -> None:
    def repaired(levels: int) -> bool:
        value: Any = "5"
        schema: Any = INTEGER
        for _ in range(levels):
            if keyword == "properties":
                value, schema = {"a": value}, {"properties": {"a": schema}}
            elif keyword == "items":
                value, schema = [value], {"items": schema}
            else:
                schema = {keyword: [schema]}
        text = orjson.dumps({"p": value}).decode()
        return bool(repair_arguments(text, {"properties": {"p": schema}}).steps)

    # The arguments are the first level, the parameter the second.
    assert repaired(39)
    assert not repaired(40)


fitting = st.fixed_dictionaries(
    {"cmd": st.text(max_size=20)},
    optional={
        "workdir": st.text(max_size=5),
        "tty": st.booleans(),
        "yield_time_ms": st.integers(0, 10**6),
        "prefix_rule": st.lists(st.text(max_size=3), max_size=3),
    },
)


@given(fitting, st.booleans())
def test_what_fits_comes_back_byte_for_byte(value: Json, spaced: bool) -> None:
    option = orjson.OPT_INDENT_2 if spaced else 0
    text = orjson.dumps(value, option=option).decode()
    repaired = repair_arguments(text, EXEC["parameters"])
    assert (repaired.text, repaired.steps, repaired.fits) == (text, [], True)


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)
keys = st.sampled_from(["cmd", "command", "workdir", "cwd", "tty", "yield_time_ms", "plan", "x"])


@given(st.dictionaries(keys, anything), st.sampled_from([EXEC, PLAN, STDIN, WAIT]))
def test_any_arguments_end_as_json_and_repairing_again_changes_nothing(
    value: Json, tool: Json
) -> None:
    repaired = repair_arguments(json.dumps(value), tool["parameters"])
    orjson.loads(repaired.text)
    again = repair_arguments(repaired.text, tool["parameters"])
    assert again.fits == repaired.fits
    if repaired.fits:
        assert (again.text, again.steps) == (repaired.text, [])


CLOSED = {
    "type": "object",
    "properties": {"cmd": {"type": "string"}, "workdir": {"type": "string"}},
    "required": ["cmd"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("written", "text", "steps"),
    [
        ('{"script": "ls"}', '{"cmd":"ls"}', ["key"]),
        ('{"kwargs": {"cmd": "ls"}}', '{"cmd":"ls"}', ["wrapped"]),
        ('{"properties": {"cmd": "ls"}}', '{"cmd":"ls"}', ["wrapped"]),
        ('{"cmd": "[\\"ls\\", \\"-la\\"]"}', '{"cmd":"ls -la"}', ["word list"]),
        ('"cmd": "ls -la"}', '{"cmd":"ls -la"}', ["lost brace"]),
        ('{"cmd": "ls", "why": "x"}', '{"cmd":"ls"}', ["undeclared key"]),
        # Half of a command is none.
        ('{"cmd": "[\\"ls\\"] && rm x"}', '{"cmd": "[\\"ls\\"] && rm x"}', []),
        # What may be the missing one is not left out.
        ('{"env": {"cmd": "ls"}}', None, []),
        ('{"code": "ls", "language": "bash"}', None, []),
        ('{"description": "Lists files"}', None, []),
        ('{"options": {"depth": 1}}', None, []),
        ('{"workdir": "/", "text": "ls"}', None, []),
    ],
)
def test_no_key_is_left_out_where_a_required_one_is_missing(
    written: str, text: str | None, steps: list[str]
) -> None:
    repaired = repair_arguments(written, CLOSED)
    assert (repaired.text, repaired.steps) == (text or written, steps)
    assert repaired.fits is (text is not None)


def test_the_form_that_codex_teaches_for_patches_becomes_its_command() -> None:
    patch = "*** Begin Patch\n*** Add File: a\n+x\n*** End Patch"
    written = orjson.dumps({"cmd": ["apply_patch", patch]}).decode()
    repaired = repair_arguments(written, CLOSED)
    assert repaired.value == {"cmd": f"apply_patch <<'EOF'\n{patch}\nEOF"}
    broken = orjson.dumps({"cmd": ["apply_patch", "no patch"]}).decode()
    assert repair_arguments(broken, CLOSED).text == broken
