"""One after another, however many wait."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred

from codex_bridge.engines.lock import Turns


def test_one_after_another_in_the_order_of_their_coming() -> None:
    turns, order = Turns(), list[int]()
    for number in range(3):
        turns.acquire().addCallback(lambda _, number=number: order.append(number))
    assert order == [0]
    turns.release()
    assert order == [0, 1]
    turns.release()
    assert order == [0, 1, 2]
    turns.release()
    assert not turns.locked


def test_who_gives_up_loses_the_place_alone() -> None:
    turns, order = Turns(), list[int]()
    turns.acquire()
    waiting: list[Deferred[None]] = [turns.acquire() for _ in range(2)]
    waiting[0].addErrback(lambda failure: failure.trap(CancelledError) and None)
    waiting[1].addCallback(lambda _: order.append(1))
    waiting[0].cancel()
    turns.release()
    assert order == [1]


def test_any_number_may_wait_for_one() -> None:
    turns, through = Turns(), list[int]()
    turns.acquire()

    async def hurry(number: int) -> None:
        await turns.acquire()
        try:
            through.append(number)
        finally:
            turns.release()

    for number in range(5000):
        Deferred.fromCoroutine(hurry(number))
    turns.release()
    assert through == list(range(5000))
    assert not turns.locked
