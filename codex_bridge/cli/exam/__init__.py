"""`codex-bridge exam MODEL`: the real Codex CLI does small tasks with a model, each checked.

tasks.py, outcomes.py     the tasks, and the checks on what they left behind
bridges.py, codex_runs.py the bridges and the runs of Codex: the only I/O
results.py, report.py     results -> totals, table, JSON, a row; pure
mcp_server.py             a program of its own, which Codex starts
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import orjson
from attrs import frozen

from codex_bridge.cli.command_line import (
    Commands,
    given_upstream_url,
    ollama_url,
    say,
    seconds,
)
from codex_bridge.cli.configure import chosen, fetch_catalog
from codex_bridge.cli.exam import report
from codex_bridge.cli.exam.bridges import Bridge, check_upstream, running_bridge
from codex_bridge.cli.exam.codex_runs import Codex, CodexRunner, check_sandbox, found_codex
from codex_bridge.cli.exam.results import Exam, Pair, Result
from codex_bridge.cli.exam.tasks import TASKS, Need, Task
from codex_bridge.vocabulary import Json

DEFAULT_TIMEOUT = 300.0
"""Seconds for one run of one task."""
NO_PLAN_SINCE = (0, 146)
"""The first Codex that offers no tool `update_plan`."""


def add_to(commands: Commands) -> None:
    """Declare the command and its options."""
    parser = commands.add_parser(
        "exam", help="have Codex do small tasks with a model, each checked"
    )
    parser.add_argument("model", metavar="MODEL", help="the model, as Ollama names it")
    parser.add_argument(
        "--upstream-url",
        type=ollama_url,
        metavar="URL",
        default=given_upstream_url(),
        help="where Ollama, or another model server, listens (default: as `codex-bridge run`)",
    )
    parser.add_argument(
        "--tasks",
        type=_tasks,
        default=TASKS,
        metavar="NAME,NAME",
        help=f"only these tasks, of {', '.join(task.name for task in TASKS)}",
    )
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=DEFAULT_TIMEOUT,
        metavar="SECONDS",
        help=f"time for each run of a task (default: {DEFAULT_TIMEOUT:.0f})",
    )
    parser.add_argument("--codex", default="codex", metavar="PATH", help="the Codex CLI")
    parser.add_argument(
        "--no-sandbox",
        action="store_true",
        help="run the model's commands without Codex's sandbox; only where nothing can be lost",
    )
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="the results as one line of JSON")
    shape.add_argument("--row", action="store_true", help="a row for the table in docs/models.md")
    parser.set_defaults(action=exam)


def _tasks(text: str) -> tuple[Task, ...]:
    """The tasks that are named, with commas between them."""
    known = {task.name: task for task in TASKS}
    names = [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if name not in known]:
        raise argparse.ArgumentTypeError(f"there is no task {unknown[0]!r}; see exam --help")
    return tuple(known[name] for name in names)


@frozen
class ExamOptions:
    """What is examined, and how."""

    model: str
    codex: Codex
    upstream_url: str | None = None
    """The model server; None: where `codex-bridge run` would find it."""
    tasks: Sequence[Task] = TASKS
    timeout: float = DEFAULT_TIMEOUT
    """Seconds for one run of one task."""


def exam(options: argparse.Namespace) -> None:
    """Examine and report. Raises CommandError if Codex, the server or the model is missing."""
    codex = found_codex(options.codex, is_sandboxed=not options.no_sandbox)
    wanted = ExamOptions(options.model, codex, options.upstream_url, options.tasks, options.timeout)
    is_for_people = not (options.json or options.row)

    def announce(place: int, of: int, task: Task) -> None:
        if is_for_people and place == 1:
            say(report.heading())
        if sys.stderr.isatty():
            say(f"{place} of {of}: {task.name} …", sys.stderr)

    def show(pair: Pair) -> None:
        if is_for_people:
            say(report.line(pair))

    _end_on_signals()
    done = examine(wanted, announce, show)
    if options.json:
        print(orjson.dumps(report.as_json(done)).decode())
    elif options.row:
        say(report.row(done))
    else:
        say("\n".join(report.summary(done)))


def _end_on_signals() -> None:
    """End with what the exam has started when this process is told to end, not without."""

    def end(number: int, _: Any) -> None:
        sys.exit(128 + number)

    # Signals are for the main thread, and Windows has no SIGHUP.
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):
            if number := getattr(signal, name, None):
                signal.signal(number, end)


def examine(
    wanted: ExamOptions,
    announce: Callable[[int, int, Task], None] = lambda *_: None,
    show: Callable[[Pair], None] = lambda _: None,
) -> Exam:
    """Do every task of `wanted`, with mending and without; blocks. Raises CommandError.

    `announce` is called before each task with its place, their number and the task; `show` with
    its results.
    """
    if wanted.upstream_url:
        check_upstream(wanted.upstream_url)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="codex-exam-")))
        if wanted.codex.is_sandboxed:
            check_sandbox(wanted.codex, folder)
        mending, plain = (
            stack.enter_context(running_bridge(folder, wanted.upstream_url, mends=mends))
            for mends in (True, False)
        )
        upstream = mending.health()["upstream"]
        catalog = chosen(
            fetch_catalog(mending.url, wanted.codex.version), [wanted.model], mending.url
        )
        model = str(catalog[0]["slug"])
        runners = [
            (bridge, CodexRunner(wanted.codex, bridge.url, model, catalog, wanted.timeout))
            for bridge in (mending, plain)
        ]
        tasks = [task for task in wanted.tasks if can_be_done(task, wanted.codex, catalog[0])]
        pairs = []
        for place, task in enumerate(tasks, 1):
            announce(place, len(tasks), task)
            pair = Pair(task, *(_done(task, bridge, runner, folder) for bridge, runner in runners))
            pairs.append(pair)
            show(pair)
    server = " ".join(filter(None, (upstream.get("server"), upstream.get("version"))))
    return Exam(model, server or "?", wanted.codex.release, tuple(pairs))


def can_be_done(task: Task, codex: Codex, entry: Json) -> bool:
    """Whether this Codex and a model with this entry in the catalog have what the task needs."""
    if task.need is Need.VISION:
        return "image" in entry["input_modalities"]
    return task.need is not Need.PLAN or codex.version < NO_PLAN_SINCE


def _done(task: Task, bridge: Bridge, runner: CodexRunner, folder: Path) -> Result:
    """Do a task once, in a scratch folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as scratch:
        run = runner.run(task, Path(scratch))
        reason = run.trouble or task.check(run.outcome)
    return Result(reason, run.seconds, bridge.work_done())
