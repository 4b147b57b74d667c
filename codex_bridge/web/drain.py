"""How replies that are running end when the bridge is stopped: by themselves, or at a limit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from codex_bridge.errors import stopping

T = TypeVar("T")
TIMEOUT = 3.0
"""Seconds that a reply gets to end after it was abandoned."""


@define
class Drain:
    """The replies that are running, and whether another one may begin."""

    _running: dict[Deferred[Any], Callable[[], None]] = field(factory=dict)
    """Each running reply -> what ends it early."""
    _emptied: Deferred[None] | None = None
    """Fires when no reply is running any more; None until the bridge is being stopped."""
    _clock: IReactorTime | None = None

    def __len__(self) -> int:
        return len(self._running)

    @property
    def is_draining(self) -> bool:
        """Whether the bridge is being stopped."""
        return self._emptied is not None

    def admit(self) -> None:
        """Raises ApiError if no reply may begin any more."""
        if self.is_draining:
            raise stopping()

    def serve(self, answer: Deferred[T], abandon: Callable[[], None]) -> Deferred[T]:
        """Count `answer`, a reply, as running until it fires; `abandon` must end it at once."""
        self._running[answer] = abandon

        def ended(result: T) -> T:
            del self._running[answer]
            if not self._running:
                self._fire()
            return result

        return answer.addBoth(ended)

    def drain(self, clock: IReactorTime, seconds: float) -> Deferred[None]:
        """Admit no more replies; fires when all have ended. Those that still run after `seconds`
        are cut short."""
        self._clock = clock
        self._emptied = emptied = Deferred[None]()
        limit = clock.callLater(seconds, self.cut_short)
        emptied.addCallback(lambda _: limit.cancel() if limit.active() else None)
        if not self._running:
            self._fire()
        return emptied

    def cut_short(self) -> None:
        """End all replies that are left; wait no longer than TIMEOUT for them to end."""
        for abandon in list(self._running.values()):
            abandon()
        if self._running and self._clock:
            self._clock.callLater(TIMEOUT, self._fire)

    def _fire(self) -> None:
        if self._emptied is not None and not self._emptied.called:
            self._emptied.callback(None)
