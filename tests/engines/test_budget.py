"""The limits of an exchange: how long each wait may last, and how much is read."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone, ResponseFailed

from codex_bridge.engines.budget import Budget, Limits, Phase, size_of
from codex_bridge.vocabulary import FailureKind, TextDelta, ToolCallDelta, UpstreamFailure


class Body:
    """A response whose body the test says."""

    def __init__(self) -> None:
        self.is_closed = False

    def deliverBody(self, reader: Any) -> None:
        self.reader = reader
        reader.makeConnection(self)

    def loseConnection(self) -> None:
        self.is_closed = True


def scene() -> tuple[Clock, Budget, list[Any]]:
    clock = Clock()
    return clock, Budget(clock, Limits(silence=600)), []


@pytest.mark.parametrize(
    ("phase", "seconds", "kind", "says"),
    [
        (Phase.HEAD, 600, FailureKind.SILENT, "nothing for 600 s"),
        (Phase.LOAD, 600, FailureKind.SILENT, "nothing for 600 s"),
        (Phase.QUESTION, 20, FailureKind.UNREACHABLE, "no answer within 20 s"),
    ],
)
def test_a_wait_ends_when_its_phase_took_too_long(
    phase: Phase, seconds: float, kind: FailureKind, says: str
) -> None:
    clock, budget, outcome = scene()
    cancelled: list[Any] = []
    waiting: Deferred[None] = Deferred(cancelled.append)
    budget.within(phase, waiting).addBoth(outcome.append)
    clock.advance(seconds - 0.1)
    assert (outcome, cancelled) == ([], [])
    clock.advance(0.1)
    (failure,) = outcome
    assert cancelled
    assert (failure.value.kind, failure.value.message) == (kind, says)
    assert clock.getDelayedCalls() == []


@pytest.mark.parametrize("end", ["result", "failure", "cancelled by its user"])
def test_a_wait_that_ends_by_itself_ends_as_it_did(end: str) -> None:
    clock, budget, outcome = scene()
    waiting: Deferred[str] = Deferred()
    within = budget.within(Phase.HEAD, waiting).addBoth(outcome.append)
    if end == "result":
        waiting.callback("done")
        assert outcome == ["done"]
    elif end == "failure":
        waiting.errback(UpstreamFailure(FailureKind.BUSY, "busy"))
        assert outcome[0].value.kind is FailureKind.BUSY
    else:
        within.cancel()
        assert outcome[0].check(CancelledError)
    assert clock.getDelayedCalls() == []


def test_a_wait_that_was_answered_while_it_was_cancelled_has_its_answer() -> None:
    clock, budget, outcome = scene()
    waiting: Deferred[str] = Deferred(lambda it: it.callback("just in time"))
    budget.within(Phase.HEAD, waiting).addBoth(outcome.append)
    clock.advance(600)
    assert outcome == ["just in time"]


def test_of_a_body_that_does_not_end_so_much_is_read_as_came_in_time() -> None:
    clock, budget, outcome = scene()
    body: Any = Body()
    budget.refusal_in(body).addBoth(outcome.append)
    body.reader.dataReceived(b"no such ")
    clock.advance(4.9)
    body.reader.dataReceived(b"grammar")
    assert outcome == []
    clock.advance(0.1)
    assert (outcome, body.is_closed) == ([b"no such grammar"], True)
    body.reader.connectionLost(Failure(ResponseFailed([])))
    assert clock.getDelayedCalls() == []


def test_of_a_large_body_the_beginning_is_read() -> None:
    clock, budget, outcome = scene()
    body: Any = Body()
    budget.refusal_in(body).addBoth(outcome.append)
    for _ in range(7):
        body.reader.dataReceived(b"x" * 10_000)
    assert (outcome, body.is_closed) == ([b"x" * 65_536], True)
    assert clock.getDelayedCalls() == []


def test_a_body_is_whole_or_its_connection_failed() -> None:
    clock, budget, outcome = scene()
    for reason in (ResponseDone(), ResponseFailed([])):
        body: Any = Body()
        budget.answer_in(body).addBoth(outcome.append)
        body.reader.dataReceived(b"{}")
        body.reader.connectionLost(Failure(reason))
    whole, broken = outcome
    assert whole == b"{}"
    assert broken.check(ResponseFailed)
    assert clock.getDelayedCalls() == []


def test_after_a_restart_what_lasts_is_measured_anew() -> None:
    clock, budget, outcome = scene()
    budget.within(Phase.HEAD, Deferred()).addBoth(outcome.append)
    clock.advance(599)
    budget.restart()
    clock.advance(599)
    assert outcome == []
    clock.advance(1)
    assert len(outcome) == 1


def test_an_answer_may_be_as_large_as_the_limit() -> None:
    budget = Budget(Clock(), Limits(answer_size=1000))
    budget.check_size(1000)
    with pytest.raises(UpstreamFailure, match=r"more than 1,000 bytes \(--max-answer-size\)"):
        budget.check_size(1001)


def test_of_an_answer_that_does_not_end_nothing_is_believed() -> None:
    clock, budget, outcome = scene()
    body: Any = Body()
    budget.answer_in(body).addBoth(outcome.append)
    body.reader.dataReceived(b"{}")
    clock.advance(20)
    (failure,) = outcome
    assert (failure.value.kind, body.is_closed) == (FailureKind.UNREACHABLE, True)


def test_all_of_a_call_is_counted() -> None:
    call = ToolCallDelta(0, "i" * 100, "n" * 1000, "a" * 10_000)
    assert 11_100 < size_of(call) < 11_200
    assert 5 < size_of(TextDelta("Hello")) < 50
