"""The fake as a server: bytes, timing, hang-ups."""

from __future__ import annotations

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from tests.conftest import LogBook
from tests.fake_ollama import (
    Call,
    Calls,
    Die,
    FakeOllama,
    Hold,
    ModelFacts,
    Pause,
    Raw,
    Refuse,
    Say,
    Think,
)
from tests.fake_ollama.client import CHAT, Make, ask, chat, chunks, connect


@pytest_twisted.ensureDeferred
async def test_a_new_ollama_names_the_role_once_and_finishes_with_an_empty_delta(
    make: Make,
) -> None:
    fake = make([Say("Hello world", pieces=("Hello", " <world>"))])
    answer = await chat(fake, stream_options={"include_usage": True})
    assert answer.header("content-type") == "text/event-stream"
    first, second, finish, usage = chunks(answer)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": "Hello"}
    assert second["choices"][0]["delta"] == {"content": " <world>"}
    assert b"\\u003cworld\\u003e" in answer.body
    assert finish["choices"][0] == {"index": 0, "delta": {}, "finish_reason": "stop"}
    assert usage["choices"] == []
    assert usage["usage"]["total_tokens"] > 0


@pytest_twisted.ensureDeferred
async def test_an_old_ollama_names_the_role_every_time(make: Make) -> None:
    fake = make([Say("Hello world")], version="0.20.0")
    *said, finish = chunks(await chat(fake))
    assert all(chunk["choices"][0]["delta"]["role"] == "assistant" for chunk in said)
    assert finish["choices"][0]["delta"] == {"role": "assistant", "content": ""}


@pytest_twisted.ensureDeferred
async def test_calls_arrive_whole_in_one_chunk_or_in_several(make: Make) -> None:
    together = Calls(Call("f", {"a": 1}), Call("g", {}))
    fake = make([Think("hm"), together], [Call("f", {}), Call("g", {})])
    think, calls, finish = chunks(await chat(fake))
    assert think["choices"][0]["delta"]["reasoning"] == "hm"
    assert [c["index"] for c in calls["choices"][0]["delta"]["tool_calls"]] == [0, 1]
    assert calls["choices"][0]["delta"]["tool_calls"][0]["function"] == {
        "name": "f",
        "arguments": '{"a":1}',
    }
    assert finish["choices"][0]["finish_reason"] == "tool_calls"
    first, second, _ = chunks(await chat(fake))
    assert first["choices"][0]["delta"]["tool_calls"][0]["index"] == 0
    assert second["choices"][0]["delta"]["tool_calls"][0]["index"] == 1


@pytest_twisted.ensureDeferred
async def test_nothing_not_even_a_status_comes_before_the_first_token(make: Make) -> None:
    until: Deferred[None] = Deferred()
    fake = make([Hold(until), Say("Hello")])
    seen = fake.chat_seen()
    answer = Deferred.fromCoroutine(chat(fake))
    await seen
    await ask(fake, "GET", "/api/version")
    assert not answer.called
    until.callback(None)
    assert b"Hello" in (await answer).body


@pytest_twisted.ensureDeferred
async def test_generations_of_one_model_queue(make: Make) -> None:
    until: Deferred[None] = Deferred()
    fake = make([Hold(until), Say("first")], [Say("second")])
    seen = fake.chat_seen()
    first = Deferred.fromCoroutine(chat(fake))
    await seen
    again = fake.chat_seen()
    second = Deferred.fromCoroutine(chat(fake))
    await again
    await ask(fake, "GET", "/api/version")
    assert not second.called
    until.callback(None)
    assert b"first" in (await first).body
    assert b"second" in (await second).body


@pytest.mark.parametrize(
    ("version", "kind"), [("0.33.0", "not_found_error"), ("0.17.0", "api_error")]
)
@pytest_twisted.ensureDeferred
async def test_errors_are_typed_by_version(make: Make, version: str, kind: str) -> None:
    answer = await chat(make(version=version), model="nope:1b")
    assert answer.status == 404
    assert answer.json == {
        "error": {
            "message": "model 'nope:1b' not found",
            "type": kind,
            "param": None,
            "code": None,
        }
    }


@pytest_twisted.ensureDeferred
async def test_failures_of_the_model(make: Make) -> None:
    fake = make(
        [Refuse(503, "server busy")],
        [Say("x"), Die("close")],
        [Say("x"), Die("empty-model")],
        [Die("ndjson")],
        [Raw(b"data: nonsense\n\n")],
        [Say("x"), Die("close")],
    )
    assert (await chat(fake)).status == 503
    assert b'finish_reason":"' not in (await chat(fake)).body
    assert b'"model":""' in (await chat(fake)).body
    empty = await chat(fake)
    assert (empty.body, empty.header("content-type")) == (b"", "application/x-ndjson")
    assert b"nonsense" in (await chat(fake)).body
    assert (await chat(fake, stream=False)).status == 500


@pytest_twisted.ensureDeferred
async def test_a_playlist_that_is_over_says_so(make: Make) -> None:
    answer = await chat(make())
    assert answer.status == 500
    assert "only 0 answers are scripted" in answer.json["error"]["message"]


@pytest_twisted.ensureDeferred
async def test_a_client_that_hangs_up_stops_the_generation_and_frees_the_model(make: Make) -> None:
    fake = make([Say("Hello"), Hold(Deferred()), Say("never")], [Say("next")])
    client = await connect(fake)
    client.post(CHAT, "/v1/chat/completions")
    await client.until(b"Hello")
    await client.close()
    (recorded,) = fake.chats
    await recorded.when_hung_up()
    assert (recorded.hung_up, recorded.answered) == (True, False)
    assert b"next" in (await chat(fake)).body
    assert (fake.chats[1].hung_up, fake.chats[1].answered) == (False, True)


@pytest_twisted.ensureDeferred
async def test_a_client_that_hangs_up_while_it_queues_is_never_played(make: Make) -> None:
    until: Deferred[None] = Deferred()
    fake = make([Hold(until), Say("first")], [Say("second")])
    seen = fake.chat_seen()
    first = Deferred.fromCoroutine(chat(fake))
    await seen
    again = fake.chat_seen()
    client = await connect(fake)
    client.post(CHAT, "/v1/chat/completions")
    queued = await again
    await client.close()
    await queued.when_hung_up()
    until.callback(None)
    assert b"first" in (await first).body
    assert b"second" in (await chat(fake)).body


@pytest_twisted.ensureDeferred
async def test_a_pause_of_a_client_that_left_leaves_no_delayed_call(make: Make) -> None:
    before = set(reactor.getDelayedCalls())
    fake = make([Say("Hello"), Pause(3600), Say("never")])
    client = await connect(fake)
    client.post(CHAT, "/v1/chat/completions")
    await client.until(b"Hello")
    await client.close()
    await fake.chats[0].when_hung_up()
    await fake.stop()
    assert set(reactor.getDelayedCalls()) <= before


@pytest_twisted.ensureDeferred
async def test_stopping_ends_a_generation_and_closes_its_connection(make: Make) -> None:
    fake = make([Say("Hello"), Hold(Deferred())])
    client = await connect(fake)
    client.post(CHAT, "/v1/chat/completions")
    await client.until(b"Hello")
    await fake.stop()
    await client.lost
    assert not fake.chats[0].hung_up


@pytest_twisted.ensureDeferred
async def test_a_reset_comes_after_what_was_said(make: Make) -> None:
    fake = make([Say("Hello"), Die("reset")])
    client = await connect(fake)
    client.post(CHAT, "/v1/chat/completions")
    await client.lost
    assert b"Hello" in client.received
    assert b"0\r\n\r\n" not in client.received


@pytest_twisted.ensureDeferred
async def test_the_end_comes_in_one_piece_and_the_head_is_ollamas(make: Make) -> None:
    fake = make([Say("Hello")])
    client = await connect(fake)
    client.post(CHAT | {"stream_options": {"include_usage": True}}, "/v1/chat/completions")
    received = await client.until(b"0\r\n\r\n")
    head, body = received.split(b"\r\n\r\n", 1)
    names = {line.split(b":")[0].lower() for line in head.split(b"\r\n")[1:]}
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert names == {b"transfer-encoding", b"date", b"content-type"}
    last = body.split(b"\r\n")[3]
    assert b'"finish_reason":"stop"' in last
    assert b'"usage"' in last
    assert b"[DONE]" in last


@pytest_twisted.ensureDeferred
async def test_an_error_after_the_stream_began_is_swallowed(make: Make) -> None:
    answer = await chat(make([Say("Hello"), Refuse(500, "XML syntax error")]))
    assert answer.status == 200
    assert b'"model":""' in answer.body
    assert b"XML" not in answer.body
    assert b"[DONE]" not in answer.body


@pytest_twisted.ensureDeferred
async def test_errors_of_the_reading_layer_name_a_charset(make: Make) -> None:
    fake = make()
    early, late = await chat(fake, messages=[]), await chat(fake, model="nope:1b")
    assert early.header("content-type") == "application/json; charset=utf-8"
    assert late.header("content-type") == "application/json"


@pytest_twisted.ensureDeferred
async def test_a_request_that_leaves_no_message_only_loads(make: Make) -> None:
    (_, finish) = chunks(await chat(make(), messages=[{"role": "user", "content": []}]))
    assert finish["choices"][0]["finish_reason"] == "load"


@pytest_twisted.ensureDeferred
async def test_a_prompt_that_was_cut_reports_fewer_tokens(make: Make) -> None:
    fake = make([Say("ok")], models=[ModelFacts(num_ctx=100)])
    old = [{"role": role, "content": "x" * 200} for role in ("user", "assistant") * 4]
    answer = await chat(fake, stream=False, messages=[*old, CHAT["messages"][0]])
    assert answer.json["usage"]["prompt_tokens"] <= 100
    assert len(fake.chats[0].effective["messages"]) < len(fake.chats[0].json["messages"])


@pytest.mark.expects_errors
@pytest_twisted.ensureDeferred
async def test_a_mistake_in_the_script_breaks_the_connection_and_is_logged(
    logged: LogBook,
) -> None:
    fake = FakeOllama(reactor, model=lambda _: 1 / 0)
    fake.listen()
    client = await connect(fake)
    client.post(CHAT, "/v1/chat/completions")
    await client.lost
    assert client.received == b""
    assert logged.errors()
    await fake.stop()
