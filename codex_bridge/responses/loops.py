"""Notices that an answer repeats itself without an end, in its text, its reasoning or a call."""

from __future__ import annotations

import re
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

CUT_OFF = "\n\n[codex-bridge ended the answer here: the model only repeated itself.]"
"""What the user reads behind an answer that was ended, and the model in the history."""
FEWEST_WORDS = 3
"""Words before the repetition, from which an answer without a whole sentence is of use."""
SENTENCE_END = re.compile(r"[.!?](?=\s|\Z)|[。！？\n]")  # noqa: RUF001
EQUAL_PIECES = re.compile(r"(\s*\S{1,20})\1{19,}\s*\Z")
LONGEST_EQUAL = 2000
"""Equal tokens at the end, of which Ollama lets some thirty pass; and the characters of these."""
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


def useful_part(text: str) -> str:
    """What a text says before it only repeats itself, up to the end of a sentence or line."""
    repetition = Repetition()
    repetition.add(text)
    equal = EQUAL_PIECES.search(text, max(0, len(text) - LONGEST_EQUAL))
    useful = min(repetition.useful, equal.end(1) if equal else len(text))
    if useful == len(text):
        return text
    # What is repeated may begin with the mark that ends a sentence.
    ends = [found.end() for found in SENTENCE_END.finditer(text[: useful + 2])]
    return text[: ends[-1] if ends else useful].rstrip()


def is_of_use(text: str) -> bool:
    """Whether a text that repeats itself says something before: a sentence, or a few words."""
    useful = useful_part(text)
    return bool(SENTENCE_END.search(useful)) or len(useful.split()) >= FEWEST_WORDS


def as_remembered(text: str) -> str:
    """An earlier answer as the model is shown it: one loop in its prompt would make another."""
    said, note, _ = text.partition(CUT_OFF)
    return f"{useful_part(said)}{note}" if note else text
