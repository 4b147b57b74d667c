"""Each hostile upstream in each dialect: how its exchange ends, and that the next one is fine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Iterator
from time import monotonic
from typing import Any, TypeVar

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from tests.clocked import ClockedReactor
from tests.conftest import LogBook
from tests.harness import CODEX, REQUEST, Answer, Setup, serve
from tests.hostile_upstreams import DECENT, SILENCE, UPSTREAMS, HostileStage, Outcome, Upstream
from tests.upstream_bytes import Dialect

T = TypeVar("T")
MAX_ANSWER_SIZE = 200_000
"""Bytes of an answer that the bridge holds here."""
PATIENCE = 5.0
"""Real seconds for what needs no time of the clock."""
QUESTION = 20.0
"""Seconds of the clock that a question may take."""
SLACK = 2.0
"""Seconds of the clock that a limit may be late."""
STEP = 5.0
"""Seconds; less than between two heartbeats."""
QUIET_TURNS, FEW_TURNS, MOST_TURNS = 20, 6, 40
"""Turns of the reactor without a byte, or at all, after which the clock may go on."""
# No sentence may hold one of these.
TRACES = ("Error(", "<class", "object at", "Traceback", "Failure", "Exception", "has a bug")
LONGEST_SENTENCE = 2000
"""Characters."""
MOST_LOG_EVENTS = 50
"""Of one exchange."""


class Act:
    """A bridge before a hostile stage, and the clock of both."""

    def __init__(self, upstream: Upstream, dialect: Dialect) -> None:
        self.time = ClockedReactor()
        self.stage = HostileStage(
            reactor, upstream, is_ollama=dialect == "ollama", clock=self.time.clock
        )
        self.setup: Setup

    async def begin(self) -> None:
        self.setup = await serve(
            self.time,
            self.stage.url,
            grace=0,
            upstream_timeout=SILENCE,
            max_answer_size=MAX_ANSWER_SIZE,
            # Its thread takes real time, in which this clock would go on.
            store="off",
        )
        # The question what it is may take as long as any other.
        await self.performed(_of(self.setup.service.identified), QUESTION)

    async def performed(self, coroutine: Coroutine[Any, Any, T], seconds: float = 0.0) -> T:
        """The result; where nothing else happens, up to so many seconds of the clock pass."""
        results: list[Any] = []
        Deferred.fromCoroutine(coroutine).addBoth(results.append)
        clock, begun, unasked = self.time.clock, monotonic(), self.stage.bytes
        end = clock.seconds() + seconds + SLACK
        while not results:
            await self._quiet(results, MOST_TURNS)
            assert monotonic() < begun + PATIENCE, "it does not end"
            if seconds and not results and self.stage.bytes != unasked:
                following = min(call.getTime() for call in clock.getDelayedCalls())
                clock.advance(following - clock.seconds())
                assert clock.seconds() <= end, "it takes too long by the clock"
        if isinstance(results[0], Failure):
            results[0].raiseException()
        result: T = results[0]
        return result

    async def passed(self, seconds: float) -> None:
        """Let the clock go on, whatever happens."""
        end = self.time.clock.seconds() + seconds
        while self.time.clock.seconds() < end:
            await self._quiet([], FEW_TURNS)
            self.time.clock.advance(STEP)

    async def _quiet(self, results: list[Any], most: int) -> None:
        """Turn the reactor until time alone can change something, or there are results."""
        quiet, turns, before = 0, 0, -1
        while not results and quiet < QUIET_TURNS and turns < most:
            self.time.clock.advance(0)
            await deferLater(reactor, 0)
            quiet, before = (quiet + 1 if self.stage.bytes == before else 0), self.stage.bytes
            turns += 1

    async def stop(self) -> None:
        stopped = Deferred.fromCoroutine(self.setup.stop())
        await self.performed(_of(stopped), 10)
        await self.stage.stop()


async def _of(deferred: Deferred[T]) -> T:
    return await deferred


def cases() -> Iterator[Any]:
    for upstream in UPSTREAMS:
        for dialect in upstream.dialects:
            yield pytest.param(upstream, dialect, id=f"{upstream.name} ({dialect})")


@pytest_twisted.async_yield_fixture
async def act(
    upstream: Upstream, dialect: Dialect, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Act]:
    # The one place that says how the limit is set.
    act = Act(upstream, dialect)
    await act.begin()
    yield act
    await act.stop()


def check(reply: Answer, expected: Outcome) -> None:
    """What the client read is what the table says, and fit to be read."""
    assert reply.status == 200
    response = reply.response
    told = response["error"] or {"code": response["status"], "message": ""}
    sentence = told["message"]
    assert told["code"] == expected.code, sentence
    assert expected.says in sentence
    assert [trace for trace in TRACES if trace in sentence] == []
    assert len(sentence) <= LONGEST_SENTENCE
    assert [c for c in sentence if not c.isprintable() and c not in "\n\t"] == []
    deltas = [event for event in reply.events if event["type"] == "response.output_text.delta"]
    assert "".join(event["delta"] for event in deltas) == expected.text
    calls = [item for item in response["output"] if item["type"] == "function_call"]
    assert len(calls) == expected.calls


async def stays_open(act: Act) -> None:
    """The client gets one event after the other, until it has enough."""
    client = await act.setup.connect()
    client.keep_last = 100_000
    client.post(REQUEST, headers=CODEX)
    await act.passed(SILENCE)
    before = client.received
    await act.passed(SILENCE)
    assert client.received != before
    assert b"response.completed" not in client.received
    assert b"response.failed" not in client.received
    await act.performed(client.close())


def test_each_upstream_has_a_name_of_its_own() -> None:
    names = [upstream.name for upstream in UPSTREAMS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("upstream", "dialect"), list(cases()))
@pytest_twisted.ensureDeferred
async def test_an_exchange_ends_in_its_way_and_the_next_is_fine(
    act: Act, upstream: Upstream, dialect: Dialect, logged: LogBook
) -> None:
    expected = upstream.outcome_in(dialect)
    if expected.code == "open":
        await stays_open(act)
    else:
        seconds = expected.seconds + SILENCE * expected.needs_silence
        check(await act.performed(act.setup.ask(headers=CODEX), seconds), expected)
    assert act.stage.requests == expected.requests
    assert len(logged.events) <= MOST_LOG_EVENTS

    act.stage.upstream = DECENT
    check(await act.performed(act.setup.ask(headers=CODEX)), DECENT.outcome)
    health = await act.performed(act.setup.request("GET", "/__health"))
    assert health.json["exchanges"]["open"] == 0
    act.time.clock.advance(1)  # The connection of an answer that is whole may take a second to end.
    await act.performed(hung_up(act.stage))


async def hung_up(stage: HostileStage) -> None:
    """Until no connection is left over which something goes on that only the bridge can end."""
    while any(actor.goes_on_for_ever for actor in stage.open):
        await deferLater(reactor, 0)
