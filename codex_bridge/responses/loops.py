"""Notices that an answer repeats itself without an end, in its text, its reasoning or a call."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from codex_bridge.responses.repetition import Repetition
from codex_bridge.vocabulary import (
    Delta,
    FailureKind,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    UpstreamFailure,
)

PATIENCE_WITH_CALLS = 4
"""A call may hold a file, and a file many equal lines."""


class LoopWatch:
    """Watches the deltas of one answer."""

    def __init__(self) -> None:
        self._text, self._reasoning = Repetition(), Repetition()
        self._calls: defaultdict[int, Repetition] = defaultdict(
            lambda: Repetition(PATIENCE_WITH_CALLS)
        )

    def feed(self, deltas: Iterable[Delta]) -> None:
        """Read the next deltas. Raises UpstreamFailure once they only repeat what came before."""
        for delta in deltas:
            if isinstance(delta, TextDelta) and self._text.add(delta.text):
                raise UpstreamFailure(FailureKind.REPETITIVE, "its text repeats itself")
            if isinstance(delta, ReasoningDelta) and self._reasoning.add(delta.text):
                raise overthinking()
            if isinstance(delta, ToolCallDelta) and self._calls[delta.index].add(delta.arguments):
                raise UpstreamFailure(FailureKind.REPETITIVE, "its call repeats itself")

    def check_end(self) -> None:
        """Raises UpstreamFailure if an answer that broke off did so because it repeated itself.

        Ollama ends an answer behind some thirty equal tokens, without a finish reason.
        """
        if self._reasoning.ended_in_equal_pieces:
            raise overthinking()
        if self._text.ended_in_equal_pieces:
            raise UpstreamFailure(FailureKind.REPETITIVE, "its text repeats itself")


def overthinking() -> UpstreamFailure:
    """The failure of an answer whose reasoning is in a loop."""
    return UpstreamFailure(FailureKind.OVERTHINKING, "its reasoning repeats itself")
