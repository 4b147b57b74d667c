"""Changes the code in one small way at a time and counts how often the tests notice.

    .venv/bin/pip install -e '.[test,mutation]' && .venv/bin/python -m bench.mutation

A change that no test notices ("survives") shows behaviour that no test guards. Cosmic Ray makes
the changes; each is tried in a copy of the working tree by the tests that guard the module.
Exits with 1 if the tests notice less than 90 % of the changes. CONTRIBUTING.md tells what to do
about a survivor.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib.util
import multiprocessing
import os
import queue
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import cosmic_ray.plugins
import pytest
from attrs import frozen
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator

from bench.mutation_operators import ChangeWord, DropKeywordArgument, DropStatement

ROOT = Path(__file__).parent.parent
EQUIVALENTS = Path(__file__).parent / "mutation_equivalents.txt"
PASSING_SCORE = 90
SAMPLE = 900
"""Mutants that two quiet cores try in about 15 minutes."""
LEAST_TIME, TIMES_LONGER = 10, 3
"""A mutant may use this many times the processor time (seconds) of the unchanged code, at least
the first number."""
TIMES_WAITING = 5
"""A mutant may take this many times longer by the clock: the machine may have other work."""
MEMORY = 4 << 30
"""Bytes that the tests of one mutant may use: some mutants never stop collecting."""

GUARDS = {
    # modules: the tests that guard them, in this order until one fails; {name} is the module's.
    "codex_bridge/leaks/*.py": "tests/leaks",
    "codex_bridge/repair/*.py": "tests/repair/test_{name}.py tests/repair",
    "codex_bridge/tools/*.py": "tests/tools/test_{name}.py tests/tools",
    "codex_bridge/responses/*.py": "tests/responses/test_{name}.py tests/responses",
    "codex_bridge/clients/*.py": "tests/clients/test_{name}.py tests/clients",
    "codex_bridge/errors.py": "tests/test_errors.py tests/clients tests/test_failures_doc.py",
    "codex_bridge/vocabulary.py": "tests/clients tests/responses tests/engines/test_models.py "
    "tests/engines/test_contexts.py",
    "codex_bridge/engines/retries.py": "tests/engines/test_retries.py tests/web/test_faults.py",
    "codex_bridge/engines/refusals.py": "tests/engines/test_refusals.py "
    "tests/engines/test_upstream.py",
    "codex_bridge/engines/openai_chat.py": "tests/engines/test_openai_chat.py "
    "tests/engines/test_fuzz.py tests/engines/test_limits.py tests/responses/test_fuzz.py",
    "codex_bridge/engines/ollama_chat.py": "tests/engines/test_ollama_chat.py "
    "tests/engines/test_fuzz.py tests/engines/test_limits.py tests/responses/test_fuzz.py",
    "codex_bridge/engines/prompt_size.py": "tests/engines/test_prompt_size.py "
    "tests/engines/test_prompt_guard.py tests/engines/test_fitting.py",
    "codex_bridge/web/exchange.py": "tests/web/test_exchange.py tests/web/test_faults.py "
    "tests/web/test_context_full.py tests/web/test_contexts.py tests/web/test_drain.py "
    "tests/web/test_tools.py tests/web/test_ways_out.py",
    "codex_bridge/web/reply.py": "tests/web/test_reply.py tests/web/test_exchange.py "
    "tests/web/test_faults.py tests/web/test_liveness.py",
    "codex_bridge/web/journal.py": "tests/web/test_journal.py tests/web/test_exchange.py "
    "tests/web/test_faults.py tests/test_log.py",
}
SWAPS = re.compile(
    r"core/(?:ReplaceBinaryOperator_(?:Add_Sub|Sub_Add|Mul_FloorDiv|Div_Mul|FloorDiv_Mul|Mod_Mul"
    r"|LShift_RShift|RShift_LShift|BitOr_BitAnd|BitAnd_BitOr|BitXor_BitAnd)"
    r"|ReplaceComparisonOperator_(?:Eq_NotEq|NotEq_Eq|Lt_LtE|Lt_GtE|LtE_Lt|LtE_Gt|Gt_GtE|Gt_LtE"
    r"|GtE_Gt|GtE_Lt|Is_IsNot|IsNot_Is|In_NotIn|NotIn_In)"
    r"|ReplaceUnaryOperator_(?:USub_UAdd|Delete_Not|Delete_Invert)"
    r"|(?:ReplaceTrueWith|ReplaceFalseWith|ReplaceAndWith|ReplaceOrWith)\w+"
    r"|AddNot|NumberReplacer|RemoveDecorator|ZeroIterationForLoop|ExceptionReplacer"
    r"|ReplaceBreakWithContinue|ReplaceContinueWithBreak)"
)
"""The operators of Cosmic Ray that are used. It has one for every pair of arithmetic operators
and of comparisons; most of those fail for the same reason."""
LOGGING = {"debug", "info", "warn", "error", "failure", "critical"}
PRELOADED = [
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
    "__main__",
]
"""What the process has imported that the runs are forked from: neither the reactor, which forked
processes cannot share, nor anything of this project."""

Key = tuple[str, str, str, str]


@frozen
class Site:
    """Where one operator changes one file: its `occurrence`th place there."""

    path: str
    operator: str
    occurrence: int
    line: int


@frozen
class Mutant:
    """One changed version of one file."""

    site: Site
    code: str
    """The whole file."""
    function: str
    """`Class.method`, or `module`."""
    old: str
    new: str
    """The lines that differ, without indentation."""

    @property
    def key(self) -> Key:
        """What names the mutant after the lines above it have moved."""
        return self.site.path, self.function, self.old, self.new

    def __str__(self) -> str:
        old = "".join(f"\n- {line}" for line in self.old.splitlines())
        new = "".join(f"\n+ {line}" for line in self.new.splitlines())
        return f"{self.site.path}:{self.site.line} {self.function} {self.site.operator}{old}{new}"


# Making mutants


@cache
def operators() -> dict[str, Operator]:
    names = [name for name in cosmic_ray.plugins.operator_names() if SWAPS.fullmatch(name)]
    found = {name.removeprefix("core/"): cosmic_ray.plugins.get_operator(name)() for name in names}
    return found | {
        operator.__name__: operator()
        for operator in (DropStatement, DropKeywordArgument, ChangeWord)
    }


@cache
def source(path: str) -> str:
    return (ROOT / path).read_text()


def modules(pattern: str) -> list[str]:
    """The modules of GUARDS whose path matches."""
    paths = {str(path.relative_to(ROOT)) for glob in GUARDS for path in ROOT.glob(glob)}
    return sorted(path for path in paths if fnmatch(path, pattern))


def sites(path: str) -> Iterator[Site]:
    """Every place of a module that an operator may change."""
    tree = get_ast(source(path))
    for name, operator in operators().items():
        places = (place for node in ast_nodes(tree) for place in operator.mutation_positions(node))
        for occurrence, (start, _) in enumerate(places):
            yield Site(path, name, occurrence, start[0])


def mutant(site: Site) -> Mutant | None:
    """The mutant of a place; None if it does what the unchanged code does, or is no Python."""
    code = mutate_code(source(site.path), operators()[site.operator], site.occurrence)
    try:
        if code is None or behaviour(code) == behaviour(source(site.path)):
            return None
    except SyntaxError:
        return None
    diff = list(difflib.ndiff(source(site.path).splitlines(), code.splitlines()))
    old, new = ("\n".join(line[2:].strip() for line in diff if line[0] == mark) for mark in "-+")
    return Mutant(site, code, function_at(site.path, site.line), old, new)


@cache
def behaviour(code: str) -> str:
    """The code without what does nothing: annotations, docstrings, the texts of the log."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                node.returns = None
            case ast.arg() | ast.AnnAssign():
                node.annotation = ast.Constant(None)
            case ast.Call(func=ast.Attribute(attr=level), args=[ast.Constant(), *_]):
                if level in LOGGING:
                    node.args[0] = ast.Constant("")
        if isinstance(body := getattr(node, "body", None), list):
            node.body = [line for line in body if not _does_nothing(line)]
    return ast.dump(tree)


def _does_nothing(line: ast.stmt) -> bool:
    match line:
        case ast.Expr(value=ast.Constant(value=str())) | ast.ImportFrom(module="__future__"):
            return True
    return False


@cache
def functions(path: str) -> list[tuple[int, int, str]]:
    """First line, last line and dotted name of every function and class of a module."""

    def below(node: ast.AST, within: str) -> Iterator[tuple[int, int, str]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                first = min([child.lineno, *(each.lineno for each in child.decorator_list)])
                yield first, child.end_lineno or first, within + child.name
                yield from below(child, f"{within}{child.name}.")
            else:
                yield from below(child, within)

    return list(below(ast.parse(source(path)), ""))


def function_at(path: str, line: int) -> str:
    around = [name for first, last, name in functions(path) if first <= line <= last]
    return around[-1] if around else "module"


def equivalents() -> dict[Key, str]:
    """The mutants that do what the unchanged code does, with the reason."""
    found = {}
    for block in re.split(r"\n\s*\n", EQUIVALENTS.read_text()):
        lines = [line for line in block.splitlines() if line and not line.startswith("#")]
        if lines:
            path, function = lines[0].split()[:2]
            old, new, reason = (
                "\n".join(line[2:].strip() for line in lines[1:] if line[0] == mark)
                for mark in "-+="
            )
            if not reason:
                raise SystemExit(f"{EQUIVALENTS}: an entry without a reason (= …):\n{block}")
            found[re.sub(r":\d+$", "", path), function, old, new] = reason
    return found


# Running tests


def guards(path: str) -> list[str]:
    """The test files and folders that guard a module, in the order in which they are run."""
    tests = next(tests for glob, tests in GUARDS.items() if fnmatch(path, glob))
    names = tests.format(name=Path(path).stem).split()
    return [name for name in names if (ROOT / name).exists()]


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
    code = pytest.main(["-x", "--tb=line", "-m", "not codex", *quiet, tests])
    used = sys.modules.get("codex_bridge")
    if used is not None and not str(used.__file__).startswith(folder):
        print(f"These tests do not use the code in {folder} but {used.__file__}.")
        code = pytest.ExitCode.INTERNAL_ERROR
    sys.stdout.flush()
    os._exit(code)


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

    def try_mutant(self, mutant: Mutant) -> str:
        """ "killed", "survived" or "timeout"."""
        copy = self._copies.get()
        path = copy / mutant.site.path
        try:
            path.write_text(mutant.code)
            # Bytecode is told by size and second: it might seem to fit.
            Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)
            for tests in guards(mutant.site.path):
                code = self._run(copy, tests, self._time_limits[tests])
                if code != 0:
                    return "timeout" if code is None else "killed"
            return "survived"
        finally:
            path.write_text(source(mutant.site.path))
            self._copies.put(copy)

    def _run(self, copy: Path, tests: str, seconds: int | None) -> int | None:
        """The exit code of pytest; None if it took longer than it may."""
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
        return None if process.exitcode == -signal.SIGKILL else process.exitcode


# The command


def package(path: str) -> str:
    """The second part of a path: `leaks`, `errors.py`."""
    return Path(path).parts[1]


def report(outcomes: dict[Mutant, str], reasons: dict[Key, str]) -> float:
    """Print survivors and scores; return the percentage of mutants that were noticed."""
    for title in ("equivalent", "survived"):
        listed = [mutant for mutant, outcome in outcomes.items() if outcome == title]
        print(f"\n{title}: {len(listed)}\n")
        for mutant in sorted(listed, key=lambda mutant: (mutant.site.path, mutant.site.line)):
            print(mutant)
            if title == "equivalent":
                print(f"= {reasons[mutant.key]}")
            print()
    counts: Counter[tuple[str, str]] = Counter()
    for mutant, outcome in outcomes.items():
        counts.update({(package(mutant.site.path), outcome): 1, ("all", outcome): 1})
    columns = ("killed", "timeout", "survived", "equivalent")
    print(
        f"{'package':16}{'mutants':>10}" + "".join(f"{name:>12}" for name in columns) + "   score"
    )
    score = 100.0
    names = sorted({name for name, _ in counts} - {"all"})
    for name in [*names, "all"]:
        killed, late, survived, equivalent = (counts[name, column] for column in columns)
        tried = killed + late + survived
        score = 100 * (killed + late) / tried if tried else 100.0
        row = "".join(f"{count:12}" for count in (killed, late, survived, equivalent))
        print(f"{name:16}{tried + equivalent:10}{row}{score:7.1f}%")
    return score


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench mutation", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    number = parser.add_mutually_exclusive_group()
    number.add_argument("--sample", type=int, default=SAMPLE, metavar="N", help="mutants to try")
    number.add_argument("--all", action="store_true", help="try every mutant (an hour or more)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the sample")
    parser.add_argument("--module", default="*", metavar="GLOB", help="'codex_bridge/leaks/*'")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, metavar="N")
    options = parser.parse_args()

    paths = modules(options.module)
    places = [site for path in paths for site in sites(path)]
    random.Random(options.seed).shuffle(places)
    if not options.all:
        places = places[: options.sample]
    reasons = equivalents()
    tried = 0
    print(f"{len(places)} changes of {len(paths)} modules", flush=True)

    def outcome_of(place: Site) -> tuple[Mutant | None, str]:
        made = mutant(place)
        if made is None:
            outcome = "none"
        elif made.key in reasons:
            outcome = "equivalent"
        else:
            outcome = runner.try_mutant(made)
        nonlocal tried
        tried += 1
        if tried % 50 == 0:
            print(f"{tried} of {len(places)} tried", flush=True)
        return made, outcome

    with tempfile.TemporaryDirectory() as folder:
        runner = Runner(Path(folder), options.workers)
        runner.prepare({tests for place in places for tests in guards(place.path)})
        with ThreadPoolExecutor(options.workers) as threads:
            outcomes = {made: outcome for made, outcome in threads.map(outcome_of, places) if made}
    score = report(outcomes, reasons)
    if options.all:
        unused = reasons.keys() - {mutant.key for mutant in outcomes}
        for path, function, old, new in sorted(key for key in unused if key[0] in paths):
            print(f"{EQUIVALENTS.name} names no mutant: {path} {function}\n- {old}\n+ {new}")
    sys.exit(score < PASSING_SCORE)


if __name__ == "__main__":
    main()
