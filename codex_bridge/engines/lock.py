"""A lock that any number may wait for."""

from __future__ import annotations

from collections import deque

from twisted.internet.defer import Deferred


class Lock:
    """A lock that serves in the order of asking, without another frame on the stack for each.

    Under a DeferredLock each release runs inside of the one before it: when a few dozen wait and
    each releases at once, that is too deep for Python, and the one that meets the limit never
    goes on.
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
