"""Connections to the upstream: how they are made, and what their end tells."""

from __future__ import annotations

import socket

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import formatEvent
from twisted.web.client import ResponseFailed

from codex_bridge.engines.budget import Budget, Limits
from codex_bridge.engines.connections import (
    Server,
    _set_probes,
    make_agent,
    make_endpoint,
    make_pool,
)
from codex_bridge.engines.engine import ContextPolicy, Plan
from codex_bridge.engines.ollama import OllamaEngine
from codex_bridge.engines.upstream import Upstream
from codex_bridge.vocabulary import ChatRequest, ModelInfo
from tests.conftest import LogBook
from tests.wires import WireServer


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_cancelled_connect_is_a_cancellation_and_no_second_one_is_made(
    host: str,
) -> None:
    reactor = MemoryReactorClock()
    upstream = Upstream(reactor, f"http://{host}:11433")
    asking = Deferred.fromCoroutine(
        upstream.open(ChatRequest("m", []), ModelInfo("m"), upstream.budget(), stream=True)
    )
    assert len(reactor.tcpClients) == 1
    asking.cancel()
    outcome: list[type] = []
    asking.addErrback(lambda failure: outcome.append(failure.type))
    assert outcome == [CancelledError]
    assert len(reactor.tcpClients) == 1


@pytest.mark.parametrize("ends", ["by the bridge", "within an answer", "idle"])
@pytest_twisted.ensureDeferred
async def test_only_a_server_that_closes_an_idle_connection_is_reported(
    logged: LogBook, ends: str
) -> None:
    wires, reports = WireServer(reactor), []
    server = Server(make_endpoint(reactor, wires.url), lambda: reports.append(ends))
    pool = make_pool(reactor, persistent=ends != "by the bridge")
    request = make_agent(reactor, server, pool).request(b"GET", wires.url.encode())
    wire = await wires.next_connection()
    await wire.until(b"\r\n\r\n")
    wire.say(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
    wire.say(b"a" if ends == "within an answer" else b"whole")
    body = Budget(reactor, Limits()).answer_in(await request)
    if ends == "idle":
        await body
    if ends != "by the bridge":
        wire.transport.loseConnection()
    await wire.lost
    if ends == "within an answer":
        with pytest.raises(ResponseFailed):
            await body
    for _ in range(20):
        await deferLater(reactor, 0)
    assert reports == (["idle"] if ends == "idle" else [])
    assert not any("factory" in formatEvent(event) for event in logged.events)
    await wires.stop()


@pytest.mark.parametrize("size", [10, 20_000])
@pytest_twisted.ensureDeferred
async def test_the_connection_of_a_whole_answer_is_kept_also_behind_a_large_piece(
    size: int,
) -> None:
    wires = WireServer(reactor)
    upstream = Upstream(reactor, wires.url)
    wire = None
    for _ in range(2):
        opening = Deferred.fromCoroutine(
            upstream.open(
                ChatRequest("m", []),
                await upstream.info("m"),
                upstream.budget(),
                stream=True,
            )
        )
        if wire is None:
            wire = await wires.next_connection()
        await wire.until(b'"model":"m"')
        wire.received = b""
        event = b'data: {"model":"m","choices":[{"delta":{"content":"%b"},"finish_reason":"stop"}]}'
        body = event % (b"x" * size) + b"\n\ndata: [DONE]\n\n"
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
        wire.say(head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(body) + body + b"\r\n")
        answer = await opening
        await answer.deliver_to(lambda _: None)
        wire.say(b"0\r\n\r\n")
        for _ in range(20):
            await deferLater(reactor, 0)
    # Two questions, whose answers close their connections; and the one of the exchanges.
    assert len(wires.wires) == 3
    await upstream.close()
    await wires.stop()


def test_a_system_that_refuses_probes_for_a_dead_connection_does_no_harm() -> None:
    class Dead:
        def getHandle(self) -> socket.socket:
            return closed

        def setTcpKeepAlive(self, enabled: bool) -> None:
            closed.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, enabled)

    closed = socket.socket()
    closed.close()
    _set_probes(Dead(), {"TCP_KEEPIDLE": 1})


@pytest_twisted.ensureDeferred
async def test_each_head_of_a_kept_connection_has_the_limit_for_itself() -> None:
    wires = WireServer(reactor, shows_version=True)
    upstream = Upstream(reactor, wires.url)
    wire = None
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + b"A: %b\r\n" % (b"b" * 1000) * 100
    for _ in range(6):
        asking = Deferred.fromCoroutine(upstream.ask("GET", "/api/tags"))
        wire = wire or await wires.next_connection()
        await wire.until(b"\r\n\r\n")
        wire.received = b""
        wire.say(head + b"\r\n{}")
        assert await asking == {}
    assert len(wires.wires) == 1
    await upstream.close()
    await wires.stop()


@pytest.mark.parametrize(("version", "shows"), [((0, 11, 9), False), ((0, 11, 10), True)])
def test_an_ollama_that_would_generate_is_not_asked_for_a_prompt(
    version: tuple[int, ...], shows: bool
) -> None:
    engine = OllamaEngine(ContextPolicy(), version)
    request = engine.render_request(ChatRequest("m", []), ModelInfo("m"), Plan(None, ""))
    assert (request is not None) is shows
