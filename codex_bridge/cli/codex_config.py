"""Codex's configuration files: old contents -> new contents. No I/O.

Up to 0.133 a profile is a table of config.toml. From 0.134 on it is a file of its own beside it,
which holds the provider, too. A table of the same name in config.toml is then an error.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Any

import tomlkit
from attrs import frozen
from tomlkit.container import Container
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import InlineTable

from codex_bridge.cli.command_line import CommandError

NAME = "bridge"
"""Name of the profile and of the provider."""
CONFIG = "config.toml"
PROFILE = f"{NAME}.config.toml"
CATALOG = f"{NAME}-models.json"
PROFILE_FILES_SINCE = (0, 134)
"""The first Codex in which a profile has to be a file; 0.132 and 0.133 accept both forms."""
WEBSOCKET_SINCE = (0, 130)
"""The oldest Codex that is tested over WebSocket."""
IDLE_MS = 30 * 60 * 1000
"""Silence that Codex accepts, in ms: reading a long prompt takes a slow machine longer than
Codex's default of 5 minutes."""
OVERRIDES = ("model_context_window", "model_auto_compact_token_limit")
"""Keys of config.toml that win over the catalog, for every model."""
TRUST_NOTE = re.compile(rb"\s*|\[projects(\..*)?\]\s*|trust_level\s*=.*")
"""A line by which Codex remembers whether a folder is trusted; or an empty one."""


@frozen
class Entries:
    """What is written into the files, for one version of Codex."""

    model: str
    """The default model of the profile."""
    bridge_url: str
    catalog: str
    """Absolute path of the model catalog."""
    version: tuple[int, int, int]
    """The version of Codex."""
    key_variable: str | None = None
    """The variable that holds the bridge's key; None if the bridge has none."""
    websocket: bool = False
    """Whether the bridge serves WebSocket."""

    @property
    def profile(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "model_provider": NAME,
            "model_catalog_json": self.catalog,
            "web_search": "disabled",
        }

    @property
    def provider(self) -> dict[str, Any]:
        # A provider named "OpenAI" would be asked for things that only OpenAI serves.
        table: dict[str, Any] = {
            "name": "codex-bridge",
            "base_url": f"{self.bridge_url}/v1",
            "wire_api": "responses",
            "stream_idle_timeout_ms": IDLE_MS,
        }
        if self.websocket and self.version >= WEBSOCKET_SINCE:
            table["supports_websockets"] = True
        # The file names the variable; the key itself is not written down.
        return table | ({"env_key": self.key_variable} if self.key_variable else {})


def rewritten(before: Mapping[str, bytes | None], entries: Entries) -> dict[str, bytes | None]:
    """CONFIG and PROFILE -> their new contents; None: no file.

    Everything else in them stays as it is, comments and layout too. Raises CommandError.
    """
    config, profile = before[CONFIG], before[PROFILE]
    provider: Addition = (("model_providers", NAME), entries.provider)
    if entries.version >= PROFILE_FILES_SINCE:
        added = [((), entries.profile), provider]
        return {CONFIG: _without_profile(config), PROFILE: _merged(PROFILE, profile, added)}
    added = [provider, (("profiles", NAME), entries.profile)]
    return {CONFIG: _merged(CONFIG, config, added), PROFILE: profile}


def overrides(config: bytes | None) -> list[str]:
    """The OVERRIDES that config.toml sets. Raises CommandError."""
    return [key for key in OVERRIDES if key in _parsed(CONFIG, config or b"")[1]]


def without_trust_notes(text: bytes) -> bytes:
    """The contents of a file without the lines that Codex adds by itself."""
    return b"\n".join(line for line in text.splitlines() if not TRUST_NOTE.fullmatch(line))


Addition = tuple[tuple[str, ...], dict[str, Any]]
"""The path of a table, and entries to put into it."""


def _merged(file: str, before: bytes | None, added: list[Addition]) -> bytes:
    document, values = _parsed(file, before or b"")
    try:
        for path, entries in added:
            _enter(file, document, path, entries)
            _enter(file, values, path, entries)
    except (TOMLKitError, ValueError):
        raise _cannot_be_edited(file) from None
    return _checked(file, document, values)


def _without_profile(config: bytes | None) -> bytes | None:
    """config.toml without our profile of the old form: Codex refuses it beside a profile file."""
    if config is None:
        return None
    document, values = _parsed(CONFIG, config)
    profiles = values.get("profiles")
    has_profile = isinstance(profiles, dict) and NAME in profiles
    if not has_profile and values.get("profile") != NAME:
        return config
    try:
        for tree in (document, values):
            if has_profile:
                del tree["profiles"][NAME]
            if tree.get("profile") == NAME:
                del tree["profile"]
    except TOMLKitError:
        raise _cannot_be_edited(CONFIG) from None
    return _checked(CONFIG, document, values)


def _parsed(file: str, text: bytes) -> tuple[Any, dict[str, Any]]:
    """A document that keeps its layout, and its plain values. Raises CommandError."""
    try:
        decoded = text.decode()
        return tomlkit.parse(decoded), tomllib.loads(decoded)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, TOMLKitError) as error:
        reason = str(error).splitlines()[0]
        raise CommandError(f"{file} is no valid TOML: {reason}; nothing was changed") from None


def _enter(file: str, tree: Any, path: tuple[str, ...], entries: dict[str, Any]) -> None:
    """Put entries into the table at `path` of a document, or of plain values.

    Raises CommandError if the path leads to anything other than a table.
    """
    for depth, key in enumerate(path, 1):
        if key not in tree:
            tree[key] = _new_table(tree, is_last=depth == len(path))
        tree = tree[key]
        if not isinstance(tree, dict | Container):
            where = f"{file}: {'.'.join(path[:depth])}"
            raise CommandError(f"{where} is no table; nothing was changed")
    for key, value in entries.items():
        tree[key] = value


def _new_table(parent: Any, *, is_last: bool) -> Any:
    if type(parent) is dict:
        return {}
    if isinstance(parent, InlineTable):
        return tomlkit.inline_table()
    return tomlkit.table(is_super_table=not is_last)


def _checked(file: str, document: Any, values: dict[str, Any]) -> bytes:
    """The document's text. Raises CommandError if it does not parse to `values`.

    Additions to unusual layouts can go wrong in tomlkit.
    """
    text = tomlkit.dumps(document)
    try:
        if repr(_comparable(tomllib.loads(text))) == repr(_comparable(values)):
            return text.encode()
    except tomllib.TOMLDecodeError:
        pass
    raise _cannot_be_edited(file)


def _cannot_be_edited(file: str) -> CommandError:
    return CommandError(f"{file} is laid out in a way that cannot be added to; nothing was changed")


def _comparable(value: Any) -> Any:
    """`value` in a form whose repr() is the same for equal values: sorted, without empty tables.

    Comparing the values themselves will not do: TOML has NaN, which is not equal to itself.
    """
    if isinstance(value, dict):
        entries = {key: _comparable(value[key]) for key in sorted(value)}
        return {key: entry for key, entry in entries.items() if entry != {}}
    return [_comparable(entry) for entry in value] if isinstance(value, list) else value
