"""How the answers that are running end with the bridge: by themselves, within a time limit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from codex_bridge.errors import stopping

T = TypeVar("T")
PATIENCE = 3.0
"""Seconds that an answer has to end after it was abandoned."""


@define
class Drain:
    """The answers that are running, and whether another one may begin."""

    _running: dict[Deferred[Any], Callable[[], None]] = field(factory=dict)
    """Each running answer -> what ends it before its time."""
    _emptied: Deferred[None] | None = None
    """Fires when no answer is running any more; None until the bridge is being stopped."""
    _clock: IReactorTime | None = None

    def __len__(self) -> int:
        return len(self._running)

    @property
    def is_draining(self) -> bool:
        """Whether the bridge is being stopped."""
        return self._emptied is not None

    def admit(self) -> None:
        """Raises ApiError where no answer may begin any more."""
        if self.is_draining:
            raise stopping()

    def serve(self, answer: Deferred[T], abandon: Callable[[], None]) -> Deferred[T]:
        """Count `answer` as running until it fires; `abandon` must end it at once."""
        self._running[answer] = abandon

        def ended(result: T) -> T:
            del self._running[answer]
            if not self._running:
                self._fire()
            return result

        return answer.addBoth(ended)

    def drain(self, clock: IReactorTime, seconds: float) -> Deferred[None]:
        """Admit no more answers; fires when all have ended. Those that run for `seconds` more
        are cut short."""
        self._clock = clock
        self._emptied = emptied = Deferred[None]()
        limit = clock.callLater(seconds, self.cut_short)
        emptied.addCallback(lambda _: limit.cancel() if limit.active() else None)
        if not self._running:
            self._fire()
        return emptied

    def cut_short(self) -> None:
        """End all answers that are left. Those that do not end are waited for no longer."""
        for abandon in list(self._running.values()):
            abandon()
        if self._running and self._clock:
            self._clock.callLater(PATIENCE, self._fire)

    def _fire(self) -> None:
        if self._emptied is not None and not self._emptied.called:
            self._emptied.callback(None)
