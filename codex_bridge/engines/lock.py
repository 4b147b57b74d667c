"""A lock that any number of coroutines may wait for."""

from __future__ import annotations

from collections import deque

from twisted.internet.defer import Deferred


class Lock:
    """A lock that serves those who wait in their order, without recursion.

    With Twisted's DeferredLock each release runs inside of the release before it. If a few dozen
    coroutines wait and each releases at once, that exceeds Python's recursion limit, and the one
    that exceeds it never continues.
    """

    def __init__(self) -> None:
        self.locked = False
        self._waiting: deque[Deferred[None]] = deque()
        self._is_passing = False

    def acquire(self) -> Deferred[None]:
        """Fires when the caller holds the lock; cancelling gives up the place in the queue."""
        turn: Deferred[None] = Deferred(self._waiting.remove)
        if self.locked:
            self._waiting.append(turn)
        else:
            self.locked = True
            turn.callback(None)
        return turn

    def release(self) -> None:
        """Pass the lock on to the next that waits."""
        self.locked = False
        if self._is_passing:
            # Called from within the loop below, which goes on.
            return
        self._is_passing = True
        try:
            while self._waiting and not self.locked:
                self.locked = True
                self._waiting.popleft().callback(None)
        finally:
            self._is_passing = False
