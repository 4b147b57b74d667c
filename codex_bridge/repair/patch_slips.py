"""Repairs the slips in patches that leave no doubt. No line of a patch is ever made up."""

from __future__ import annotations

import re

from codex_bridge.repair.patches import BEGIN, END, FILE, FRAME, in_command, is_valid, sections

HEADER = re.compile(r"\*\*\* (Add|Delete|Update) File: |\*\*\* (Begin|End) Patch|\*\*\* Move to: ")
RANGE = re.compile(r"^@@ -\d{1,9}(?:,\d{1,9})? \+\d{1,9}(?:,\d{1,9})? @@ ?", re.MULTILINE)
SECTION = re.compile(
    r"\*{2,}[ \t]*+(add|create|new|update|modify|edit|change|delete|remove) file"
    r"[ \t]*+:[ \t]*+(\S.*)",
    re.IGNORECASE,
)
SECTION_WORDS = {
    **dict.fromkeys(("add", "create", "new"), "Add"),
    **dict.fromkeys(("update", "modify", "edit", "change"), "Update"),
    **dict.fromkeys(("delete", "remove"), "Delete"),
}
"""What models write for the three kinds of sections."""
OLD_FILE, NEW_FILE = re.compile(r"--- ([^\t]+)"), re.compile(r"\+\+\+ ([^\t]+)")
"""In a unified diff. A time may follow the path, behind a tab."""
NO_FILE = "/dev/null"
HUNK = re.compile(r"@@ -\d{1,9}(?:,(\d{1,9}))? \+\d{1,9}(?:,(\d{1,9}))? @@")
DIFF_NOISE = re.compile(
    r"diff --git |index [0-9a-f]+\.\.|(?:new|deleted) file mode |old mode |new mode |similarity |"
    r"\\ No newline"
)
"""Lines of a unified diff that change nothing."""
SEARCH = re.compile(r"(?:<{5,9}|-{5,9}) ?SEARCH[ >]*")
MIDDLE = re.compile(r"={5,9} *")
REPLACE = re.compile(r"(?:>{5,9}|\+{5,9}) ?REPLACE[ >]*")
"""The lines around a text to search for, and the one to put in its place."""
PATH_ABOVE = re.compile(r"[`*#: ]*[\w./@+-]+[`*: ]*")
PATH_MARKS = "`*:# "
"""What models put around the path above such a block."""
NO_CONTEXT = "+-@*"
"""First characters of the lines in an update that are no context."""
COMMAND = re.compile(r"\bcd\b|&&|;|apply_?patch")


def needs_repair(patch: str) -> bool:
    """Whether the grammar forbids `patch`, or Codex would not find its place in the file.

    It searches for what stands behind "@@", and then, below it, for the lines that follow.
    """
    lines = patch.split("\n")
    is_repeated = any(map(_repeats_header, lines, lines[1:]))
    return not is_valid(patch) or bool(RANGE.search(patch)) or is_repeated


def _repeats_header(line: str, following: str) -> bool:
    """Whether a line of context repeats what stands behind the "@@" above it."""
    return line.startswith("@@ ") and following[:1] == " " and line[3:].strip() == following.strip()


def repair_patch(patch: str) -> str | None:
    """`patch` in the grammar, if its slips leave no doubt; else None.

    Slips that are repaired: line ends of Windows; words, a fence or a heredoc around the patch;
    missing first and last lines; other words in the lines that begin with "***"; a unified diff;
    blocks of a text to search for and its replacement; context lines without their space; new
    files without any "+"; line numbers after "@@", which Codex would search for as text; a context
    line that repeats what stands after "@@".
    """
    text = patch.strip("\r\n")
    if text.count("\r\n") == text.count("\n"):
        text = text.replace("\r\n", "\n")
    commanded = in_command(text)
    if commanded and not commanded.folder and not commanded.is_bare:
        text = commanded.patch
    lines = text.split("\n")
    if lines[0].startswith("```") and lines[-1].strip() == "```":
        lines = lines[1:-1]
    lines = [_canonical(line) for line in lines]
    if any(map(SEARCH.fullmatch, lines)):
        lines = _from_blocks(lines)
    elif not any(map(FILE.match, lines)):
        lines = _from_diff(lines)
    inside = _inside(lines)
    if inside is None:
        return None
    found = sections(inside)
    if any(kind == "Update" and _has_hunk_without_place(section) for kind, section in found):
        return None
    body = [line for kind, section in found for line in _repair_section(kind, section)]
    repaired = "\n".join([BEGIN, *body, END]) + "\n"
    return repaired if is_valid(repaired) else None


def _inside(lines: list[str]) -> list[str] | None:
    """The lines between those that frame a patch; None if it cannot be told which they are."""
    if BEGIN in lines:
        begin = lines.index(BEGIN)
        if COMMAND.search("\n".join(lines[:begin])):
            # A command does more than this patch: it may change the folder first.
            return None
        lines = lines[begin + 1 :]
    if END in lines:
        # The last one: a patch may add a file that holds a patch.
        return lines[: len(lines) - 1 - lines[::-1].index(END)]
    if any(kind == "Add" and _is_bare(section[1:]) for kind, section in sections(lines)):
        # What follows the patch would become a part of the file.
        return None
    return lines


def _canonical(line: str) -> str:
    """A line that frames a patch or begins a section, in Codex's words; other lines unchanged."""
    if not line.startswith("**"):
        return line
    bare = line.rstrip()
    if bare.endswith(" ***"):
        bare = bare[: -len("***")].rstrip()
    if frame := FRAME.fullmatch(bare):
        return BEGIN if frame[1].lower() == "begin" else END
    if section := SECTION.fullmatch(bare):
        return f"*** {SECTION_WORDS[section[1].lower()]} File: {section[2]}"
    return line.rstrip() if HEADER.match(line) else line


def _from_diff(lines: list[str]) -> list[str]:
    """The sections of a unified diff in Codex's format; other lines unchanged."""
    converted: list[str] = []
    left = [0, 0]
    """Lines that the hunk still has, of the old file and of the new one."""
    n = 0
    while n < len(lines):
        line = lines[n]
        if max(left) > 0:
            left = [left[0] - (line[:1] != "+"), left[1] - (line[:1] != "-")]
            converted.append(line)
        elif header := _diff_header(lines[n : n + 3]):
            converted.append(header)
            n += 1
        elif hunk := HUNK.match(line):
            left = [int(hunk[1] or 1), int(hunk[2] or 1)]
            converted.append(line)
        elif not DIFF_NOISE.match(line):
            converted.append(line)
        n += 1
    return converted


def _from_blocks(lines: list[str]) -> list[str]:
    """Blocks with a text to search for and its replacement in Codex's format.

    Above a block, or above its code fence, may stand the path of its file. Without a path, or
    without an end, nothing is left.
    """
    converted: list[str] = []
    above: list[str] = []
    """The lines since the last block."""
    n = 0
    while n < len(lines):
        if not SEARCH.fullmatch(lines[n]):
            if lines[n].strip() and not lines[n].startswith("```"):
                above.append(lines[n])
            n += 1
            continue
        middle = _next(MIDDLE, lines, n)
        end = _next(REPLACE, lines, middle)
        if end == len(lines):
            return []
        old, new = lines[n + 1 : middle], lines[middle + 1 : end]
        if above and PATH_ABOVE.fullmatch(above[-1]):
            path = above.pop().strip(PATH_MARKS)
            above.append(f"*** {'Update' if old else 'Add'} File: {path}")
        converted += above
        if not old and not (converted and converted[-1].startswith("*** Add")):
            return []
        converted += ["@@", *(f"-{line}" for line in old)] if old else []
        converted += [f"+{line}" for line in new]
        above, n = [], end + 1
    return converted + above


def _next(mark: re.Pattern[str], lines: list[str], start: int) -> int:
    """The place of the next line with this mark; behind the last line if there is none."""
    return next((n for n in range(start, len(lines)) if mark.fullmatch(lines[n])), len(lines))


def _diff_header(lines: list[str]) -> str:
    """The section that three lines of a diff begin: two with paths, and a hunk; "" if none."""
    if len(lines) < 3 or not lines[2].startswith("@@"):
        return ""
    found, found_new = OLD_FILE.match(lines[0]), NEW_FILE.match(lines[1])
    if not found or not found_new:
        return ""
    old, new = found[1], found_new[1]
    if old == NO_FILE:
        return f"*** Add File: {new.removeprefix('b/')}"
    if new == NO_FILE:
        return f"*** Delete File: {old.removeprefix('a/')}"
    if old.startswith("a/") and new.startswith("b/"):
        old, new = old[2:], new[2:]
    # Other names may be a rename, a copy that was kept, or another prefix.
    return f"*** Update File: {old}" if old == new else ""


def _repair_section(kind: str, lines: list[str]) -> list[str]:
    if kind == "Delete":
        # A diff shows the lines that go with the file.
        return [lines[0], *(line for line in lines[1:] if line.strip() and line[0] not in "-@")]
    if kind not in {"Add", "Update"}:
        return [line for line in lines if line.strip()]
    head, body = lines[:1], lines[1:]
    while body and not body[-1]:
        body.pop()
    if kind == "Update":
        return head + _repair_update(body)
    body = [line for line in body if not RANGE.match(line)]
    bare = _is_bare(body)
    return head + [f"+{line}" if bare else line or "+" for line in body]


def _is_bare(lines: list[str]) -> bool:
    """Whether no line of a new file has its "+"."""
    return not any(line.startswith("+") for line in lines)


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
    repaired: list[str] = []
    for line in lines:
        if repaired and _repeats_header(repaired[-1], line if line[:1] == " " else f" {line}"):
            repaired[-1] = "@@"
        if numbers := RANGE.match(line):
            repaired.append(f"@@ {line[numbers.end() :]}".rstrip())
        elif not line or (bare and line[0] not in NO_CONTEXT):
            repaired.append(f" {line}")
        else:
            repaired.append(line)
    return repaired


def _has_hunk_without_place(lines: list[str]) -> bool:
    """Whether only the line number of a hunk says where it belongs: it has no line of the file."""
    hunks: list[list[str]] = []
    for line in lines:
        if RANGE.match(line):
            hunks.append([])
        elif line.startswith("@@"):
            hunks.append([" "])
        elif hunks:
            hunks[-1].append(line[:1])
    return any(hunk and set(hunk) == {"+"} for hunk in hunks)
