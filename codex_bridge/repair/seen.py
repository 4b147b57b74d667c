"""What a conversation shows of files: to complete what a model copied from them, and no more.

A model that replaces a word names the word; Codex's patches name whole lines. A model that copies
a line may change its white space; Codex then does not find the line, or writes it as it was copied.
The lines themselves stand in the results of earlier calls, and in those calls.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cached_property
from itertools import islice

from attrs import frozen

from codex_bridge.repair import patches

MARKED = re.compile(r"(?:[^:\n]{1,200}?[:-](?=\d+[:-]))?[ \t]*\d+(?:[\t:|-]|→)")
"""What `cat -n`, `nl` and `grep -n` put before a line."""
HEAD = re.compile(r"(?:(?!Output:\n)[A-Z][^\n]*+\n){0,8}Output:\n")
"""What Codex puts before the output of a command."""
MANY_PLACES = 50
"""How many places in one text are looked at; at so many a patch finds none for sure."""
WRITES = "printf %s "
"""The beginning of a command that writes a file, see other_tools.py."""


@frozen
class Text:
    """A text that shows lines of files."""

    source: str
    """The text that they were read from, and the call that it belongs to: they name the file."""
    lines: tuple[str, ...]

    @cached_property
    def _bare(self) -> str:
        """The lines without any white space, each between line ends."""
        return "\n".join(["", *map(_without_space, self.lines), ""])

    def alike(self, lines: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        """The lines here that differ from `lines` at most by white space."""
        wanted = "\n".join(["", *map(_without_space, lines), ""])
        at = self._bare.find(wanted)
        while at >= 0:
            start = self._bare.count("\n", 0, at)
            yield self.lines[start : start + len(lines)]
            at = self._bare.find(wanted, at + 1)


@frozen
class Place:
    """Whole lines of a file that hold a text, and what stands around that text in them."""

    lines: tuple[str, ...]
    before: str
    after: str


class NotSeen(Exception):
    """No text shows these lines."""


class SeenTwice(Exception):
    """The newest text that shows these lines shows them at several places."""


class Seen:
    """The texts of one conversation that show lines of files."""

    def __init__(self, texts: Iterable[tuple[str, str]] = ()) -> None:
        """`texts`: each with the call that it belongs to, the oldest first.

        They are read when the first question comes, not before.
        """
        self._unread = texts
        self._naming: dict[str, list[Text]] = {}
        """The name of a file -> the texts that name it, or all texts."""

    @cached_property
    def _texts(self) -> list[Text]:
        """The newest first; of each the likeliest reading first."""
        read = [
            Text(f"{call}\n{text}", tuple(lines))
            for call, text in self._unread
            for lines in _variants(text.replace("\r\n", "\n"))
        ]
        return read[::-1]

    def _about(self, path: str) -> list[Text]:
        """The texts that name the file at `path`; all of them if none does."""
        name = posixpath.basename(path)
        if name not in self._naming:
            naming = [text for text in self._texts if name in text.source]
            self._naming[name] = naming or self._texts
        return self._naming[name]

    def place(self, path: str, text: str) -> Place:
        """The whole lines of the file at `path` that hold `text`; it may end with a line end.

        Raises NotSeen, or SeenTwice if they stand at several places.
        """
        for seen in self._about(path):
            whole = "\n".join([*seen.lines, ""])
            start = whole.find(text)
            if start < 0:
                continue
            if whole.find(text, start + 1) >= 0:
                raise SeenTwice
            line_start = whole.rfind("\n", 0, start) + 1
            end = start + len(text.removesuffix("\n"))
            line_end = whole.index("\n", end)
            return Place(
                tuple(whole[line_start:line_end].split("\n")),
                whole[line_start:start],
                whole[end:line_end],
            )
        raise NotSeen

    def exactly(self, path: str, lines: tuple[str, ...]) -> tuple[str, ...]:
        """`lines` of the file at `path` as they stand there, if only white space differs.

        `lines` themselves if they are seen as they are, or nowhere, or at different places with
        different white space.
        """
        if not any(map(_without_space, lines)):
            return lines
        found = {
            each for text in self._about(path) for each in islice(text.alike(lines), MANY_PLACES)
        }
        return found.pop() if len(found) == 1 else lines


NOTHING_SEEN = Seen()


def with_seen_lines(patch: str, seen: Seen) -> str:
    """A valid patch whose old lines stand as in the file, where only their white space differed.

    Old lines are those of context and those that are taken away. All others stay as they are.
    """
    lines = patch.split("\n")
    path, hunk = "", []
    for n, line in enumerate([*lines, patches.END]):
        if path and line[:1] in {" ", "-"}:
            hunk.append(n)
        elif line[:1] != "+":
            old = tuple(lines[m][1:] for m in hunk)
            for m, exact in zip(hunk, seen.exactly(path, old), strict=True):
                lines[m] = lines[m][0] + exact
            hunk = []
        if header := patches.FILE.match(line):
            path = line[header.end() - 1 :] if header[1] == "Update" else ""
    return "\n".join(lines)


def _variants(text: str) -> Iterator[list[str]]:
    """The lines of a text as they stand in a file, the likeliest reading last."""
    if head := HEAD.match(text):
        text = text[head.end() :]
    lines = text.split("\n")
    yield lines
    marks = [mark for line in lines if (mark := MARKED.match(line))]
    if marks and 2 * len(marks) >= sum(1 for line in lines if line):
        yield [mark.string[mark.end() :] for mark in marks]
    if patches.BEGIN in lines:
        yield [line[1:] for line in lines if line[:1] in {"+", " "}]
    if WRITES in text:
        with suppress(ValueError):
            yield from (word.split("\n") for word in shlex.split(text) if "\n" in word)


def _without_space(line: str) -> str:
    return "".join(line.split())
