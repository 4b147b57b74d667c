"""When the upstream is asked again: after which failure, how soon, what is different then."""

from __future__ import annotations

from collections import Counter
from enum import Enum, auto
from math import inf

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from codex_bridge.engines.budget import GENERATIONS, REQUESTS, Budget
from codex_bridge.vocabulary import FailureKind, UpstreamFailure


class Change(Enum):
    """What is different when the upstream is asked again."""

    NOTHING = auto()
    CONTEXT = auto()
    """The model gets more context; if it does not, the upstream is not asked again."""
    EFFORT = auto()
    """The effort is left out; if the request had none, the upstream is not asked again."""
    CAPABILITY = auto()
    """The model is asked as one that cannot do what was refused: tools are told in words, a note
    stands in the place of a picture."""


@frozen
class Rule:
    """How often and how soon the upstream is asked again after one kind of failure."""

    waits: tuple[float, ...]
    """Seconds before each repetition."""
    costs_generation: bool = False
    """Whether the model had begun to generate."""
    change: Change = Change.NOTHING
    elsewhere: bool = False
    """Whether, where several upstreams have the model, another one is asked first, at once: this
    one has not begun to answer, and will not soon."""
    until: float = inf
    """Seconds after the first such failure, after which nothing more is tried."""


RULES: dict[FailureKind, Rule] = {
    # Ollama restarts, for an update or because it died: that takes seconds, and a connection that
    # is refused costs nothing. A user who forgot to start it should not wait much longer for the
    # sentence.
    FailureKind.NOT_RUNNING: Rule((0.5,) * 40, elsewhere=True, until=20.0),
    # A request that was sent may have done something, and each try may take long where a machine
    # does not answer at all.
    FailureKind.UNREACHABLE: Rule((0.5, 1.0, 2.0, 4.0, 7.5), elsewhere=True, until=20.0),
    # The next connection from the pool may be stale, too.
    FailureKind.STALE: Rule((0.0, 0.0, 0.5, 1.0, 2.0)),
    FailureKind.BUSY: Rule((1.0, 2.0, 4.0, 8.0), elsewhere=True),
    # A server that still loads its model will answer, and asking costs nothing. The files of a
    # large model take minutes to read.
    FailureKind.LOADING: Rule((1.0,) * 600, elsewhere=True, until=600.0),
    FailureKind.BROKEN: Rule((0.5, 2.0), costs_generation=True),
    FailureKind.MALFORMED_CALL: Rule((0.0, 0.0), costs_generation=True),
    FailureKind.EMPTY: Rule((0.0,), costs_generation=True),
    FailureKind.TOO_LONG: Rule((0.0,), change=Change.CONTEXT),
    FailureKind.NO_EFFORT: Rule((0.0,), change=Change.EFFORT),
    FailureKind.NO_TOOLS: Rule((0.0,), change=Change.CAPABILITY),
    FailureKind.NO_VISION: Rule((0.0,), change=Change.CAPABILITY),
}
"""Failures after which the upstream is asked again. Others would only happen again."""


REFUSED_CAPABILITY = {FailureKind.NO_TOOLS: "tools", FailureKind.NO_VISION: "vision"}
"""What a model turned out not to have, by the failure."""


def costs_generation(failure: UpstreamFailure) -> bool:
    """Whether the model had begun to generate, as far as the table says it."""
    rule = RULES.get(failure.kind)
    return rule is not None and rule.costs_generation


def is_tried_elsewhere(failure: UpstreamFailure) -> bool:
    """Whether another upstream that has the model is asked first, by the table."""
    rule = RULES.get(failure.kind)
    return rule is not None and rule.elsewhere


@frozen
class Retry:
    """The upstream is to be asked again."""

    failure: UpstreamFailure
    """The failure because of which it is asked again."""
    wait: float
    """Seconds."""
    change: Change


class Retries:
    """The failures of one exchange, and when to ask again after them."""

    def __init__(self, clock: IReactorTime, budget: Budget) -> None:
        self._clock = clock
        self._budget = budget
        self._failures: Counter[FailureKind] = Counter()
        self._first: dict[FailureKind, float] = {}
        """When each kind of failure came first, in seconds of the clock."""

    def after(self, failure: UpstreamFailure) -> Retry | None:
        """How to go on after an attempt that failed; None: not at all."""
        kind = failure.kind
        rule = RULES.get(kind)
        if rule is None:
            return None
        now = self._clock.seconds()
        earlier = self._failures[kind]
        self._failures[kind] += 1
        if earlier >= len(rule.waits) or now - self._first.setdefault(kind, now) >= rule.until:
            return None
        if rule.costs_generation and self._generations >= GENERATIONS:
            return None
        if self._budget.requests >= REQUESTS:
            return None
        return Retry(failure, rule.waits[earlier], rule.change)

    @property
    def _generations(self) -> int:
        """How many generations came to nothing."""
        return sum(n for kind, n in self._failures.items() if RULES[kind].costs_generation)
