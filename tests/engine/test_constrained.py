"""Answers of the real engine that can be nothing but a right call, or a text."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted

from codex_bridge.cli.llama_server import LlamaServer
from codex_bridge.repair.arguments import repair_arguments
from codex_bridge.tools.constrained import call_schema, read_constrained
from codex_bridge.tools.shown import ToolProfile
from codex_bridge.tools.toolbox import Toolbox
from tests.engine.conftest import Bridge
from tests.harness import Setup
from tests.tools.declared import CODEX

Json = dict[str, Any]
ENOUGH = 200
"""Tokens for the longest of these answers."""


async def ask(setup: Setup, path: str, body: Json) -> Json:
    answer = await setup.request("POST", path, body)
    assert answer.status == 200, answer.body
    given: Json = answer.json
    return given


async def said_in_chat(setup: Setup, word: str, functions: list[Json], schema: Json) -> str:
    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    messages = [{"role": "user", "content": f"go {word}".strip()}]
    body = {"messages": messages, "tools": functions, "max_tokens": ENOUGH}
    answer = await ask(setup, "/v1/chat/completions", body | {"response_format": form})
    message = answer["choices"][0]["message"]
    assert "tool_calls" not in message
    content: str = message["content"]
    return content


async def said_behind_the_prompt(
    setup: Setup, word: str, functions: list[Json], schema: Json
) -> str:
    messages = [{"role": "user", "content": f"go {word}".strip()}]
    made = await ask(setup, "/apply-template", {"messages": messages, "tools": functions})
    body = {"prompt": made["prompt"], "json_schema": schema, "n_predict": ENOUGH}
    content: str = (await ask(setup, "/completion", body))["content"]
    return content


WAYS = {"chat": said_in_chat, "completion": said_behind_the_prompt}
WORDS = {
    "chat": ["", "SHELL", "UNCLOSED", "STRARGS", "EMPTY", "BROKEN"],
    # This build of llama.cpp lets the white space of BROKEN go on without an end here.
    "completion": ["", "SHELL", "UNCLOSED", "STRARGS", "EMPTY"],
}
"""By itself the model would call what is not there, write broken JSON, or say nothing. UNKNOWN is
left out: no schema keeps a model from repeating itself inside of a string."""


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("profile", ToolProfile)
@pytest_twisted.ensureDeferred
async def test_a_model_that_is_held_to_the_schema_makes_a_right_call(
    llama: LlamaServer, bridge_to: Bridge, way: str, profile: ToolProfile
) -> None:
    setup = await bridge_to(llama.url)
    toolbox = Toolbox.from_request(CODEX, (), profile)
    functions = toolbox.functions()
    schema = call_schema(functions, may_answer=True)
    for word in WORDS[way]:
        text = await WAYS[way](setup, word, functions, schema)
        read = read_constrained(text)
        assert isinstance(read, tuple), (word, text)
        name, arguments = read
        assert name in {function["function"]["name"] for function in functions}
        repaired = repair_arguments(arguments, toolbox.offered[name].parameters)
        assert (repaired.fits, repaired.steps) == (True, []), (word, text)


@pytest.mark.parametrize("way", WAYS)
@pytest_twisted.ensureDeferred
async def test_a_model_that_may_only_answer_answers(
    llama: LlamaServer, bridge_to: Bridge, way: str
) -> None:
    setup = await bridge_to(llama.url)
    functions = Toolbox.from_request(CODEX).functions()
    schema = call_schema([], may_answer=True)
    text = await WAYS[way](setup, "TALK", functions, schema)
    assert text.replace(" ", "").startswith('{"answer":"'), text


@pytest_twisted.ensureDeferred
async def test_every_keyword_of_a_tool_becomes_one_that_the_engine_takes(
    llama: LlamaServer, bridge_to: Bridge
) -> None:
    """It refuses the whole schema otherwise."""
    setup = await bridge_to(llama.url)
    nodes: list[Any] = [
        *(True, False, {}, {"type": "file"}, {"type": ["object", "null"]}, {"enum": []}),
        *({"anyOf": []}, {"anyOf": [True]}, {"$ref": "#/$defs/a"}, {"const": {"a": [1]}}),
        *({"type": "string", "pattern": "^(a$", "format": "uri"}, {"items": [True]}, {"not": {}}),
        *({"type": "object", "properties": {'a "b"': {}}, "required": ['a "b"', "c"]},),
    ]
    parameters = {f"p{n}": node for n, node in enumerate(nodes)}
    for required in ([], [*parameters]):
        schema = {"type": "object", "properties": parameters, "required": required}
        tool = {"type": "function", "name": "odd", "parameters": schema}
        for profile in ToolProfile:
            functions = Toolbox.from_request([tool], (), profile).functions()
            held = call_schema(functions, may_answer=True)
            text = await said_in_chat(setup, "TALK", [], held)
            assert text.startswith('{"')
