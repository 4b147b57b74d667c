"""A lock that any number may wait for."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred

from codex_bridge.engines.lock import Lock


def test_it_serves_in_the_order_of_asking() -> None:
    lock, order = Lock(), list[int]()
    for number in range(3):
        lock.acquire().addCallback(lambda _, number=number: order.append(number))
    assert order == [0]
    lock.release()
    assert order == [0, 1]
    lock.release()
    assert order == [0, 1, 2]
    lock.release()
    assert not lock.locked


def test_a_waiter_that_gives_up_delays_no_other() -> None:
    lock, order = Lock(), list[int]()
    lock.acquire()
    waiting: list[Deferred[None]] = [lock.acquire() for _ in range(2)]
    waiting[0].addErrback(lambda failure: failure.trap(CancelledError) and None)
    waiting[1].addCallback(lambda _: order.append(1))
    waiting[0].cancel()
    lock.release()
    assert order == [1]


def test_any_number_may_wait() -> None:
    lock, through = Lock(), list[int]()
    lock.acquire()

    async def hurry(number: int) -> None:
        await lock.acquire()
        try:
            through.append(number)
        finally:
            lock.release()

    for number in range(5000):
        Deferred.fromCoroutine(hurry(number))
    lock.release()
    assert through == list(range(5000))
    assert not lock.locked
