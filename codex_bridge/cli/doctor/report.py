"""The report: lines for people, JSON for machines, a row for docs/models.md. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import asdict

from codex_bridge.cli.doctor.facts import Check, ModelFacts, Status, failed, ok, warning
from codex_bridge.cli.doctor.server_checks import known_context
from codex_bridge.cli.doctor.trials import TRIALS, Judgement, Probe
from codex_bridge.engines.retries import Change
from codex_bridge.vocabulary import Json

WIDTH = 15
ASKED = {
    "plain": "a plain question",
    "command": "a command",
    "result": "a command's result",
    "nested": "a nested argument",
}
DROPPED = f"asked again {Change.OWN_WORDS.value}"
"""The repair of a call that the server dropped or refused."""
COLUMNS = (
    "model",
    "Ollama",
    "context",
    *(trial.name for trial in TRIALS),
    "repaired",
    "first token",
    "tokens/s",
    "verdict",
)


def line(check: Check) -> str:
    """A check for people: one line, and one for the remedy."""
    mark = "FAILED" if check.status is Status.FAILED else check.status.value
    text = f"{mark:<8} {check.name:<{WIDTH}} {check.detail}"
    return f"{text}\n{'':<8} {'':<{WIDTH}} -> {check.remedy}" if check.remedy else text


def probe_checks(probe: Probe) -> list[Check]:
    """A check for each trial, and one for the verdict."""
    return [*map(_trial_check, probe.trials), _verdict(probe)]


def _trial_check(trial: Judgement) -> Check:
    name = f"probe {trial.name}"
    detail = f"{ASKED[trial.name]}: {trial.outcome}"
    if trial.detail:
        detail += f" ({trial.detail})"
    if trial.is_right:
        counts = [f"{what} x{n}" if n > 1 else what for what, n in trial.answer.repairs.items()]
        return ok(name, detail + (f", repaired: {', '.join(counts)}" if counts else ""))
    if trial.outcome == "out of time":
        remedy = "give it more time (--timeout 900), or see with `ollama ps` if it is on the CPU"
        return failed(name, detail, remedy)
    if trial.outcome == "error":
        remedy = "fix that error; the log of the bridge has more (codex-bridge run --debug)"
        return failed(name, detail, remedy)
    return warning(name, detail)


def _verdict(probe: Probe) -> Check:
    verdict, first, rate = probe.verdict, _first_token(probe), _rate(probe)
    detail = f"{probe.model}: {verdict}"
    detail += f", first token {first}" if first else ""
    detail += f", {rate} tokens/s" if rate else ""
    if any(DROPPED in trial.answer.repairs for trial in probe.trials):
        detail += "; its server drops calls, so the bridge reads them from what it writes"
    if verdict == "weak":
        remedy = "try a larger model or another family: see docs/models.md"
        return warning("verdict", detail, remedy)
    if verdict == "cannot":
        return failed("verdict", detail, "choose a model that calls tools, such as qwen3:14b")
    if verdict == "unknown":
        return failed("verdict", detail, "apply the remedy above, then run doctor again")
    return ok("verdict", detail)


def _first_token(probe: Probe) -> str:
    return "" if probe.first_token is None else f"{probe.first_token:.2f} s"


def _rate(probe: Probe) -> str:
    return "" if probe.tokens_per_second is None else f"{probe.tokens_per_second:.0f}"


def exit_code(checks: Iterable[Check]) -> int:
    """0, or 1 if a check failed."""
    return int(any(check.status is Status.FAILED for check in checks))


def as_json(checks: Iterable[Check], probe: Probe | None) -> Json:
    """{"checks": [...], "probe": {...} or null, "verdict": "..." or null}; its shape is stable."""
    return {
        "checks": [
            asdict(check) | {"status": check.status.value, "remedy": check.remedy or None}
            for check in checks
        ],
        "probe": None if probe is None else _probe_json(probe),
        "verdict": None if probe is None else probe.verdict,
    }


def _probe_json(probe: Probe) -> Json:
    return {
        "model": probe.model,
        "trials": [
            {
                "name": trial.name,
                "outcome": trial.outcome,
                "right": trial.is_right,
                "detail": trial.detail or None,
                "repairs": dict(trial.answer.repairs),
                "seconds": round(trial.answer.seconds, 3),
            }
            for trial in probe.trials
        ],
        "repairs": probe.repairs,
        "first_token_seconds": _rounded(probe.first_token),
        "tokens_per_second": _rounded(probe.tokens_per_second),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def row(probe: Probe, models: ModelFacts, ollama: str) -> str:
    """A row for the table in docs/models.md, in the order of COLUMNS."""
    outcomes = {trial.name: trial.outcome for trial in probe.trials}
    context, _ = known_context(models)
    cells = [
        probe.model,
        ollama,
        str(context or "?"),
        *(outcomes.get(trial.name, "not tried") for trial in TRIALS),
        ", ".join(probe.repairs) or "nothing",
        _first_token(probe) or "?",
        _rate(probe) or "?",
        probe.verdict,
    ]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
