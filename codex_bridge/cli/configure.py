"""`codex-bridge configure`: write what Codex needs to know of the bridge and its models."""

from __future__ import annotations

import argparse
import difflib
import json
import os
import shlex
import sys
from pathlib import Path

from codex_bridge import advice
from codex_bridge.cli import blocking_http, codex_program
from codex_bridge.cli.aliases import aliases
from codex_bridge.cli.backup import Contents, Folder
from codex_bridge.cli.codex_config import (
    CATALOG,
    CONFIG,
    NAME,
    PROFILE,
    Entries,
    overrides,
    rewritten,
    without_trust_notes,
)
from codex_bridge.cli.command_line import CommandError, Commands, add_bridge_url, say
from codex_bridge.cli.model_names import same_model
from codex_bridge.vocabulary import Json

TIMEOUT = 60
"""Seconds for the bridge to ask Ollama about each model."""


def add_to(commands: Commands) -> None:
    """Declare the command and its options."""
    parser = commands.add_parser("configure", help="tell Codex of the bridge and its models")
    parser.add_argument(
        "models",
        nargs="*",
        metavar="MODEL",
        help="models to tell of, the default one first (default: all that can call tools)",
    )
    add_bridge_url(parser)
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
    parser.set_defaults(action=configure)


def configure(options: argparse.Namespace) -> None:
    """Do what the command line says. Raises CommandError."""
    try:
        home = Folder(Path(os.path.abspath(options.codex_home.expanduser())), without_trust_notes)
        if options.undo:
            _undo(home, force=options.force, dry_run=options.dry_run)
        else:
            _configure(home, options)
    except BrokenPipeError:
        raise
    except (OSError, RuntimeError) as error:
        # RuntimeError: a symbolic link that leads to itself.
        reason = getattr(error, "strerror", None) or str(error)
        file = getattr(error, "filename", None)
        raise CommandError(f"{file}: {reason}" if file else reason) from None


def _configure(home: Folder, options: argparse.Namespace) -> None:
    # Everything that can fail comes before the first write.
    version = _codex_version(options.codex_version)
    catalog = chosen(fetch_catalog(options.bridge_url, version), options.models, options.bridge_url)
    if options.instructions == "codex":
        text = codex_program.own_instructions()
        catalog = [model | {"base_instructions": text} for model in catalog]
    before = {name: home.base(name) for name in (CONFIG, PROFILE)}
    notes = _notes(catalog, overrides(before[CONFIG]))
    files = _files(home.path, options.bridge_url, version, catalog, before)

    # With --aliases, a shell reads stdout, so all else goes to stderr.
    out = sys.stderr if options.aliases else sys.stdout
    if options.dry_run:
        lines = _diff(home, files)
    else:
        title = (
            f"Codex {'.'.join(map(str, version))} on local models, through {options.bridge_url}:"
        )
        lines = [title, *map(_command, range(len(catalog)), catalog)]
        lines += _report(home, files, home.write(files))
        lines += _for_oss(options.bridge_url)
    for line in lines:
        say(line, file=out)
    for note in notes:
        say(f"codex-bridge: {note}", file=sys.stderr)
    if options.aliases:
        say("\n".join(aliases(model["slug"] for model in catalog if model["slug"].isprintable())))


def _codex_version(name: str | None) -> tuple[int, int, int]:
    return (
        codex_program.required_version_number(name) if name else codex_program.installed_version()
    )


def _files(
    home: Path, url: str, version: tuple[int, int, int], catalog: list[Json], before: Contents
) -> Contents:
    """What is to be written. A file comes before those that name it."""
    key_variable = blocking_http.KEY_VARIABLE if blocking_http.bridge_key() else None
    entries = Entries(
        catalog[0]["slug"],
        url,
        str(home / CATALOG),
        version,
        key_variable,
        websocket=serves_websocket(url),
    )
    text = json.dumps({"models": catalog}, indent=2, ensure_ascii=False) + "\n"
    config = rewritten(before, entries)
    return {CATALOG: text.encode(), PROFILE: config[PROFILE], CONFIG: config[CONFIG]}


def _notes(catalog: list[Json], overridden: list[str]) -> list[str]:
    notes = [
        f"{model['slug']} has no tools capability; its prompt describes the tools, and it will "
        f"often call none"
        for model in catalog
        if not _calls_tools(model)
    ]
    if overridden:
        notes.append(
            f"config.toml sets {' and '.join(overridden)}, which holds for every model; "
            f"remove it, and each model gets its own value"
        )
    return notes


def fetch_catalog(url: str, version: tuple[int, int, int]) -> list[Json]:
    """What the bridge at `url` tells this version of Codex of its models. Raises CommandError."""
    path = f"/v1/models?client_version={'.'.join(map(str, version))}"
    try:
        response = blocking_http.bridge(url).ask("GET", path, seconds=TIMEOUT)
    except blocking_http.Unreachable as error:
        raise CommandError(
            f"no bridge answers at {url} ({error}). Start it: {advice.run(url)}"
        ) from None
    if response.status != 200:
        raise CommandError(f"{url} answers: {response.error}")
    models = (response.json or {}).get("models")
    if not isinstance(models, list):
        other = advice.elsewhere(url)
        raise CommandError(
            f"what answers at {url} is no codex-bridge (perhaps Ollama). Start it on a port of its "
            f"own ({advice.run(other)}) and name its address: --bridge-url {other}"
        )
    return models


def serves_websocket(url: str) -> bool:
    """Whether the bridge at `url` says that it serves WebSocket."""
    try:
        health = blocking_http.bridge(url).ask("GET", "/__health").json or {}
    except blocking_http.Unreachable:
        return False
    return health.get("websocket") is True


def _calls_tools(model: Json) -> bool:
    return bool(model.get("apply_patch_tool_type"))


def chosen(catalog: list[Json], wanted: list[str], url: str) -> list[Json]:
    """The entries of the models `wanted`, in that order; if none is, of all that can call tools.

    Raises CommandError for a model that is not there.
    """
    if not wanted:
        able = [model for model in catalog if _calls_tools(model)]
        if not able:
            pull = advice.ollama("pull qwen3:14b", url)
            raise CommandError(f"Ollama has no model that can call tools; run: {pull}")
        return able
    found = {}
    for name in wanted:
        model = next((each for each in catalog if same_model(each["slug"], name)), None)
        if model is None:
            there = ", ".join(sorted(each["slug"] for each in catalog)) or "no model at all"
            raise CommandError(f"Ollama has no model {name}; it has {there}")
        found[model["slug"]] = model
    return list(found.values())


def _diff(home: Folder, wanted: Contents) -> list[str]:
    """What would change, as a unified diff."""
    lines: list[str] = []
    for name, after in wanted.items():
        path, before = str(home.path / name), home.read(name)
        old, new = ("/dev/null" if data is None else path for data in (before, after))
        lines += difflib.unified_diff(_lines(before), _lines(after), old, new, lineterm="")
    return lines


def _lines(data: bytes | None) -> list[str]:
    return (data or b"").decode(errors="replace").splitlines()


def _command(place: int, model: Json) -> str:
    """How to start Codex with a model; the first one is the default."""
    window = model.get("context_window")
    context = f"{window:,} tokens" if window else "context unknown"
    command = f"codex -p {NAME}" + (f" -m {shlex.quote(model['slug'])}" if place else "")
    return f"  {command:<44}  # {model['slug']}, {context}"


def _report(home: Folder, files: Contents, changed: list[str]) -> list[str]:
    wrote = [f"wrote {home.path / name}" for name in changed if files[name] is not None]
    removed = [f"removed {home.path / name}" for name in changed if files[name] is None]
    end = "codex-bridge configure --undo puts everything back." if changed else "No change."
    return [*wrote, *removed, end]


def _for_oss(url: str) -> list[str]:
    """How `codex --oss` gets to the bridge at `url`, unless it does; it can send no key."""
    oss = advice.oss_url(os.environ)
    if advice.same_server(oss, url) or blocking_http.bridge_key():
        return []
    return [
        f"`codex --oss` goes to {oss}. To send it to the bridge: {advice.send_oss(url, os.environ)}"
    ]


def _undo(home: Folder, *, force: bool, dry_run: bool) -> None:
    if not home.is_changed:
        say(f"Nothing to undo in {home.path}.")
        return
    if dry_run:
        say("\n".join(_diff(home, home.first_state())))
        return
    if (foreign := home.changed_by_others()) and not force:
        raise CommandError(
            f"changed since, by you or by Codex: {', '.join(foreign)} in {home.path}; nothing was "
            f"undone. --undo --dry-run shows what would change, --undo --force undoes it anyway"
        )
    noted = [name for name in home.first_state() if home.is_changed_since(name) and not force]
    for name in home.undo():
        done = "restored" if (home.path / name).exists() else "removed"
        say(f"{done} {home.path / name}")
    for name in noted:
        say(f"{name} lost what Codex has noted since of trusted folders; Codex will ask again.")
