"""A timer for the time since something last happened."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class IdleTimer:
    """Calls back when nothing happened for a number of seconds, and again after as many more.

    `touch` only reads the clock and reschedules nothing, so it is cheap enough for every token.
    """

    def __init__(self, clock: IReactorTime, seconds: float, on_idle: Callable[[], None]) -> None:
        """`on_idle` is called each time that `seconds` have passed without a `touch`."""
        self._clock = clock
        self._seconds = seconds
        self._on_idle = on_idle
        self._last = 0.0
        self._timer: IDelayedCall | None = None

    @property
    def is_running(self) -> bool:
        """Whether it was started, and not stopped since."""
        return self._timer is not None

    def start(self) -> None:
        """Measure from now on. May be called while the timer is running."""
        self.touch()
        if self._timer is None:
            self._timer = self._clock.callLater(self._seconds, self._look)

    def touch(self) -> None:
        """Something happened: measure from now."""
        self._last = self._clock.seconds()

    def stop(self) -> None:
        """Do not call back any more until the next `start`."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        left = self._last + self._seconds - self._clock.seconds()
        is_idle = left <= 0
        if is_idle:
            self.touch()
        self._timer = self._clock.callLater(self._seconds if is_idle else left, self._look)
        if is_idle:
            self._on_idle()
