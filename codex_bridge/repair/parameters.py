"""Which parameter a model gives by a key that the tool does not declare."""

from __future__ import annotations

import re

SYNONYMS = (
    {
        "cmd",
        "command",
        "cmdline",
        "command_line",
        "bash_command",
        "shell_command",
        "script",
        "bash",
    },
    {
        "path",
        "file_path",
        "filepath",
        "file",
        "filename",
        "file_name",
        "absolute_path",
        "image_path",
    },
    {"workdir", "cwd", "working_directory", "working_dir", "directory", "dir"},
    {"chars", "input", "stdin", "text", "characters"},
    {"session_id", "session", "id", "process_id"},
    {"target", "agent_id", "id", "agent"},
    {"targets", "ids", "agent_ids", "agents", "target", "id", "agent_id"},
    {"message", "prompt", "task", "instructions", "input", "text"},
    {"query", "q", "search", "search_query"},
    {"plan", "steps", "todos", "tasks"},
)
"""Names that models give to the same parameter."""


def is_synonym(key: str, name: str) -> bool:
    """Whether models write `key` for a parameter `name`."""
    key, name = _snake_case(key), _snake_case(name)
    return any(key in group and name in group for group in SYNONYMS)


def is_spelling(text: str, name: str) -> bool:
    """Whether `text` is `name` but for case and separators."""
    return _without_separators(text) == _without_separators(name)


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).replace("-", "_").lower()


def _without_separators(name: str) -> str:
    return re.sub(r"[-_\s]", "", name.casefold())
