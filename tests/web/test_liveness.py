"""What happens in time: a stream that starts at once and stays alive, and when patience ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from codex_bridge.engines import retries
from codex_bridge.engines.upstream import Upstream
from tests import harness
from tests.clocked import ClockedReactor
from tests.fake_ollama import Call, Die, FakeOllama, Hold, Playlist, Refuse, Say, Think
from tests.harness import CODEX, RawClient, Setup

RULES = dict(retries.RULES)
ASK = {"model": "qwen3:14b", "input": "hi", "stream": True}
BEAT = b"event: response.in_progress"

Begin = Callable[..., Awaitable[tuple[Setup, ClockedReactor]]]


@pytest_twisted.async_yield_fixture
async def begin(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Begin]:
    """A bridge whose time only the test moves, before a model that gives these answers."""
    monkeypatch.setattr(retries, "RULES", RULES)
    running: list[Setup] = []

    async def start(*answers: Any, **settings: Any) -> tuple[Setup, ClockedReactor]:
        clocked = ClockedReactor()
        fake = FakeOllama(clocked, model=Playlist(*answers))
        setup = await harness.start(clocked, fake, **settings)
        running.append(setup)
        return setup, clocked

    yield start
    for setup in running:
        await setup.stop()


async def asked(setup: Setup, headers: Any = None) -> RawClient:
    """A client whose request has reached the model."""
    seen = setup.fake.chat_seen()
    client = await setup.connect()
    client.post(ASK, headers=headers)
    await seen
    return client


async def nothing_came(setup: Setup, client: RawClient) -> None:
    """Whatever is on its way to `client` has arrived, and it is nothing."""
    before = client.received
    await setup.request("GET", "/__nothing")
    assert client.received == before


@pytest_twisted.ensureDeferred
async def test_a_stream_starts_after_the_grace_and_gives_signs_of_life(begin: Begin) -> None:
    more: Deferred[None] = Deferred()
    setup, time = await begin([Hold(more), Say("Hello")])
    client = await asked(setup)
    await nothing_came(setup, client)
    time.clock.advance(0.5)
    await client.until(b"event: response.created")
    assert client.received.count(BEAT) == 1
    for beats in (2, 3, 4):
        time.clock.advance(14.9)
        await nothing_came(setup, client)
        time.clock.advance(0.1)
        await client.until_count(BEAT, beats)
    more.callback(None)
    assert b'"delta":"Hello"' in await client.until(b"response.completed")


@pytest_twisted.ensureDeferred
async def test_a_sign_of_life_is_given_only_where_nothing_else_was(begin: Begin) -> None:
    first: Deferred[None] = Deferred()
    more: Deferred[None] = Deferred()
    setup, time = await begin(
        [Think("Hm.", pieces=("Hm.",)), Hold(first), Say("Well", pieces=("Well",)), Hold(more)]
    )
    client = await asked(setup)
    await client.until(b'"delta":"Hm."')
    time.clock.advance(10)
    first.callback(None)
    await client.until(b'"delta":"Well"')
    time.clock.advance(14)
    await nothing_came(setup, client)
    time.clock.advance(1)
    await client.until_count(BEAT, 2)


@pytest_twisted.ensureDeferred
async def test_a_heartbeat_can_be_set(begin: Begin) -> None:
    setup, time = await begin([Hold(Deferred())], heartbeat=2, grace=0)
    client = await asked(setup)
    time.clock.advance(0)
    await client.until(BEAT)
    time.clock.advance(2)
    await client.until_count(BEAT, 2)


@pytest_twisted.ensureDeferred
async def test_a_refusal_within_the_grace_is_a_status_later_it_is_in_the_stream(
    begin: Begin,
) -> None:
    hold: Deferred[None] = Deferred()
    refuse = Refuse(400, "no")
    setup, time = await begin([refuse], [Hold(hold), refuse])
    early = await asked(setup)
    assert (await early.until(b"refused")).startswith(b"HTTP/1.1 400 ")
    late = await asked(setup)
    time.clock.advance(0.5)
    await late.until(b"response.created")
    hold.callback(None)
    assert b"Ollama refused the request (400): no" in await late.until(b"response.failed")


@pytest_twisted.ensureDeferred
async def test_a_stream_that_starts_before_the_model_is_known_is_one_stream(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup, time = await begin([Call("exec_command", {"cmd": "ls"})])
    known: Deferred[None] = Deferred()
    real = Upstream.info

    async def info(self: Upstream, name: str) -> Any:
        await known
        return await real(self, name)

    monkeypatch.setattr(Upstream, "info", info)
    asking = Deferred.fromCoroutine(setup.ask())
    await time.until_scheduled(lambda: _is_scheduled(time, "open"))
    time.clock.advance(0.5)
    time.clock.advance(15)
    known.callback(None)
    response = (await asking).response
    assert [item["name"] for item in response["output"]] == ["exec_command"]


@pytest_twisted.ensureDeferred
async def test_an_ollama_that_restarts_is_waited_for_without_a_word(begin: Begin) -> None:
    setup, time = await begin([Say("Back.")])
    port = setup.fake.port
    await setup.fake.stop()
    client = await setup.connect()
    client.post(ASK, headers=CODEX)
    for _ in range(3):
        await time.until_scheduled(lambda: _is_waiting(time))
        time.clock.advance(4)
    await time.until_scheduled(lambda: _is_waiting(time))
    setup.fake.listen(port)
    time.clock.advance(4)
    received = await client.until(b"response.completed")
    assert b"response.failed" not in received
    assert b'"delta":"Back."' in received


@pytest_twisted.ensureDeferred
async def test_a_client_that_leaves_between_two_attempts_is_asked_for_no_more(
    begin: Begin,
) -> None:
    setup, time = await begin([Die("close")], [Say("too late")])
    client = await asked(setup)
    await time.until_scheduled(lambda: _is_waiting(time))
    await client.close()
    await time.until_scheduled(lambda: not _is_waiting(time))
    time.clock.advance(60)
    await setup.request("GET", "/__nothing")
    assert len(setup.fake.turns) == 1


def _is_waiting(time: ClockedReactor) -> bool:
    """Whether an exchange waits before it asks again."""
    return _is_scheduled(time, "Deferred.callback")


def _is_scheduled(time: ClockedReactor, what: str) -> bool:
    return any(what in repr(call) for call in time.clock.getDelayedCalls())


@pytest_twisted.ensureDeferred
async def test_an_ollama_that_says_nothing_for_half_an_hour_is_given_up(begin: Begin) -> None:
    setup, time = await begin([Hold(Deferred())], [Say("Half", pieces=("Half",)), Hold(Deferred())])
    for begun in (False, True):
        client = await asked(setup, CODEX)
        if begun:
            await client.until(b'"delta":"Half"')
        gone = setup.fake.turns[-1].when_hung_up()
        time.clock.advance(1800)
        received = await client.until(b"response.failed")
        assert b"nothing for 1800 s" in received
        assert b'"code":"invalid_prompt"' in received
        await gone
    assert len(setup.fake.turns) == 2


@pytest_twisted.ensureDeferred
async def test_nothing_is_left_scheduled_when_an_exchange_is_through(begin: Begin) -> None:
    setup, time = await begin([Say("ok")], [Hold(Deferred())])
    await setup.ask(ASK)
    client = await asked(setup)
    await client.close()
    await setup.fake.turns[1].when_hung_up()
    await setup.request("GET", "/__health")
    left = [repr(call) for call in time.clock.getDelayedCalls()]
    assert not [call for call in left if "IdleTimer" in call or "Exchange" in call], left
