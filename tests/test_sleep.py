"""The bridge notices that the machine slept, and only then."""

from __future__ import annotations

from twisted.internet.task import Clock

from codex_bridge.sleep import SleepWatch, seconds_asleep


class Machine:
    """A machine whose clocks the test moves."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.asleep = 1000.0
        self.woke: list[float] = []
        self.watch = SleepWatch(self.clock, self.woke.append, lambda: self.asleep)

    def sleeps(self, seconds: float) -> None:
        self.asleep += seconds


def test_a_sleep_is_told_once_and_with_its_length() -> None:
    machine = Machine()
    machine.watch.start()
    machine.clock.pump([1] * 10)
    machine.sleeps(7200)
    machine.clock.pump([1] * 10)
    assert machine.woke == [7200]
    machine.sleeps(60)
    machine.clock.pump([1] * 3)
    assert machine.woke == [7200, 60]


def test_clocks_that_drift_apart_slowly_are_no_sleep() -> None:
    machine = Machine()
    machine.watch.start()
    for _ in range(100):
        machine.sleeps(0.1)
        machine.clock.advance(1)
    machine.sleeps(-7200)
    machine.clock.advance(10)
    assert machine.woke == []


def test_what_was_slept_before_the_start_and_after_the_end_is_not_told() -> None:
    machine = Machine()
    machine.sleeps(7200)
    machine.watch.start()
    machine.clock.advance(10)
    machine.watch.stop()
    machine.watch.stop()
    machine.sleeps(7200)
    machine.clock.advance(10)
    assert (machine.woke, machine.clock.getDelayedCalls()) == ([], [])


def test_a_machine_that_is_awake_does_not_sleep() -> None:
    assert abs(seconds_asleep() - seconds_asleep()) < 1
