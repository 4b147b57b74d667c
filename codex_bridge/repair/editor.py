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
from collections.abc import Iterator
from contextlib import suppress

import orjson
from attrs import frozen

from codex_bridge.repair import patches
from codex_bridge.repair.seen import NOTHING_SEEN, NotSeen, Seen, SeenTwice
from codex_bridge.tools.declarations import INPUT
from codex_bridge.tools.editor import EDIT, READ, WRITE
from codex_bridge.tools.freeform import PATCH_TOOL
from codex_bridge.vocabulary import Json

NOT_SEEN = (
    "No earlier result shows the old text. Read the file, and copy the text from it exactly, with "
    "its spaces and line ends."
)
SEEN_TWICE = "The old text stands at several places. Give more of the lines around it."
LINE_END = "The old text ends with a line end, and the new text does not."
SAME = "Old and new text are the same."
TOO_LONG = "The content is too long without a line end behind it."
LONGEST_CONTENT = 100_000
"""Characters of a file in a command line; Linux takes 128 KiB for one argument."""
SED = re.compile(r"(\d+),(\d+|\$)p")
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
    if len(content) > LONGEST_CONTENT:
        return TOO_LONG
    folder = posixpath.dirname(path)
    write = f"printf %s {shlex.quote(content)} > {shlex.quote(path)}"
    return Equivalent(f"mkdir -p -- {shlex.quote(folder)} && {write}" if folder else write)


def edit_file(path: str, old: str, new: str, seen: Seen) -> Equivalent | str:
    """Put `new` in the place of `old`, which stands in the file once; or why that cannot be done.

    `seen` is what the model has read of files: a patch needs the whole lines.
    """
    if old == new:
        return SAME
    try:
        place = seen.place(path, old)
    except NotSeen:
        return NOT_SEEN
    except SeenTwice:
        return SEEN_TWICE
    takes_lines = old.endswith("\n") and not new and not place.before
    if old.endswith("\n") and not new.endswith("\n") and not takes_lines:
        # The next line would become a part of this one.
        return LINE_END
    if old.endswith("\n"):
        new = new.removesuffix("\n")
    lines = [] if takes_lines else f"{place.before}{new}{place.after}".split("\n")
    return Equivalent(patch=patches.replacing(path, list(place.lines), lines))


def failing(why: str, name: str, arguments: str) -> Equivalent:
    """A command that does nothing but say why; with the call, as the model wrote it."""
    call = orjson.dumps([name, arguments]).decode()
    said = shlex.quote(f"Nothing was changed. {why}")
    return Equivalent(f"{SAYING}{said}{FAILING}{call}")


def as_written(name: str, arguments: Json) -> tuple[str, Json | str] | None:
    """Name and arguments of the function for which Codex got this call; None for any other call.

    `name` and `arguments` are those of a call in the history.
    """
    if len(arguments) != 1:
        return None
    ((key, text),) = arguments.items()
    if not isinstance(text, str):
        return None
    if name == PATCH_TOOL and key == INPUT:
        return _of_patch(text)
    if key not in {"cmd", "command"}:
        return None
    if text.startswith(SAYING) and FAILING in text:
        return _of_failure(text.partition(FAILING)[2])
    found = patches.in_command(text)
    if found and found.patch and patches.as_command(f"{found.patch}\n") == text:
        return _of_patch(f"{found.patch}\n")
    return _of_command(text)


def _of_failure(call: str) -> tuple[str, str] | None:
    with suppress(ValueError):
        name, arguments = orjson.loads(call)
        if isinstance(name, str) and isinstance(arguments, str):
            return name, arguments
    return None


def _of_command(command: str) -> tuple[str, Json] | None:
    """The call for which a command was made: the one that would give the same command."""
    try:
        words = shlex.split(command)
    except ValueError:
        return None
    for name, values in _calls_of(words):
        if equivalent(name, values, NOTHING_SEEN) == Equivalent(command):
            return name, {key: value for key, value in values.items() if value is not None}
    return None


def _calls_of(words: list[str]) -> Iterator[tuple[str, Json]]:
    """The calls that may have been made to a command of these words."""
    if len(words) == 3 and words[:2] == ["cat", "--"]:
        yield READ, {"path": words[2]}
    if len(words) == 5 and words[:2] == ["sed", "-n"] and (lines := SED.fullmatch(words[2])):
        end = None if lines[2] == "$" else int(lines[2])
        yield READ, {"path": words[4], "start_line": int(lines[1]), "end_line": end}
    if len(words) > 4 and words[-5:-2:2] == ["printf", words[-3]] and words[-2] == ">":
        yield WRITE, {"path": words[-1], "content": words[-3]}


def _of_patch(patch: str) -> tuple[str, Json] | None:
    """The call for which a patch was made: the one that would give the same patch."""
    lines = patch.split("\n")
    header = patches.FILE.match(lines[1]) if len(lines) > 4 else None
    if header is None:
        return None
    path, body = lines[1][header.end() - 1 :], lines[2:-2]
    if header[1] == "Add":
        content = "".join(f"{line[1:]}\n" for line in body)
        is_same = write_file(path, content) == Equivalent(patch=patch)
        return (WRITE, {"path": path, "content": content}) if is_same else None
    old = [line[1:] for line in body[1:] if line[:1] != "+"]
    new = [line[1:] for line in body[1:] if line[:1] != "-"]
    if header[1] != "Update" or not old or patches.replacing(path, old, new) != patch:
        return None
    if not old[-1] or not any(new):
        # With their line ends, whole lines mean the same as without, and no less.
        old.append("")
        new += [""] if new else []
    return EDIT, {"path": path, "old": "\n".join(old), "new": "\n".join(new)}


def _is_plain(path: str) -> bool:
    """Whether a patch can name this path."""
    return path == path.strip() and path.isprintable()
