"""How an attempt is asked after one that failed: a change of the table -> an approach. No I/O."""

from __future__ import annotations

from attrs import evolve

from codex_bridge.engines.retries import Change
from codex_bridge.errors import QUOTED_CALL
from codex_bridge.responses.attempt import Attempt
from codex_bridge.responses.follow_ups import Approach, Constraint, complaint, nudge, whether_meant
from codex_bridge.responses.request import ResponsesRequest
from codex_bridge.vocabulary import FailureKind, Json, UpstreamFailure

AGAIN = "asked again"
ANSWERED_BEHIND = frozenset(
    {
        FailureKind.MALFORMED_CALL,
        FailureKind.SWALLOWED,
        FailureKind.EMPTY,
        FailureKind.NOT_CALLED,
        FailureKind.UNCERTAIN,
        FailureKind.ANNOUNCED,
    }
)
"""Failures behind which the model is told something that it answers, though the client has text."""


def is_followed_up(failure: UpstreamFailure) -> bool:
    """Whether what comes next stands behind the text that the client has, and repeats none."""
    return failure.kind in ANSWERED_BEHIND


def next_approach(
    approach: Approach,
    failure: UpstreamFailure,
    change: Change,
    attempt: Attempt | None,
    request: ResponsesRequest,
) -> Approach:
    """How the model is asked after `attempt` failed; `approach` is how it was asked.

    All that it was told before stays, and the new turns follow.
    """
    keeps = attempt is not None and (attempt.has_text or change in {Change.QUESTION, Change.NUDGE})
    if attempt is not None and attempt.has_text and change is not Change.QUESTION:
        # Nobody asks any more whether the model means what it may only show.
        attempt.settle()

    def told(*turns: Json, way: str = change.value) -> Approach:
        # An answer that broke off is not gone on with: the turns hold all of it.
        return Approach(
            turns=(*approach.turns, *turns),
            before=attempt if keeps else approach.before,
            tools_in_words=approach.tools_in_words,
            is_thinking_over=approach.is_thinking_over or change is Change.ANSWER,
            # How a question ends is counted by the attempt.
            ways=approach.ways if change is Change.QUESTION else (*approach.ways, f"{AGAIN} {way}"),
        )

    if change is Change.QUESTION and attempt is not None:
        return told(*whether_meant(attempt, request.toolbox))
    if change is Change.NUDGE and attempt is not None:
        return told(*nudge(attempt))
    if change is Change.OWN_WORDS:
        has_complained = failure.kind is FailureKind.MALFORMED_CALL
        if has_complained and QUOTED_CALL.search(failure.message):
            # They would be the same words again.
            return told(*complaint(failure, attempt), way=Change.COMPLAINT.value)
        turns = complaint(failure, attempt) if keeps else ()
        otherwise = told(*complaint(failure, attempt), way=Change.COMPLAINT.value)
        if not has_complained:
            otherwise = evolve(told(*turns, way="with its tools in words"), tools_in_words=True)
        return evolve(told(*turns), own_words=True, otherwise=otherwise)
    constraint = None
    if change is Change.SCHEMA:
        constraint = Constraint.SCHEMA
    elif change is Change.CONSTRAINED and request.toolbox.offered:
        is_required = request.is_call_required
        constraint = Constraint.CALL if is_required else Constraint.CALL_OR_ANSWER
    return evolve(
        told(*complaint(failure, attempt, constraint)),
        constraint=constraint,
    )
