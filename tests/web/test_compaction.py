"""Compaction: the model writes a summary, the client keeps it sealed, the model reads it again."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from tests import harness
from tests.clocked import ClockedReactor
from tests.conftest import LogBook, Start
from tests.fake_ollama import Call, FakeOllama, Finish, Hold, Playlist, Refuse, Say, Think
from tests.harness import CODEX, REQUEST, Json, Setup

SUMMARY = "The user wants two files sorted. notes.txt is done, log.txt is open."
TRIGGER = {"type": "compaction_trigger"}
USER = {"type": "message", "role": "user", "content": "Sort notes.txt and log.txt."}
HISTORY: list[Json] = [
    USER,
    {"type": "function_call", "name": "exec_command", "arguments": "{}", "call_id": "c1"},
    {"type": "function_call_output", "call_id": "c1", "output": "sorted"},
    {"type": "message", "role": "assistant", "content": "notes.txt is sorted."},
]
CALL = Call("exec_command", {"cmd": "sort log.txt"})


@pytest.fixture(name="start", params=["chat", "ollama"])
def over_both_dialects(start: Start, request: pytest.FixtureRequest, tmp_path: Path) -> Start:
    """Every test runs with Ollama asked in either of its dialects, and with a key of its own."""
    key = str(tmp_path / "seal.key")
    return partial(start, upstream_api=request.param, seal_key=key)


async def compacted(setup: Setup, *items: Json, **more: Any) -> Json:
    """The one item with which the bridge answers a compaction of `items`, asked as Codex does."""
    reply = await setup.ask({"input": [*items, TRIGGER], **more}, CODEX)
    assert reply.status == 200
    assert reply.response["status"] == "completed", reply.response
    (item,) = reply.response["output"]
    assert item.keys() == {"type", "id", "encrypted_content"}
    assert item["type"] == "compaction"
    assert item["id"].startswith("cmp_")
    return dict(item)


def messages(setup: Setup, turn: int = -1) -> list[Json]:
    """What the model saw."""
    return list(setup.fake.turns[turn].json["messages"])


@pytest_twisted.ensureDeferred
async def test_codex_gets_one_item_and_the_model_reads_its_summary_again(start: Start) -> None:
    setup = await start(Playlist([Think("Hm."), Say(SUMMARY)], [Say("Sorted.")]))
    item = await compacted(setup, *HISTORY)
    assert "notes" not in item["encrypted_content"]
    await setup.ask({"input": [USER, item, {"role": "user", "content": "Go on."}]})
    system, first, summary, last = messages(setup)
    assert system["role"] == "system"
    assert first["content"] == USER["content"]
    assert summary["role"] == "user"
    assert summary["content"].startswith("<summary>\n")
    assert SUMMARY in summary["content"]
    assert last["content"] == "Go on."


@pytest_twisted.ensureDeferred
async def test_the_stream_has_nothing_of_the_summary_but_the_sealed_item(start: Start) -> None:
    setup = await start(Playlist([Think("Sorting."), Say(SUMMARY)]))
    reply = await setup.ask({"input": [*HISTORY, TRIGGER]}, CODEX)
    kinds = [event["type"].removeprefix("response.") for event in reply.events]
    assert kinds == [
        *("created", "in_progress", "output_item.added", "output_item.done", "completed")
    ]
    assert b"notes.txt is done" not in reply.body
    assert reply.response["usage"]["input_tokens"] > 0


@pytest_twisted.ensureDeferred
async def test_the_prompt_begins_as_the_one_before_so_that_the_cache_holds(start: Start) -> None:
    setup = await start(Playlist([Say("Yes.")], [Say(SUMMARY)]))
    await setup.ask({"input": HISTORY}, CODEX)
    await compacted(setup, *HISTORY)
    turn, summary = (each.json for each in setup.fake.turns)
    assert summary["messages"][:-1] == turn["messages"]
    assert summary["tools"] == turn["tools"]
    assert summary["messages"][-1]["role"] == "user"
    assert "summary" in summary["messages"][-1]["content"]


@pytest_twisted.ensureDeferred
async def test_what_the_client_says_of_its_answers_does_not_form_the_summary(start: Start) -> None:
    setup = await start(Playlist([Say(SUMMARY)]))
    schema = {"type": "json_schema", "name": "x", "schema": {"type": "object"}}
    asks = {"tool_choice": "required", "max_output_tokens": 5, "text": {"format": schema}}
    await compacted(setup, *HISTORY, **asks)
    (turn,) = setup.fake.turns
    for key in ("tool_choice", "format", "response_format", "max_tokens"):
        assert key not in turn.json
    assert "num_predict" not in turn.json.get("options", {})
    assert "schema" not in str(messages(setup))


ENDPOINTS = ("/v1/responses/compact", "/responses/compact", "//v1/responses/compact/")


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest_twisted.ensureDeferred
async def test_the_endpoint_gives_the_users_messages_and_the_item(start: Start, path: str) -> None:
    setup = await start(Playlist([Say(SUMMARY)], [Say("Sorted.")]))
    parts = [{"type": "input_text", "text": "And quickly."}]
    second = {"type": "message", "role": "user", "id": "msg_2", "content": parts}
    body = {"model": "qwen3:14b", "input": [*HISTORY, second], "instructions": "Be helpful."}
    reply = await setup.request("POST", path, body | {"prompt_cache_key": "k"})
    assert (reply.status, reply.header("content-type")) == (200, "application/json")
    answer = reply.json
    assert answer.keys() == {"id", "object", "created_at", "output", "usage"}
    assert answer["object"] == "response.compaction"
    assert answer["id"].startswith("resp_")
    assert answer["usage"]["total_tokens"] > 0
    one, two, item = answer["output"]
    assert one.pop("id").startswith("msg_")
    user = {"type": "message", "role": "user", "status": "completed"}
    assert one == user | {"content": [{"type": "input_text", "text": USER["content"]}]}
    assert two == user | {"id": "msg_2", "content": parts}
    assert item["type"] == "compaction"
    await setup.ask({"input": [*answer["output"], {"role": "user", "content": "Go on."}]})
    seen = [message["content"] for message in messages(setup)[1:]]
    assert [seen[0], seen[1], seen[3]] == [USER["content"], "And quickly.", "Go on."]
    assert SUMMARY in seen[2]


@pytest_twisted.ensureDeferred
async def test_a_compacted_conversation_can_be_compacted_again(start: Start) -> None:
    setup = await start(Playlist([Say(SUMMARY)], [Say("All is sorted.")], [Say("Yes.")]))
    first = await compacted(setup, *HISTORY)
    second = await compacted(setup, first, {"role": "user", "content": "Sort log.txt."})
    assert SUMMARY in messages(setup)[1]["content"]
    await setup.ask({"input": [second, {"role": "user", "content": "Done?"}]})
    assert "All is sorted." in messages(setup)[1]["content"]
    assert SUMMARY not in str(messages(setup))


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("slip", [[CALL], [Say("I sort it."), CALL], [Think("Hm.")], []])
@pytest_twisted.ensureDeferred
async def test_a_model_that_calls_or_says_nothing_is_asked_again_without_tools(
    start: Start, slip: list[Any], stream: bool
) -> None:
    setup = await start(Playlist(slip, [Say(SUMMARY)], [Say("Yes.")]))
    reply = await setup.ask({"input": [*HISTORY, TRIGGER], "stream": stream}, CODEX)
    response = reply.response if stream else reply.json
    assert [item["type"] for item in response["output"]] == ["compaction"]
    first, second = (each.json for each in setup.fake.turns)
    assert first["tools"]
    assert "tools" not in second
    assert second["messages"][1:] == first["messages"][1:]
    await setup.ask({"input": response["output"]})
    assert SUMMARY in messages(setup)[-1]["content"]
    assert "I sort it." not in messages(setup)[-1]["content"]


@pytest_twisted.ensureDeferred
async def test_a_call_in_the_text_is_no_summary(start: Start) -> None:
    written = '<tool_call>{"name": "exec_command", "arguments": {"cmd": "ls"}}</tool_call>'
    setup = await start(Playlist([Say(written)], [Say(SUMMARY)], [Say("Yes.")]))
    item = await compacted(setup, *HISTORY)
    await setup.ask({"input": [item]})
    assert SUMMARY in messages(setup)[-1]["content"]


WRITTEN = '<tool_call>{"name": "f", "arguments": {}}</tool_call>'
FAILURES: dict[str, tuple[list[Any], str]] = {
    "calls in the text": ([[Say(WRITTEN)], [Say(WRITTEN)]], "no_summary"),
    "calls alone": ([[CALL], [CALL]], "no_summary"),
    "nothing": ([[], []], "no_summary"),
    "a call, and then one in the text": ([[CALL], [Say(WRITTEN)]], "no_summary"),
    "cut": ([[Say("The user"), Finish("length")]], "context_length_exceeded"),
    "refused": ([[Refuse(400, "the model is ill")]], "upstream_error"),
}


@pytest.mark.parametrize(("answers", "code"), FAILURES.values(), ids=FAILURES.keys())
@pytest_twisted.ensureDeferred
async def test_what_is_no_summary_is_an_error_and_no_item(
    start: Start, answers: list[Any], code: str
) -> None:
    setup = await start(Playlist(*answers))
    body = {"model": "qwen3:14b", "input": HISTORY, "tools": [{"type": "function", "name": "f"}]}
    reply = await setup.request("POST", "/v1/responses/compact", body)
    assert reply.status >= 400
    assert reply.json["error"]["code"] == code
    assert len(setup.fake.turns) == len(answers)


@pytest_twisted.ensureDeferred
async def test_a_model_that_has_no_tools_is_not_asked_the_same_again(start: Start) -> None:
    setup = await start(Playlist([]))
    body = {"model": "qwen3:14b", "input": [USER]}
    reply = await setup.request("POST", "/v1/responses/compact", body)
    assert reply.json["error"]["code"] == "no_summary"
    assert len(setup.fake.turns) == 1


@pytest.mark.parametrize("confirm", [True, False])
@pytest_twisted.ensureDeferred
async def test_a_call_that_is_only_quoted_is_no_part_of_a_summary(
    start: Start, confirm: bool
) -> None:
    setup = await start(Playlist([Say("I do it."), CALL], [Say(SUMMARY)]), confirm=confirm)
    shown = '{"name": "exec_command", "arguments": {"cmd": "sort log.txt"}}'
    result = {"type": "function_call_output", "call_id": "c1", "output": shown}
    await compacted(setup, *HISTORY[:2], result)
    assert len(setup.fake.turns) == 2


@pytest_twisted.ensureDeferred
async def test_codex_is_told_of_a_failed_summary_in_its_stream(start: Start) -> None:
    setup = await start(Playlist([CALL], [CALL]))
    reply = await setup.ask({"input": [*HISTORY, TRIGGER]}, CODEX)
    assert reply.response["status"] == "failed"
    assert reply.response["output"] == []
    assert "did not write a summary" in reply.response["error"]["message"]


@pytest_twisted.ensureDeferred
async def test_codex_is_told_that_a_conversation_is_too_long_to_be_summarised(
    start: Start,
) -> None:
    setup = await start(Playlist([Say("The user"), Finish("length")]))
    reply = await setup.ask({"input": [*HISTORY, TRIGGER]}, CODEX)
    assert reply.response["error"]["code"] == "context_length_exceeded"


@pytest.mark.parametrize("kind", ["compaction", "compaction_summary"])
@pytest.mark.parametrize("sealed", ["gAAAAABo" + "x" * 92, "", "schön", None, 7])
@pytest_twisted.ensureDeferred
async def test_a_foreign_summary_is_refused_with_the_place_and_a_remedy(
    start: Start, sealed: Any, kind: str
) -> None:
    setup = await start()
    item = {"type": kind, "encrypted_content": sealed}
    reply = await setup.ask({"input": [USER, item, USER]})
    error = reply.json["error"]
    assert reply.status == 400
    assert error["code"] == "invalid_encrypted_content"
    assert error["param"] == "input[1].encrypted_content"
    assert error["message"].startswith("input[1] ")
    assert "new conversation" in error["message"]
    assert setup.fake.turns == []


@pytest_twisted.ensureDeferred
async def test_codex_reads_of_a_foreign_summary_in_its_stream(start: Start) -> None:
    setup = await start()
    item = {"type": "compaction", "encrypted_content": "gAAAAABo"}
    reply = await setup.ask({"input": [item, USER]}, CODEX)
    assert reply.status == 200
    assert reply.response["error"]["message"].startswith("input[0] ")


@pytest_twisted.ensureDeferred
async def test_a_changed_summary_is_refused(start: Start) -> None:
    setup = await start(Playlist([Say(SUMMARY)]))
    item = await compacted(setup, *HISTORY)
    sealed = item["encrypted_content"]
    item["encrypted_content"] = sealed[:40] + ("B" if sealed[40] == "A" else "A") + sealed[41:]
    assert (await setup.ask({"input": [item]})).status == 400


@pytest_twisted.ensureDeferred
async def test_a_bridge_with_the_same_key_goes_on_and_one_with_another_refuses(
    start: Start, tmp_path: Path
) -> None:
    setup = await start(Playlist([Say(SUMMARY)]))
    item = await compacted(setup, *HISTORY)
    restarted = await start(Playlist([Say("Yes.")]))
    assert (await restarted.ask({"input": [item]})).status == 200
    assert SUMMARY in messages(restarted)[-1]["content"]
    other = await start(seal_key=str(tmp_path / "other.key"))
    assert (await other.ask({"input": [item]})).status == 400


@pytest_twisted.ensureDeferred
async def test_the_same_summary_gives_the_same_bytes_each_time(start: Start) -> None:
    setup = await start(Playlist([Say(SUMMARY)], [Say("Yes.")], [Say("No.")]))
    item = await compacted(setup, *HISTORY)
    for _ in range(2):
        await setup.ask({"input": [USER, item]})
    assert messages(setup, 1) == messages(setup, 2)


@pytest_twisted.ensureDeferred
async def test_the_key_is_made_when_it_is_needed(start: Start, tmp_path: Path) -> None:
    setup = await start(Playlist([Say("Yes.")], [Say(SUMMARY)]))
    await setup.ask()
    assert os.listdir(tmp_path) == []
    await compacted(setup, *HISTORY)
    assert os.listdir(tmp_path) == ["seal.key"]


@pytest_twisted.ensureDeferred
async def test_without_a_place_for_the_key_one_line_says_what_is_lost(
    start: Start, tmp_path: Path, logged: LogBook
) -> None:
    (tmp_path / "file").write_text("")
    nowhere = str(tmp_path / "file" / "seal.key")
    setup = await start(Playlist([Say(SUMMARY)], [Say("Yes.")]), seal_key=nowhere)
    item = await compacted(setup, *HISTORY)
    assert (await setup.ask({"input": [item]})).status == 200
    lines = [event for event in logged.events if "no key can be kept" in event["log_format"]]
    assert len(lines) == 1
    assert SUMMARY in messages(setup)[-1]["content"]


@pytest_twisted.ensureDeferred
async def test_a_wish_in_mid_conversation_is_refused(start: Start) -> None:
    setup = await start()
    reply = await setup.ask({"input": [USER, TRIGGER, USER]})
    assert (reply.status, reply.json["error"]["param"]) == (400, "input[1]")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": HISTORY}, "model"),
        ({"model": "qwen3:14b"}, "input"),
        ({"model": "qwen3:14b", "input": []}, "input"),
        ({"model": "qwen3:14b", "input": [TRIGGER]}, "input"),
    ],
)
@pytest.mark.parametrize("headers", [{}, CODEX])
@pytest_twisted.ensureDeferred
async def test_the_endpoint_refuses_with_a_status_what_it_cannot_compact(
    start: Start, body: Json, param: str, headers: Json
) -> None:
    setup = await start()
    reply = await setup.request("POST", "/v1/responses/compact", body, headers)
    assert (reply.status, reply.json["error"]["param"]) == (400, param)


@pytest_twisted.ensureDeferred
async def test_the_endpoint_is_guarded_as_every_exchange(start: Start) -> None:
    setup = await start(api_key="sk-1", max_body_size=2000)
    path, body = "/v1/responses/compact", {"model": "qwen3:14b", "input": "x" * 3000}
    assert (await setup.request("POST", path, body)).status == 401
    key = {"authorization": "Bearer sk-1"}
    assert (await setup.request("POST", path, body, key)).status == 413
    page = key | {"origin": "https://evil.example"}
    assert (await setup.request("POST", path, {}, page)).status == 403
    assert (await setup.request("GET", path, headers=key)).status == 405


@pytest_twisted.ensureDeferred
async def test_what_follows_a_stored_compaction_has_the_summary_in_place_of_the_rest(
    start: Start,
) -> None:
    setup = await start(Playlist([Say("It is done.")], [Say(SUMMARY)], [Say("Yes.")], [Say("No.")]))
    plain = {"tools": [], "stream": False}
    turn = (await setup.ask({"input": "Sort notes.txt.", **plain})).json
    asked = {"previous_response_id": turn["id"], "input": [TRIGGER], **plain}
    compaction = (await setup.ask(asked)).json
    assert [item["type"] for item in compaction["output"]] == ["compaction"]
    assert "It is done." in str(messages(setup))
    previous = compaction["id"]
    for question in ("Is it?", "Is it not?"):
        asked = {"previous_response_id": previous, "input": question, **plain}
        previous = (await setup.ask(asked)).json["id"]
        seen = messages(setup)[1:]
        assert seen[0]["content"] == "Sort notes.txt."
        assert SUMMARY in seen[1]["content"]
        assert seen[-1]["content"] == question
        assert "It is done." not in str(seen)
    assert len(messages(setup)) == 6


@pytest_twisted.ensureDeferred
async def test_the_endpoint_compacts_what_a_stored_response_refers_to_and_stores_nothing(
    start: Start,
) -> None:
    setup = await start(Playlist([Say("It is done.")], [Say(SUMMARY)]))
    turn = (await setup.ask({"input": "Sort notes.txt.", "stream": False})).json
    body = {"model": "qwen3:14b", "previous_response_id": turn["id"]}
    answer = (await setup.request("POST", "/v1/responses/compact", body)).json
    assert "It is done." in str(messages(setup))
    assert [item["type"] for item in answer["output"]] == ["message", "compaction"]
    assert (await setup.request("GET", f"/v1/responses/{answer['id']}")).status == 404


@pytest_twisted.ensureDeferred
async def test_a_compaction_in_the_background_gives_one_item(start: Start) -> None:
    setup = await start(Playlist([Say(SUMMARY)]))
    asked = {"input": [*HISTORY, TRIGGER], "background": True}
    reply = await setup.ask(asked)
    assert [item["type"] for item in reply.response["output"]] == ["compaction"]


@pytest_twisted.ensureDeferred
async def test_the_endpoint_does_not_work_in_the_background(start: Start) -> None:
    setup = await start(Playlist([Say(SUMMARY)]))
    body = {"model": "qwen3:14b", "input": [USER], "background": True, "stream": True}
    answer = (await setup.request("POST", "/v1/responses/compact", body)).json
    assert answer["object"] == "response.compaction"


@pytest_twisted.ensureDeferred
async def test_the_stream_lives_while_the_model_writes() -> None:
    more: Deferred[None] = Deferred()
    reactor = ClockedReactor()
    answer = [Say("The user ", pieces=("The user ",)), Hold(more), Say("wants it.")]
    fake = FakeOllama(reactor, model=Playlist(answer))
    setup = await harness.start(reactor, fake, seal_key="/dev/null/none")
    seen = fake.chat_seen()
    client = await setup.connect()
    client.post(REQUEST | {"input": [USER, TRIGGER]}, headers=CODEX)
    await seen
    await client.until(b"event: response.created")
    for beats in (2, 3):
        reactor.clock.advance(15)
        await client.until_count(b"event: response.in_progress", beats)
    assert b"The user" not in client.received
    more.callback(None)
    await client.until(b"event: response.completed")
    await setup.stop()


@pytest_twisted.ensureDeferred
async def test_a_client_that_leaves_ends_the_summary(start: Start) -> None:
    setup = await start(Playlist([Say("The user "), Hold(Deferred())]))
    seen = setup.fake.chat_seen()
    client = await setup.connect()
    client.post({"model": "qwen3:14b", "input": HISTORY}, path="/v1/responses/compact")
    recorded = await seen
    await client.close()
    await recorded.when_hung_up()
