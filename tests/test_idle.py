"""When nothing has been heard for a while."""

from __future__ import annotations

from twisted.internet.task import Clock

from codex_bridge.idle import Silence


def scene(seconds: float = 10) -> tuple[Clock, Silence, list[float]]:
    clock, told = Clock(), []
    silence = Silence(clock, seconds, lambda: told.append(clock.seconds()))
    silence.start()
    return clock, silence, told


def test_silence_is_told_again_and_again() -> None:
    clock, _, told = scene()
    clock.pump([1] * 35)
    assert told == [10, 20, 30]


def test_what_is_heard_puts_it_off() -> None:
    clock, silence, told = scene()
    clock.advance(9)
    silence.heard()
    clock.advance(9)
    assert told == []
    clock.advance(1)
    assert told == [19]


def test_it_is_not_told_when_nobody_listens_any_more() -> None:
    clock, silence, told = scene()
    silence.stop()
    clock.advance(100)
    assert (told, clock.getDelayedCalls()) == ([], [])
    silence.start()
    clock.advance(10)
    assert told == [110]


def test_whoever_is_told_may_stop_it() -> None:
    clock = Clock()
    told: list[float] = []

    def stop() -> None:
        told.append(clock.seconds())
        silence.stop()

    silence = Silence(clock, 10, stop)
    silence.start()
    clock.pump([10] * 3)
    assert (told, clock.getDelayedCalls()) == ([10], [])
