"""The report of an exam: a table for people, JSON for machines, a row for docs/models.md. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from attrs import asdict

from codex_bridge.cli.exam.results import Exam, Pair, Result, Sum, added
from codex_bridge.vocabulary import Json

PASSED, FAILED = "passed", "FAILED"
NAME_WIDTH = 22
TITLE = ("task", "with", "without", "asked", "tokens", "seconds", "mended")
COLUMNS = (
    "model",
    "server",
    "Codex",
    "with mending",
    "without",
    "generations",
    "tokens",
    "seconds",
    "what helped",
)
"""Of the table in docs/models.md. Generations, tokens and seconds are those with mending."""
MOST_NAMED = 4
"""Kinds of mending that a row names."""


def heading() -> str:
    """The line above the lines of the tasks."""
    return _cells(*TITLE)


def line(pair: Pair) -> str:
    """A task for people: one line, and one for each reason why it failed."""
    done = pair.mended
    tokens = f"{done.work.input_tokens}+{done.work.output_tokens}"
    counts = ", ".join(f"{what} x{n}" if n > 1 else what for what, n in _kinds(done))
    text = _cells(
        pair.task.name,
        _verdict(pair.mended),
        _verdict(pair.plain),
        f"{done.work.generations}/{pair.plain.work.generations}",
        tokens,
        f"{done.seconds:.1f}/{pair.plain.seconds:.1f}",
        counts,
    )
    for label, result in (("with", pair.mended), ("without", pair.plain)):
        if result.reason is not None:
            text += f"\n{'':<{NAME_WIDTH}} -> {label}: {_one_line(result.reason)}"
    return text


def _cells(*cells: str) -> str:
    name, *rest = cells
    widths = (8, 8, 6, 12, 10, 0)
    shown = [f"{cell:<{width}}" for cell, width in zip(rest, widths, strict=True)]
    return " ".join([f"{name:<{NAME_WIDTH}}", *shown]).rstrip()


def _verdict(result: Result) -> str:
    return PASSED if result.has_passed else FAILED


def _kinds(result: Result) -> list[tuple[str, int]]:
    return sorted(result.work.mending.items())


def _one_line(text: str) -> str:
    return " ".join(text.split())[:160]


def summary(exam: Exam) -> Iterator[str]:
    """The lines below the lines of the tasks."""
    mended, plain = _sums(exam)
    yield ""
    yield f"{exam.model} on {exam.server}, Codex {exam.codex}, {len(exam.pairs)} tasks"
    yield _sum_line("with mending", exam.passed, mended)
    yield _sum_line("without", exam.passed_plain, plain)
    if exam.worth:
        yield ""
        yield "What the mending was worth (a task counts for each kind that it used):"
    for kind, worth in exam.worth.items():
        yield f"  {kind:<44} {worth.passed:>3} passed with it, {worth.gained:>3} of them only so"


def _sum_line(name: str, passed: int, total: Sum) -> str:
    return (
        f"  {name:<13} {passed:>3} passed, {total.generations} generations, "
        f"{total.input_tokens:,} tokens in, {total.output_tokens:,} out, {total.seconds:.0f} s"
    )


def _sums(exam: Exam) -> tuple[Sum, Sum]:
    return added(pair.mended for pair in exam.pairs), added(pair.plain for pair in exam.pairs)


def row(exam: Exam) -> str:
    """A row for the table in docs/models.md, in the order of COLUMNS."""
    total, of = _sums(exam)[0], len(exam.pairs)
    return markdown_row(
        exam.model,
        exam.server,
        exam.codex,
        f"{exam.passed} of {of}",
        f"{exam.passed_plain} of {of}",
        str(total.generations),
        f"{total.input_tokens + total.output_tokens:,}",
        f"{total.seconds:.0f}",
        what_helped(exam),
    )


def what_helped(exam: Exam) -> str:
    """The kinds of mending without which tasks fail, with their numbers."""
    helped = [f"{kind} ({worth.gained})" for kind, worth in exam.worth.items() if worth.gained]
    more = [f"{len(helped) - MOST_NAMED} more"] if len(helped) > MOST_NAMED else []
    return ", ".join([*helped[:MOST_NAMED], *more]) or "nothing"


def markdown_row(*cells: str) -> str:
    """Cells as a row of a table in Markdown."""
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def as_json(exam: Exam) -> Json:
    """The whole exam; its shape is stable."""
    mended, plain = _sums(exam)
    return {
        "model": exam.model,
        "server": exam.server,
        "codex": exam.codex,
        "tasks": [
            {
                "name": pair.task.name,
                "mended": _result(pair.mended),
                "plain": _result(pair.plain),
            }
            for pair in exam.pairs
        ],
        "mended": {"passed": exam.passed} | asdict(mended),
        "plain": {"passed": exam.passed_plain} | asdict(plain),
        "worth": {kind: asdict(worth) for kind, worth in exam.worth.items()},
    }


def _result(result: Result) -> Json:
    return {
        "passed": result.has_passed,
        "reason": result.reason,
        "generations": result.work.generations,
        "input_tokens": result.work.input_tokens,
        "output_tokens": result.work.output_tokens,
        "seconds": round(result.seconds, 3),
        "mending": dict(result.work.mending),
    }


def failures(pairs: Iterable[Pair]) -> list[str]:
    """The tasks that failed with mending, and why."""
    return [f"{p.task.name}: {p.mended.reason}" for p in pairs if not p.mended.has_passed]
