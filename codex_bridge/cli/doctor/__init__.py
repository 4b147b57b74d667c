"""`codex-bridge doctor`: everything between Codex and the model, checked; and the model tried.

gather.py, probe.py          -> facts and answers: all that blocks
checks.py, environment.py    facts -> checks; pure
trials.py                    what the probe asks, answers -> judgements and verdict; pure
report.py                    checks -> lines, JSON, a row; pure
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable

import orjson
from attrs import define, field

from codex_bridge.cli import blocking
from codex_bridge.cli.doctor import gather, report
from codex_bridge.cli.doctor.checks import context_checks, facts_checks, known_context
from codex_bridge.cli.doctor.environment import codex_check, config_checks, proxy_check
from codex_bridge.cli.doctor.facts import Check, Facts, ModelFacts, Status, failed
from codex_bridge.cli.doctor.probe import probe
from codex_bridge.cli.doctor.trials import Probe

DEFAULT_TIMEOUT = 300.0
"""Seconds for the whole probe."""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command and its options."""
    parser = commands.add_parser("doctor", help="check everything, and try a model's tool calls")
    parser.add_argument("model", nargs="?", metavar="MODEL", help="default: the one that is loaded")
    blocking.add_bridge_url(parser)
    parser.add_argument("--codex", default="codex", metavar="PATH", help="the Codex CLI")
    parser.add_argument("--no-probe", action="store_true", help="do not load and try the model")
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=DEFAULT_TIMEOUT,
        metavar="SECONDS",
        help=f"for the whole probe (default: {DEFAULT_TIMEOUT:.0f})",
    )
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="the report as JSON")
    shape.add_argument("--row", action="store_true", help="a row for the table in docs/models.md")
    parser.set_defaults(action=doctor)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError("give a number of seconds above 0")
    return value


@define
class _Examination:
    """One run: what was found so far."""

    given: argparse.Namespace
    checks: list[Check] = field(factory=list)
    probe: Probe | None = None
    models: ModelFacts = field(factory=ModelFacts)
    ollama: str = "?"

    def run(self) -> None:
        """Make every check, telling each as it is made."""
        given = self.given
        server = gather.server_facts(given.bridge_url)
        self.ollama = str(server.upstream.get("version") or "?")
        self._find_models(Facts(server))
        self._add([proxy_check(os.environ, given.bridge_url)])
        codex = gather.codex_facts(given.codex, os.environ)
        self._add([codex_check(codex)])
        tries = server.is_bridge and self.models.info is not None and not given.no_probe
        if tries:
            self.probe = probe(given.bridge_url, str(self.models.chosen), given.timeout, self._tell)
            # The model is loaded by now, and the bridge has asked for its context.
            again = gather.server_facts(given.bridge_url)
            self.models = gather.model_facts(again, given.model or self.models.chosen)
        self._add(context_checks(self.models))
        context, _ = known_context(self.models)
        self._add(config_checks(codex, given.bridge_url, str(self.models.chosen), context))
        if self.probe:
            self._add(report.probe_checks(self.probe))

    def _find_models(self, facts: Facts) -> None:
        trouble: list[Check] = []
        if facts.server.reaches_ollama:
            try:
                self.models = gather.model_facts(facts.server, self.given.model)
            except blocking.Unreachable as error:
                remedy = "see if Ollama is busy or stuck: ollama ps"
                trouble = [failed("model", f"Ollama does not tell its models ({error})", remedy)]
        made = facts_checks(Facts(facts.server, self.models))
        self._add([check for check in made if not trouble or check.name != "model"] + trouble)

    def _add(self, checks: Iterable[Check]) -> None:
        for check in checks:
            self.checks.append(check)
            if not (self.given.json or self.given.row):
                print(report.line(check), flush=True)

    def _tell(self, trial: str) -> None:
        """Which trial is on its way: on stderr, where it is in nobody's way."""
        print(f"trying {self.models.chosen}: {report.ASKED[trial]} …", file=sys.stderr, flush=True)


def doctor(given: argparse.Namespace) -> int:
    """Examine and report; the exit code: 0, 1 if something failed, 130 after Ctrl-C."""
    run = _Examination(given)
    try:
        run.run()
    except KeyboardInterrupt:
        print("codex-bridge: stopped before the end", file=sys.stderr)
        return 130
    except blocking.Unreachable as error:
        run._add([failed("bridge", f"it went away ({error})", "start it: codex-bridge run")])
    if given.json:
        print(orjson.dumps(report.as_json(run.checks, run.probe)).decode())
    elif given.row and run.probe:
        print(report.row(run.probe, run.models, run.ollama))
    elif given.row:
        print(_first_failure(run.checks), file=sys.stderr)
    return report.exit_code(run.checks)


def _first_failure(checks: list[Check]) -> str:
    """Why there is no row."""
    bad = [check for check in checks if check.status is Status.FAILED]
    why = f"{bad[0].name}: {bad[0].detail}; {bad[0].remedy}" if bad else "leave out --no-probe"
    return f"codex-bridge: no row without a probe; {why}"
