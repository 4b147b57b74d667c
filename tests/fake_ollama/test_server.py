"""The fake as a server: bytes, timing, side routes."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
import pytest
import pytest_twisted
from treq.client import HTTPClient
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.web.client import Agent

from codex_bridge.fake_ollama import (
    Call,
    Calls,
    Die,
    FakeOllama,
    Hold,
    Playlist,
    Raw,
    Refuse,
    Say,
    Think,
)
from tests.harness import Answer

Make = Callable[..., FakeOllama]
CHAT = {"model": "qwen3:14b", "messages": [{"role": "user", "content": "hi"}], "stream": True}


@pytest_twisted.async_yield_fixture
async def make() -> AsyncIterator[Make]:
    running: list[FakeOllama] = []

    def make_fake(*answers: Any, **options: Any) -> FakeOllama:
        fake = FakeOllama(reactor, model=Playlist(*answers), **options)
        fake.listen()
        running.append(fake)
        return fake

    yield make_fake
    for fake in running:
        await fake.stop()


async def ask(fake: FakeOllama, method: str, path: str, body: Any = None, **headers: str) -> Answer:
    data = body if isinstance(body, bytes) or body is None else orjson.dumps(body)
    client = HTTPClient(Agent(reactor))
    response = await client.request(method, fake.url + path, data=data, headers=headers)
    return Answer(response.code, response.headers, await response.content())


async def chat(fake: FakeOllama, **change: Any) -> Answer:
    return await ask(fake, "POST", "/v1/chat/completions", CHAT | change)


def chunks(answer: Answer) -> list[Any]:
    *records, done = answer.body.split(b"\n\n")[:-1]
    assert done == b"data: [DONE]"
    return [orjson.loads(record.removeprefix(b"data: ")) for record in records]


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
async def test_side_routes(make: Make) -> None:
    fake = make()
    assert (await ask(fake, "GET", "/")).body == b"Ollama is running"
    assert (await ask(fake, "GET", "/api/ps")).json["models"][0]["context_length"] == 32768
    shown = await ask(fake, "POST", "/api/show", {"model": "qwen3:14b"})
    assert "tools" in shown.json["capabilities"]
    missing = await ask(fake, "POST", "/api/show", {"model": "zz"})
    assert (missing.status, missing.json) == (404, {"error": "model 'zz' not found"})
    assert (await ask(fake, "GET", "/v1/models/qwen3:14b")).json["object"] == "model"
    assert (await ask(fake, "PUT", "/api/tags")).status == 405
    assert (await ask(fake, "GET", "/nope")).status == 404
    assert (await ask(fake, "GET", "/api/tags", Host="evil.example")).status == 403
    assert (await ask(fake, "DELETE", "/api/delete", {"model": "qwen3:14b"})).status == 200
    assert (await ask(fake, "GET", "/v1/models")).json["data"] is None


@pytest_twisted.ensureDeferred
async def test_a_pull_adds_the_model_or_tells_an_error_in_its_stream(make: Make) -> None:
    fake = make()
    pulled = await ask(fake, "POST", "/api/pull", {"model": "new:1b"})
    assert orjson.loads(pulled.body.splitlines()[-1]) == {"status": "success"}
    assert "new:1b" in fake.models
    failed = await ask(fake, "POST", "/api/pull", {"model": "missing:1b"})
    assert "error" in orjson.loads(failed.body.splitlines()[-1])


@pytest_twisted.ensureDeferred
async def test_a_blob_is_checked_and_not_kept(make: Make) -> None:
    fake = make()
    blob = b"x" * 300_000
    digest = hashlib.sha256(blob).hexdigest()
    assert (await ask(fake, "POST", f"/api/blobs/sha256:{digest}", blob)).status == 201
    assert (await ask(fake, "POST", "/api/blobs/sha256:00", blob)).status == 400
    recorded = fake.exchanges[0]
    assert (recorded.length, recorded.body) == (300_000, b"")
