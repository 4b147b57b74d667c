"""`python -m tests.exam [MODEL …]`: the exam of all scripted models, as docs/models.md shows it."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.internet.threads import deferToThread

from codex_bridge.cli.exam import DEFAULT_TIMEOUT, ExamOptions, examine, report
from codex_bridge.cli.exam.codex_runs import found_codex
from codex_bridge.cli.exam.results import Exam, Pair, added
from codex_bridge.cli.exam.tasks import TASKS, Task
from tests.codex.program import VERSIONS, install
from tests.exam.vices import VICES, Vice, scripted
from tests.fake_ollama import FakeOllama

COLUMNS = ("vice", "with mending", "without", "generations", "what helped")


def row(vice: Vice, exam: Exam) -> str:
    """The row of a scripted model."""
    total, plain = (
        added(getattr(pair, which) for pair in exam.pairs).generations
        for which in ("mended", "plain")
    )
    of = len(exam.pairs)
    return report.markdown_row(
        vice.meaning,
        f"{exam.passed} of {of}",
        f"{exam.passed_plain} of {of}",
        f"{total} / {plain}",
        report.what_helped(exam),
    )


def main() -> None:
    """Examine; the table goes to stdout, the failures to stderr."""
    names = [vice.model for vice in VICES]
    parser = argparse.ArgumentParser(prog="python -m tests.exam")
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"of {', '.join(names)}")
    parser.add_argument("--codex-version", default=VERSIONS[-1])
    parser.add_argument("--tasks", help="names with commas between them (default: all)")
    parser.add_argument("--no-sandbox", action="store_true", help="as codex-bridge exam")
    parser.add_argument("--verbose", action="store_true", help="also each task, on stderr")
    options = parser.parse_args()
    vices = [vice for vice in VICES if not options.models or vice.model in options.models]
    tasks = [t for t in TASKS if not options.tasks or t.name in options.tasks.split(",")]
    react(lambda reactor: Deferred.fromCoroutine(_examine_all(reactor, vices, tasks, options)))


async def _examine_all(reactor: Any, vices: list[Vice], tasks: list[Task], options: Any) -> None:
    fake = FakeOllama(reactor, scripted(vices), models=[vice.facts for vice in vices])
    fake.listen()
    codex = found_codex(str(install(options.codex_version)), is_sandboxed=not options.no_sandbox)
    print(report.markdown_row(*COLUMNS))
    print(report.markdown_row(*["---"] * len(COLUMNS)).replace(" ", ""), flush=True)

    def show(pair: Pair) -> None:
        if options.verbose:
            print(report.line(pair), file=sys.stderr, flush=True)

    for vice in vices:
        wanted = ExamOptions(f"{vice.model}:latest", codex, fake.url, tasks, DEFAULT_TIMEOUT)
        exam = await deferToThread(examine, wanted, show=show)
        print(row(vice, exam), flush=True)
        for failure in report.failures(exam.pairs):
            print(f"{vice.model}: {failure}", file=sys.stderr, flush=True)
    await fake.stop()


if __name__ == "__main__":
    main()
