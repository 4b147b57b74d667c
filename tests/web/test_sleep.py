"""The lid is closed for two hours in mid-answer."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import pytest
import pytest_twisted
from attrs import define
from twisted.internet import reactor
from twisted.logger import formatEvent

from tests.clocked import ClockedReactor
from tests.conftest import LogBook
from tests.harness import CODEX, RawClient
from tests.web.scene import Scene
from tests.wires import Wire

ASK = {"model": "qwen3:14b", "input": "hi", "stream": True}
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
TEXT = b'data: {"model":"m","choices":[{"delta":{"content":"%b"}}]}\n\n'
STOP = b'data: {"model":"m","choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"


@define
class Laptop:
    """A bridge on a machine that the test sends to sleep, before an upstream of bytes."""

    scene: Scene
    time: ClockedReactor
    asleep: float = 0.0

    def clock_gettime(self, clock: int) -> float:
        return self.asleep

    def monotonic(self) -> float:
        return 0.0

    def sleeps(self, hours: float) -> None:
        """Sleep, wake up, and be awake for as long as it takes to notice."""
        self.asleep += hours * 3600
        self.time.clock.advance(2.5)

    async def asks(self) -> tuple[RawClient, Wire]:
        client = await self.scene.client()
        client.post(ASK, headers=CODEX)
        wire = await self.scene.upstream()
        await wire.until(b"include_usage")
        return client, wire


@pytest_twisted.async_yield_fixture
async def laptop(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Laptop]:
    time = ClockedReactor()
    it = Laptop.__new__(Laptop)
    it.time, it.asleep = time, 0.0
    monkeypatch.setattr("codex_bridge.sleep.time", it)
    it.scene = Scene(time, grace=0, upstream_timeout=600)
    await it.scene.service.identified
    yield it
    await it.scene.stop()


@pytest_twisted.ensureDeferred
async def test_an_answer_goes_on_after_two_hours(laptop: Laptop, logged: LogBook) -> None:
    client, wire = await laptop.asks()
    connections = len(laptop.scene.wires.wires)
    wire.say(HEAD + TEXT % b"Half, ")
    await client.until(b"Half, ")
    laptop.time.clock.advance(590)
    laptop.sleeps(2)
    # The silence is measured anew.
    laptop.time.clock.advance(590)
    wire.say(TEXT % b"and whole." + STOP + DONE)
    received = await client.until(b"response.completed")
    assert b"Half, and whole." in received
    assert len(laptop.scene.wires.wires) == connections
    assert "the machine slept for 7200 s; replies that are running: 1" in [
        formatEvent(event) for event in logged.events
    ]


@pytest_twisted.ensureDeferred
async def test_an_answer_that_did_not_begin_before_the_sleep_may_begin_after_it(
    laptop: Laptop,
) -> None:
    client, wire = await laptop.asks()
    laptop.time.clock.advance(590)
    laptop.sleeps(2)
    laptop.time.clock.advance(590)
    wire.say(HEAD + TEXT % b"Whole." + STOP + DONE)
    await client.until(b"response.completed")


@pytest_twisted.ensureDeferred
async def test_without_a_sleep_the_silence_has_its_limit(laptop: Laptop) -> None:
    client, _ = await laptop.asks()
    laptop.time.clock.advance(600)
    received = await client.until(b"response.failed")
    assert b"nothing for 600 s" in received


@pytest_twisted.ensureDeferred
async def test_the_connection_of_a_running_answer_is_probed(laptop: Laptop) -> None:
    client, wire = await laptop.asks()
    wire.say(HEAD + TEXT % b"Half, ")
    await client.until(b"Half, ")
    peer = wire.transport.getPeer().port
    (bridges,) = [
        each.getHandle()
        for each in reactor.getReaders()  # type: ignore[attr-defined]
        if hasattr(each, "getHost") and getattr(each.getHost(), "port", 0) == peer
    ]
    if not hasattr(socket, "TCP_KEEPIDLE"):
        pytest.skip("this system does not tell when it probes")
    assert bridges.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60
    laptop.sleeps(2)
    assert bridges.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 1
    assert bridges.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == 2


@pytest_twisted.ensureDeferred
async def test_an_engine_that_died_meanwhile_is_asked_again_in_silence(laptop: Laptop) -> None:
    client, wire = await laptop.asks()
    wire.say(HEAD)
    laptop.sleeps(2)
    # What the kernel makes of a connection whose other side does not know it any more.
    wire.transport.abortConnection()
    await laptop.time.until_scheduled(
        lambda: any(call.getTime() == 2.5 for call in laptop.time.clock.getDelayedCalls())
    )
    laptop.time.clock.advance(0)
    again = await laptop.scene.upstream()
    again.say(HEAD + TEXT % b"Whole." + STOP + DONE)
    received = await client.until(b"response.completed")
    assert b"Whole." in received
    assert b"response.failed" not in received


@pytest_twisted.ensureDeferred
async def test_idle_connections_are_not_trusted_after_a_sleep(laptop: Laptop) -> None:
    client, wire = await laptop.asks()
    wire.say(b"HTTP/1.1 400 Bad\r\nContent-Length: 2\r\n\r\nno")
    await client.until(b"response.failed")
    assert not wire.lost.called
    laptop.sleeps(2)
    await wire.lost


@pytest_twisted.ensureDeferred
async def test_what_was_known_of_the_server_is_asked_again_after_a_sleep(laptop: Laptop) -> None:
    def questions() -> int:
        return sum(b"/api/version" in each.received for each in laptop.scene.wires.wires)

    before = questions()
    client, wire = await laptop.asks()
    wire.say(HEAD + TEXT % b"Whole." + STOP + DONE)
    await client.until(b"response.completed")
    await laptop.asks()
    assert questions() == before + 1
    laptop.sleeps(2)
    await laptop.asks()
    assert questions() == before + 2
