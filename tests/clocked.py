"""The reactor with a clock that only tests move: real sockets, and no waiting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import Clock, deferLater


class ClockedReactor:
    """Everything of the real reactor but its time."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.callLater = self.clock.callLater
        self.seconds = self.clock.seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)

    async def until_scheduled(self, is_so: Callable[[], bool]) -> None:
        """Turn the real reactor until something waits for the time to pass."""
        while not is_so():
            await deferLater(reactor, 0)
