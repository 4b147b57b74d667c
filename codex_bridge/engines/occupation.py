"""What the bridge has one server do: answers, and work that gives way to them."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

T = TypeVar("T")


class Occupation:
    """The answers that a server is giving, and the work that ends as soon as one is asked for."""

    def __init__(self) -> None:
        self.answers = 0
        """How many answers are running."""
        self._idle_work: Deferred[Any] | None = None

    @contextmanager
    def answering(self) -> Iterator[None]:
        """An answer runs for as long as the context lasts. It waits for nothing else."""
        self.stop_idle_work()
        self.answers += 1
        try:
            yield
        finally:
            self.answers -= 1

    @property
    def is_idle(self) -> bool:
        """Whether the server does nothing for the bridge."""
        return not self.answers and self._idle_work is None

    def in_idle_time(self, work: Coroutine[Any, Any, T]) -> Deferred[T]:
        """Run `work` on a server that is idle. It is cancelled when an answer is asked for."""
        running = Deferred.fromCoroutine(work)
        if not running.called:
            self._idle_work = running
            running.addBoth(self._over)
        return running

    def stop_idle_work(self) -> None:
        """Cancel what is running in idle time, if anything is."""
        if self._idle_work is not None:
            self._idle_work.cancel()

    def _over(self, result: T) -> T:
        self._idle_work = None
        return result
