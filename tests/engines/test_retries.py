"""How often, how soon and how differently the upstream is asked again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from codex_bridge.engines import retries as module
from codex_bridge.engines.budget import Budget, Limits
from codex_bridge.engines.retries import Change, Retries
from codex_bridge.vocabulary import FailureKind, UpstreamFailure

RULES = dict(module.RULES)
COSTS_A_GENERATION = {
    FailureKind.BROKEN,
    FailureKind.MALFORMED_CALL,
    FailureKind.SWALLOWED,
    FailureKind.EMPTY,
    FailureKind.UNFIT,
    FailureKind.OVERTHINKING,
    FailureKind.NOT_CALLED,
    FailureKind.UNCERTAIN,
    FailureKind.ANNOUNCED,
}


@pytest.fixture(autouse=True)
def real_waits(no_waiting: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RULES", RULES)


def failed(kind: FailureKind) -> UpstreamFailure:
    return UpstreamFailure(kind, "why")


def retries() -> Retries:
    clock = Clock()
    return Retries(clock, Budget(clock, Limits()))


def waits(*kinds: FailureKind) -> list[float]:
    """The waits after a series of failures, until nothing more is tried."""
    asked, waited = retries(), []
    for kind in kinds:
        retry = asked.after(failed(kind))
        if retry is None:
            break
        waited.append(retry.step.wait)
    return waited


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (FailureKind.UNREACHABLE, [0.5, 1, 2, 4, 7.5]),
        (FailureKind.NOT_RUNNING, 9 * [0.5]),
        (FailureKind.STALE, [0, 0, 0.5, 1, 2]),
        (FailureKind.BUSY, [1, 2, 4, 8]),
        (FailureKind.LOADING, 9 * [1]),
        (FailureKind.BROKEN, [0.5, 2]),
        (FailureKind.MALFORMED_CALL, [0, 0]),
        (FailureKind.SWALLOWED, [0, 0]),
        (FailureKind.EMPTY, [0]),
        (FailureKind.NO_SUMMARY, [0]),
        (FailureKind.UNFIT, [0]),
        (FailureKind.OVERTHINKING, [0]),
        (FailureKind.NOT_CALLED, [0]),
        (FailureKind.UNCERTAIN, [0]),
        (FailureKind.ANNOUNCED, [0]),
        (FailureKind.REPETITIVE, []),
        (FailureKind.TOO_LONG, [0]),
        (FailureKind.NO_EFFORT, [0]),
        (FailureKind.SILENT, []),
        (FailureKind.GARBLED, []),
        (FailureKind.OVERSIZED, []),
        (FailureKind.CONTEXT_FULL, []),
        (FailureKind.NO_MODEL, []),
        (FailureKind.NO_TOOLS, [0]),
        (FailureKind.NO_VISION, [0]),
        (FailureKind.NO_LOGPROBS, []),
        (FailureKind.NO_MEMORY, []),
        (FailureKind.NO_ACCESS, []),
        (FailureKind.NO_KEY, []),
        (FailureKind.MISCONFIGURED, []),
        (FailureKind.REFUSED, []),
    ],
)
def test_only_what_may_pass_is_asked_again(kind: FailureKind, expected: list[float]) -> None:
    assert waits(*9 * [kind]) == expected


def test_every_kind_of_failure_is_decided_on() -> None:
    (mark,) = test_only_what_may_pass_is_asked_again.pytestmark
    assert {kind for kind, _ in mark.args[1]} == set(FailureKind)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (FailureKind.TOO_LONG, Change.CONTEXT),
        (FailureKind.NO_EFFORT, Change.EFFORT),
        (FailureKind.NO_TOOLS, Change.CAPABILITY),
        (FailureKind.NO_VISION, Change.CAPABILITY),
        (FailureKind.BROKEN, Change.NOTHING),
        (FailureKind.MALFORMED_CALL, Change.OWN_WORDS),
        (FailureKind.SWALLOWED, Change.OWN_WORDS),
        (FailureKind.EMPTY, Change.COMPLAINT),
        (FailureKind.NO_SUMMARY, Change.TOOLLESS),
        (FailureKind.UNFIT, Change.SCHEMA),
        (FailureKind.OVERTHINKING, Change.ANSWER),
        (FailureKind.NOT_CALLED, Change.CONSTRAINED),
        (FailureKind.UNCERTAIN, Change.QUESTION),
        (FailureKind.ANNOUNCED, Change.NUDGE),
    ],
)
def test_a_refusal_is_only_repeated_when_something_is_different(
    kind: FailureKind, change: Change
) -> None:
    retry = retries().after(failed(kind))
    assert retry is not None
    assert retry.step.change is change


@given(st.lists(st.sampled_from(FailureKind), max_size=40))
def test_no_change_is_made_twice(kinds: list[FailureKind]) -> None:
    asked = retries()
    answers = [asked.after(failed(kind)) for kind in kinds]
    made = [each.step.change for each in answers if each is not None]
    changes = [change for change in made if change is not Change.NOTHING]
    assert len(changes) == len(set(changes))


def test_a_call_that_cannot_be_read_in_the_models_own_words_is_constrained() -> None:
    asked = retries()
    answers = [
        asked.after(failed(kind)) for kind in (FailureKind.MALFORMED_CALL, FailureKind.SWALLOWED)
    ]
    assert [each and each.step.change for each in answers] == [
        Change.OWN_WORDS,
        Change.CONSTRAINED,
    ]


@given(st.lists(st.sampled_from(FailureKind), max_size=40))
def test_no_mixture_of_failures_costs_more_than_three_generations(
    kinds: list[FailureKind],
) -> None:
    asked, begun = retries(), 0
    for kind in kinds:
        begun += kind in COSTS_A_GENERATION
        if asked.after(failed(kind)) is None:
            break
    assert begun <= 3


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ("BROKEN BROKEN MALFORMED_CALL", [0.5, 2]),
        ("BROKEN MALFORMED_CALL EMPTY", [0.5, 0]),
        ("BUSY BUSY UNREACHABLE BROKEN MALFORMED_CALL BUSY", [1, 2, 0.5, 0.5, 0, 4]),
        ("NO_EFFORT TOO_LONG BROKEN MALFORMED_CALL", [0, 0, 0.5, 0]),
    ],
)
def test_each_kind_has_waits_of_its_own_and_all_share_the_generations(
    kinds: str, expected: list[float]
) -> None:
    assert waits(*(FailureKind[kind] for kind in kinds.split())) == expected


def test_a_server_that_is_not_running_is_asked_every_half_second_for_20_seconds() -> None:
    clock = Clock()
    retries = Retries(clock, Budget(clock, Limits()))
    tries = 1
    while retry := retries.after(failed(FailureKind.NOT_RUNNING)):
        assert retry.step.wait == 0.5
        clock.advance(retry.step.wait)
        tries += 1
    assert (clock.seconds(), tries) == (20, 41)


def test_a_server_that_lets_one_wait_for_every_refusal_is_given_up_after_20_seconds() -> None:
    clock = Clock()
    retries = Retries(clock, Budget(clock, Limits()))
    waited = []
    for seconds in (19.9, 0.1, 0):
        retry = retries.after(failed(FailureKind.UNREACHABLE))
        waited.append(retry and retry.step.wait)
        clock.advance(seconds)
    assert waited == [0.5, 1, None]


def test_the_20_seconds_begin_with_the_first_failure_of_that_kind() -> None:
    clock = Clock()
    retries = Retries(clock, Budget(clock, Limits()))
    retries.after(failed(FailureKind.BUSY))
    clock.advance(30)
    assert retries.after(failed(FailureKind.UNREACHABLE)) is not None
    assert retries.after(failed(FailureKind.BUSY)) is not None


def test_no_exchange_asks_more_than_twelve_times() -> None:
    clock = Clock()
    budget = Budget(clock, Limits())
    asked = Retries(clock, budget)
    for kind in [FailureKind.STALE, FailureKind.BUSY, FailureKind.UNREACHABLE] * 4:
        budget.requests += 1
        retry = asked.after(failed(kind))
    assert (budget.requests, retry) == (12, None)
