"""One after another."""

from __future__ import annotations

from collections import deque

from twisted.internet.defer import Deferred


class Turns:
    """A lock. A holder that does not wait passes it on without another frame on the stack.

    Under a DeferredLock each release runs inside of the one before it; a few dozen that wait
    for the same thing are then too deep for Python, and whoever meets the limit never goes on.
    """

    def __init__(self) -> None:
        self.locked = False
        self._waiting: deque[Deferred[None]] = deque()
        self._is_passing = False

    def acquire(self) -> Deferred[None]:
        """Fires when it is the caller's turn; cancelling gives the place up."""
        turn: Deferred[None] = Deferred(self._waiting.remove)
        if self.locked:
            self._waiting.append(turn)
        else:
            self.locked = True
            turn.callback(None)
        return turn

    def release(self) -> None:
        """The turn is over."""
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
