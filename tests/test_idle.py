"""A timer for the time since something last happened."""

from __future__ import annotations

from twisted.internet.task import Clock

from codex_bridge.idle import IdleTimer


def scene(seconds: float = 10) -> tuple[Clock, IdleTimer, list[float]]:
    clock, calls = Clock(), []
    timer = IdleTimer(clock, seconds, lambda: calls.append(clock.seconds()))
    timer.start()
    return clock, timer, calls


def test_it_calls_back_again_and_again() -> None:
    clock, _, calls = scene()
    clock.pump([1] * 35)
    assert calls == [10, 20, 30]


def test_a_touch_puts_it_off() -> None:
    clock, timer, calls = scene()
    clock.advance(9)
    timer.touch()
    clock.advance(9)
    assert calls == []
    clock.advance(1)
    assert calls == [19]


def test_it_calls_nobody_back_when_it_was_stopped() -> None:
    clock, timer, calls = scene()
    timer.stop()
    clock.advance(100)
    assert (calls, clock.getDelayedCalls()) == ([], [])
    timer.start()
    clock.advance(10)
    assert calls == [110]


def test_the_callback_may_stop_it() -> None:
    clock = Clock()
    calls: list[float] = []

    def stop() -> None:
        calls.append(clock.seconds())
        timer.stop()

    timer = IdleTimer(clock, 10, stop)
    timer.start()
    clock.pump([10] * 3)
    assert (calls, clock.getDelayedCalls()) == ([10], [])
