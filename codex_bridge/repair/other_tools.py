"""Tools of other agents that models know by heart -> the shell command that does exactly the same.

A model that was trained with `read_file` calls it also where nobody offers it. Only what one
command does without any doubt is translated; every other call goes to Codex as it is, and Codex
tells the model that it has no such tool.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Callable

from codex_bridge.repair import lenient_json
from codex_bridge.vocabulary import Json

PATH_KEYS = ("path", "file_path", "filepath", "file", "filename", "target_file", "absolute_path")
FOLDER_KEYS = (
    "path",
    "dir",
    "directory",
    "dir_path",
    "target_directory",
    "relative_workspace_path",
)
CONTENT_KEYS = ("content", "contents", "text", "file_text", "code_edit")
PATTERN_KEYS = ("pattern", "query", "regex")
PLAIN = re.compile(r"[\w \-:,/=<>@#%&!~;\"']+")
"""A pattern that means the same as plain text and as a regular expression."""
SAID = frozenset({"explanation", "description", "reason", "instructions"})
"""Parameters in which a model says why it calls."""
LONGEST_CONTENT = 100_000
"""Characters of a file in a command line; Linux takes 128 KiB for one argument."""


def as_command(written: str, arguments: str) -> str | None:
    """The command for a call of such a tool; None for any other call.

    `written` and `arguments` are name and arguments as the model wrote them.
    """
    make = TOOLS.get(written.lower().replace("-", "_"))
    if make is None:
        return None
    try:
        values, _ = lenient_json.loads(arguments)
    except ValueError:
        return None
    if not isinstance(values, dict):
        return None
    return make({key: value for key, value in values.items() if key not in SAID})


def is_known(written: str) -> bool:
    """Whether a tool of another agent has this name."""
    return written.lower().replace("-", "_") in TOOLS


def _text(values: Json, keys: tuple[str, ...]) -> str | None:
    """Take the only one of `keys` that is there, if it is a text."""
    found = [key for key in keys if key in values]
    value = values.pop(found[0]) if len(found) == 1 else None
    return value if isinstance(value, str) and value and "\0" not in value else None


def _read_file(values: Json) -> str | None:
    # Whether the first line is 0 or 1 differs between agents, so a part of a file is not read.
    path = _text(values, PATH_KEYS)
    return f"cat -- {shlex.quote(path)}" if path and not values else None


def _list_folder(values: Json) -> str | None:
    path = _text(values, FOLDER_KEYS) if values else "."
    return f"ls -la -- {shlex.quote(path)}" if path and not values else None


def _search(values: Json) -> str | None:
    # Which language a regular expression is in differs, so only plain text is searched for.
    pattern = _text(values, PATTERN_KEYS)
    path = _text(values, FOLDER_KEYS) if values else "."
    if pattern is None or path is None or values or not PLAIN.fullmatch(pattern):
        return None
    return f"grep -rnF -e {shlex.quote(pattern)} -- {shlex.quote(path)}"


def _write_file(values: Json) -> str | None:
    path, content = _text(values, PATH_KEYS), _text(values, CONTENT_KEYS)
    if path is None or content is None or values or len(content) > LONGEST_CONTENT:
        return None
    folder = posixpath.dirname(path)
    write = f"printf %s {shlex.quote(content)} > {shlex.quote(path)}"
    return f"mkdir -p -- {shlex.quote(folder)} && {write}" if folder else write


TOOLS: dict[str, Callable[[Json], str | None]] = {
    **dict.fromkeys(("read_file", "view_file", "open_file", "cat_file"), _read_file),
    **dict.fromkeys(("list_dir", "list_directory", "list_files", "ls"), _list_folder),
    **dict.fromkeys(("grep", "grep_search", "search_files"), _search),
    **dict.fromkeys(("write_file", "create_file", "write_to_file"), _write_file),
}
"""Name of a tool -> what makes a command of its arguments."""
