"""When to ask again, and how soon: what one exchange may cost."""

from __future__ import annotations

from collections import Counter

from twisted.internet.interfaces import IReactorTime

from codex_bridge.vocabulary import FailureKind

WAITS: dict[FailureKind, tuple[float, ...]] = {
    # Ollama restarts, for an update or because it died: that takes seconds, and asking
    # costs nothing. Whoever forgot to start it should not wait much longer for the sentence.
    FailureKind.UNREACHABLE: (0.5, 1.0, 2.0, 4.0, 7.5),
    FailureKind.BUSY: (1.0, 2.0, 4.0, 8.0),
    # Each of these has cost a generation.
    FailureKind.BROKEN: (0.5, 2.0),
    FailureKind.MALFORMED_CALL: (0.0, 0.0),
    FailureKind.EMPTY: (0.0,),
}
"""Seconds before each time that an exchange is asked for again; other kinds will not pass."""
GENERATIONS = 3
"""The most that one exchange lets a model begin, of whatever they die."""
TRYING = 20.0
"""Seconds after which a server that does not answer is given up: each try may take long."""
COSTLY = frozenset({FailureKind.BROKEN, FailureKind.MALFORMED_CALL, FailureKind.EMPTY})


class Retries:
    """What one exchange has been through."""

    def __init__(self, clock: IReactorTime) -> None:
        self.failures: Counter[FailureKind] = Counter()
        self._clock = clock
        self._unreachable_since: float | None = None

    def wait(self, kind: FailureKind) -> float | None:
        """Seconds to wait before asking again after such a failure; None: do not."""
        waits = WAITS.get(kind, ())
        earlier = self.failures[kind]
        self.failures[kind] += 1
        if earlier >= len(waits) or self.generations >= GENERATIONS or self._is_late(kind):
            return None
        return waits[earlier]

    @property
    def generations(self) -> int:
        """How many have failed."""
        return sum(self.failures[kind] for kind in COSTLY)

    def _is_late(self, kind: FailureKind) -> bool:
        if kind is not FailureKind.UNREACHABLE:
            return False
        now = self._clock.seconds()
        if self._unreachable_since is None:
            self._unreachable_since = now
        return now - self._unreachable_since >= TRYING
