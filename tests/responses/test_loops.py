"""Answers that repeat themselves: which part of them ends the answer, and what is kept."""

from __future__ import annotations

import pytest

from codex_bridge.responses.loops import LoopWatch, as_remembered, is_of_use, useful_part
from codex_bridge.vocabulary import (
    Delta,
    FailureKind,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    UpstreamFailure,
)

SENTENCE = "The file is there. "
NOTE = "\n\n[codex-bridge ended the answer here: the model only repeated itself.]"


def ended(*deltas: Delta) -> FailureKind | None:
    """The failure with which the watch ends an answer."""
    watch = LoopWatch()
    try:
        watch.feed(deltas)
        watch.check_end()
    except UpstreamFailure as failure:
        return failure.kind
    return None


@pytest.mark.parametrize(
    ("deltas", "kind"),
    [
        (300 * [TextDelta(SENTENCE)], FailureKind.REPETITIVE),
        (300 * [ReasoningDelta(SENTENCE)], FailureKind.OVERTHINKING),
        (2000 * [ToolCallDelta(0, "", "", SENTENCE)], FailureKind.REPETITIVE),
        # A file may hold equal lines.
        (100 * [ToolCallDelta(0, "", "", SENTENCE)], None),
        # Different calls are different texts.
        ([ToolCallDelta(n, "", "", SENTENCE) for n in range(2000)], None),
        (10 * [TextDelta(SENTENCE)], None),
        # As Ollama ends an answer without a finish reason.
        (31 * [TextDelta(" ha")], FailureKind.REPETITIVE),
        (31 * [ReasoningDelta("\n")], FailureKind.OVERTHINKING),
    ],
)
def test_each_part_of_an_answer_is_watched(deltas: list[Delta], kind: FailureKind | None) -> None:
    assert ended(*deltas) is kind


@pytest.mark.parametrize(
    ("text", "useful"),
    [
        (f"There are two files.\n{300 * SENTENCE}", f"There are two files.\n{SENTENCE.strip()}"),
        (f"Done.{31 * ' ha'}", "Done."),
        (31 * " ha", " ha"),
        ("Nothing is repeated here. Nor here.", "Nothing is repeated here. Nor here."),
    ],
)
def test_the_first_instance_is_the_last_that_is_of_use(text: str, useful: str) -> None:
    assert useful_part(text) == useful


def test_a_few_words_are_of_no_use() -> None:
    assert not is_of_use(31 * " ha")
    assert not is_of_use(1000 * " oh no")
    assert is_of_use(f"All tests pass now{31 * ' ha'}")
    assert is_of_use(300 * "Done.\n")


def test_only_an_answer_that_was_ended_is_shown_without_its_repetition() -> None:
    loop = 300 * SENTENCE
    assert as_remembered(f"So: {loop}{NOTE}") == f"So: {SENTENCE.strip()}{NOTE}"
    assert as_remembered(loop) == loop
