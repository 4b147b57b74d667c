"""Ollama is started again: how long clients wait, and which of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, formatEvent

from codex_bridge.engines import retries
from tests import harness
from tests.clocked import ClockedReactor
from tests.conftest import LogBook
from tests.fake_ollama import FakeOllama, Playlist, Say
from tests.harness import CODEX, Setup
from tests.web.scene import Scene

UPSTREAM_IS_OLLAMA = True

RULES = dict(retries.RULES)
ASK = {"model": "qwen3:14b", "input": "hi", "stream": True}
AT_START = ["/v1/models", "/api/version", "/api/tags"]

Begin = Callable[[], Awaitable[tuple[Setup, ClockedReactor]]]


@pytest_twisted.async_yield_fixture
async def begin(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Begin]:
    """A bridge whose time only the test moves, and an Ollama that has just stopped."""
    monkeypatch.setattr(retries, "RULES", RULES)
    running: list[Setup] = []

    async def start() -> tuple[Setup, ClockedReactor]:
        clocked = ClockedReactor()
        setup = await harness.start(clocked, FakeOllama(clocked, model=Playlist([Say("Back.")])))
        running.append(setup)
        await setup.fake.stop()
        return setup, clocked

    yield start
    for setup in running:
        await setup.stop()


def waits(time: ClockedReactor) -> bool:
    """Whether somebody waits before Ollama is asked again."""
    return any("Deferred.callback" in repr(call) for call in time.clock.getDelayedCalls())


async def pass_time(time: ClockedReactor, seconds: float) -> None:
    """Let half seconds pass, each as soon as somebody waits for it."""
    for _ in range(int(seconds * 2)):
        await time.until_scheduled(lambda: waits(time))
        time.clock.advance(0.5)
        assert not waits(time)


@pytest_twisted.ensureDeferred
async def test_an_exchange_goes_on_half_a_second_after_ollama_is_back(
    begin: Begin, logged: LogBook
) -> None:
    setup, time = await begin()
    client = await setup.connect()
    client.post(ASK, headers=CODEX)
    await pass_time(time, 4.5)
    await time.until_scheduled(lambda: waits(time))
    setup.fake.listen(setup.fake.port)
    time.clock.advance(0.5)
    received = await client.until(b"response.completed")
    assert b'"delta":"Back."' in received
    (told,) = [str(formatEvent(event)) for event in logged.at(LogLevel.warn)]
    assert told.endswith("is asked again in 0.5 s: not running, connection refused")
    # What was refused was not asked.
    assert not any("asked 2" in str(formatEvent(event)) for event in logged.events)


@pytest.mark.parametrize("path", [*AT_START, "/api/tags?x=1"])
@pytest_twisted.ensureDeferred
async def test_what_codex_asks_at_its_start_is_held_until_ollama_is_back(
    begin: Begin, path: str
) -> None:
    setup, time = await begin()
    asking = Deferred.fromCoroutine(setup.request("GET", path))
    await pass_time(time, 4.5)
    await time.until_scheduled(lambda: waits(time))
    setup.fake.listen(setup.fake.port)
    time.clock.advance(0.5)
    assert (await asking).status == 200
    assert [seen.uri for seen in setup.fake.exchanges] == [path.encode()]


@pytest_twisted.ensureDeferred
async def test_after_five_seconds_codex_is_told(begin: Begin) -> None:
    setup, time = await begin()
    asking = Deferred.fromCoroutine(setup.request("GET", "/v1/models"))
    await pass_time(time, 5)
    reply = await asking
    assert reply.status == 502
    assert setup.fake.url in reply.json["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/ps"),
        ("HEAD", "/api/tags"),
        ("POST", "/api/tags"),
        ("POST", "/api/show"),
        ("GET", "/"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_all_others_are_told_at_once(begin: Begin, method: str, path: str) -> None:
    setup, _ = await begin()
    assert (await setup.request(method, path)).status == 502


@pytest_twisted.ensureDeferred
async def test_a_client_that_leaves_is_asked_for_no_more(begin: Begin) -> None:
    setup, time = await begin()
    client = await setup.connect()
    client.send(b"GET /api/tags HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await time.until_scheduled(lambda: waits(time))
    await client.close()
    await time.until_scheduled(lambda: not waits(time))


@pytest_twisted.ensureDeferred
async def test_a_question_that_ollama_got_is_not_asked_again(scene: Scene) -> None:
    before = len(scene.wires.wires)
    client = await scene.client(b"GET /api/tags HTTP/1.1")
    wire = await scene.upstream()
    wire.transport.abortConnection()
    assert (await client.until(b"}}\n")).startswith(b"HTTP/1.1 502 ")
    assert len(scene.wires.wires) == before + 1


LOADING = b"HTTP/1.1 503 X\r\nServer: llama.cpp\r\nContent-Length: 2\r\n\r\n{}"
BUSY = b"HTTP/1.1 503 X\r\nContent-Length: 4\r\n\r\nbusy"
LISTED = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@pytest_twisted.ensureDeferred
async def test_what_codex_asks_at_its_start_is_held_while_a_server_loads_its_model() -> None:
    time = ClockedReactor()
    scene = Scene(time, is_ollama=True)
    try:
        await scene.service.identified
        client = await scene.client(b"GET /v1/models HTTP/1.1")
        for _ in range(60):
            wire = await scene.upstream()
            wire.say(LOADING)
            await time.until_scheduled(lambda: waits(time))
            time.clock.advance(0.5)
        wire = await scene.upstream()
        wire.say(LISTED)
        assert (await client.until(b"{}")).startswith(b"HTTP/1.1 200 ")
    finally:
        await scene.stop()


@pytest_twisted.ensureDeferred
async def test_any_other_503_passes_through_at_once(scene: Scene) -> None:
    client = await scene.client(b"GET /v1/models HTTP/1.1")
    (await scene.upstream()).say(BUSY)
    assert (await client.until(b"busy")).startswith(b"HTTP/1.1 503 ")
