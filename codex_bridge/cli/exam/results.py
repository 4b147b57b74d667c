"""The results of an exam, and what follows from them. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from codex_bridge.cli.exam.bridges import Work
from codex_bridge.cli.exam.tasks import Task


@frozen
class Result:
    """One task, done once."""

    reason: str | None
    """Why it failed; None: it passed."""
    seconds: float
    work: Work

    @property
    def has_passed(self) -> bool:
        return self.reason is None


@frozen
class Pair:
    """One task, done with mending and without."""

    task: Task
    mended: Result
    plain: Result


@frozen
class Worth:
    """What one kind of mending was worth."""

    passed: int
    """Tasks that passed and in which it was used."""
    gained: int
    """Those of them that fail without mending."""


@frozen
class Exam:
    """All results of one model."""

    model: str
    server: str
    """The model server and its version."""
    codex: str
    """The version of Codex."""
    pairs: tuple[Pair, ...]

    @property
    def passed(self) -> int:
        """Tasks that passed with mending."""
        return sum(pair.mended.has_passed for pair in self.pairs)

    @property
    def passed_plain(self) -> int:
        """Tasks that passed without mending."""
        return sum(pair.plain.has_passed for pair in self.pairs)

    @property
    def worth(self) -> dict[str, Worth]:
        """Kind of mending -> what it was worth, the most useful first."""
        kinds = {kind for pair in self.pairs for kind in pair.mended.work.mending}
        found = {kind: _worth(kind, self.pairs) for kind in kinds}
        order = sorted(found, key=lambda kind: (-found[kind].gained, -found[kind].passed, kind))
        return {kind: found[kind] for kind in order}


def _worth(kind: str, pairs: Iterable[Pair]) -> Worth:
    used = [each for each in pairs if each.mended.has_passed and each.mended.work.mending[kind]]
    return Worth(len(used), sum(not each.plain.has_passed for each in used))


@frozen
class Sum:
    """Generations, tokens and seconds of several results."""

    generations: int
    input_tokens: int
    output_tokens: int
    seconds: float


def added(results: Iterable[Result]) -> Sum:
    """The sum of the results."""
    done = list(results)
    works = [each.work for each in done]
    return Sum(
        sum(work.generations for work in works),
        sum(work.input_tokens for work in works),
        sum(work.output_tokens for work in works),
        sum(each.seconds for each in done),
    )
