"""The same value as another JSON type: "5" -> 5, a list of words -> a command line."""

from __future__ import annotations

import re
import shlex
from typing import Any

import orjson

from codex_bridge.repair import lenient_json, patches
from codex_bridge.repair.patch_slips import needs_repair, repair_patch
from codex_bridge.repair.validation import is_of_type
from codex_bridge.tools.freeform import PATCH_TOOL

EXACT = 2**53
"""Below this a float holds every whole number."""
NUMERAL = re.compile(r"\s*-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?\s*")
COMMAND_NAMES = frozenset({"cmd", "command"})
"""Parameters whose list of words or single string is a command."""
SHELLS = frozenset({"bash", "sh", "zsh", "/bin/bash", "/bin/sh", "/bin/zsh", "/usr/bin/bash"})
SHELL_OPTION = re.compile(r"-l?c|-cl")
SHELL_SYNTAX = re.compile(r"[*?$~<>|;&`]")
"""What a shell interprets. In a list of words it would stand for itself, which models do not
intend."""


def converted(value: Any, kind: str, name: str) -> tuple[Any, str]:
    """Return `value` as the JSON type `kind`, and the name of the repair step.

    `name` is the parameter's. Without a conversion that keeps the value: `value` itself and "".
    """
    if isinstance(value, str):
        return _from_string(value, kind)
    if isinstance(value, bool):
        return value, ""
    if kind in {"integer", "number"} and isinstance(value, float):
        if value.is_integer() and abs(value) < EXACT:
            return int(value), "whole number"
    elif kind == "string" and isinstance(value, int):
        return str(value), "number as string"
    elif kind == "string" and isinstance(value, list) and name in COMMAND_NAMES:
        command = command_line(value)
        return (command, "word list") if command else (value, "")
    return value, ""


def _from_string(value: str, kind: str) -> tuple[Any, str]:
    if kind in {"integer", "number"} and NUMERAL.fullmatch(value):
        return _number(value.strip(), kind)
    if kind == "boolean" and value.strip().lower() in {"true", "false"}:
        return value.strip().lower() == "true", "boolean in a string"
    if kind in {"object", "array"} and value.strip()[:1] in {"{", "["}:
        try:
            inner, _ = lenient_json.loads(value)
        except ValueError:
            return value, ""
        if is_of_type(inner, kind):
            return inner, "double encoding"
    return value, ""


def _number(text: str, kind: str) -> tuple[Any, str]:
    try:
        number = orjson.loads(text)
    except orjson.JSONDecodeError:
        # Leading zeros make an identifier, not a number.
        return text, ""
    if isinstance(number, float) and number.is_integer() and abs(number) < EXACT:
        number = int(number)
    return (number, "number in a string") if is_of_type(number, kind) else (text, "")


def command_in(text: str) -> str | None:
    """The command line that a list of words in a string means; None for any other string."""
    if not text.lstrip().startswith(('["', "['")):
        return None
    try:
        words, slips = lenient_json.loads(text)
    except ValueError:
        return None
    is_whole = not slips & {"trailing text", "repeated"}
    return command_line(words) if isinstance(words, list) and is_whole else None


def command_line(words: list[Any]) -> str | None:
    """A list of words as one command line; None if it is something else."""
    if not words or not all(isinstance(word, str) for word in words):
        return None
    script: str = words[-1]
    if len(words) == 2 and words[0] == PATCH_TOOL:
        # The form that Codex's own instructions teach.
        patch = repair_patch(script) if needs_repair(script) else script
        return patches.as_command(patch) if patch else None
    if len(words) == 3 and words[0] in SHELLS and SHELL_OPTION.fullmatch(words[1]):
        return script
    if len(words) == 1:
        return script
    # A first word with a space in it is no program: this is a list of something else.
    if " " in words[0] or any(SHELL_SYNTAX.search(word) for word in words):
        return None
    return shlex.join(words)
