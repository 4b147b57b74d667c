"""Exchanges whose client or upstream misbehaves: nothing leaks, nothing lies."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
import pytest_twisted

from codex_bridge.engines.budget import SECONDS, Phase
from tests.conftest import Start
from tests.fake_ollama import Playlist, Say
from tests.harness import RawClient
from tests.web.scene import Scene
from tests.wires import Wire

ASK = {"model": "qwen3:14b", "input": "hi", "stream": True}
EVENT = b'data: {"model":"m","choices":[{"delta":{"content":"%b"}}]}\n\n'
STOP = b'data: {"model":"m","choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


async def asked(scene: Scene) -> tuple[RawClient, Wire]:
    """An exchange whose chat request has arrived whole at the upstream."""
    client = await scene.client()
    client.post(ASK)
    wire = await scene.upstream()
    await wire.until(b"include_usage")
    return client, wire


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@pytest_twisted.ensureDeferred
async def test_an_exchange_waits_for_a_slow_client(scene: Scene) -> None:
    client = await scene.client()
    client.post(ASK)
    client.transport.pauseProducing()
    wire = await scene.upstream()
    await wire.until(b"include_usage")
    wire.say(HEAD)
    piece = chunk(EVENT % (b"x" * 20_000))
    assert await scene.flood(wire.transport, piece, 50_000_000) < 25_000_000
    await client.close()
    await wire.lost


@pytest_twisted.ensureDeferred
async def test_nesting_that_cannot_be_written_again_is_refused(start: Start) -> None:
    setup = await start(Playlist([Say("ok")]))
    deep: Any = {}
    for _ in range(248):
        deep = {"a": deep}
    reply = await setup.ask({"metadata": deep})
    assert (reply.status, reply.json["error"]["code"]) == (400, "nested_too_deeply")
    body = orjson.dumps(ASK)[:-1] + b',"metadata":' + b'{"a":' * 800 + b"1" + b"}" * 801
    reply = await setup.request("POST", "/v1/responses", body)
    assert reply.status == 400
    assert setup.fake.exchanges == []


@pytest.mark.parametrize("status", [b"301 Moved", b"201 Created", b"204 No Content"])
@pytest_twisted.ensureDeferred
async def test_a_status_that_is_no_error_is_not_passed_on_as_one(
    scene: Scene, status: bytes
) -> None:
    client, wire = await asked(scene)
    wire.say(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")
    received = await client.until(b"upstream_error")
    assert received.startswith(b"HTTP/1.1 502 ")


@pytest_twisted.ensureDeferred
async def test_a_usage_of_zeros_is_estimated(scene: Scene) -> None:
    client, wire = await asked(scene)
    usage = b'data: {"model":"m","choices":[],"usage":{"prompt_tokens":0}}\n\n'
    wire.say(HEAD + chunk(EVENT % b"Hello" + STOP + usage + DONE) + b"0\r\n\r\n")
    received = await client.until(b"response.completed")
    assert b'"total_tokens":0' not in received


@pytest.mark.parametrize("last", [DONE, b'data: {"error":"x"}\n\n'])
@pytest_twisted.ensureDeferred
async def test_an_upstream_that_does_not_end_its_answer_is_hung_up_on(
    scene: Scene, last: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SECONDS, Phase.LINGER, 0.01)
    client, wire = await asked(scene)
    wire.say(HEAD + chunk(EVENT % b"Hello" + STOP + last))
    await client.until(b"response.completed" if last is DONE else b"response.failed")
    await wire.lost


@pytest.mark.parametrize(
    "path", ["/v1/responses/", "//v1/responses", "/v1/%72esponses", "/responses?a=b"]
)
@pytest_twisted.ensureDeferred
async def test_an_exchange_is_served_however_its_path_is_spelled(start: Start, path: str) -> None:
    setup = await start(Playlist([Say("ok")]))
    client = await setup.connect()
    client.post(ASK, path)
    await client.until(b"response.completed")


@pytest_twisted.ensureDeferred
async def test_an_exchange_in_a_proxys_form_never_reaches_ollamas_own_responses(
    start: Start,
) -> None:
    setup = await start(Playlist([Say("ok")]))
    client = await setup.connect()
    client.post(ASK, "http://localhost/v1/responses")
    await client.until(b"response.completed")
    assert setup.fake.exchanges[-1].uri == b"/api/chat"
    assert b"/v1/responses" not in [seen.uri for seen in setup.fake.exchanges]


@pytest_twisted.ensureDeferred
async def test_health_is_503_when_ollama_dies_inside_its_answer(scene: Scene) -> None:
    scene.wires.shows_version = True
    client = await scene.client(b"GET /__health HTTP/1.1")
    wire = await scene.upstream()
    await wire.until(b"\r\n\r\n")
    wire.say(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
    wire.transport.loseConnection()
    received = await client.until(b"\r\n\r\n{")
    assert received.startswith(b"HTTP/1.1 503 ")


@pytest.mark.expects_errors
@pytest_twisted.ensureDeferred
async def test_a_bug_before_the_first_event_leaves_no_generation_behind(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codex_bridge.web.reply.EventReply.open", lambda _: 1 / 0)
    client, wire = await asked(scene)
    wire.say(HEAD + chunk(EVENT % b"Hello"))
    assert (await client.until(b"internal_error")).startswith(b"HTTP/1.1 500 ")
    await wire.lost
