"""What a task left behind, and the checks on it. Each check tells what is wrong, or None."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen

from codex_bridge.vocabulary import Json


@frozen
class Outcome:
    """The folder in which Codex worked, and what it reported."""

    folder: Path
    message: str = ""
    """The last message of the model."""
    events: list[Json] = field(factory=list)
    """What `codex exec --json` printed, one object for each line."""

    def of_type(self, kind: str) -> list[Json]:
        """The last state of each item of one type: a message, a command, a call of a server, …

        Of a command that ends at once, Codex 0.130 and 0.145 may tell only that it started.
        """
        told = [event["item"] for event in self.events if isinstance(event.get("item"), dict)]
        latest = {item.get("id"): item for item in told}
        return [item for item in latest.values() if item.get("type") == kind]

    def text(self, name: str) -> str | None:
        """What a file holds; None if it is not there or no text."""
        try:
            return (self.folder / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return None


Check = Callable[[Outcome], str | None]


def every(*checks: Check) -> Check:
    """All of `checks`; the first one that fails tells why."""

    def check(outcome: Outcome) -> str | None:
        return next((why for each in checks if (why := each(outcome)) is not None), None)

    return check


def holds(name: str, text: str) -> Check:
    """The file holds `text`; blank lines and blanks at the ends of lines do not count."""

    def check(outcome: Outcome) -> str | None:
        found = outcome.text(name)
        if found is None:
            return f"{name} is missing"
        return None if _trimmed(found) == _trimmed(text) else f"{name} holds {found[:80]!r}"

    return check


def _trimmed(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def is_unchanged(files: Mapping[str, str], *but: str) -> Check:
    """The `files` are as they were, `but` some."""
    return every(*(holds(name, text) for name, text in files.items() if name not in but))


def matches(name: str, pattern: str) -> Check:
    """The file holds something that fits the regular expression."""

    def check(outcome: Outcome) -> str | None:
        found = outcome.text(name)
        if found is None:
            return f"{name} is missing"
        return None if re.search(pattern, found) else f"{name} holds {found[:80]!r}"

    return check


def is_gone(*names: str) -> Check:
    """No such files or folders are there."""

    def check(outcome: Outcome) -> str | None:
        left = [name for name in names if (outcome.folder / name).exists()]
        return f"{', '.join(left)} is there" if left else None

    return check


def is_json(name: str, value: Any) -> Check:
    """The file holds this value as JSON."""

    def check(outcome: Outcome) -> str | None:
        found = outcome.text(name)
        if found is None:
            return f"{name} is missing"
        return None if _json(found) == value else f"{name} holds {found[:80]!r}"

    return check


def compiles(name: str) -> Check:
    """The file is valid Python. It is not run."""

    def check(outcome: Outcome) -> str | None:
        try:
            compile(outcome.text(name) or "", name, "exec")
        except (SyntaxError, ValueError) as error:
            return f"{name}: {error}"
        return None

    return check


def says(*words: str) -> Check:
    """The last message has all the words; upper and lower case do not count."""

    def check(outcome: Outcome) -> str | None:
        said = outcome.message.casefold()
        lacking = [word for word in words if word.casefold() not in said]
        return f"it says {outcome.message[:80]!r}" if lacking else None

    return check


def says_number(number: int) -> Check:
    """The last message has this number, and not only as a part of a longer one."""

    def check(outcome: Outcome) -> str | None:
        found = re.search(rf"(?<![\d.]){number}(?![\d]|\.\d)", outcome.message.replace(",", ""))
        return None if found else f"it says {outcome.message[:80]!r}"

    return check


def says_only(word: str) -> Check:
    """The last message is this word; marks around it do not count."""

    def check(outcome: Outcome) -> str | None:
        is_it = outcome.message.strip(" \n.!*`\"'").casefold() == word.casefold()
        return None if is_it else f"it says {outcome.message[:80]!r}"

    return check


def says_json(value: Any) -> Check:
    """The last message is this value as JSON and nothing else; lists may have another order."""

    def check(outcome: Outcome) -> str | None:
        is_it = _sorted(_json(outcome.message)) == _sorted(value)
        return None if is_it else f"it says {outcome.message[:80]!r}"

    return check


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(each) for key, each in value.items()}
    return sorted(map(str, value)) if isinstance(value, list) else value


def ran_nothing(outcome: Outcome) -> str | None:
    """No command was run and no file changed."""
    done = outcome.of_type("command_execution") + outcome.of_type("file_change")
    return f"it ran {done[0].get('command') or 'a patch'}" if done else None


def ran_something(outcome: Outcome) -> str | None:
    """A command was run."""
    return None if outcome.of_type("command_execution") else "it ran no command"


def called_server(tool: str) -> Check:
    """This tool of an MCP server was called, and answered."""

    def check(outcome: Outcome) -> str | None:
        for item in outcome.of_type("mcp_tool_call"):
            if item.get("tool") == tool and item.get("status") == "completed":
                return None
        return f"{tool} was not called"

    return check


def planned(steps: int) -> Check:
    """The plan was set, with so many steps."""

    def check(outcome: Outcome) -> str | None:
        lengths = [len(plan.get("items") or []) for plan in outcome.of_type("todo_list")]
        return None if steps in lengths else "no such plan was made"

    return check
