"""Changes the code in one small way at a time and counts how often the tests notice.

    .venv/bin/pip install -e '.[test,mutation]' && .venv/bin/python -m bench.mutation

A change that no test notices ("survives") shows behaviour that no test guards. Cosmic Ray makes
the changes; each is tried in a copy of the working tree by the tests that guard the module.
Exits with 1 if the tests notice less than 90 % of the changes. CONTRIBUTING.md tells what to do
about a survivor.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from pathlib import Path

from bench.mutation_mutants import ROOT, Key, Mutant, Site, mutant, sites
from bench.mutation_runs import Runner

EQUIVALENTS = Path(__file__).parent / "mutation_equivalents.txt"
PASSING_SCORE = 90
SAMPLE = 900
"""Mutants that two quiet cores try in about 15 minutes."""
EXCHANGE = (
    "tests/web/test_exchange.py tests/web/test_faults.py tests/web/test_context_full.py "
    "tests/web/test_contexts.py tests/web/test_drain.py tests/web/test_tools.py "
    "tests/web/test_ways_out.py tests/web/test_liveness.py tests/web/test_slow_readers.py "
    "tests/web/test_robustness.py tests/web/test_prefixes.py"
)
"""The tests of whole exchanges."""
MEANT = "tests/web/test_quotations.py tests/web/test_doubts.py"
"""The tests of what a model means, quotes or shows."""
GUARDS = {
    # modules: the tests that guard them, in this order until one fails; {name} is the module's.
    "codex_bridge/leaks/*.py": f"tests/leaks {MEANT}",
    "codex_bridge/repair/*.py": f"tests/repair/test_{{name}}.py tests/repair {MEANT}",
    "codex_bridge/tools/*.py": "tests/tools/test_{name}.py tests/tools",
    "codex_bridge/responses/sources.py": f"tests/responses/test_sources.py {MEANT}",
    "codex_bridge/responses/announcement_phrases.py": "tests/responses/test_announcements.py",
    "codex_bridge/responses/beginnings.py": "tests/web/test_read_ahead.py",
    "codex_bridge/responses/images.py": "tests/responses/test_contents.py tests/responses",
    "codex_bridge/responses/*.py": "tests/responses/test_{name}.py tests/responses "
    f"tests/tools/test_in_words.py {MEANT} tests/web/test_exchange.py tests/web/test_tools.py",
    "codex_bridge/clients/traits.py": "tests/clients/test_traits.py tests/web/test_exchange.py "
    "tests/web/test_faults.py",
    "codex_bridge/clients/*.py": "tests/clients/test_{name}.py tests/clients",
    "codex_bridge/storage/*.py": "tests/storage/test_store.py tests/storage/test_file.py "
    "tests/storage",
    "codex_bridge/errors.py": "tests/test_errors.py tests/clients tests/test_failures_doc.py",
    "codex_bridge/vocabulary.py": "tests/clients tests/responses tests/engines/test_models.py "
    "tests/engines/test_contexts.py",
    "codex_bridge/advice.py": "tests/test_advice.py tests/test_start_checks.py "
    "tests/cli/test_doctor_checks.py tests/cli/test_prepare.py",
    "codex_bridge/engines/reloads.py": "tests/engines/test_reloads.py tests/web/test_reloads.py",
    "codex_bridge/engines/occupation.py": "tests/web/test_read_ahead.py "
    "tests/web/test_upstreams.py",
    "codex_bridge/engines/listing.py": "tests/engines/test_upstreams.py "
    "tests/web/test_upstreams.py",
    "codex_bridge/engines/upstreams.py": "tests/engines/test_upstreams.py "
    "tests/web/test_upstreams.py",
    "codex_bridge/engines/retries.py": "tests/engines/test_retries.py tests/web/test_faults.py",
    "codex_bridge/engines/refusals.py": "tests/engines/test_refusals.py "
    "tests/engines/test_upstream.py tests/servers",
    "codex_bridge/engines/redirects.py": "tests/engines/test_redirects.py "
    "tests/web/test_redirects.py",
    "codex_bridge/engines/openai_chat.py": "tests/engines/test_openai_chat.py "
    "tests/engines/test_fuzz.py tests/engines/test_limits.py tests/responses/test_fuzz.py "
    "tests/engines/test_models.py tests/web/test_exchange.py tests/servers",
    "codex_bridge/engines/ollama_chat.py": "tests/engines/test_ollama_chat.py "
    "tests/engines/test_fuzz.py tests/engines/test_limits.py tests/responses/test_fuzz.py",
    "codex_bridge/engines/prompts.py": "tests/engines/test_prompts.py "
    "tests/engines/test_guarding.py tests/engines/test_fuzz.py",
    "codex_bridge/engines/ollama.py": "tests/engines/test_models.py tests/engines/test_contexts.py "
    "tests/engines/test_guarding.py tests/web/test_contexts.py",
    "codex_bridge/engines/recognition.py": "tests/engines/test_recognition.py "
    "tests/engines/test_models.py tests/engines/test_contexts.py tests/web/test_contexts.py",
    "codex_bridge/engines/llama_cpp.py": "tests/engines/test_recognition.py tests/servers",
    "codex_bridge/engines/chat_servers.py": "tests/engines/test_recognition.py tests/servers",
    "codex_bridge/engines/contexts.py": "tests/engines/test_contexts.py tests/web/test_contexts.py",
    "codex_bridge/engines/models.py": "tests/engines/test_models.py tests/engines/test_contexts.py "
    "tests/web/test_contexts.py",
    "codex_bridge/engines/answer.py": "tests/engines/test_answer.py tests/engines/test_upstream.py "
    "tests/web/test_slow_readers.py tests/web/test_liveness.py",
    "codex_bridge/engines/upstream.py": "tests/engines/test_upstream.py "
    "tests/engines/test_guarding.py tests/engines/test_contexts.py tests/web/test_contexts.py "
    "tests/web/test_health.py",
    "codex_bridge/engines/parsing.py": "tests/engines/test_openai_chat.py "
    "tests/engines/test_ollama_chat.py tests/engines/test_models.py tests/engines/test_fuzz.py",
    "codex_bridge/web/exchange.py": EXCHANGE,
    "codex_bridge/web/reply.py": f"tests/web/test_liveness.py {EXCHANGE}",
    "codex_bridge/web/intake.py": "tests/web/test_intake.py tests/web/test_exchange.py",
    "codex_bridge/web/journal.py": "tests/web/test_exchange.py tests/web/test_faults.py "
    "tests/web/test_prefixes.py tests/test_log.py",
}


def modules(pattern: str) -> list[str]:
    """The modules of GUARDS whose path matches."""
    paths = {str(path.relative_to(ROOT)) for glob in GUARDS for path in ROOT.glob(glob)}
    return sorted(path for path in paths if fnmatch(path, pattern))


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


def guards(path: str) -> list[str]:
    """The test files and folders that guard a module, in the order in which they are run."""
    tests = next(tests for glob, tests in GUARDS.items() if fnmatch(path, glob))
    names = tests.format(name=Path(path).stem).split()
    return [name for name in names if (ROOT / name).exists()]


def package(path: str) -> str:
    """The second part of a path: `leaks`, `errors.py`."""
    return Path(path).parts[1]


def show_scores(outcomes: Counter[tuple[str, str]]) -> float:
    """Print a row for each package; return the percentage of all mutants that were noticed.

    `outcomes`: (package, outcome) -> mutants.
    """
    columns = ("killed", "timeout", "survived", "equivalent")
    titles = "".join(f"{name:>12}" for name in columns)
    print(f"{'package':16}{'mutants':>10}{titles}   score")
    score = 100.0
    for name in [*sorted({name for name, _ in outcomes} - {"all"}), "all"]:
        killed, late, survived, equivalent = (outcomes[name, column] for column in columns)
        tried = killed + late + survived
        score = 100 * (killed + late) / tried if tried else 100.0
        row = "".join(f"{count:12}" for count in (killed, late, survived, equivalent))
        print(f"{name:16}{tried + equivalent:10}{row}{score:7.1f}%")
    return score


def show_equivalents(reasons: dict[Key, str], tried: set[Key], whole: list[str]) -> None:
    """Print those that were met, and those that the modules in `whole` do not have any more."""
    for key, reason in reasons.items():
        path, function, old, new = key
        if key in tried:
            print(f"\nequivalent: {path} {function}\n- {old}\n+ {new}\n= {reason}")
        elif path in whole:
            print(f"\n{EQUIVALENTS.name} names no mutant: {path} {function}\n- {old}\n+ {new}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench mutation", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    number = parser.add_mutually_exclusive_group()
    number.add_argument("--sample", type=int, default=SAMPLE, metavar="N", help="mutants to try")
    number.add_argument("--all", action="store_true", help="try every mutant (an hour or more)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the sample")
    parser.add_argument("--module", default="*", metavar="GLOB", help="'codex_bridge/leaks/*'")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, metavar="N")
    return parser.parse_args()


def main() -> None:
    options = parse()
    paths = modules(options.module)
    places = [site for path in paths for site in sites(path)]
    if not options.all:
        size = min(options.sample, len(places))
        places = sorted(random.Random(options.seed).sample(places, size))
    print(f"{len(places)} changes of {len(paths)} modules\n", flush=True)
    reasons = equivalents()
    outcomes: Counter[tuple[str, str]] = Counter()
    tried: set[Key] = set()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.workers) as threads:
        runner = Runner(Path(folder), options.workers)
        runner.prepare({tests for place in places for tests in guards(place.path)})

        def try_at(place: Site) -> tuple[Mutant | None, str]:
            made = mutant(place)
            if made is None:
                return None, ""
            if made.key in reasons:
                return made, "equivalent"
            return made, runner.try_mutant(place.path, made.code, guards(place.path))

        for number, (made, outcome) in enumerate(threads.map(try_at, places), 1):
            if sys.stderr.isatty():
                print(f"{number} of {len(places)}", end="\r", file=sys.stderr)
            if made is None:
                continue
            tried.add(made.key)
            outcomes.update([(package(made.site.path), outcome), ("all", outcome)])
            if outcome == "survived":
                print(f"{made}\n", flush=True)
    score = show_scores(outcomes)
    show_equivalents(reasons, tried, paths if options.all else [])
    sys.exit(score < PASSING_SCORE)


if __name__ == "__main__":
    main()
