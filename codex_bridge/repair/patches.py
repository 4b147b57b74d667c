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
FRAME = re.compile(r"\*{2,}[ \t]*+(begin|end)[ _]?patch", re.IGNORECASE)
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
HUNK = re.compile(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")
DIFF_NOISE = re.compile(
    r"diff --git |index [0-9a-f]+\.\.|(?:new|deleted) file mode |old mode |new mode |similarity |"
    r"\\ No newline"
)
"""Lines of a unified diff that change nothing."""
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
    context lines without their space; new files without any "+"; line numbers after "@@", which
    Codex would search for as text; a context line that repeats what stands after "@@".
    """
    text = patch.strip("\r\n")
    if text.count("\r\n") == text.count("\n"):
        text = text.replace("\r\n", "\n")
    if heredoc := HEREDOC.fullmatch(text):
        text = heredoc[2]
    lines = text.split("\n")
    if lines[0].startswith("```") and lines[-1].strip() == "```":
        lines = lines[1:-1]
    lines = [_canonical(line) for line in lines]
    if not any(map(FILE.match, lines)):
        lines = _from_diff(lines)
    if BEGIN in lines:
        begin = lines.index(BEGIN)
        if COMMAND.search("\n".join(lines[:begin])):
            # A command does more than this patch: it may change the folder first.
            return None
        lines = lines[begin + 1 :]
    if END in lines:
        # The last one: a patch may add a file that holds a patch.
        lines = lines[: len(lines) - 1 - lines[::-1].index(END)]
    sections = _sections(lines)
    if any(kind == "Update" and _has_hunk_without_place(section) for kind, section in sections):
        return None
    body = [line for kind, section in sections for line in _repair_section(kind, section)]
    repaired = "\n".join([BEGIN, *body, END]) + "\n"
    return repaired if is_valid(repaired) else None


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


def as_command(patch: str) -> str:
    """The shell command that applies `patch`, in the form by which Codex recognizes it."""
    end, lines = "EOF", set(patch.split("\n"))
    while end in lines:
        end += "_"
    return f"apply_patch <<'{end}'\n{patch.rstrip()}\n{end}"
