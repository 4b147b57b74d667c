"""Codex's patch format: is it valid, and mending the slips that leave no doubt.

*** Begin Patch
*** Add File: path          then lines that begin with "+"
*** Delete File: path
*** Update File: path       then maybe "*** Move to: path", then hunks of "@@" lines and
                            lines that begin with " ", "-" or "+"
*** End Patch
"""

from __future__ import annotations

import re

BEGIN, END = "*** Begin Patch", "*** End Patch"
FILE = re.compile(r"\*\*\* (Add|Delete|Update) File: .")
HEADER = re.compile(r"\*\*\* (Add|Delete|Update) File: |\*\*\* (Begin|End) Patch|\*\*\* Move to: ")
RANGE = re.compile(r"^@@ -\d+(?:,\d+)? \+\d+(?:,\d+)? @@ ?", re.MULTILINE)
COMMAND = re.compile(r"\bcd\b|&&|;|apply_?patch")
HEREDOC = re.compile(
    r"(?:apply_patch|applypatch)\s*<<\s*['\"]?(\w+)['\"]?\n(.*?)\n\1\s*", re.DOTALL
)


def is_valid(patch: str) -> bool:
    """Whether `patch` fits the grammar that Codex declares for apply_patch."""
    lines = patch.removesuffix("\n").split("\n")
    if len(lines) < 3 or lines[0] != BEGIN or lines[-1] != END:
        return False
    section, size = "", 1
    for line in lines[1:-1]:
        header = FILE.match(line)
        if header:
            if section == "Add" and not size:
                return False
            section, size = header[1], 0
        elif line.startswith("*** Move to: "):
            if section != "Update" or size:
                return False
        elif not _belongs(line, section):
            return False
        else:
            size += 1
    return bool(section) and not (section == "Add" and not size)


def _belongs(line: str, section: str) -> bool:
    if section == "Add":
        return line.startswith("+")
    if section != "Update":
        return False
    return (
        line[:1] in {"+", "-", " "} or line.startswith("@@ ") or line in {"@@", "*** End of File"}
    )


def needs_mending(patch: str) -> bool:
    """Whether the grammar forbids `patch`, or Codex would search for its line numbers."""
    return not is_valid(patch) or bool(RANGE.search(patch))


def mend(patch: str) -> str | None:
    """`patch`, or what it clearly means, in the grammar; None if there is no such thing.

    Mended are: line ends of Windows, words, a fence or a heredoc around it, missing first and
    last lines, context lines without their space, new files without any "+", line numbers after
    "@@", which Codex would search for as text.
    """
    text = patch.strip("\r\n")
    if text.count("\r\n") == text.count("\n"):
        text = text.replace("\r\n", "\n")
    if heredoc := HEREDOC.fullmatch(text):
        text = heredoc[2]
    lines = text.split("\n")
    if lines and lines[0].startswith("```") and lines[-1].strip() == "```":
        lines = lines[1:-1]
    lines = [
        line.rstrip() if HEADER.match(line) or line.strip() in {BEGIN, END} else line
        for line in lines
    ]
    before = lines.index(BEGIN) if BEGIN in lines else 0
    if COMMAND.search("\n".join(lines[:before])):
        # A command does more than this patch: it may change the folder first.
        return None
    lines = lines[before:] if BEGIN in lines else [BEGIN, *lines]
    lines = lines[: len(lines) - lines[::-1].index(END)] if END in lines else [*lines, END]
    mended = "\n".join([BEGIN, *_sections(lines[1:-1]), END]) + "\n"
    return mended if is_valid(mended) else None


def _sections(lines: list[str]) -> list[str]:
    """The file sections of a patch, each mended by its kind."""
    made: list[str] = []
    section: list[str] = []
    kind = ""
    for line in [*lines, "*** Update File: end"]:
        header = FILE.match(line)
        if not header:
            section.append(line)
            continue
        made += _section(kind, section)
        section, kind = [line], header[1]
    return made


def _section(kind: str, lines: list[str]) -> list[str]:
    head, body = lines[:1], lines[1:]
    if kind == "Add":
        while body and not body[-1]:
            body.pop()
        bare = not any(line.startswith("+") for line in body)
        return head + [f"+{line}" if bare else line or "+" for line in body]
    if kind == "Update":
        while body and not body[-1]:
            body.pop()
        return head + _changes(body)
    return [line for line in lines if line.strip()]


def _changes(lines: list[str]) -> list[str]:
    """The lines of an update. Where one context line lacks its space, they all do, or none is
    touched: Codex finds the place by the words alone, and writes the wrong indentation."""
    context = [line for line in lines if line and line[0] not in "+-@*"]
    bare = any(line[0] != " " for line in context)
    if bare and any((len(line) - len(line.lstrip())) % 2 for line in context):
        return lines
    made = []
    for line in lines:
        numbers = RANGE.match(line)
        if numbers:
            made.append(f"@@ {line[numbers.end() :]}".rstrip())
        else:
            is_context = line[:1] not in {"+", "-", "@", "*"}
            made.append(f" {line}" if not line or (bare and is_context) else line)
    return made


def as_command(patch: str) -> str:
    """The shell command that applies `patch`; Codex knows it by this form."""
    mark, lines = "EOF", set(patch.split("\n"))
    while mark in lines:
        mark += "_"
    return f"apply_patch <<'{mark}'\n{patch.rstrip()}\n{mark}"
