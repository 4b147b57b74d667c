"""`codex-bridge configure`: write what Codex needs to know of the bridge and its models."""

from __future__ import annotations

import argparse
import difflib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from attrs import frozen

from codex_bridge.cli import blocking, codex
from codex_bridge.cli.aliases import aliases
from codex_bridge.cli.backup import Folder
from codex_bridge.cli.profile import (
    CATALOG,
    CONFIG,
    NAME,
    PROFILE,
    Wishes,
    overrides,
    rewritten,
    settled,
)
from codex_bridge.cli.trouble import Trouble
from codex_bridge.vocabulary import Json

PATIENCE = 60
"""Seconds for the bridge to ask Ollama of each model."""
START = "Start it: codex-bridge run"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `codex-bridge configure`."""
    parser.add_argument(
        "models",
        nargs="*",
        metavar="MODEL",
        help="models to tell of, the default one first (default: all that can call tools)",
    )
    blocking.add_bridge_url(parser)
    parser.add_argument(
        "--codex-home",
        metavar="FOLDER",
        type=Path,
        default=Path(os.environ.get("CODEX_HOME") or "~/.codex"),
        help="Codex's folder (default: $CODEX_HOME, or ~/.codex)",
    )
    parser.add_argument(
        "--codex-version",
        metavar="VERSION",
        help="write for this version (default: that of the codex in PATH)",
    )
    parser.add_argument(
        "--instructions",
        choices=["bridge", "codex"],
        default="bridge",
        help="what models are told of their work: 2 kB from the bridge, or Codex's own 21 kB",
    )
    parser.add_argument(
        "--aliases", action="store_true", help="print shell aliases, one for each model"
    )
    parser.add_argument("--dry-run", action="store_true", help="show the changes, write nothing")
    parser.add_argument("--undo", action="store_true", help="put everything back as it was")
    parser.add_argument(
        "--force", action="store_true", help="with --undo: also files that were changed since"
    )


def configure(given: argparse.Namespace) -> None:
    """Do what the command line says. Ends the process with one line where it cannot."""
    try:
        home = Folder(Path(os.path.abspath(given.codex_home.expanduser())), settled)
        if given.undo:
            _undo(home, force=given.force, dry_run=given.dry_run)
        else:
            _configure(home, given)
    except Trouble as trouble:
        _fail(str(trouble))
    except (OSError, RuntimeError) as error:
        # RuntimeError: a link that leads to itself.
        where = getattr(error, "filename", None)
        _fail(f"{f'{where}: ' if where else ''}{getattr(error, 'strerror', None) or error}")


def _fail(sentence: str) -> NoReturn:
    sys.exit(f"codex-bridge: {sentence}")


@frozen
class _Plan:
    """What is to be written, and for what."""

    wishes: Wishes
    catalog: list[Json]
    files: dict[str, bytes | None]
    notes: list[str]


def _configure(home: Folder, given: argparse.Namespace) -> None:
    plan = _plan(home, given)
    # What a shell is to read must stand alone.
    report = sys.stderr if given.aliases else sys.stdout
    if given.dry_run:
        for line in _diff(home, plan.files):
            print(line, file=report)
    else:
        changed = home.write(plan.files)
        for line in _report(home, plan, changed):
            print(line, file=report)
    for note in plan.notes:
        print(f"codex-bridge: {note}", file=sys.stderr)
    if given.aliases:
        print("\n".join(aliases(model["slug"] for model in plan.catalog)))


def _plan(home: Folder, given: argparse.Namespace) -> _Plan:
    """All that can go wrong goes wrong here, before anything is written."""
    named = given.codex_version
    version = codex.version_number(named) if named else codex.installed_version()
    url = given.bridge_url
    offered = fetch_catalog(url, ".".join(map(str, version)))
    catalog = chosen(offered, given.models)
    if given.instructions == "codex":
        text = codex.own_instructions()
        catalog = [model | {"base_instructions": text} for model in catalog]
    path = str(home.path / CATALOG)
    key_variable = blocking.KEY_VARIABLE if blocking.key_headers() else None
    wishes = Wishes(catalog[0]["slug"], url, path, version, key_variable)
    before = {name: home.base(name) for name in (CONFIG, PROFILE)}
    listed = json.dumps({"models": catalog}, indent=2, ensure_ascii=False) + "\n"
    # In this order: a file is there before another one names it.
    files = {CATALOG: listed.encode(), **rewritten(before, wishes)}
    files[CONFIG] = files.pop(CONFIG)
    return _Plan(wishes, catalog, files, _notes(catalog, overrides(before[CONFIG])))


def _notes(catalog: list[Json], overridden: list[str]) -> list[str]:
    notes = [
        f"{model['slug']} has no tools; it is told of them in words, and will often call none"
        for model in catalog
        if not _calls_tools(model)
    ]
    if overridden:
        notes.append(
            f"config.toml sets {' and '.join(overridden)}, which holds for every model; "
            f"take it out, and each gets its own"
        )
    return notes


def fetch_catalog(url: str, version: str) -> list[Json]:
    """What the bridge at `url` tells a Codex of `version` of its models. Raises Trouble."""
    try:
        path = f"/v1/models?client_version={version}"
        answer = blocking.ask(url, "GET", path, seconds=PATIENCE, headers=blocking.key_headers())
    except blocking.Unreachable as error:
        raise Trouble(f"no bridge answers at {url} ({error}). {START}") from None
    if answer.status != 200:
        raise Trouble(f"{url} answers: {answer.error}")
    models = (answer.json or {}).get("models")
    if not isinstance(models, list):
        raise Trouble(f"what answers at {url} is no codex-bridge (perhaps Ollama). {START}")
    return models


def _calls_tools(model: Json) -> bool:
    return bool(model.get("apply_patch_tool_type"))


def chosen(offered: list[Json], wanted: list[str]) -> list[Json]:
    """The entries of the models `wanted`, in that order; of all with tools where none is.

    Raises Trouble for a model that is not there.
    """
    if not wanted:
        able = [model for model in offered if _calls_tools(model)]
        if not able:
            raise Trouble("Ollama has no model that can call tools; run: ollama pull qwen3:14b")
        return able
    by_name = {model["slug"].lower(): model for model in offered}
    found = {}
    for name in wanted:
        model = by_name.get(name.lower()) or by_name.get(f"{name.lower()}:latest")
        if model is None:
            there = ", ".join(sorted(by_name)) or "no model at all"
            raise Trouble(f"Ollama has no model {name}; it has {there}")
        found[model["slug"]] = model
    return list(found.values())


def _diff(home: Folder, wanted: Mapping[str, bytes | None]) -> list[str]:
    """What would change, as a unified diff."""
    lines: list[str] = []
    for name, after in wanted.items():
        before = home.read(name)
        if before == after:
            continue
        path = home.path / name
        lines += difflib.unified_diff(
            _lines(before),
            _lines(after),
            "/dev/null" if before is None else str(path),
            "/dev/null" if after is None else str(path),
            lineterm="",
        )
    return lines


def _lines(data: bytes | None) -> list[str]:
    return (data or b"").decode(errors="replace").splitlines()


def _report(home: Folder, plan: _Plan, changed: list[str]) -> list[str]:
    version = ".".join(map(str, plan.wishes.version))
    lines = [f"Codex {version} on local models, through {plan.wishes.bridge_url}:"]
    for number, model in enumerate(plan.catalog):
        window = model.get("context_window")
        room = f"{window:,} tokens" if window else "context unknown"
        command = f"codex -p {NAME}" + (f" -m {model['slug']}" if number else "")
        lines.append(f"  {command:<44}  # {model['slug']}, {room}")
    wrote = [str(home.path / name) for name in changed if plan.files[name] is not None]
    removed = [str(home.path / name) for name in changed if plan.files[name] is None]
    lines += [f"wrote {path}" for path in wrote] + [f"removed {path}" for path in removed]
    lines.append("codex-bridge configure --undo puts everything back." if changed else "No change.")
    return lines


def _undo(home: Folder, *, force: bool, dry_run: bool) -> None:
    if not home.is_changed:
        print(f"Nothing to undo in {home.path}.")
        return
    if dry_run:
        print("\n".join(_diff(home, home.first_state())))
        return
    if (foreign := home.changed_by_others()) and not force:
        raise Trouble(
            f"changed since, by you or by Codex: {', '.join(foreign)} in {home.path}; nothing was "
            f"undone. --undo --dry-run shows what would be, --undo --force does it"
        )
    noted = [name for name in home.first_state() if home.is_changed_since(name) and not force]
    for name in home.undo():
        done = "restored" if (home.path / name).exists() else "removed"
        print(f"{done} {home.path / name}")
    for name in noted:
        print(f"What Codex has noted of folders in {name} since is gone; it will ask again.")
