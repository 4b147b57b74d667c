"""Ollama's generic parser of calls: what it finds, and what it drops without a word."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted

from tests.fake_ollama import Call, Calls, Fragments, ModelFacts, Say, Think
from tests.fake_ollama.client import Make, ask, chat, chunks, lines, native_chat
from tests.fake_ollama.generic_parser import GenericParser
from tests.fake_ollama.script import Step

Json = dict[str, Any]
FACTS = ModelFacts(swallows=True)
TOOL: Json = {
    "type": "function",
    "function": {"name": "exec_command", "parameters": {"type": "object", "properties": {}}},
}
GOOD = Call("exec_command", {"cmd": "ls"})
SHELL = Call("shell", {"command": "pwd"})
BROKEN = Call("exec_command", '{"cmd": "ls"')


async def answered(make: Make, *steps: Step, **more: Any) -> tuple[str, list[Any], Json]:
    """The text, the names and arguments of the calls, and the last line."""
    fake = make(steps, models=[FACTS])
    *pieces, last = lines(await native_chat(fake, **({"tools": [TOOL]} | more)))
    messages = [piece["message"] for piece in pieces]
    functions = [call["function"] for message in messages for call in message.get("tool_calls", ())]
    text = "".join(message["content"] for message in messages)
    return text, [(each["name"], each["arguments"]) for each in functions], last


@pytest.mark.parametrize(
    "dropped",
    [
        SHELL,
        BROKEN,
        Call("shell", {"command": "pwd", "more": {}}),
        Calls(SHELL, SHELL),
        Fragments("shell", ('{"command":', ' "pwd"}')),
        Say('<tool_call>\n{"name": "exec_command"}\n</tool_call>'),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_call_that_is_not_understood_is_dropped_and_counted(
    make: Make, dropped: Step
) -> None:
    text, calls, last = await answered(make, dropped)
    assert (text, calls) == ("", [])
    assert (last["done_reason"], last["message"]["content"]) == ("stop", "")
    assert last["eval_count"] > 3


@pytest_twisted.ensureDeferred
async def test_it_is_dropped_on_the_openai_route_as_well(make: Make) -> None:
    fake = make([Think("Files."), SHELL], models=[FACTS])
    answer = await chat(fake, tools=[TOOL], stream_options={"include_usage": True})
    *said, finish, usage = chunks(answer)
    deltas = [chunk["choices"][0]["delta"] for chunk in said]
    assert [delta.get("tool_calls") for delta in deltas] == [None] * len(deltas)
    assert "".join(delta["content"] for delta in deltas) == ""
    assert finish["choices"][0]["finish_reason"] == "stop"
    assert usage["usage"]["completion_tokens"] > 4


@pytest_twisted.ensureDeferred
async def test_a_declared_call_comes_through_with_the_text_before_it(make: Make) -> None:
    text, calls, last = await answered(make, Think("hm"), Say("Let me look."), GOOD)
    assert (text, calls) == ("Let me look.\n", [("exec_command", {"cmd": "ls"})])
    assert last["done_reason"] == "stop"
    fake = make([GOOD], models=[FACTS])
    *_, finish = chunks(await chat(fake, tools=[TOOL]))
    assert finish["choices"][0]["finish_reason"] == "tool_calls"


@pytest_twisted.ensureDeferred
async def test_text_behind_the_first_tag_is_dropped(make: Make) -> None:
    text, calls, _ = await answered(make, Say("A "), GOOD, Say(" B"), GOOD)
    assert text == "A \n"
    assert calls == [("exec_command", {"cmd": "ls"})] * 2


@pytest_twisted.ensureDeferred
async def test_a_declared_name_takes_the_arguments_of_the_dropped_call_before_it(
    make: Make,
) -> None:
    """As in tools/tools.go: the name and the first object are looked up apart."""
    assert (await answered(make, SHELL, GOOD))[1] == [("exec_command", {"command": "pwd"})]


@pytest_twisted.ensureDeferred
async def test_without_declared_tools_a_call_is_text(make: Make) -> None:
    text, calls, _ = await answered(make, SHELL, tools=[])
    assert text == '<tool_call>\n{"name": "shell", "arguments": {"command":"pwd"}}\n</tool_call>'
    assert calls == []


@pytest_twisted.ensureDeferred
async def test_what_was_dropped_comes_whole_as_own_words(make: Make) -> None:
    fake = make([SHELL], [SHELL], models=[FACTS])
    sent: Json = {"tools": [TOOL]}
    await native_chat(fake, **sent)
    shown = await native_chat(fake, **sent, _debug_render_only=True)
    asked = {
        "model": "qwen3:14b",
        "raw": True,
        "think": False,
        "prompt": shown.json["_debug_info"]["rendered_template"],
    }
    got = lines(await ask(fake, "POST", "/api/generate", asked))
    assert '{"name": "shell", ' in "".join(line["response"] for line in got)
    dropped, own = fake.turns
    assert own.effective["messages"] == dropped.effective["messages"]
    assert own.effective["prompt_tokens"] == dropped.effective["prompt_tokens"]


def test_a_model_that_swallows_nothing_is_the_default() -> None:
    assert not ModelFacts().swallows


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ('<tool_call>{"name": "f", "arguments": {"a": 1}}', [("f", {"a": 1})]),
        ('<tool_call>{"name": "f", "parameters": {"a": 1}}', [("f", {"a": 1})]),
        ('<tool_call>{"name": "f", "arguments": "{\\"a\\": 1}"}', [("f", {"a": 1})]),
        ('<tool_call>{"name": "ff", "arguments": {}}', [("ff", {})]),
        ('<tool_call>{"f": {"a": "}"}}', [("f", {"a": "}"})]),
        ('<tool_call>f {"a": 1}', [("f", {"a": 1})]),
        ('<tool_call>[{"x": [{"name": "f", "arguments": {"a": 1}}]}]', [("f", {"a": 1})]),
        ('<tool_call>{"name": "f"}', []),
        ('<tool_call>{"name": "f", "arguments": {"a": 1}', []),
        ('{"name": "f", "arguments": {"a": 1}}', []),
    ],
)
def test_what_the_parser_takes_for_a_call(written: str, found: list[tuple[str, Json]]) -> None:
    for pieces in ([written], list(written)):
        parser = GenericParser(["f", "ff"])
        calls = [call for piece in pieces for call in parser.add(piece)[0]]
        assert [(call.name, call.arguments) for call in calls] == found


def test_what_may_become_the_tag_is_held_back() -> None:
    parser = GenericParser(["f"])
    assert [parser.add(piece)[1] for piece in ("a <to", "ol", "x <", "tool_call>", "b")] == [
        *("a ", "", "<toolx ", "", "")
    ]
