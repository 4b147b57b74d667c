"""Codex's configuration files: what stands in them -> what shall stand in them. No I/O.

Up to 0.133 a profile is a table of config.toml. From 0.134 on it is a file of its own beside
it, with the provider in it, and a table of the same name in config.toml is an error.
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

from codex_bridge.cli.trouble import Trouble

NAME = "bridge"
"""Of the profile and of the provider."""
CONFIG = "config.toml"
PROFILE = f"{NAME}.config.toml"
CATALOG = f"{NAME}-models.json"
SINCE_PROFILE_FILES = (0, 134)
"""0.132 and 0.133 know both ways."""
IDLE_MS = 30 * 60 * 1000
"""Silence that Codex bears, in ms: a long prompt on a slow machine; its default is 5 minutes."""
OVERRIDES = ("model_context_window", "model_auto_compact_token_limit")
"""Keys of config.toml that win over the catalog, for every model."""
NOTE = re.compile(rb"\s*|\[projects(\..*)?\]\s*|trust_level\s*=.*")
"""A line by which Codex remembers that a folder is trusted."""


@frozen
class Wishes:
    """What Codex shall be told."""

    model: str
    """The one that is used where none is named."""
    bridge_url: str
    catalog: str
    """Absolute path."""
    version: tuple[int, ...]
    """Of Codex."""
    key_variable: str | None = None
    """The variable that holds the bridge's key; None where it asks for none."""

    @property
    def in_profile_file(self) -> bool:
        return self.version >= SINCE_PROFILE_FILES

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
        # Under the name "OpenAI", Codex would ask for things that only OpenAI serves.
        made: dict[str, Any] = {
            "name": "codex-bridge",
            "base_url": f"{self.bridge_url}/v1",
            "wire_api": "responses",
            "stream_idle_timeout_ms": IDLE_MS,
        }
        # The name of the variable: the key itself stays out of the file.
        return made | ({"env_key": self.key_variable} if self.key_variable else {})


def rewritten(before: Mapping[str, bytes | None], wishes: Wishes) -> dict[str, bytes | None]:
    """The new contents of CONFIG and PROFILE, for what stands in them now (None: no file).

    Everything else in them stays as it is, comments and layout too. Raises Trouble.
    """
    config, profile = before[CONFIG], before[PROFILE]
    if wishes.in_profile_file:
        added = [((), wishes.profile), (("model_providers", NAME), wishes.provider)]
        return {CONFIG: _without_profile(config), PROFILE: _merged(PROFILE, profile, added)}
    added = [
        (("model_providers", NAME), wishes.provider),
        (("profiles", NAME), wishes.profile),
    ]
    return {CONFIG: _merged(CONFIG, config, added), PROFILE: profile}


def overrides(config: bytes | None) -> list[str]:
    """What config.toml says itself of contexts. Raises Trouble."""
    return [key for key in OVERRIDES if key in _parsed(CONFIG, config or b"")[1]]


def settled(text: bytes) -> bytes:
    """What stands in a file, less Codex's own notes on the folders that it came to trust."""
    return b"\n".join(line for line in text.splitlines() if not NOTE.fullmatch(line))


Addition = tuple[tuple[str, ...], dict[str, Any]]
"""Where a table stands, and what it shall hold besides."""


def _merged(file: str, before: bytes | None, added: list[Addition]) -> bytes:
    document, values = _parsed(file, before or b"")
    try:
        for path, entries in added:
            _enter(document, path, entries)
            _enter(values, path, entries)
    except _NoTable as error:
        raise Trouble(f"{file}: {error} is no table; nothing was changed") from None
    except (TOMLKitError, ValueError):
        raise _odd(file) from None
    return _checked(file, document, values)


def _without_profile(config: bytes | None) -> bytes | None:
    """config.toml less a profile of our name in the old way, which would be an error now."""
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
        raise _odd(CONFIG) from None
    return _checked(CONFIG, document, values)


def _parsed(file: str, text: bytes) -> tuple[Any, dict[str, Any]]:
    """A document that keeps its layout, and its values. Raises Trouble."""
    try:
        decoded = text.decode()
        return tomlkit.parse(decoded), tomllib.loads(decoded)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, TOMLKitError) as error:
        reason = str(error).splitlines()[0]
        raise Trouble(f"{file} is no valid TOML: {reason}; nothing was changed") from None


class _NoTable(Exception):
    """A key that should lead to a table holds something else."""


def _enter(tree: Any, path: tuple[str, ...], entries: dict[str, Any]) -> None:
    """Put entries into the table at `path` of a document, or of plain values."""
    for depth, key in enumerate(path, 1):
        if key not in tree:
            tree[key] = _new_table(tree, is_last=depth == len(path))
        tree = tree[key]
        if not isinstance(tree, dict | Container):
            raise _NoTable(".".join(path[:depth]))
    for key, value in entries.items():
        tree[key] = value


def _new_table(parent: Any, *, is_last: bool) -> Any:
    if type(parent) is dict:
        return {}
    if isinstance(parent, InlineTable):
        return tomlkit.inline_table()
    return tomlkit.table(is_super_table=not is_last)


def _checked(file: str, document: Any, values: dict[str, Any]) -> bytes:
    """The document's text, once it is sure that it says `values`. Raises Trouble."""
    text = tomlkit.dumps(document)
    try:
        is_right = _same(tomllib.loads(text), values)
    except tomllib.TOMLDecodeError:
        is_right = False
    if not is_right:
        raise _odd(file)
    return text.encode()


def _odd(file: str) -> Trouble:
    return Trouble(f"{file} is laid out in a way that cannot be added to; nothing was changed")


def _same(one: Any, other: Any) -> bool:
    """Equality by which NaN, which TOML knows, is itself; tables that hold nothing do not count."""
    return repr(_solid(one)) == repr(_solid(other))


def _solid(value: Any) -> Any:
    if isinstance(value, dict):
        solid = {key: _solid(value[key]) for key in sorted(value)}
        return {key: each for key, each in solid.items() if each != {}}
    return [_solid(each) for each in value] if isinstance(value, list) else value
