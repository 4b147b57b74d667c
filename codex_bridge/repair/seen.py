"""What a conversation shows of files: to complete what a model copied from them, and no more.

A model that replaces a word names the word; Codex's patches name whole lines. A model that copies
a line may change its white space; Codex then does not find the line, or writes it as it was copied.
The lines themselves stand in the results of commands that read a file, and in the calls that wrote
it. What a command may have changed since then is not used.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import islice

from attrs import evolve, frozen

from codex_bridge.repair import patches
from codex_bridge.repair.shell_commands import read_by, reads_only
from codex_bridge.repair.shell_words import WORD, unquoted

CONTEXT = 3
"""Lines around a change that a patch names, if the conversation shows them."""
ENOUGH_CONTEXT = 2
"""Lines of context with words that a change needs if only a part of its file was seen."""
MANY_PLACES = 50
"""How many places in one text are looked at; at so many a patch finds none for sure."""
MANY_HUNKS = 200
"""Hunks of a patch; the lines of one with more stay as they are."""
MANY_VIEWS = 500
"""Views that are kept; the oldest go."""
HEAD = re.compile(r"(?:(?!Output:\n)[A-Z][^\n]*+\n){0,8}Output:\n(?:Total output lines: \d+\n\n)?")
"""What Codex puts before the output of a command."""
TRUNCATED = re.compile(r"…\d+ (?:tokens|chars) truncated…")
"""In place of the middle of a long output. The line is none of the file."""
SUCCEEDED = re.compile(
    r"(?:^|\")Success\. Updated|^(?:Process exited with code|Exit code:) 0$", re.MULTILINE
)
"""What Codex says of a command or a patch that did what it should."""
NUMBERED = re.compile(r"(?:([^\n:]{1,200}?)[:-](?=\d{1,9}[:-]))?[ \t]*(\d{1,9})(?:[\t:|-]|→)")
"""What `cat -n`, `nl` and `grep -n` put before a line."""
WORD_CHARACTER = re.compile(r"\w")
"""What a line needs to tell one place in a file from another."""
WRITING = re.compile(rf"(?:mkdir -p -- {WORD} && )?printf %s ({WORD}) > ({WORD})", re.ASCII)
"""The command by which a function for small models writes a file, see editor.py."""


@frozen
class View:
    """Lines of a file, as they follow each other in it."""

    path: str
    """As a command or a patch names it."""
    lines: tuple[str, ...]
    is_whole: bool = False
    """Whether they are the whole file."""

    @cached_property
    def _bare(self) -> list[str]:
        """The lines without any white space."""
        return list(map(_without_space, self.lines))

    def alike(self, lines: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        """The lines here that differ from `lines` at most by white space."""
        for start in _places(self._bare, list(map(_without_space, lines))):
            yield self.lines[start : start + len(lines)]


@frozen
class Place:
    """Whole lines of a file that hold a text, and what stands around that text in them."""

    lines: tuple[str, ...]
    before: str
    after: str
    above: tuple[str, ...] = ()
    """Lines right above them, as far as they were seen."""
    below: tuple[str, ...] = ()


class NotSeen(Exception):
    """No text shows these lines."""


class SeenTwice(Exception):
    """The newest text that shows these lines shows them at several places."""


class SeenInPart(Exception):
    """Too little around these lines was seen to tell them from others in their file."""


class Seen:
    """What one conversation shows of files."""

    def __init__(self, calls: Iterable[tuple[str, str]] = ()) -> None:
        """`calls`: the command or patch of each call, and its result, the oldest first.

        They are read when the first question comes, not before.
        """
        self._unread = calls

    @cached_property
    def _views(self) -> list[View]:
        """The newest first."""
        views: list[View] = []
        for call, result in self._unread:
            if hunks := _hunks(call):
                if SUCCEEDED.search(result):
                    views = [*_after(views, hunks), *_written(hunks)]
            elif not reads_only(call):
                views = []
            else:
                views += _read(call, result)
            views = views[-MANY_VIEWS:]
        return views[::-1]

    def _of(self, path: str) -> list[View]:
        """What was seen of a file: under this very path, else under one that may be its own."""
        parts = _parts(path)
        same = [view for view in self._views if _parts(view.path) == parts]
        return same or [view for view in self._views if _may_be_same(path, view.path)]

    def place(self, path: str, text: str) -> Place:
        """The whole lines of the file at `path` that hold `text`; it may end with a line end.

        Raises NotSeen, SeenTwice or SeenInPart.
        """
        problem: Exception = NotSeen()
        for view in self._of(path):
            whole = "\n".join([*view.lines, ""])
            start = whole.find(text)
            if start < 0:
                continue
            if whole.find(text, start + 1) >= 0:
                raise SeenTwice
            first = whole.count("\n", 0, start)
            end = start + len(text.removesuffix("\n"))
            last = whole.count("\n", 0, end)
            place = Place(
                view.lines[first : last + 1],
                whole[whole.rfind("\n", 0, start) + 1 : start],
                whole[end : whole.index("\n", end)],
                view.lines[max(0, first - CONTEXT) : first],
                view.lines[last + 1 : last + 1 + CONTEXT],
            )
            telling = [each for each in (*place.above, *place.below) if WORD_CHARACTER.search(each)]
            if not view.is_whole and len(telling) < ENOUGH_CONTEXT:
                problem = SeenInPart()
                continue
            return place
        raise problem

    def exactly(self, path: str, lines: tuple[str, ...]) -> tuple[str, ...]:
        """`lines` of the file at `path` as they stand there, if only white space differs.

        `lines` themselves if they are seen as they are, or nowhere, or at different places with
        different white space. Of a file that was seen in part, they may be others.
        """
        if sum(1 for line in lines if line.strip()) < 2:
            return lines
        whole = [view for view in self._of(path) if view.is_whole]
        found = {each for view in whole for each in islice(view.alike(lines), MANY_PLACES)}
        return found.pop() if len(found) == 1 else lines


NOTHING_SEEN = Seen()


def with_seen_lines(patch: str, seen: Seen) -> str:
    """A valid patch whose old lines stand as in the file, where only their white space differed.

    Old lines are those of context and those that are taken away. All others stay as they are.
    """
    lines = patch.split("\n")
    path, hunk, hunks = "", [], 0
    for n, line in enumerate([*lines, patches.END]):
        if path and line[:1] in {" ", "-"}:
            hunk.append(n)
        elif line[:1] != "+":
            hunks += bool(hunk)
            if hunks > MANY_HUNKS:
                return patch
            old = tuple(lines[m][1:] for m in hunk)
            for m, exact in zip(hunk, seen.exactly(path, old), strict=True):
                lines[m] = lines[m][0] + exact
            hunk = []
        if header := patches.FILE.match(line):
            path = line[header.end() - 1 :] if header[1] == "Update" else ""
    return "\n".join(lines)


@frozen
class _Hunk:
    """What one hunk of a patch, or a command that writes a file, does to a file."""

    path: str
    lines: tuple[str, ...]
    """As in a patch: each begins with "+", "-" or a space."""
    is_whole: bool = False
    """Whether the new lines are the whole file."""

    @property
    def old(self) -> list[str]:
        return [line[1:] for line in self.lines if line[:1] != "+"]

    @property
    def new(self) -> list[str]:
        return [line[1:] for line in self.lines if line[:1] != "-"]


def _hunks(call: str) -> list[_Hunk]:
    """What a call does to files, if it applies a patch or writes a file, and does nothing else."""
    if write := WRITING.fullmatch(call):
        content = unquoted(write[1]).removesuffix("\n")
        lines = tuple("+" + line for line in content.split("\n"))
        return [_Hunk(unquoted(write[2]), lines, is_whole=True)]
    found = patches.in_command(call)
    made = []
    for kind, section in patches.sections((found.patch if found else "").split("\n")):
        path, hunk = section[0].partition(": ")[2], list[str]()
        for line in [*section[1:], patches.END]:
            if line[:1] in {"+", "-", " "}:
                hunk.append(line)
            elif hunk:
                made.append(_Hunk(path, tuple(hunk), is_whole=kind == "Add"))
                hunk = []
        if kind == "Delete":
            made.append(_Hunk(path, ()))
    return made


def _written(hunks: list[_Hunk]) -> Iterator[View]:
    """What a call that writes shows of the files after it."""
    for hunk in hunks:
        if hunk.lines:
            yield View(hunk.path, tuple(hunk.new), is_whole=hunk.is_whole)


def _after(views: list[View], hunks: list[_Hunk]) -> Iterator[View]:
    """What was seen before a call that writes, as it is after it; without what cannot be told."""
    if len(hunks) > MANY_HUNKS:
        return
    for view in views:
        own = [hunk for hunk in hunks if _may_be_same(hunk.path, view.path)]
        after = _patched(view, own) if own else view
        if after:
            yield after


def _patched(view: View, hunks: list[_Hunk]) -> View | None:
    """What was seen of a file, as it is after these hunks; None if that cannot be told."""
    lines = list(view.lines)
    for hunk in hunks:
        old = hunk.old
        if not old:
            # The file is new or deleted, or has new lines at a place that is not told.
            return None
        places = list(islice(_places(lines, old), 2))
        if len(places) > 1:
            return None
        if not places:
            seen = set(map(_without_space, lines)) - {""}
            if view.is_whole or not seen.isdisjoint(map(_without_space, old)):
                return None
        for at in places:
            lines[at : at + len(old)] = hunk.new
    return evolve(view, lines=tuple(lines))


def _places(lines: list[str], wanted: list[str]) -> Iterator[int]:
    """Where some lines stand in others."""
    whole, text = "\n".join(["", *lines, ""]), "\n".join(["", *wanted, ""])
    at = whole.find(text)
    while at >= 0:
        yield whole.count("\n", 0, at)
        at = whole.find(text, at + 1)


def _read(call: str, result: str) -> Iterator[View]:
    """What the result of a command shows of a file, if it is one that shows files."""
    reading = read_by(call)
    if reading is None:
        return
    if head := HEAD.match(result):
        result = result[head.end() :]
    pieces: list[list[str]] = [[]]
    for line in result.replace("\r\n", "\n").removesuffix("\n").split("\n"):
        if TRUNCATED.search(line):
            pieces.append([])
        else:
            pieces[-1].append(line)
    for lines in pieces:
        if not reading.is_numbered:
            yield View(reading.path, tuple(lines), reading.is_whole and len(pieces) == 1)
            continue
        marks = (NUMBERED.match(line) for line in lines)
        for path, run in _runs(mark for mark in marks if mark):
            # A line alone has no context.
            if len(run) > 1 and (path or reading.path):
                yield View(path or reading.path, run)


def _runs(marks: Iterable[re.Match[str]]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Lines with numbers that follow each other, and the path before them, if there is one."""
    run: list[str] = []
    last = ("", 0)
    for mark in marks:
        here = (mark[1] or "", int(mark[2]))
        if run and here != (last[0], last[1] + 1):
            yield last[0], tuple(run)
            run = []
        run.append(mark.string[mark.end() :])
        last = here
    if run:
        yield last[0], tuple(run)


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in {"", "."}]


def _may_be_same(one: str, other: str) -> bool:
    """Whether two paths may name the same file: the shorter is the end of the longer."""
    shorter, longer = sorted((_parts(one), _parts(other)), key=len)
    return bool(shorter) and longer[len(longer) - len(shorter) :] == shorter


def _without_space(line: str) -> str:
    return "".join(line.split())
