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
from itertools import islice, pairwise

from attrs import evolve, frozen

from codex_bridge.repair import patches
from codex_bridge.repair.shell_words import WORD, unquoted

CONTEXT = 3
"""Lines around a change that a patch names, if the conversation shows them."""
ENOUGH_CONTEXT = 2
"""Lines of context that a change needs if only a part of its file was seen."""
MANY_PLACES = 50
"""How many places in one text are looked at; at so many a patch finds none for sure."""
MANY_WORDS = 40
"""Words of a command that are taken for the names of files."""
MANY_HUNKS = 200
"""Hunks of a patch; the lines of one with more stay as they are."""
WORDS = re.compile(rf"{WORD}|[^\s'\"=<>|;&()]++", re.ASCII)
HEAD = re.compile(r"(?:(?!Output:\n)[A-Z][^\n]*+\n){0,8}Output:\n")
"""What Codex puts before the output of a command."""
SAYS_NUMBERS = re.compile(r"\b(?:grep|rg|ag|nl)\b|\bcat -\w*n")
"""A command that may put a number, and the path of a file, before each line."""
NUMBERED = re.compile(r"(?:([^\n:]{1,200}?)[:-](?=\d{1,9}[:-]))?[ \t]*(\d{1,9})(?:[\t:|-]|→)")
"""What `cat -n`, `nl` and `grep -n` put before a line."""
SUCCEEDED = re.compile(
    r"(?:^|\")Success\. Updated|^(?:Process exited with code|Exit code:) 0$", re.MULTILINE
)
"""What Codex says of a command or a patch that did what it should."""
WHOLE = re.compile(r"\s*cat (?:-- )?\S+\s*")
"""A command that shows a whole file."""
CHANGES = re.compile(
    r"\b(?:black|ruff|prettier|gofmt|rustfmt|clang-format|autopep8|yapf|isort|eslint|fmt|format|"
    r"mv|cp|rm|patch|tee|dos2unix|unix2dos|expand|unexpand|indent|install|codemod)\b|"
    r"\b(?:sed|perl|ruby|awk) [^\n]*-\w*i|\bgit (?:checkout|stash|reset|apply|pull|merge|rebase|"
    r"restore|revert|cherry-pick|am|switch)\b|>"
)
"""A command that may change files that were seen before."""
WRITE = re.compile(rf"(?:mkdir -p -- {WORD} && )?printf %s ({WORD}) > ({WORD})", re.ASCII)
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
            written = list(_written(call))
            if written and SUCCEEDED.search(result):
                views = [each for view in views for each in _patched(view, call)] + written
            elif not written:
                if CHANGES.search(call):
                    views = []
                views += _read(call, result)
        return views[::-1]

    def _of(self, path: str) -> list[View]:
        return [view for view in self._views if _is_same(path, view.path)]

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
            if not view.is_whole and len(place.above) + len(place.below) < ENOUGH_CONTEXT:
                problem = SeenInPart()
                continue
            return place
        raise problem

    def exactly(self, path: str, lines: tuple[str, ...]) -> tuple[str, ...]:
        """`lines` of the file at `path` as they stand there, if only white space differs.

        `lines` themselves if they are seen as they are, or nowhere, or at different places with
        different white space. One line alone may be another one that was not seen.
        """
        if sum(1 for line in lines if line.strip()) < 2:
            return lines
        found = {each for view in self._of(path) for each in islice(view.alike(lines), MANY_PLACES)}
        return found.pop() if len(found) == 1 else lines


NOTHING_SEEN = Seen()


def with_seen_lines(patch: str, seen: Seen) -> str:
    """A valid patch whose old lines stand as in the file, where only their white space differed.

    Old lines are those of context and those that are taken away. All others stay as they are.
    """
    lines = patch.split("\n")
    if sum(1 for line in lines if line.startswith("@@")) > MANY_HUNKS:
        return patch
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


def _written(call: str) -> Iterator[View]:
    """What a call writes into files, if it is a patch or the command that writes a file."""
    if write := WRITE.fullmatch(call):
        content = unquoted(write[1]).removesuffix("\n")
        yield View(unquoted(write[2]), tuple(content.split("\n")), is_whole=True)
    for kind, path, hunks in _sections(call):
        for hunk in hunks:
            after = tuple(line[1:] for line in hunk if line[:1] != "-")
            yield View(path, after, is_whole=kind == "Add")


def _sections(call: str) -> Iterator[tuple[str, str, list[list[str]]]]:
    """The sections of the patch in a call that write lines: kind, path, and the hunks."""
    found = patches.in_command(call)
    for kind, section in patches.sections((found.patch if found else "").split("\n")):
        if kind not in {"Add", "Update"}:
            continue
        hunks: list[list[str]] = [[]]
        for line in section[1:]:
            if line[:1] in {"+", "-", " "}:
                hunks[-1].append(line)
            elif hunks[-1]:
                hunks.append([])
        yield kind, section[0].partition(": ")[2], [hunk for hunk in hunks if hunk]


def _patched(view: View, call: str) -> Iterator[View]:
    """What was seen before a patch, as it is after it; nothing if that cannot be told."""
    lines = list(view.lines)
    for kind, path, hunks in _sections(call):
        if not _is_same(path, view.path):
            continue
        if kind == "Add":
            return
        for hunk in hunks:
            old = [line[1:] for line in hunk if line[:1] != "+"]
            places = list(islice(_places(lines, old), 2)) if old else []
            if len(places) > 1 or not old:
                return
            for at in places:
                lines[at : at + len(old)] = [line[1:] for line in hunk if line[:1] != "-"]
    if (write := WRITE.fullmatch(call)) and _is_same(unquoted(write[2]), view.path):
        return
    yield evolve(view, lines=tuple(lines))


def _places(lines: list[str], wanted: list[str]) -> Iterator[int]:
    """Where some lines stand in others."""
    whole, text = "\n".join(["", *lines, ""]), "\n".join(["", *wanted, ""])
    at = whole.find(text)
    while at >= 0:
        yield whole.count("\n", 0, at)
        at = whole.find(text, at + 1)


def _read(call: str, result: str) -> Iterator[View]:
    """What the result of a command shows of files."""
    if head := HEAD.match(result):
        result = result[head.end() :]
    lines = result.replace("\r\n", "\n").removesuffix("\n").split("\n")
    named = [unquoted(word) for word in islice(WORDS.findall(call), MANY_WORDS)]
    marks = [NUMBERED.match(line) for line in lines]
    numbers = [int(mark[2]) for mark in marks if mark]
    in_order = len(numbers) > 1 and all(b == a + 1 for a, b in pairwise(numbers))
    if numbers and (SAYS_NUMBERS.search(call) or (in_order and 2 * len(numbers) > len(lines))):
        for path, run in _runs(mark for mark in marks if mark):
            yield from (View(each, run) for each in ([path] if path else named))
    else:
        shown, is_whole = tuple(lines), bool(WHOLE.fullmatch(call))
        yield from (View(path, shown, is_whole) for path in named)


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


def _is_same(one: str, other: str) -> bool:
    """Whether two paths may name the same file: the shorter is the end of the longer."""
    a, b = ([part for part in path.split("/") if part not in {"", "."}] for path in (one, other))
    shorter, longer = sorted((a, b), key=len)
    return bool(shorter) and longer[len(longer) - len(shorter) :] == shorter


def _without_space(line: str) -> str:
    return "".join(line.split())
