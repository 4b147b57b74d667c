"""`codex-bridge doctor`: check everything between Codex and the model, and try the model.

gather.py, probe.py                  network and machine -> facts, answers; the only I/O
server_checks.py, codex_checks.py    facts -> checks; pure
trials.py                            the requests of the probe; answers -> verdict; pure
report.py                            checks -> lines, JSON, a row; pure
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable

import orjson
from attrs import define, field

from codex_bridge import advice
from codex_bridge.cli.blocking_http import Unreachable
from codex_bridge.cli.command_line import Commands, add_bridge_url, say, seconds
from codex_bridge.cli.doctor import gather, report
from codex_bridge.cli.doctor.codex_checks import codex_check, config_checks, proxy_check
from codex_bridge.cli.doctor.facts import Check, ModelFacts, ServerFacts, Status, failed
from codex_bridge.cli.doctor.probe import probe
from codex_bridge.cli.doctor.server_checks import (
    context_checks,
    known_context,
    model_checks,
    server_checks,
)
from codex_bridge.cli.doctor.trials import Probe

DEFAULT_TIMEOUT = 300.0
"""Seconds for the whole probe."""


def add_to(commands: Commands) -> None:
    """Declare the command and its options."""
    parser = commands.add_parser("doctor", help="check everything, and try a model's tool calls")
    parser.add_argument("model", nargs="?", metavar="MODEL", help="default: the one that is loaded")
    add_bridge_url(parser)
    parser.add_argument("--codex", default="codex", metavar="PATH", help="the Codex CLI")
    parser.add_argument("--no-probe", action="store_true", help="do not load and try the model")
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=DEFAULT_TIMEOUT,
        metavar="SECONDS",
        help=f"time for the whole probe (default: {DEFAULT_TIMEOUT:.0f})",
    )
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="the report as JSON")
    shape.add_argument("--row", action="store_true", help="a row for the table in docs/models.md")
    parser.set_defaults(action=doctor)


@define
class _Examination:
    """One run of doctor: what it found so far."""

    options: argparse.Namespace
    server: ServerFacts
    checks: list[Check] = field(factory=list)
    models: ModelFacts = field(factory=ModelFacts)
    probe: Probe | None = None

    def run(self) -> None:
        """Make every check, and print each as soon as it is made."""
        url = self.options.bridge_url
        self._add(server_checks(self.server))
        if self.server.reaches_ollama:
            self._look_at_models()
        codex = gather.codex_facts(self.options.codex, os.environ)
        self._add([proxy_check(os.environ, url), codex_check(codex)])
        model = self.models.info.name if self.models.info else ""
        if self.server.health and model and not self.options.no_probe:
            self.probe = probe(url, model, self.options.timeout, _announce)
            # The probe loaded the model, and the bridge now knows its context.
            self.models = gather.model_facts(gather.server_facts(url), model)
        self._add(context_checks(self.models, self.server))
        context, _ = known_context(self.models)
        self._add(config_checks(codex, url, model, context))
        if self.probe:
            self._add(report.probe_checks(self.probe))

    def _look_at_models(self) -> None:
        try:
            self.models = gather.model_facts(self.server, self.options.model)
        except Unreachable as error:
            remedy = f"see if Ollama is busy or stuck: {advice.ollama('ps', self.server.url)}"
            self._add([failed("model", f"Ollama does not tell its models ({error})", remedy)])
        else:
            self._add(model_checks(self.models, self.server))

    def _add(self, checks: Iterable[Check]) -> None:
        for check in checks:
            self.checks.append(check)
            if not (self.options.json or self.options.row):
                say(report.line(check))


def _announce(model: str, trial: str) -> None:
    """Print which trial comes next; on stderr, so that the report on stdout stays whole."""
    say(f"trying {model}: {report.ASKED[trial]} …", sys.stderr)


def doctor(options: argparse.Namespace) -> int:
    """Examine and report; the exit code: 0, or 1 if a check failed."""
    run = _Examination(options, gather.server_facts(options.bridge_url))
    try:
        run.run()
    except Unreachable as error:
        start = f"start it: {advice.run(options.bridge_url)}"
        run._add([failed("bridge", f"it went away ({error})", start)])
    if options.json:
        print(orjson.dumps(report.as_json(run.checks, run.probe)).decode())
    elif options.row and run.probe:
        say(report.row(run.probe, run.models, str(run.server.upstream.get("version") or "?")))
    elif options.row:
        say(_why_no_row(run.checks), sys.stderr)
    return report.exit_code(run.checks)


def _why_no_row(checks: list[Check]) -> str:
    """Why there is no row."""
    bad = next((check for check in checks if check.status is Status.FAILED), None)
    why = f"{bad.name}: {bad.detail}; {bad.remedy}" if bad else "leave out --no-probe"
    return f"codex-bridge: no row without a probe; {why}"
