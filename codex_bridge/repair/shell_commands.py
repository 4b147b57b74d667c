"""Which file a command shows, and which commands change none: only what is certain counts."""

from __future__ import annotations

import re

from attrs import frozen

from codex_bridge.repair.shell_words import WORD, unquoted

HARMLESS = re.compile(r"\s*(?:2>&1|&>/dev/null|[12]?>\s*/dev/null)")
"""Redirections that write no file."""
DIVIDER = re.compile(r"\|\||&&|[|;\n]")
"""What divides a command line into commands."""
WRITES = re.compile(r"[<>`&]|\$\(")
"""What may write a file, or run a command that is not looked at."""
SHOWS = frozenset({"cat", "head", "tail", "nl", "bat", "sed", "grep", "egrep", "fgrep", "rg", "ag"})
"""Programs that show lines of files."""
QUIET = re.compile(
    r"(?:ls|pwd|wc|file|stat|which|du|df|echo|true|uname|id|basename|dirname|cd|cut|tr|diff|cmp|"
    r"git (?:status|diff|log|show|blame|branch|ls-files|grep|rev-parse)|"
    r"(?:\w+=\S* )*(?:python3? -m )?(?:pytest|unittest|mypy|ruff check|flake8|pylint|tsc|"
    r"cargo (?:test|check|build|clippy)|go (?:test|build|vet)|"
    r"(?:npm|pnpm|yarn)(?: run)? (?:test|build)|make (?:test|check)))\b(?!.*--fix\b)"
)
"""The beginning of commands that do not change the files that a model reads; most run tests."""
PRINTS = re.compile(r"sed -n '?[\d,$p; ]+'?(?: |$)")
CHANGES = re.compile(r" -\w*i| --in-place| -exec| -ok| -delete| -fprint")
"""What makes `sed` and `find` change files."""
OPTION_WITH_NUMBER = re.compile(r"-[ncABCm]|--(?:lines|max-count)")
NUMBER = re.compile(r"[+-]?\d+")


@frozen
class Reading:
    """What a command shows."""

    path: str = ""
    """The file; "" if each line begins with its path."""
    is_whole: bool = False
    """Whether it shows all of the file."""
    is_numbered: bool = False
    """Whether a number stands before each line."""


def reads_only(command: str) -> bool:
    """Whether a command line is known to change no file."""
    plain = HARMLESS.sub("", command)
    if len(plain) > 10_000 or WRITES.search(plain.replace("&&", "")):
        return False
    parts = [part.strip() for part in DIVIDER.split(plain)]
    return all(_changes_nothing(part) for part in parts if part)


def _changes_nothing(command: str) -> bool:
    program = command.partition(" ")[0]
    if program == "sed":
        return bool(PRINTS.match(command)) and not CHANGES.search(command)
    if program == "find":
        return not CHANGES.search(command)
    return program in SHOWS or bool(QUIET.match(command))


def read_by(command: str) -> Reading | None:
    """What a command shows of one file; None if that is not certain."""
    plain = HARMLESS.sub("", command).strip()
    plain = re.sub(rf"^cd {WORD}\s*&&\s*", "", plain, flags=re.ASCII)
    if not re.fullmatch(rf"{WORD}(?:\s+{WORD})*+", plain, re.ASCII):
        # A pipe, or anything else that is no list of plain words, may show other lines.
        return None
    program, *arguments = [unquoted(word) for word in re.findall(WORD, plain, re.ASCII)]
    if program not in SHOWS:
        return None
    flags = [argument for argument in arguments if argument[:1] == "-" and len(argument) > 1]
    files = _files(arguments)
    if program in {"grep", "egrep", "fgrep", "rg", "ag"}:
        is_one = len(files) == 2 and not any("r" in flag for flag in flags)
        return Reading(files[1] if is_one else "", is_numbered=True)
    if program == "sed":
        is_range = len(files) == 2 and re.fullmatch(r"[\d$]+(?:,[\d$]+)?p", files[0])
        return Reading(files[1]) if is_range and flags == ["-n"] else None
    if len(files) != 1:
        return None
    is_numbered = program == "nl" or (program in {"cat", "bat"} and any("n" in f for f in flags))
    is_whole = program == "cat" and not [flag for flag in flags if flag != "--"]
    return Reading(files[0], is_whole, is_numbered)


def _files(arguments: list[str]) -> list[str]:
    """The arguments that are no options, nor the numbers of some."""
    files = []
    before = ""
    for argument in arguments:
        is_count = OPTION_WITH_NUMBER.fullmatch(before) and NUMBER.fullmatch(argument)
        if not is_count and (argument[:1] != "-" or argument == "-"):
            files.append(argument)
        before = argument
    return files
