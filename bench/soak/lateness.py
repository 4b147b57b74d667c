"""How late the soak itself is: it shares its cores with the bridge, and plays the upstream."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from attrs import define, field

TICK = 0.05
"""Seconds between two measurements."""


@define
class Lateness:
    """By how many seconds the event loop was late while `measure` ran."""

    most: float = 0.0
    """At one time."""
    _total: float = 0.0
    _due: float = field(factory=time.monotonic)

    async def measure(self) -> None:
        """Measure until cancelled."""
        while True:
            self._due = time.monotonic() + TICK
            await asyncio.sleep(TICK)
            late = self._late()
            self._total += late
            self.most = max(self.most, late)

    @property
    def total(self) -> float:
        """All together, up to now."""
        return self._total + self._late()

    @contextlib.asynccontextmanager
    async def timeout(self, seconds: float) -> AsyncIterator[asyncio.Timeout]:
        """Like asyncio.timeout, but longer by the time by which the loop is late meanwhile."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds - self.total
        timer: asyncio.TimerHandle

        def check() -> None:
            nonlocal timer
            left = end + self.total - loop.time()
            if left > 0:
                timer = loop.call_later(left, check)
            else:
                limit.reschedule(loop.time())

        async with asyncio.timeout(None) as limit:
            timer = loop.call_later(seconds, check)
            try:
                yield limit
            finally:
                timer.cancel()

    def _late(self) -> float:
        return max(0.0, time.monotonic() - self._due)
