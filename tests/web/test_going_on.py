"""An answer breaks off in mid-text, and the model goes on with it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
import pytest_twisted
from twisted.internet import reactor

from codex_bridge.vocabulary import Json
from tests.conftest import Start
from tests.fake_ollama import (
    Answer,
    Call,
    Die,
    FakeOllama,
    Finish,
    ModelFacts,
    Playlist,
    Raw,
    Refuse,
    Say,
    Think,
)
from tests.harness import CODEX, Setup
from tests.responses.grammar import text_of

HALF = "I will look at the files. First of all the"
FULL = Finish("length", {"prompt_tokens": 32_000, "completion_tokens": 768})
LS = Call("exec_command", {"cmd": "ls"})


def tagged(command: str) -> str:
    """A call in the text."""
    call = {"name": "exec_command", "arguments": {"cmd": command}}
    return f"<tool_call>{orjson.dumps(call).decode()}</tool_call>"


async def answered(
    start: Start, *answers: Answer, facts: ModelFacts | None = None, change: Json | None = None
) -> tuple[Setup, Json]:
    """What a Codex gets from a model that gives these answers."""
    facts = facts or ModelFacts()
    setup = await start(fake=FakeOllama(reactor, Playlist(*answers), models=[facts]))
    return setup, (await setup.ask(change, headers=CODEX)).response


def output(response: Json) -> list[tuple[str, str]]:
    return [
        (item["type"], text_of(item) if item["type"] != "function_call" else item["arguments"])
        for item in response["output"]
    ]


@pytest.mark.parametrize("how", ["close", "reset", "empty-model"])
@pytest_twisted.ensureDeferred
async def test_the_rest_of_an_answer_follows_in_the_same_message(start: Start, how: Any) -> None:
    setup, response = await answered(
        start, [Say(HALF), Die(how)], [Say(" README, then the tests.")]
    )
    assert response["status"] == "completed"
    assert output(response) == [("message", HALF + " README, then the tests.")]
    first, second = setup.fake.turns
    assert second.json["messages"][:-1] == first.json["messages"]
    assert second.json["messages"][-1] == {"role": "assistant", "content": HALF}
    told = (await setup.request("GET", "/__health")).json
    assert told["repairs"] == {"broken answer continued": 1}


@pytest_twisted.ensureDeferred
async def test_without_a_stream_the_model_answers_anew(start: Start) -> None:
    playlist = Playlist([Say(HALF), Die("close")], [Say("There are two files.")])
    setup = await start(fake=FakeOllama(reactor, playlist, models=[ModelFacts(goes_on=False)]))
    response = (await setup.ask({"stream": False}, CODEX)).json
    assert output(response) == [("message", "There are two files.")]


@pytest_twisted.ensureDeferred
async def test_a_model_whose_template_ends_the_message_is_not_asked_to_go_on(start: Start) -> None:
    setup, response = await answered(
        start, [Say(HALF), Die("close")], [Say("new")], facts=ModelFacts(goes_on=False)
    )
    assert (response["status"], response["error"]["code"]) == ("failed", "server_error")
    assert "broke off its answer" in response["error"]["message"]
    assert (len(setup.fake.turns), len(setup.fake.renderings)) == (1, 1)


@pytest_twisted.ensureDeferred
async def test_a_call_is_made_once_and_of_one_attempt(start: Start) -> None:
    setup, response = await answered(
        start,
        [Say(HALF), Call("exec_command", {"cmd": "rm -r"}), Die("close")],
        [Say(" README."), LS],
    )
    assert output(response) == [("message", HALF + " README."), ("function_call", '{"cmd":"ls"}')]
    assert len(setup.fake.turns) == 2


@pytest_twisted.ensureDeferred
async def test_half_a_call_in_the_text_is_not_joined_to_another_half(start: Start) -> None:
    half, rest = tagged("rm -r x")[:-20], tagged("rm -r x")[-20:]
    _, response = await answered(start, [Say(f"{HALF}\n{half}"), Die("close")], [Say(rest)])
    assert [item["type"] for item in response["output"]] == ["message"]
    assert text_of(response["output"][0]).startswith(HALF)
    assert "rm" not in text_of(response["output"][0])


@pytest_twisted.ensureDeferred
async def test_a_call_inside_of_a_code_block_that_was_begun_before_stays_text(start: Start) -> None:
    _, response = await answered(
        start,
        [Say("This is how one calls a function here:\n```\n"), Die("close")],
        [Say(tagged("ls") + "\n```\nThat is all.")],
    )
    assert [item["type"] for item in response["output"]] == ["message"]


@pytest_twisted.ensureDeferred
async def test_a_call_in_the_text_of_the_rest_is_made(start: Start) -> None:
    rest = Say(" README.\n" + tagged("ls"))
    _, response = await answered(start, [Say(HALF), Die("close")], [rest])
    assert output(response)[1] == ("function_call", '{"cmd":"ls"}')


@pytest_twisted.ensureDeferred
async def test_a_call_that_ollama_cannot_read_behind_text_is_made_again_behind_it(
    start: Start,
) -> None:
    setup, response = await answered(
        start, [Say(HALF), Refuse(500, "XML syntax error on line 5")], [Say("Sorry."), LS]
    )
    first = [("message", HALF), ("message", "Sorry.")]
    assert output(response) == [*first, ("function_call", '{"cmd":"ls"}')]
    before, after = (turn.effective["messages"] for turn in setup.fake.turns)
    answer, complaint = after[len(before) :]
    assert (after[: len(before)], answer["content"]) == (before, HALF)
    assert "cannot be read: XML syntax error on line 5." in complaint["content"]


@pytest_twisted.ensureDeferred
async def test_the_model_gets_its_reasoning_back_and_none_is_shown_twice(start: Start) -> None:
    setup, response = await answered(
        start, [Think("Look first."), Say(HALF), Die("close")], [Say(" README.")]
    )
    assert output(response) == [("reasoning", "Look first."), ("message", HALF + " README.")]
    assert setup.fake.turns[1].json["messages"][-1]["thinking"] == "Look first."


@pytest_twisted.ensureDeferred
async def test_a_model_that_begins_anew_ends_the_exchange(start: Start) -> None:
    setup, response = await answered(
        start, [Say(HALF), Die("close")], [Think("Anew."), Say(HALF + " README.")]
    )
    assert response["error"]["code"] == "server_error"
    assert len(setup.fake.turns) == 2
    assert "Anew" not in str(response["output"])


@pytest_twisted.ensureDeferred
async def test_a_server_that_repeats_the_beginning_does_not_make_it_come_twice(
    start: Start,
) -> None:
    _, response = await answered(start, [Say(HALF), Die("close")], [Say(HALF + " README.")])
    assert output(response) == [("message", HALF + " README.")]


@pytest_twisted.ensureDeferred
async def test_a_rest_that_begins_as_the_beginning_did_is_kept(start: Start) -> None:
    _, response = await answered(start, [Say(HALF), Die("close")], [Say("I will")])
    assert output(response) == [("message", HALF + "I will")]


@pytest_twisted.ensureDeferred
async def test_an_answer_that_was_over_when_it_broke_off_is_whole(start: Start) -> None:
    _, response = await answered(start, [Say("All of it is done."), Die("close")], [Finish("stop")])
    assert output(response) == [("message", "All of it is done.")]


@pytest_twisted.ensureDeferred
async def test_it_is_asked_to_go_on_only_once(start: Start) -> None:
    setup, response = await answered(
        start, [Say(HALF), Die("close")], [Say(" README"), Die("close")], [Say("!")]
    )
    assert response["error"]["code"] == "server_error"
    assert output(response) == []
    assert len(setup.fake.turns) == 2


@pytest_twisted.ensureDeferred
async def test_a_server_that_starts_again_is_waited_for(start: Start) -> None:
    setup, response = await answered(
        start, [Say(HALF), Die("close")], [Refuse(503, "busy")], [Say(" README.")]
    )
    assert output(response) == [("message", HALF + " README.")]
    assert len(setup.fake.turns) == 3


@pytest_twisted.ensureDeferred
async def test_a_refusal_to_go_on_is_told_as_the_first_failure(start: Start) -> None:
    _, response = await answered(
        start, [Say(HALF), Die("close")], [Refuse(400, "prefill is not allowed")]
    )
    assert response["error"]["code"] == "server_error"
    assert "prefill" not in response["error"]["message"]


@pytest_twisted.ensureDeferred
async def test_an_answer_that_has_to_fit_a_schema_is_asked_for_anew(start: Start) -> None:
    schema = {"type": "json_schema", "name": "x", "schema": {"type": "object"}}
    setup, response = await answered(
        start,
        [Say('{"answer": "half a'), Die("close")],
        [Say('{"answer": "whole"}')],
        change={"tools": [], "text": {"format": schema}},
    )
    assert output(response) == [("message", '{"answer": "whole"}')]
    assert (len(setup.fake.turns), setup.fake.renderings) == (2, [])


@pytest_twisted.ensureDeferred
async def test_an_error_in_mid_answer_that_is_no_break_ends_it(start: Start) -> None:
    garbage = Raw(b"{\n")
    setup, response = await answered(start, [Say(HALF), garbage])
    assert response["status"] == "failed"
    assert len(setup.fake.turns) == 1


@pytest.mark.parametrize("text", ["assistant\n", "Done."])
@pytest_twisted.ensureDeferred
async def test_a_beginning_that_may_stand_in_a_prompt_by_chance_proves_nothing(
    start: Start, text: str
) -> None:
    setup, response = await answered(
        start, [Say(text), Die("close")], [Say("new")], facts=ModelFacts(goes_on=False)
    )
    assert response["status"] == "failed"
    assert len(setup.fake.turns) == 1


@pytest_twisted.ensureDeferred
async def test_a_limit_of_tokens_would_begin_anew(start: Start) -> None:
    setup, response = await answered(
        start, [Say(HALF), Die("close")], [Say("new")], change={"max_output_tokens": 20}
    )
    assert response["status"] == "failed"
    assert (len(setup.fake.turns), setup.fake.renderings) == (1, [])


@pytest.mark.parametrize(
    ("rest", "code"),
    [
        ([Say("x"), FULL], "context_length_exceeded"),
        ([FULL], "context_length_exceeded"),
        ([Say("x" * 3000)], "invalid_prompt"),
        ([Say("x"), Raw(b"{\n")], "invalid_prompt"),
    ],
    ids=["the context is full", "it was full at once", "too large", "garbled"],
)
@pytest_twisted.ensureDeferred
async def test_a_failure_of_the_rest_is_told_as_what_it_is(
    start: Start, rest: Answer, code: str
) -> None:
    fake = FakeOllama(reactor, Playlist([Say(HALF), Die("close")], rest))
    setup = await start(fake=fake, max_answer_size=2500)
    error = (await setup.ask(headers=CODEX)).response["error"]
    assert error["code"] == code, error["message"]
    assert len(fake.turns) == 2


@pytest_twisted.ensureDeferred
async def test_a_model_in_the_cloud_is_not_asked_for_its_prompt(start: Start) -> None:
    facts = ModelFacts(name="big:cloud")
    setup, response = await answered(
        start, [Say(HALF), Die("close")], [Say("new")], facts=facts, change={"model": "big:cloud"}
    )
    assert response["status"] == "failed"
    assert setup.fake.renderings == []


@pytest_twisted.ensureDeferred
async def test_a_rest_that_breaks_off_before_it_says_anything_is_not_asked_for_again(
    start: Start,
) -> None:
    setup, response = await answered(start, [Say(HALF), Die("close")], [Die("close")], [Say("!")])
    assert response["error"]["code"] == "server_error"
    assert len(setup.fake.turns) == 2


@pytest_twisted.ensureDeferred
async def test_text_behind_a_call_is_not_gone_on_with(start: Start) -> None:
    setup, response = await answered(
        start, [Say(HALF), LS, Say(" And then the tests."), Die("close")], [Say("new")]
    )
    assert response["status"] == "failed"
    assert len(setup.fake.turns) == 1


@pytest_twisted.ensureDeferred
async def test_very_much_text_is_not_read_again(start: Start) -> None:
    setup, response = await answered(start, [Say("x" * 300_000), Die("close")], [Say("new")])
    assert response["status"] == "failed"
    assert (len(setup.fake.turns), setup.fake.renderings) == (1, [])


@pytest_twisted.ensureDeferred
async def test_a_call_without_tags_in_the_rest_stands_behind_the_prose_of_the_beginning(
    start: Start,
) -> None:
    call = '\n{"name": "exec_command", "arguments": {"cmd": "ls"}}'
    setup, response = await answered(
        start, [Say("This is how it looks:"), Die("close")], [Say(call)], [Say("example")]
    )
    assert {item["type"] for item in response["output"]} == {"message"}
    # In doubt the model is asked; as the whole of an answer it would have been a call.
    assert len(setup.fake.turns) == 3


@pytest_twisted.ensureDeferred
async def test_two_words_are_enough_to_go_on_with(start: Start) -> None:
    _, response = await answered(start, [Say("I will"), Die("close")], [Say(" look.")])
    assert output(response) == [("message", "I will look.")]
