"""When the upstream is asked again: after which failure, how soon, what is different then."""

from __future__ import annotations

from collections import Counter
from enum import Enum
from math import inf

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from codex_bridge.engines.budget import GENERATIONS, REQUESTS, Budget
from codex_bridge.vocabulary import FailureKind, UpstreamFailure


class Change(Enum):
    """What is different when the upstream is asked again; the value says it in the log."""

    NOTHING = ""
    """The server failed, and not the model: the same request may succeed."""
    CONTEXT = "with more context"
    """The model gets more context; if it does not, the upstream is not asked again."""
    EFFORT = "without an effort"
    """The effort is left out; if the request had none, the upstream is not asked again."""
    CAPABILITY = "without a capability"
    """The model is asked as one that cannot do what was refused: tools are told in words, a note
    stands in the place of a picture."""
    OWN_WORDS = "for its own words"
    """The server is asked for what the model writes, before any parser of calls. Where it cannot
    give that: after a complaint of its parser as COMPLAINT, else with the tools told in words."""
    COMPLAINT = "told what was wrong"
    """The model is told what was wrong with its answer."""
    CONSTRAINED = "constrained to a valid call"
    """As COMPLAINT, and a grammar allows only a valid call or an answer in text."""
    QUESTION = "whether it means its call"
    """The model is asked whether it means the calls that it may only have quoted or shown."""
    NUDGE = "to do what it announced"
    """The model is told to do what it announced."""
    SCHEMA = "constrained to the schema"
    """As COMPLAINT, and a grammar allows only what fits the schema of the client."""
    TOOLLESS = "without tools"
    """No tools are offered; if none were, the upstream is not asked again."""
    ANSWER = "to end its thought"
    """The model's reasoning is ended, and it is told to answer."""


@frozen
class Step:
    """One more time that the upstream is asked."""

    change: Change = Change.NOTHING
    wait: float = 0.0
    """Seconds before it."""


def _after(*waits: float) -> tuple[Step, ...]:
    """The same request again, after each of these waits."""
    return tuple(Step(wait=wait) for wait in waits)


def _with(*changes: Change) -> tuple[Step, ...]:
    """Other requests, at once."""
    return tuple(map(Step, changes))


@frozen
class Rule:
    """How often, how soon and how differently the upstream is asked again after one kind of
    failure."""

    steps: tuple[Step, ...]
    costs_generation: bool = False
    """Whether the model had begun to generate."""
    stands: bool = False
    """Whether the answer ends the exchange where a further one comes to nothing."""
    elsewhere: bool = False
    """Whether, where several upstreams have the model, another one is asked first, at once: this
    one has not begun to answer, and will not soon."""
    until: float = inf
    """Seconds after the first such failure, after which nothing more is tried."""


RULES: dict[FailureKind, Rule] = {
    # Ollama restarts, for an update or because it died: that takes seconds, and a connection that
    # is refused costs nothing. A user who forgot to start it should not wait much longer for the
    # sentence.
    FailureKind.NOT_RUNNING: Rule(_after(*(0.5,) * 40), elsewhere=True, until=20.0),
    # A request that was sent may have done something, and each try may take long where a machine
    # does not answer at all.
    FailureKind.UNREACHABLE: Rule(_after(0.5, 1.0, 2.0, 4.0, 7.5), elsewhere=True, until=20.0),
    # The next connection from the pool may be stale, too.
    FailureKind.STALE: Rule(_after(0.0, 0.0, 0.5, 1.0, 2.0)),
    FailureKind.BUSY: Rule(_after(1.0, 2.0, 4.0, 8.0), elsewhere=True),
    # A server that still loads its model will answer, and asking costs nothing. The files of a
    # large model take minutes to read.
    FailureKind.LOADING: Rule(_after(*(1.0,) * 600), elsewhere=True, until=600.0),
    FailureKind.BROKEN: Rule(_after(0.5, 2.0), costs_generation=True),
    FailureKind.TOO_LONG: Rule(_with(Change.CONTEXT)),
    FailureKind.NO_EFFORT: Rule(_with(Change.EFFORT)),
    FailureKind.NO_TOOLS: Rule(_with(Change.CAPABILITY)),
    FailureKind.NO_VISION: Rule(_with(Change.CAPABILITY)),
    # The rest are slips of the model. At temperature 0 the same request would only repeat them.
    FailureKind.MALFORMED_CALL: Rule(
        _with(Change.OWN_WORDS, Change.CONSTRAINED), costs_generation=True
    ),
    FailureKind.SWALLOWED: Rule(_with(Change.OWN_WORDS, Change.CONSTRAINED), costs_generation=True),
    FailureKind.EMPTY: Rule(_with(Change.COMPLAINT), costs_generation=True),
    FailureKind.NO_SUMMARY: Rule(_with(Change.TOOLLESS), costs_generation=True),
    FailureKind.UNFIT: Rule(_with(Change.SCHEMA), costs_generation=True),
    FailureKind.OVERTHINKING: Rule(_with(Change.ANSWER), costs_generation=True),
    FailureKind.NOT_CALLED: Rule(_with(Change.CONSTRAINED), costs_generation=True, stands=True),
    FailureKind.UNCERTAIN: Rule(_with(Change.QUESTION), costs_generation=True, stands=True),
    FailureKind.ANNOUNCED: Rule(_with(Change.NUDGE), costs_generation=True, stands=True),
}
"""Failures after which the upstream is asked again. Others would only happen again."""


REFUSED_CAPABILITY = {FailureKind.NO_TOOLS: "tools", FailureKind.NO_VISION: "vision"}
"""What a model turned out not to have, by the failure."""


SLIPS = frozenset(
    {
        FailureKind.MALFORMED_CALL,
        FailureKind.SWALLOWED,
        FailureKind.EMPTY,
        FailureKind.UNFIT,
        FailureKind.NOT_CALLED,
    }
)
"""What the model did wrong, and is asked to do again unless --no-repair is given."""


def costs_generation(failure: UpstreamFailure) -> bool:
    """Whether the model had begun to generate, as far as the table says it."""
    rule = RULES.get(failure.kind)
    return rule is not None and rule.costs_generation


def is_tried_elsewhere(failure: UpstreamFailure) -> bool:
    """Whether another upstream that has the model is asked first, by the table."""
    rule = RULES.get(failure.kind)
    return rule is not None and rule.elsewhere


def leaves_an_answer(failure: UpstreamFailure) -> bool:
    """Whether the answer ends the exchange where a further one comes to nothing."""
    rule = RULES.get(failure.kind)
    return rule is not None and rule.stands


@frozen
class Retry:
    """The upstream is to be asked again."""

    failure: UpstreamFailure
    """The failure because of which it is asked again."""
    step: Step


class Retries:
    """The failures of one exchange, and when to ask again after them."""

    def __init__(self, clock: IReactorTime, budget: Budget) -> None:
        self._clock = clock
        self._budget = budget
        self._failures: Counter[FailureKind] = Counter()
        self.made: set[Change] = set()
        """The changes that were made; to make one twice would be to ask the same again."""
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
        if earlier >= len(rule.steps) or now - self._first.setdefault(kind, now) >= rule.until:
            return None
        if rule.costs_generation and self._generations >= GENERATIONS:
            return None
        if self._budget.requests >= REQUESTS:
            return None
        left = (step for step in rule.steps[earlier:] if step.change not in self.made)
        step = next(left, None)
        if step is None:
            return None
        if step.change is not Change.NOTHING:
            self.made.add(step.change)
        return Retry(failure, step)

    @property
    def _generations(self) -> int:
        """How many generations were not the last word."""
        return sum(n for kind, n in self._failures.items() if RULES[kind].costs_generation)
