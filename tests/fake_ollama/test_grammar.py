"""`format`: when it holds, and scripts that write what no grammar would let through."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
import pytest_twisted

from tests.conftest import LogBook
from tests.fake_ollama import Call, Die, Finish, ModelFacts, Say, Think
from tests.fake_ollama.client import Make, ask, chat, connect, native_chat
from tests.fake_ollama.grammar import allows
from tests.fake_ollama.script import Step

Json = dict[str, Any]
SCHEMA: Json = {
    "type": "object",
    "properties": {"name": {"const": "f"}, "n": {"type": "integer"}},
    "required": ["name"],
    "additionalProperties": False,
}
THINKS = ModelFacts()
QUIET = ModelFacts(capabilities=("completion", "tools"))
FITS, OTHER, CALL = Say('{"name": "f", "n": 1}'), Say("Here it is."), Call("f", {})


@pytest.mark.parametrize(
    ("facts", "think", "version", "holds"),
    [
        (QUIET, None, "0.33.0", True),
        (THINKS, None, "0.33.0", False),
        (THINKS, "low", "0.33.0", False),
        (THINKS, False, "0.33.0", True),
        (THINKS, False, "0.20.0", True),
        (ModelFacts(template="qwen3.5"), False, "0.33.0", True),
        (ModelFacts(template="qwen3.5"), False, "0.31.2", True),
        (ModelFacts(template="qwen3.5"), False, "0.31.1", False),
        (ModelFacts(template="qwen3.5"), None, "0.33.0", False),
        (ModelFacts(template="jinja"), None, "0.33.0", True),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_model_that_can_think_is_bound_once_thinking_is_off(
    make: Make, facts: ModelFacts, think: Any, version: str, holds: bool
) -> None:
    fake = make([FITS], [FITS], models=[facts], version=version)
    await native_chat(fake, format=SCHEMA, think=think)
    assert fake.turns[0].effective["constrained"] is holds
    await native_chat(fake, think=think)
    assert fake.turns[1].effective["constrained"] is False


@pytest.mark.parametrize(
    ("form", "read"),
    [
        ({"type": "json_object"}, "json"),
        ({"type": "json_schema", "json_schema": {"schema": SCHEMA}}, SCHEMA),
        ({"type": "text"}, None),
    ],
)
@pytest_twisted.ensureDeferred
async def test_the_openai_route_makes_a_format_of_a_response_format(
    make: Make, form: Json, read: Any
) -> None:
    fake = make([FITS])
    await chat(fake, response_format=form, reasoning_effort="none")
    effective = fake.chats[0].effective
    assert (effective["format"], effective["constrained"]) == (read, read is not None)


@pytest.mark.parametrize("think", [None, True, False])
@pytest_twisted.ensureDeferred
async def test_own_words_are_always_bound(make: Make, think: bool | None) -> None:
    fake = make([FITS])
    body = {"model": "qwen3:14b", "prompt": "x", "raw": True, "think": think, "format": SCHEMA}
    assert (await ask(fake, "POST", "/api/generate", body)).status == 200
    assert fake.raw_turns[0].effective["constrained"] is True


POSSIBLE: list[tuple[ModelFacts, list[Step]]] = [
    (QUIET, [FITS]),
    (QUIET, [Say('{"name": '), Finish("length")]),
    (QUIET, [Say('{"name": '), Die("close")]),
    (THINKS, [OTHER]),
    (THINKS, [CALL]),
    (THINKS, [OTHER, CALL]),
    (THINKS, [Think("hm"), FITS]),
    (THINKS, [Think("hm"), CALL]),
    (ModelFacts(template="jinja"), [Think("hm"), FITS]),
]
IMPOSSIBLE: list[tuple[ModelFacts, list[Step], str]] = [
    (QUIET, [OTHER], "does not allow 'Here it is.'"),
    (QUIET, [], "does not allow ''"),
    (QUIET, [Say('{"name": "g"}')], "does not allow"),
    (QUIET, [FITS, CALL], "has a call"),
    (THINKS, [Think("hm"), OTHER], "does not allow 'Here it is.'"),
    (THINKS, [Think("hm"), FITS, CALL], "has a call"),
]


@pytest.mark.parametrize(("facts", "steps"), POSSIBLE)
@pytest_twisted.ensureDeferred
async def test_what_a_grammar_allows_is_played(
    make: Make, facts: ModelFacts, steps: list[Step]
) -> None:
    answer = await native_chat(make(steps, models=[facts]), format=SCHEMA)
    assert answer.status == 200


@pytest.mark.expects_errors
@pytest.mark.parametrize(("facts", "steps", "reason"), IMPOSSIBLE)
@pytest_twisted.ensureDeferred
async def test_what_no_grammar_allows_is_logged_as_an_error(
    make: Make, logged: LogBook, facts: ModelFacts, steps: list[Step], reason: str
) -> None:
    fake = make(steps, models=[facts])
    client = await connect(fake)
    body = {"model": facts.name, "messages": [{"role": "user", "content": "x"}], "format": SCHEMA}
    client.post(body, "/api/chat")
    await client.lost
    assert client.received == b""
    (error,) = logged.errors()
    assert reason in error["log_format"]


@pytest.mark.expects_errors
@pytest_twisted.ensureDeferred
async def test_a_call_with_its_marks_is_not_within_a_schema(make: Make, logged: LogBook) -> None:
    client = await connect(make([CALL]))
    body = {"model": "qwen3:14b", "prompt": "x", "raw": True, "format": SCHEMA}
    client.post(body, "/api/generate")
    await client.lost
    (error,) = logged.errors()
    assert "does not allow '<tool_call>" in error["log_format"]


@pytest.mark.parametrize(
    ("schema", "value", "allowed"),
    [
        ("json", {}, True),
        ("json", [], False),
        ({}, "x", True),
        ({"type": "string"}, 1, False),
        ({"type": ["string", "null"]}, None, True),
        ({"type": "integer"}, True, False),
        ({"type": "number"}, 1, True),
        ({"enum": ["a", 1]}, 1, True),
        ({"const": "a"}, "b", False),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, None, True),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, 3, False),
        ({"type": "array", "items": {"type": "string"}}, ["a", 1], False),
        ({"properties": {"a": {}}, "required": ["a"]}, {}, False),
        ({"properties": {"a": {}}}, {"b": 1}, False),
        ({"properties": {"a": {}}, "additionalProperties": True}, {"b": 1}, True),
        ({"properties": {"a": {}}, "additionalProperties": {"type": "null"}}, {"b": 1}, False),
        ({"$ref": "#/$defs/x", "$defs": {"x": {"type": "string"}}}, 1, False),
    ],
)
def test_what_a_schema_allows(schema: Any, value: Any, allowed: bool) -> None:
    assert allows(schema, orjson.dumps(value).decode()) is allowed


def test_a_text_that_is_no_json_fits_no_schema() -> None:
    assert not allows({}, "x")
