"""What /api/chat answers, line by line, and who is told of it."""

from __future__ import annotations

import re
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from tests.fake_ollama import (
    Call,
    Calls,
    Die,
    Finish,
    Fragments,
    Hold,
    ModelFacts,
    Refuse,
    Say,
    Think,
)
from tests.fake_ollama.client import Make, ask, chat, lines, native_chat

JINJA = [ModelFacts(template="jinja")]
CALL = {"id": "call_1", "function": {"index": 0, "name": "f", "arguments": {"a": 1}}}
F = Call("f", {"a": 1}, id="call_1")


@pytest_twisted.ensureDeferred
async def test_the_last_line_has_durations_and_counts(make: Make) -> None:
    fake = make([Say("Hi there")])
    *_, last = lines(await native_chat(fake))
    prompt_tokens = fake.native_chats[0].effective["prompt_tokens"]
    assert last.keys() == {
        *("model", "created_at", "message", "done", "done_reason"),
        *("total_duration", "load_duration", "prompt_eval_duration", "eval_duration"),
        *("prompt_eval_count", "eval_count"),
    }
    assert (last["prompt_eval_count"], last["eval_count"]) == (prompt_tokens, 3)
    assert last["message"] == {"role": "assistant", "content": ""}


@pytest_twisted.ensureDeferred
async def test_counts_of_zero_are_left_out(make: Make) -> None:
    usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    (last,) = lines(await native_chat(make([Finish("stop", usage)])))
    assert "eval_duration" in last
    assert not {"prompt_eval_count", "eval_count"} & last.keys()


@pytest.mark.parametrize(
    ("finish", "reason"), [("tool_calls", "stop"), ("stop", "stop"), ("length", "length")]
)
@pytest_twisted.ensureDeferred
async def test_no_answer_ends_for_its_calls(make: Make, finish: str, reason: str) -> None:
    *_, last = lines(await native_chat(make([F, Finish(finish)])))
    assert last["done_reason"] == reason


@pytest_twisted.ensureDeferred
async def test_calls_come_before_the_end_each_group_on_a_line(make: Make) -> None:
    fake = make([F, Calls(Call("g", {}), Call("h", {}))])
    first, second, last = lines(await native_chat(fake))
    assert first["message"]["tool_calls"] == [CALL]
    functions = [call["function"] for call in second["message"]["tool_calls"]]
    assert [(call["index"], call["name"]) for call in functions] == [(1, "g"), (2, "h")]
    assert "tool_calls" not in last["message"]


@pytest_twisted.ensureDeferred
async def test_a_jinja_model_sends_its_calls_with_the_end(make: Make) -> None:
    fake = make([Say("Now"), F, Fragments("g", ("{", "}"))], models=JINJA)
    say, last = lines(await native_chat(fake))
    assert (say["message"]["content"], say["done"]) == ("Now", False)
    first, second = last["message"]["tool_calls"]
    assert (first, last["done"], last["done_reason"]) == (CALL, True, "stop")
    assert second["function"] == {"index": 1, "name": "g", "arguments": {}}


@pytest.mark.parametrize("models", [[ModelFacts()], JINJA])
@pytest_twisted.ensureDeferred
async def test_without_a_stream_all_of_it_is_one_object(make: Make, models: Any) -> None:
    fake = make([Think("hm"), Say("Now"), F], models=models)
    answer = (await native_chat(fake, stream=False)).json
    assert answer["message"] == {
        "role": "assistant",
        "content": "Now",
        "thinking": "hm",
        "tool_calls": [CALL],
    }
    assert answer["done"] is True


@pytest_twisted.ensureDeferred
async def test_a_call_without_an_id_in_the_script_gets_one(make: Make) -> None:
    said, _ = lines(await native_chat(make([Call("f", {})])))
    (call,) = said["message"]["tool_calls"]
    assert re.fullmatch("call_[a-z0-9]{8}", call["id"])


BROKEN = "an error was encountered while running the model: unexpected EOF"


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (Die("empty-model"), BROKEN),
        (Refuse(500, "XML syntax error on line 5"), "XML syntax error on line 5"),
        (Call("f", '["a"]'), "error parsing tool call: raw='[\"a\"]', err=not an object"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_failure_in_the_stream_is_told_by_its_last_line(
    make: Make, failure: Any, error: str
) -> None:
    answer = await native_chat(make([Say("x"), failure, Say("never")]))
    said, last = lines(answer)
    assert (answer.status, said["message"]["content"]) == (200, "x")
    assert last == {"error": error}


@pytest.mark.parametrize("models", [[ModelFacts()], JINJA])
@pytest_twisted.ensureDeferred
async def test_a_failure_before_the_stream_has_a_status(make: Make, models: Any) -> None:
    fake = make([Call("f", "{broken")], [Call("f", "{broken")], models=models)
    for stream in (True, False):
        answer = await native_chat(fake, stream=stream)
        assert answer.status == 500
        assert answer.json["error"].startswith("error parsing tool call: raw='{broken', err=")


@pytest_twisted.ensureDeferred
async def test_a_stream_may_just_end(make: Make) -> None:
    (said,) = lines(await native_chat(make([Say("x"), Die("close")])))
    assert said["done"] is False


@pytest_twisted.ensureDeferred
async def test_chats_of_both_routes_are_known_apart_and_in_order(make: Make) -> None:
    fake = make([Say("a")], [Say("b")], [Say("c")])
    await native_chat(fake)
    await chat(fake)
    await ask(fake, "POST", "/api/generate", {"model": "qwen3:14b", "prompt": "x"})
    uris = [turn.uri for turn in fake.turns]
    assert uris == [b"/api/chat", b"/v1/chat/completions"]
    assert [seen.uri for seen in fake.chats] == uris[1:]
    assert [seen.uri for seen in fake.native_chats] == uris[:1]


@pytest_twisted.ensureDeferred
async def test_a_native_chat_is_seen_while_it_goes_on_even_if_it_is_refused(make: Make) -> None:
    until: Deferred[None] = Deferred()
    fake = make([Hold(until), Say("x")])
    seen = fake.chat_seen()
    answer = Deferred.fromCoroutine(native_chat(fake))
    assert (await seen).effective["messages"] == [{"role": "user", "content": "hi"}]
    again = fake.chat_seen()
    refused = await native_chat(fake, think="bogus")
    assert (await again).effective is None
    assert refused.status == 400
    until.callback(None)
    assert (await answer).status == 200
