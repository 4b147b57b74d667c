"""Codex's patch format: which patches are valid, how one is made, and commands that apply one.

*** Begin Patch
*** Add File: path          then lines that begin with "+"
*** Delete File: path
*** Update File: path       then maybe "*** Move to: path", then hunks of "@@" lines and
                            lines that begin with " ", "-" or "+"
*** End Patch
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import takewhile

from attrs import frozen

from codex_bridge.repair.shell_words import WORD, unquoted

BEGIN, END = "*** Begin Patch", "*** End Patch"
FILE = re.compile(r"\*\*\* (Add|Delete|Update) File: .")
MOVE = "*** Move to: "
FRAME = re.compile(r"\*{2,}[ \t]*+(begin|end)[ _]?patch", re.IGNORECASE)
QUOTED_PATCH = re.compile(rf"\s*+apply_?patch\s++({WORD}|\"((?:[^\"\\$`])*+)\")\s*+", re.ASCII)
"""A command that gives a patch as an argument."""
HEREDOC = re.compile(
    r"(?P<folder>cd [^\n;&|]+&& *)?(?:apply_patch|applypatch)\s*<<-?\s*['\"]?(?P<end>\w+)['\"]?\n"
)
"""The beginning of a command that applies a patch."""


def is_valid(patch: str) -> bool:
    """Whether `patch` fits the grammar that Codex declares for apply_patch."""
    lines = patch.removesuffix("\n").split("\n")
    if len(lines) < 3 or lines[0] != BEGIN or lines[-1] != END or not FILE.match(lines[1]):
        return False
    return all(_is_valid_section(kind, section) for kind, section in sections(lines[1:-1]))


def sections(lines: list[str]) -> list[tuple[str, list[str]]]:
    """The file sections of a patch: their kind (Add, Delete, Update) and their lines.

    What stands before the first section comes as one of kind "".
    """
    found: list[tuple[str, list[str]]] = [("", [])]
    for line in lines:
        if header := FILE.match(line):
            found.append((header[1], [line]))
        else:
            found[-1][1].append(line)
    return found if found[0][1] else found[1:]


def _is_valid_section(kind: str, lines: list[str]) -> bool:
    body = lines[1:]
    if kind == "Add":
        return bool(body) and all(line.startswith("+") for line in body)
    if kind == "Delete":
        return not body
    if body and body[0].startswith(MOVE):
        body = body[1:]
    return all(
        line[:1] in {"+", "-", " "} or line.startswith("@@ ") or line in {"@@", "*** End of File"}
        for line in body
    )


@frozen
class CommandedPatch:
    """A patch that stands in a command."""

    patch: str
    folder: str = ""
    """What the command does before: it changes to a folder."""
    is_bare: bool = False
    """Whether the command is the patch itself, which no shell can run."""


def in_command(command: str) -> CommandedPatch | None:
    """The patch that a command applies, if it does nothing else but change to a folder before."""
    if FRAME.match(command.lstrip()):
        return CommandedPatch(command, is_bare=True)
    if heredoc := HEREDOC.match(command.strip()):
        return _in_heredoc(heredoc)
    if quoted := QUOTED_PATCH.fullmatch(command):
        return CommandedPatch(quoted[2] or unquoted(quoted[1]))
    return None


def _in_heredoc(heredoc: re.Match[str]) -> CommandedPatch | None:
    """The patch in a heredoc, if nothing follows; its last line may be missing."""
    lines = heredoc.string[heredoc.end() :].split("\n")
    end = lines.index(heredoc["end"]) if heredoc["end"] in lines else len(lines)
    if any(line.strip() for line in lines[end + 1 :]):
        return None
    if end == len(lines) and lines[-1].strip() != END:
        return None
    return CommandedPatch("\n".join(lines[:end]), heredoc["folder"] or "")


def as_command(patch: str) -> str:
    """The shell command that applies `patch`, in the form by which Codex recognizes it."""
    end, lines = "EOF", set(patch.split("\n"))
    while end in lines:
        end += "_"
    return f"apply_patch <<'{end}'\n{patch.rstrip()}\n{end}"


def adding(path: str, lines: list[str]) -> str:
    """The patch that makes a file of these lines."""
    body = [f"+{line}" for line in lines]
    return "\n".join([BEGIN, f"*** Add File: {path}", *body, END]) + "\n"


def replacing(
    path: str,
    old: list[str],
    new: list[str],
    above: Iterable[str] = (),
    below: Iterable[str] = (),
) -> str:
    """The patch that puts the lines `new` in the place of the lines `old`.

    Lines that both begin or end with become context, as do those `above` and `below`.
    """
    head = _common(old, new)
    tail = _common(old[head:][::-1], new[head:][::-1])
    body = [
        *(f" {line}" for line in [*above, *old[:head]]),
        *(f"-{line}" for line in old[head : len(old) - tail]),
        *(f"+{line}" for line in new[head : len(new) - tail]),
        *(f" {line}" for line in [*old[len(old) - tail :], *below]),
    ]
    return "\n".join([BEGIN, f"*** Update File: {path}", "@@", *body, END]) + "\n"


def _common(one: list[str], other: list[str]) -> int:
    """How many lines two lists begin with in common."""
    pairs = takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    return sum(1 for _ in pairs)
