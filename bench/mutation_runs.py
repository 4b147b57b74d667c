"""Runs the tests for `python -m bench mutation`, in copies of the working tree.

Processes are forked from one that has imported what the tests need of other projects.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import queue
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LEAST_TIME, TIMES_LONGER = 10, 3
"""A mutant may use this many times the processor time (seconds) of the unchanged code, at least
the first number."""
TIMES_WAITING = 5
"""A mutant may take this many times longer by the clock: the machine may have other work."""
PYTEST_ENDED = 10
"""Added to the exit code of pytest: a process that failed before it is no killed mutant."""
MEMORY = 4 << 30
"""Bytes that the tests of one mutant may use: some mutants never stop collecting."""

PRELOADED = [
    "bench.mutation_mutants",
    "bench.mutation_runs",
    "hypothesis.internal.conjecture.engine",
    "klein",
    "orjson",
    "PIL.Image",
    "pytest_timeout",
    "pytest_twisted",
    "service_identity",
    "treq",
    "twisted.internet.endpoints",
    "twisted.internet.task",
    "twisted.web.client",
    "twisted.web.server",
]
"""What the process has imported that the runs are forked from: neither the reactor, which forked
processes cannot share, nor anything of this project."""


def run_pytest(folder: str, tests: str, seconds: int | None) -> None:
    """Runs in a process of its own, and ends it. `seconds` limits its processor time; None:
    nothing is changed, so that it may keep bytecode."""
    os.setsid()
    os.chdir(folder)
    output = os.open("pytest.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ |= {"HYPOTHESIS_PROFILE": "mutation", "PYTHONPATH": folder}
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    if seconds is not None:
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    sys.dont_write_bytecode = seconds is not None
    sys.path.insert(0, folder)
    quiet = ["-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    code = pytest.main(["-x", "--tb=line", "-m", "not codex and not sdks", *quiet, tests])
    used = sys.modules.get("codex_bridge")
    if used is not None and not str(used.__file__).startswith(folder):
        print(f"These tests do not use the code in {folder} but {used.__file__}.")
        code = pytest.ExitCode.INTERNAL_ERROR
    sys.stdout.flush()
    os._exit(PYTEST_ENDED + code)


class Runner:
    """Runs tests in copies of the working tree, one for each worker."""

    def __init__(self, folder: Path, workers: int) -> None:
        self._processes = multiprocessing.get_context("forkserver")
        self._processes.set_forkserver_preload(PRELOADED)
        self._first = folder / "0"
        self._copies: queue.Queue[Path] = queue.Queue()
        self._workers = workers
        self._time_limits: dict[str, int] = {}

    def prepare(self, every_tests: set[str]) -> None:
        """Copy the tree, and see how long the tests take while nothing is changed.

        Raises SystemExit if they fail then.
        """
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        for name in subprocess.check_output(listed, cwd=ROOT, text=True).split("\0"):
            if (ROOT / name).is_file():
                (self._first / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self._first / name)
        for tests in sorted(every_tests):
            start = time.monotonic()
            if self._run(self._first, tests, None) != 0:
                output = (self._first / "pytest.log").read_text()
                raise SystemExit(f"{tests} fails while nothing is changed:\n{output}")
            took = time.monotonic() - start
            self._time_limits[tests] = int(max(LEAST_TIME, took * TIMES_LONGER))
        self._copies.put(self._first)
        for number in range(1, self._workers):
            copy = self._first.with_name(str(number))
            shutil.copytree(self._first, copy, symlinks=True)
            self._copies.put(copy)

    def try_mutant(self, path: str, code: str, every_tests: list[str]) -> str:
        """How the tests end with `code` as the module at `path`: killed, survived or timeout."""
        copy = self._copies.get()
        module = copy / path
        unchanged = module.read_text()
        try:
            module.write_text(code)
            # Python takes bytecode for current if size and second of the source are the same.
            Path(importlib.util.cache_from_source(str(module))).unlink(missing_ok=True)
            for tests in every_tests:
                status = self._run(copy, tests, self._time_limits[tests])
                if status != 0:
                    return "timeout" if status is None else "killed"
            return "survived"
        finally:
            module.write_text(unchanged)
            self._copies.put(copy)

    def _run(self, copy: Path, tests: str, seconds: int | None) -> int | None:
        """The exit code of pytest, or the signal that ended it (negative); None if it took longer
        than it may."""
        process = self._processes.Process(
            target=run_pytest, args=(str(copy), tests, seconds), daemon=True
        )
        process.start()
        process.join(None if seconds is None else seconds * TIMES_WAITING)
        if process.exitcode is None:
            assert process.pid is not None
            os.killpg(process.pid, signal.SIGKILL)
            process.join()
            return None
        if process.exitcode == -signal.SIGKILL:
            return None
        if 0 <= process.exitcode < PYTEST_ENDED:
            raise RuntimeError(f"the process that should run {tests} failed; see above")
        return process.exitcode - PYTEST_ENDED if process.exitcode > 0 else process.exitcode
