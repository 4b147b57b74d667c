"""Notices that the machine slept: a laptop whose lid was closed, a server that was suspended.

The clock by which time limits are measured stands meanwhile, so none of them ends too early. But
the upstream may be gone, or its connection, without a word of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from twisted.internet.task import LoopingCall

CHECK_EVERY = 2.5
"""Seconds."""
SHORTEST = 2.0
"""Seconds that count as sleep; the two clocks are not read at the same moment."""
# Of the clocks that go on in sleep, Linux has the first; under macOS the second is one.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))


def seconds_asleep() -> float:
    """How long the machine slept in all, with an offset that does not change; 0 if unknown."""
    return 0.0 if _CLOCK is None else time.clock_gettime(_CLOCK) - time.monotonic()


class SleepWatch:
    """Tells when the machine has slept."""

    def __init__(
        self,
        clock: Any,
        on_wake: Callable[[float], None],
        asleep: Callable[[], float] = seconds_asleep,
    ) -> None:
        """`on_wake` is called with the seconds that the machine slept; `asleep` as
        `seconds_asleep`."""
        self._on_wake = on_wake
        self._asleep = asleep
        self._before: float
        self._checking = LoopingCall(self._check)
        self._checking.clock = clock

    def start(self) -> None:
        """Watch from now on."""
        self._before = self._asleep()
        self._checking.start(CHECK_EVERY, now=False)

    def stop(self) -> None:
        """Watch no longer."""
        if self._checking.running:
            self._checking.stop()

    def _check(self) -> None:
        before, self._before = self._before, self._asleep()
        if self._before - before >= SHORTEST:
            self._on_wake(self._before - before)
