"""The end of a bridge: whoever is being served is served to the end, within reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from codex_bridge.errors import stopping

T = TypeVar("T")
PATIENCE = 3.0
"""Seconds that an answer has to end when it is told to."""


@define
class Drain:
    """Who is being served, and whether anybody else may still come."""

    is_draining: bool = False
    _open: dict[int, Callable[[], None]] = field(factory=dict)
    """Those being served -> how each is ended before its time."""
    _emptied: list[Deferred[None]] = field(factory=list)
    _clock: IReactorTime | None = None

    def __len__(self) -> int:
        return len(self._open)

    def admit(self) -> None:
        """Raises ApiError for whoever comes too late."""
        if self.is_draining:
            raise stopping()

    def serve(self, answering: Deferred[T], abandon: Callable[[], None]) -> Deferred[T]:
        """Know of an answer until it is through; `abandon` ends it at once."""
        key = id(answering)
        self._open[key] = abandon

        def through(result: T) -> T:
            del self._open[key]
            if not self._open:
                self._tell()
            return result

        return answering.addBoth(through)

    def drain(self, clock: IReactorTime, seconds: float) -> Deferred[None]:
        """Admit nobody more; fires when all are through, `seconds` being the most that takes."""
        self.is_draining = True
        self._clock = clock
        emptied: Deferred[None] = Deferred()
        if not self._open:
            emptied.callback(None)
            return emptied
        self._emptied.append(emptied)
        limit: IDelayedCall = clock.callLater(seconds, self.cut_short)

        def stop_clock(result: None) -> None:
            if limit.active():
                limit.cancel()

        return emptied.addCallback(stop_clock)

    def cut_short(self) -> None:
        """End all that are left. One that does not let itself be ended is not waited for."""
        for abandon in list(self._open.values()):
            abandon()
        if self._open and self._clock:
            self._clock.callLater(PATIENCE, self._tell)

    def _tell(self) -> None:
        emptied, self._emptied = self._emptied, []
        for each in emptied:
            each.callback(None)
