"""The facts, from the network and this machine. Everything that blocks is here and in probe.py."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from attrs import evolve

from codex_bridge.cli import blocking
from codex_bridge.cli.doctor.checks import lookalike
from codex_bridge.cli.doctor.environment import catalog_paths
from codex_bridge.cli.doctor.facts import CodexFacts, ModelFacts, ServerFacts
from codex_bridge.engines.models import running_facts, shown_info, version_number
from codex_bridge.vocabulary import Json, ModelInfo

CONFIG_FILES = ("config.toml", "bridge.config.toml")
SECONDS = 20
"""That `codex --version` may take."""
MOST_ASKED = 20
"""Models that are looked at to find one with tools."""


def server_facts(url: str) -> ServerFacts:
    """What answers at the bridge's address."""
    try:
        answer = _ask(url, "GET", "/__health")
        health = answer.json if answer.status in {200, 503} else None
        if health is not None and isinstance(health.get("upstream"), dict):
            return ServerFacts(url, health_status=answer.status, health=health)
        root = _ask(url, "GET", "/")
        return ServerFacts(url, health_status=answer.status, root=root.text[:200])
    except blocking.Unreachable as error:
        return ServerFacts(url, trouble=str(error))


def repairs(url: str) -> dict[str, int]:
    """What the bridge mended since its start -> how often; empty where it does not tell."""
    told = (server_facts(url).health or {}).get("repairs")
    return {str(k): n for k, n in told.items() if isinstance(n, int)} if told else {}


def model_facts(server: ServerFacts, wanted: str | None) -> ModelFacts:
    """What there is, and the model to look at. Raises Unreachable."""
    listed = _object(server.url, "GET", "/api/tags").get("models")
    entries = [each for each in listed or [] if isinstance(each, dict) and each.get("name")]
    names = tuple(str(each["name"]) for each in entries) or _others(server)
    running = _object(server.url, "GET", "/api/ps")
    told = (server.health or {}).get("models")
    if wanted is not None:
        chosen, why = (wanted if wanted in names else lookalike(wanted, names)), ""
    else:
        chosen, why = _choice(server.url, names, running)
    if chosen is None:
        return ModelFacts(names, wanted)
    served = told.get(chosen) if isinstance(told, dict) else None
    return ModelFacts(
        names,
        wanted,
        chosen,
        why,
        _info(server.url, chosen, running),
        served if isinstance(served, dict) else None,
        isinstance(told, dict),
    )


def _others(server: ServerFacts) -> tuple[str, ...]:
    """The models of a server that is not Ollama."""
    if server.is_ollama or server.upstream.get("version"):
        return ()
    listed = _object(server.url, "GET", "/v1/models").get("data")
    return tuple(
        str(each["id"]) for each in listed or [] if isinstance(each, dict) and each.get("id")
    )


def _choice(url: str, names: tuple[str, ...], running: Json) -> tuple[str | None, str]:
    """The model that is loaded, else the first with tools, else the first; and why."""
    loaded = [name for name in names if running_facts(name, running)]
    able = next(
        (name for name in [*loaded, *names[:MOST_ASKED]] if _info(url, name).can("tools")), None
    )
    if able is not None:
        return able, "loaded now" if able in loaded else "the first with tools"
    return (names[0], "the first; none has tools") if names else (None, "")


def _info(url: str, name: str, running: Json | None = None) -> ModelInfo:
    shown = _object(url, "POST", "/api/show", {"model": name})
    version = _object(url, "GET", "/api/version").get("version")
    info = evolve(shown_info(name, shown), server_version=version_number(version))
    return evolve(info, **running_facts(name, running or {}))


def _object(url: str, method: str, path: str, body: Json | None = None) -> Json:
    """The JSON object answered, {} for a refusal. Raises Unreachable."""
    answer = _ask(url, method, path, body)
    return (answer.json or {}) if answer.status == 200 else {}


def _ask(url: str, method: str, path: str, body: Json | None = None) -> blocking.Reply:
    """The bridge's answer. Raises Unreachable."""
    return blocking.ask(url, method, path, body, headers=blocking.key_headers())


def codex_facts(program: str, environ: Mapping[str, str]) -> CodexFacts:
    """What is known of the Codex CLI here."""
    home = environ.get("CODEX_HOME") or "~/.codex"
    folder = Path(home).expanduser()
    files = _texts({name: folder / name for name in CONFIG_FILES})
    catalogs = _texts({name: folder / name for name in catalog_paths(files)})
    version, trouble = _codex_version(program)
    return CodexFacts(program, version, trouble, home, files, catalogs, dict(environ))


def _texts(paths: Mapping[str, Path]) -> dict[str, str]:
    """What stands in those files that can be read."""
    found = {}
    for name, path in paths.items():
        with suppress(OSError):
            found[name] = path.read_text(encoding="utf-8", errors="replace")
    return found


def _codex_version(program: str) -> tuple[str | None, str]:
    """What `codex --version` prints, or why it does not."""
    try:
        done = subprocess.run(  # noqa: S603 - the user named it
            [program, "--version"], capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except OSError as error:
        return None, error.strerror or str(error)
    except subprocess.TimeoutExpired:
        return None, f"no answer within {SECONDS} s"
    if done.returncode != 0:
        return None, (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[0]
    return done.stdout.strip(), ""
