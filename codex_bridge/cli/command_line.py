"""What the commands share: how they fail, and how they read addresses and numbers."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import TextIO, TypeAlias

from codex_bridge.settings import DEFAULTS, SETTINGS, URL_VARIABLE
from codex_bridge.text import visible
from codex_bridge.values import base_url

DEFAULT_BRIDGE_URL = f"http://127.0.0.1:{DEFAULTS.port}"
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def say(text: str, file: TextIO | None = None) -> None:
    """Print `text`, by default to stdout, with escapes for what would move a terminal's cursor.

    Names of models and sentences of servers may hold anything.
    """
    lines = text.split("\n")
    safe = ("\t".join(map(visible, line.split("\t"))) for line in lines)
    print("\n".join(safe), file=file, flush=True)


class CommandError(Exception):
    """A command cannot go on; the text is the one line that the user reads."""


def whole_number(least: int, most: int, advice: str) -> Callable[[str], int]:
    """For argparse: a reader of whole numbers; `advice` is the error for all else."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
            raise argparse.ArgumentTypeError(advice)
        return int(text)

    return read


def seconds(text: str) -> float:
    """For argparse: a number of seconds above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError("give a number of seconds above 0")
    return value


def given_upstream_url() -> str | None:
    """Where a bridge that is started with this environment is told to find Ollama, if it is."""
    variables = reversed(SETTINGS["upstream_url"].variables)
    return next(filter(None, map(os.environ.get, variables)), None)


def usual_upstream_url() -> str:
    """Where a bridge that is started with this environment looks for Ollama first."""
    return given_upstream_url() or DEFAULTS.upstream_url


def ollama_url(text: str) -> str:
    """For argparse: the base URL of Ollama, without a trailing slash."""
    return _url(text.strip(), DEFAULTS.upstream_url)


def bridge_url(text: str) -> str:
    """For argparse: the base URL of the bridge. The /v1 that Codex wants behind it is cut off."""
    return _url(text.strip().rstrip("/").removesuffix("/v1"), DEFAULT_BRIDGE_URL)


def _url(text: str, example: str) -> str:
    try:
        return base_url(text, example)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error} (got {text!r})") from None


def add_bridge_url(parser: argparse.ArgumentParser) -> None:
    """Declare --bridge-url."""
    parser.add_argument(
        "--bridge-url",
        type=bridge_url,
        metavar="URL",
        default=os.environ.get(URL_VARIABLE) or DEFAULT_BRIDGE_URL,
        help=f"where the bridge listens (default: ${URL_VARIABLE}, or {DEFAULT_BRIDGE_URL})",
    )
