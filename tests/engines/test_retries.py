"""How often, and how soon, one exchange is asked for again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from codex_bridge.engines import retries as module
from codex_bridge.engines.retries import COSTLY, GENERATIONS, Retries
from codex_bridge.vocabulary import FailureKind

WAITS = dict(module.WAITS)


@pytest.fixture(autouse=True)
def real_waits(no_waiting: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITS", WAITS)


def waits(kind: FailureKind) -> list[float]:
    retries, waited = Retries(Clock()), []
    while (wait := retries.wait(kind)) is not None:
        waited.append(wait)
    return waited


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (FailureKind.UNREACHABLE, [0.5, 1, 2, 4, 7.5]),
        (FailureKind.BUSY, [1, 2, 4, 8]),
        (FailureKind.BROKEN, [0.5, 2]),
        (FailureKind.MALFORMED_CALL, [0, 0]),
        (FailureKind.EMPTY, [0]),
        (FailureKind.NO_MODEL, []),
        (FailureKind.TOO_LONG, []),
        (FailureKind.SILENT, []),
        (FailureKind.REFUSED, []),
        (FailureKind.GARBLED, []),
    ],
)
def test_only_what_may_pass_is_asked_again(kind: FailureKind, expected: list[float]) -> None:
    assert waits(kind) == expected


@given(st.lists(st.sampled_from(FailureKind), max_size=40))
def test_no_mixture_of_failures_costs_more_than_three_generations(
    kinds: list[FailureKind],
) -> None:
    retries, begun = Retries(Clock()), 0
    for kind in kinds:
        begun += kind in COSTLY
        if retries.wait(kind) is None:
            break
    assert begun <= GENERATIONS


def test_a_server_that_lets_one_wait_for_every_refusal_is_given_up_early() -> None:
    clock = Clock()
    retries = Retries(clock)
    assert retries.wait(FailureKind.UNREACHABLE) == 0.5
    clock.advance(10)
    assert retries.wait(FailureKind.UNREACHABLE) == 1
    clock.advance(10)
    assert retries.wait(FailureKind.UNREACHABLE) is None
