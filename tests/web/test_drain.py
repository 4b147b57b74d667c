"""How running answers end with a bridge."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from codex_bridge.errors import ApiError
from codex_bridge.web.drain import Drain


def draining(drain: Drain, clock: Clock, seconds: float = 30) -> list[str]:
    ended: list[str] = []
    drain.drain(clock, seconds).addCallback(lambda _: ended.append("ended"))
    return ended


def test_running_answers_are_waited_for_and_no_more_are_admitted() -> None:
    drain, clock = Drain(), Clock()
    drain.admit()
    answers: list[Deferred[None]] = [Deferred(), Deferred()]
    for answer in answers:
        drain.serve(answer, answer.cancel)
    ended = draining(drain, clock)
    with pytest.raises(ApiError, match="being stopped"):
        drain.admit()
    answers[0].callback(None)
    assert (ended, len(drain)) == ([], 1)
    answers[1].callback(None)
    assert (ended, len(drain), clock.getDelayedCalls()) == (["ended"], 0, [])


def test_a_drain_without_running_answers_ends_at_once() -> None:
    assert draining(Drain(), Clock()) == ["ended"]


def test_an_answer_that_takes_too_long_is_cut_short() -> None:
    drain, clock = Drain(), Clock()
    answer: Deferred[None] = Deferred()
    drain.serve(answer, lambda: answer.callback(None))
    ended = draining(drain, clock)
    clock.advance(29)
    assert ended == []
    clock.advance(1)
    assert ended == ["ended"]


def test_an_answer_that_cannot_be_cut_short_is_not_waited_for() -> None:
    drain, clock = Drain(), Clock()
    drain.serve(Deferred(), lambda: None)
    ended = draining(drain, clock)
    drain.cut_short()
    clock.advance(2.9)
    assert ended == []
    clock.advance(0.1)
    assert ended == ["ended"]
