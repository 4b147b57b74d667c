"""Codex's patch format: whether a patch is valid, and the repair of slips that leave no doubt.

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
MOVE = "*** Move to: "
NO_CONTEXT = "+-@*"
"""First characters of the lines in an update that are no context."""
COMMAND = re.compile(r"\bcd\b|&&|;|apply_?patch")
HEREDOC = re.compile(
    r"(?:apply_patch|applypatch)\s*<<\s*['\"]?(\w+)['\"]?\n(.*?)\n\1\s*", re.DOTALL
)


def is_valid(patch: str) -> bool:
    """Whether `patch` fits the grammar that Codex declares for apply_patch."""
    lines = patch.removesuffix("\n").split("\n")
    if len(lines) < 3 or lines[0] != BEGIN or lines[-1] != END or not FILE.match(lines[1]):
        return False
    return all(_is_valid_section(kind, section) for kind, section in _sections(lines[1:-1]))


def _sections(lines: list[str]) -> list[tuple[str, list[str]]]:
    """The file sections of a patch: their kind (Add, Delete, Update) and their lines.

    What stands before the first section comes as one of kind "".
    """
    sections: list[tuple[str, list[str]]] = [("", [])]
    for line in lines:
        if header := FILE.match(line):
            sections.append((header[1], [line]))
        else:
            sections[-1][1].append(line)
    return sections if sections[0][1] else sections[1:]


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


def needs_repair(patch: str) -> bool:
    """Whether the grammar forbids `patch`, or Codex would search the file for its line numbers."""
    return not is_valid(patch) or bool(RANGE.search(patch))


def repair_patch(patch: str) -> str | None:
    """`patch` in the grammar, if its slips leave no doubt; else None.

    Slips that are repaired: line ends of Windows; words, a fence or a heredoc around the patch;
    missing first and last lines; context lines without their space; new files without any "+";
    line numbers after "@@", which Codex would search for as text.
    """
    text = patch.strip("\r\n")
    if text.count("\r\n") == text.count("\n"):
        text = text.replace("\r\n", "\n")
    if heredoc := HEREDOC.fullmatch(text):
        text = heredoc[2]
    lines = text.split("\n")
    if lines[0].startswith("```") and lines[-1].strip() == "```":
        lines = lines[1:-1]
    lines = [line.rstrip() if HEADER.match(line) else line for line in lines]
    if BEGIN in lines:
        begin = lines.index(BEGIN)
        if COMMAND.search("\n".join(lines[:begin])):
            # A command does more than this patch: it may change the folder first.
            return None
        lines = lines[begin + 1 :]
    if END in lines:
        # The last one: a patch may add a file that holds a patch.
        lines = lines[: len(lines) - 1 - lines[::-1].index(END)]
    body = [line for kind, section in _sections(lines) for line in _repair_section(kind, section)]
    repaired = "\n".join([BEGIN, *body, END]) + "\n"
    return repaired if is_valid(repaired) else None


def _repair_section(kind: str, lines: list[str]) -> list[str]:
    if kind not in {"Add", "Update"}:
        return [line for line in lines if line.strip()]
    head, body = lines[:1], lines[1:]
    while body and not body[-1]:
        body.pop()
    if kind == "Update":
        return head + _repair_update(body)
    bare = not any(line.startswith("+") for line in body)
    return head + [f"+{line}" if bare else line or "+" for line in body]


def _repair_update(lines: list[str]) -> list[str]:
    """The lines of an update, where either all context lines lack their space, or none does.

    Codex finds the place by the words alone: a context line that was given a space too many
    would be written with the wrong indentation.
    """
    context = [line for line in lines if line and line[0] not in NO_CONTEXT]
    bare = any(line[0] != " " for line in context)
    if bare and any((len(line) - len(line.lstrip())) % 2 for line in context):
        # An odd indentation may be a space of the format, or one of the file.
        return lines
    repaired = []
    for line in lines:
        if numbers := RANGE.match(line):
            repaired.append(f"@@ {line[numbers.end() :]}".rstrip())
        elif not line or (bare and line[0] not in NO_CONTEXT):
            repaired.append(f" {line}")
        else:
            repaired.append(line)
    return repaired


def as_command(patch: str) -> str:
    """The shell command that applies `patch`, in the form by which Codex recognizes it."""
    end, lines = "EOF", set(patch.split("\n"))
    while end in lines:
        end += "_"
    return f"apply_patch <<'{end}'\n{patch.rstrip()}\n{end}"
