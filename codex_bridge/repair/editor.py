"""Reading, writing and editing a file <-> the commands and patches by which Codex does it.

    read_file   `cat`, or `sed` for some of its lines
    write_file  a patch that adds the file; `printf` where a patch cannot say the same
    edit_file   a patch of whole lines; the lines are taken from what the model has read

The way back is for the history: Codex sends back its own calls, the model is to see those that it
made.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from contextlib import suppress

import orjson
from attrs import frozen

from codex_bridge.repair import patches
from codex_bridge.repair.conversions import COMMAND_NAMES
from codex_bridge.repair.seen import NOTHING_SEEN, WRITING, NotSeen, Seen, SeenInPart, SeenTwice
from codex_bridge.repair.shell_words import WORD, unquoted
from codex_bridge.tools.declarations import INPUT
from codex_bridge.tools.editor import EDIT, READ, WRITE
from codex_bridge.tools.freeform import PATCH_TOOL
from codex_bridge.vocabulary import Json

NOT_SEEN = (
    "No earlier result shows the old text in this file as it is now. Read the file, and copy the "
    "text from it exactly, with its spaces and line ends."
)
SEEN_TWICE = "The old text stands at several places. Give more of the lines around it."
SEEN_IN_PART = "Too little of the file around the old text was read. Read the lines around it."
LINE_END = "The old text ends with a line end, and the new text does not."
SAME = "Old and new text are the same."
EMPTY = "The old text is empty. Give the text to replace, or write a new file."
ODD_PATH = "This path has spaces at an end, or characters that cannot be printed."
TOO_LONG = "The content is too long for one call, and has no line end behind it."
NUL = "It holds the character of number 0, which no command can carry."
LONGEST_COMMAND = 100_000
"""Bytes of a command line; Linux takes 128 KiB for one argument."""
LONGEST_CALL = 2_000
"""Characters of a call that a failing command carries."""
SHOW = re.compile(rf"cat -- ({WORD})", re.ASCII)
SHOW_LINES = re.compile(rf"sed -n '?(\d{{1,9}}),(\d{{1,9}}|\$)p'? -- ({WORD})", re.ASCII)
ONE_CHANGE = re.compile(r" *+-++\+*+ *+| ++\++ *+|\++ ++")
"""The first characters of a hunk's lines: one change, and the context without which new lines
have no place."""
SAYING, FAILING = "printf '%s\\n' ", " >&2; exit 1 # "
"""What stands before and behind the reason in a command that fails; the call follows."""


@frozen
class Equivalent:
    """What does the same as a call: a shell command, or a patch for apply_patch."""

    command: str = ""
    patch: str = ""


def equivalent(name: str, values: Json, seen: Seen) -> Equivalent | str:
    """What does the same as a call with these arguments, or why it cannot be made."""
    if name == READ:
        return read_file(values["path"], values.get("start_line"), values.get("end_line"))
    if name == WRITE:
        return write_file(values["path"], values["content"])
    return edit_file(values["path"], values["old"], values["new"], seen)


def read_file(path: str, start: int | None = None, end: int | None = None) -> Equivalent:
    """Show a file, or its lines from `start` to `end`, counted from 1."""
    if start is None and end is None:
        return Equivalent(f"cat -- {shlex.quote(path)}")
    lines = f"{start or 1},{'$' if end is None else end}p"
    return Equivalent(f"sed -n {shlex.quote(lines)} -- {shlex.quote(path)}")


def write_file(path: str, content: str) -> Equivalent | str:
    """Make a file with this content, in place of one that is there; or why that cannot be done."""
    if content.endswith("\n") and "\r" not in content and _is_plain(path):
        lines = content.removesuffix("\n").split("\n")
        return Equivalent(patch=patches.adding(path, lines))
    return _printing(path, content)


def new_file(path: str, content: str) -> Equivalent | str:
    """Make a file with this content; the command fails if there is one."""
    return _printing(path, content, "set -C && ")


def _printing(path: str, content: str, before: str = "") -> Equivalent | str:
    """The command that prints a text into a file; `before` stands before the printing."""
    folder = posixpath.dirname(path)
    command = f"{before}printf %s {shlex.quote(content)} > {shlex.quote(path)}"
    if folder:
        command = f"mkdir -p -- {shlex.quote(folder)} && {command}"
    if "\0" in command:
        return NUL
    return Equivalent(command) if len(command.encode()) <= LONGEST_COMMAND else TOO_LONG


def edit_file(path: str, old: str, new: str, seen: Seen) -> Equivalent | str:
    """Put `new` in the place of `old`, which stands in the file once; or why that cannot be done.

    `seen` is what the model has read of files: a patch needs the whole lines.
    """
    problems = {SAME: old == new, EMPTY: not old, ODD_PATH: not _is_plain(path)}
    if problem := next((text for text, applies in problems.items() if applies), None):
        return problem
    try:
        place = seen.place(path, old)
    except NotSeen:
        return NOT_SEEN
    except SeenTwice:
        return SEEN_TWICE
    except SeenInPart:
        return SEEN_IN_PART
    takes_lines = old.endswith("\n") and not new and not place.before
    if old.endswith("\n") and not new.endswith("\n") and not takes_lines:
        # The next line would become a part of this one.
        return LINE_END
    if old.endswith("\n"):
        new = new.removesuffix("\n")
    lines = [] if takes_lines else f"{place.before}{new}{place.after}".split("\n")
    patch = patches.replacing(path, list(place.lines), lines, place.above, place.below)
    return Equivalent(patch=patch)


def failing(why: str, name: str, arguments: str) -> Equivalent:
    """A command that does nothing but say why; with the call, as the model wrote it.

    A very long call is left out.
    """
    said = shlex.quote(f"Nothing was changed. {why}")
    if len(arguments) > LONGEST_CALL:
        return Equivalent(f"{SAYING}{said}{FAILING.rstrip(' #')}")
    return Equivalent(f"{SAYING}{said}{FAILING}{orjson.dumps([name, arguments]).decode()}")


def as_written(name: str, arguments: Json) -> tuple[str, Json | str] | None:
    """Name and arguments of the function for which Codex got this call; None for any other call.

    `name` and `arguments` are those of a call in the history: of apply_patch, or of a tool that
    runs commands.
    """
    if len(arguments) != 1:
        return None
    ((key, text),) = arguments.items()
    if isinstance(text, list) and text[:-1] == ["bash", "-lc"]:
        text = text[-1]
    if not isinstance(text, str):
        return None
    if name == PATCH_TOOL and key == INPUT:
        return _of_patch(text)
    if key not in COMMAND_NAMES:
        return None
    if text.startswith(SAYING) and FAILING in text:
        return _of_failure(text.partition(FAILING)[2])
    found = patches.in_command(text)
    if found and patches.as_command(f"{found.patch}\n") == text:
        return _of_patch(f"{found.patch}\n")
    return _of_command(text)


def _of_failure(call: str) -> tuple[str, str] | None:
    with suppress(ValueError):
        written = orjson.loads(call)
        if isinstance(written, list) and list(map(type, written)) == [str, str]:
            return written[0], written[1]
    return None


def _of_command(command: str) -> tuple[str, Json] | None:
    """The call for which a command was made: the one that would give the same command."""
    name = ""
    values: Json = {}
    if show := SHOW.fullmatch(command):
        name, values = READ, {"path": unquoted(show[1])}
    elif lines := SHOW_LINES.fullmatch(command):
        end = {} if lines[2] == "$" else {"end_line": int(lines[2])}
        name, values = READ, {"path": unquoted(lines[3]), "start_line": int(lines[1])} | end
    elif write := WRITING.fullmatch(command):
        name, values = WRITE, {"path": unquoted(write[2]), "content": unquoted(write[1])}
    is_same = bool(name) and equivalent(name, values, NOTHING_SEEN) == Equivalent(command)
    return (name, values) if is_same else None


def _of_patch(patch: str) -> tuple[str, Json] | None:
    """The call for which a patch was made, or could have been."""
    lines = patch.split("\n")
    header = patches.FILE.match(lines[1]) if patches.is_valid(patch) else None
    if header is None or not patch.endswith("\n"):
        return None
    path, body = lines[1][header.end() - 1 :], lines[2:-2]
    if header[1] == "Add":
        content = "".join(f"{line[1:]}\n" for line in body)
        is_same = write_file(path, content) == Equivalent(patch=patch)
        return (WRITE, {"path": path, "content": content}) if is_same else None
    shape = "".join(line[:1] for line in body[1:])
    if header[1] != "Update" or body[:1] != ["@@"] or not ONE_CHANGE.fullmatch(shape):
        return None
    old, new = _changed(body[1:])
    if not old[-1] or not any(new):
        # With their line ends, whole lines mean the same as without, and no less.
        old.append("")
        new += [""] if new else []
    return EDIT, {"path": path, "old": "\n".join(old), "new": "\n".join(new)}


def _changed(hunk: list[str]) -> tuple[list[str], list[str]]:
    """The old and the new lines of a hunk, without the context around them.

    A new line alone has no place: it stays together with the line of context before or behind it.
    """
    changed = [n for n, line in enumerate(hunk) if line[:1] != " "]
    first, last = changed[0], changed[-1] + 1
    if all(line[:1] == "+" for line in hunk[first:last]):
        first, last = (first - 1, last) if first else (first, last + 1)
    kept = hunk[first:last]
    return (
        [line[1:] for line in kept if line[:1] != "+"],
        [line[1:] for line in kept if line[:1] != "-"],
    )


def _is_plain(path: str) -> bool:
    """Whether a patch can name this path."""
    return path == path.strip() and path.isprintable()
