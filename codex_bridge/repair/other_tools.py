"""Tools of other agents that models know by heart -> the command or patch that does the same.

A model that was trained with `read_file` calls it also where nobody offers it. Only what one
command or patch does without any doubt is translated; every other call goes to Codex as it is, and
Codex tells the model that it has no such tool.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable

from codex_bridge.repair import editor, lenient_json
from codex_bridge.repair.editor import Equivalent
from codex_bridge.repair.seen import Seen
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
OLD_KEYS = ("old", "old_string", "old_str", "old_text", "oldString", "search")
NEW_KEYS = ("new", "new_string", "new_str", "new_text", "newString", "replace", "replacement")
ONCE: Json = {"replace_all": False, "replaceAll": False, "expected_replacements": 1}
"""Parameters of an edit with the values that change nothing in it."""
PLAIN = re.compile(r"[\w \-:,/=<>@#%&!~;\"']+")
"""A pattern that means the same as plain text and as a regular expression."""
SAID = frozenset({"explanation", "description", "reason", "instructions"})
"""Parameters in which a model says why it calls."""
Found = Equivalent | str | None
"""What does the same as a call, or why the call cannot be made; None for what is no such call."""


def equivalent(written: str, arguments: str, seen: Seen) -> Equivalent | None:
    """What does the same as a call of such a tool; None for any other call.

    `written` and `arguments` are name and arguments as the model wrote them, `seen` what it has
    read of the files.
    """
    make = TOOLS.get(_spelled(written))
    if make is None:
        return None
    try:
        values, _ = lenient_json.loads(arguments)
    except ValueError:
        return None
    if not isinstance(values, dict):
        return None
    found = make({key: value for key, value in values.items() if key not in SAID}, seen)
    return editor.failing(found, written, arguments) if isinstance(found, str) else found


def is_known(written: str) -> bool:
    """Whether a tool of another agent has this name."""
    return _spelled(written) in TOOLS


def _spelled(written: str) -> str:
    return written.lower().replace("-", "_")


def _text(values: Json, keys: tuple[str, ...], *, may_be_empty: bool = False) -> str | None:
    """Take the only one of `keys` that is there, if it is a text."""
    found = [key for key in keys if key in values]
    value = values.pop(found[0]) if len(found) == 1 else None
    is_text = isinstance(value, str) and "\0" not in value
    return value if is_text and (value or may_be_empty) else None


def _read_file(values: Json, seen: Seen) -> Found:
    # Whether the first line is 0 or 1 differs between agents, so a part of a file is not read.
    path = _text(values, PATH_KEYS)
    return editor.read_file(path) if path and not values else None


def _list_folder(values: Json, seen: Seen) -> Found:
    path = _text(values, FOLDER_KEYS) if values else "."
    return Equivalent(f"ls -la -- {shlex.quote(path)}") if path and not values else None


def _search(values: Json, seen: Seen) -> Found:
    # Which language a regular expression is in differs, so only plain text is searched for.
    pattern = _text(values, PATTERN_KEYS)
    path = _text(values, FOLDER_KEYS) if values else "."
    if pattern is None or path is None or values or not PLAIN.fullmatch(pattern):
        return None
    return Equivalent(f"grep -rnF -e {shlex.quote(pattern)} -- {shlex.quote(path)}")


def _write_file(values: Json, seen: Seen) -> Found:
    path, content = _text(values, PATH_KEYS), _text(values, CONTENT_KEYS)
    return editor.write_file(path, content) if path and content and not values else None


def _new_file(values: Json, seen: Seen) -> Found:
    path, content = _text(values, PATH_KEYS), _text(values, CONTENT_KEYS)
    return editor.new_file(path, content) if path and content and not values else None


def _edit_file(values: Json, seen: Seen) -> Found:
    path, old = _text(values, PATH_KEYS), _text(values, OLD_KEYS)
    # An empty text takes the old one away.
    new = _text(values, NEW_KEYS, may_be_empty=True)
    others_change_nothing = all(ONCE.get(key) == value for key, value in values.items())
    if path is None or old is None or new is None or not others_change_nothing:
        return None
    return editor.edit_file(path, old, new, seen)


def _editor(values: Json, seen: Seen) -> Found:
    """A tool with several commands: `{"command": "str_replace", "path": …, "old_str": …}`."""
    make = EDITOR_COMMANDS.get(str(values.pop("command", "str_replace")))
    return make(values, seen) if make else None


Make = Callable[[Json, Seen], Found]
EDITOR_COMMANDS: dict[str, Make] = {
    "view": _read_file,
    "create": _new_file,
    "str_replace": _edit_file,
}
TOOLS: dict[str, Make] = {
    **dict.fromkeys(("read_file", "view_file", "open_file", "cat_file"), _read_file),
    **dict.fromkeys(("list_dir", "list_directory", "list_files", "ls"), _list_folder),
    **dict.fromkeys(("grep", "grep_search", "search_files"), _search),
    **dict.fromkeys(("write_file", "write_to_file"), _write_file),
    "create_file": _new_file,
    **dict.fromkeys(
        ("edit_file", "edit", "replace", "search_replace", "replace_in_file"), _edit_file
    ),
    **dict.fromkeys(("str_replace", "str_replace_editor", "str_replace_based_edit_tool"), _editor),
}
"""Name of a tool -> what makes a command or a patch of its arguments."""
