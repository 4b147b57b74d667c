"""Collects the facts from the network and this machine. Only this and probe.py do I/O."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import evolve

from codex_bridge.cli import blocking_http
from codex_bridge.cli.blocking_http import Server
from codex_bridge.cli.codex_config import CONFIG, PROFILE
from codex_bridge.cli.codex_program import printed_version
from codex_bridge.cli.command_line import CommandError
from codex_bridge.cli.doctor.codex_checks import catalog_paths
from codex_bridge.cli.doctor.facts import CodexFacts, ModelFacts, ServerFacts
from codex_bridge.cli.doctor.server_checks import lookalike
from codex_bridge.engines.ollama import running_facts, shown_info
from codex_bridge.vocabulary import Json, ModelInfo

MOST_ASKED = 20
"""Models that are asked about to find one with tools."""


def server_facts(url: str) -> ServerFacts:
    """The server at the bridge's address."""
    server = blocking_http.bridge(url)
    try:
        response = server.ask("GET", "/__health")
        health = response.json if response.status in {200, 503} else None
        if health is not None and isinstance(health.get("upstream"), dict):
            return ServerFacts(url, health=health)
        root = server.ask("GET", "/").text
    except blocking_http.Unreachable as error:
        return ServerFacts(url, trouble=str(error))
    return ServerFacts(url, is_ollama="Ollama is running" in root)


def repairs(url: str) -> dict[str, int]:
    """What the bridge repaired since its start -> how often; empty if it does not tell."""
    counts = (server_facts(url).health or {}).get("repairs") or {}
    return {str(what): n for what, n in counts.items() if isinstance(n, int)}


def model_facts(facts: ServerFacts, wanted: str | None) -> ModelFacts:
    """The models there are, and the one to look at. Raises Unreachable."""
    server = blocking_http.bridge(facts.url)
    listed = _object(server, "GET", "/api/tags").get("models")
    names = _texts_of(listed, "name") or _names_elsewhere(server, facts)
    running = _object(server, "GET", "/api/ps")
    if wanted is not None:
        chosen, why = (wanted if wanted in names else lookalike(wanted, names)), ""
    else:
        chosen, why = _choice(server, names, running)
    if chosen is None:
        return ModelFacts(names, wanted)
    plans = (facts.health or {}).get("models") or {}
    served = plans.get(lookalike(chosen, tuple(plans)))
    info = evolve(_info(server, chosen), **running_facts(chosen, running))
    return ModelFacts(names, wanted, info, why, served)


def _names_elsewhere(server: Server, facts: ServerFacts) -> tuple[str, ...]:
    """The models of a server that is not Ollama."""
    if facts.is_ollama or facts.upstream.get("version"):
        return ()
    return _texts_of(_object(server, "GET", "/v1/models").get("data"), "id")


def _texts_of(entries: Any, key: str) -> tuple[str, ...]:
    """The values of `key` in a list of objects."""
    return tuple(
        str(each[key]) for each in entries or [] if isinstance(each, dict) and each.get(key)
    )


def _choice(server: Server, names: tuple[str, ...], running: Json) -> tuple[str | None, str]:
    """The model that is loaded, else the first with tools, else the first; and why."""
    loaded = [name for name in names if running_facts(name, running)]
    for name in [*loaded, *names[:MOST_ASKED]]:
        if _info(server, name).can("tools"):
            return name, "loaded now" if name in loaded else "the first with tools"
    return (names[0], "the first; none has tools") if names else (None, "")


def _info(server: Server, name: str) -> ModelInfo:
    return shown_info(name, _object(server, "POST", "/api/show", {"model": name}))


def _object(server: Server, method: str, path: str, body: Json | None = None) -> Json:
    """The JSON object in the response, {} for a refusal. Raises Unreachable."""
    response = server.ask(method, path, body)
    return (response.json or {}) if response.status == 200 else {}


def codex_facts(program: str, environ: Mapping[str, str]) -> CodexFacts:
    """The Codex CLI on this machine."""
    home = environ.get("CODEX_HOME") or "~/.codex"
    folder = Path(home).expanduser()
    files = _texts({name: folder / name for name in (CONFIG, PROFILE)})
    catalogs = _texts({name: folder / name for name in catalog_paths(files)})
    facts = CodexFacts(program, home=home, files=files, catalogs=catalogs, environ=dict(environ))
    try:
        return evolve(facts, version=printed_version(program))
    except CommandError as error:
        return evolve(facts, trouble=str(error))


def _texts(paths: Mapping[str, Path]) -> dict[str, str]:
    """The contents of the files that can be read, by the names given for their paths."""
    found = {}
    for name, path in paths.items():
        with suppress(OSError):
            found[name] = path.read_text(encoding="utf-8", errors="replace")
    return found
