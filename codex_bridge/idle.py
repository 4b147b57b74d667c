"""When nothing has been heard for a while."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Silence:
    """Tells when nothing was heard for a number of seconds, and again after as many more.

    What is heard moves no timer, it only looks at the clock: a stream of tokens is not slowed.
    """

    def __init__(self, clock: IReactorTime, seconds: float, told: Callable[[], None]) -> None:
        self._clock = clock
        self._seconds = seconds
        self._told = told
        self._last = 0.0
        self._timer: IDelayedCall | None = None

    def start(self) -> None:
        """Listen from now on."""
        self.heard()
        if self._timer is None:
            self._timer = self._clock.callLater(self._seconds, self._look)

    def heard(self) -> None:
        """Something was."""
        self._last = self._clock.seconds()

    def stop(self) -> None:
        """Listen no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        left = self._last + self._seconds - self._clock.seconds()
        is_silent = left <= 0
        if is_silent:
            self.heard()
        self._timer = self._clock.callLater(self._seconds if is_silent else left, self._look)
        if is_silent:
            self._told()


class IdleTimer(Silence):
    touch = Silence.heard
