"""Tool calls that a model wrote as text -> tool calls.

Text goes in as it arrives; text and calls come out. Held back is only what can still become a
call, and only while it can. What looks like a call and is none stays text, byte for byte:

- inside of a code fence, of inline code, of quotes, of an indented block or a quotation;
- where the words right before it say that it is an example;
- JSON without a tag (bare, or in a fence of its own), unless the words before announce it or
  nothing but white space and other calls comes after it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import groupby

from attrs import Factory, define, frozen

from codex_bridge.leaks.cursor import Cursor, NoCall, Reading
from codex_bridge.leaks.json_calls import Known, WrittenCall
from codex_bridge.leaks.prose import Prose
from codex_bridge.leaks.styles import STYLES, Style

OPENERS = {opener.decode(): style for style in STYLES for opener in style.openers}
OPENER = re.compile("|".join(re.escape(opener) for opener in OPENERS))
BEGINNINGS: dict[str, list[Style]] = {}
"""What an opener may have been cut to at the end of a piece -> the styles it may open."""
for _opener, _style in OPENERS.items():
    for _end in range(1, len(_opener)):
        BEGINNINGS.setdefault(_opener[:_end], []).append(_style)
LONGEST_BEGINNING = max(map(len, BEGINNINGS))
STRAY = re.compile(
    r"(?:</(?:(?:minimax:)?tool_calls?|tools|function|function_calls?|invoke|parameter)>|"
    r"<end_function_call>|<tool_call\|>|<\|(?:eom_id|eot_id|im_end|/tool_call|call|end|tool_calls_section_end)\|>|"
    r"<｜tool▁calls▁end｜>)"
)
"""Ends of tags that a call leaves behind."""
STRAY_BEGINNING = re.compile(r"<[^>\s]{0,30}")
SLICE = 4096
"""Text is looked at in slices, so that a single huge piece costs no more than many small ones."""
RESCAN_LIMIT = 2000
"""Longest disproved call that is searched for another one inside, in characters."""


@frozen
class Found:
    """Calls that stood in the text, and the name of the form they were written in."""

    calls: tuple[WrittenCall, ...]
    style: str


Piece = str | Found
Accepts = Callable[[WrittenCall, bool], bool]
"""Whether a call names an offered tool and its arguments can be read; with True, whether they
also fit that tool's schema."""


@define
class _Candidate:
    """Text that can still become a call, and its reader."""

    style: Style
    cursor: Cursor
    reading: Reading[list[WrittenCall]]


@define
class _Doubt:
    """Calls that count only if no prose follows, and the text they were read from."""

    calls: list[Found] = Factory(list)
    text: list[str] = Factory(list)
    announced: bool = True
    """Whether each was announced; then prose may follow on a line of its own."""


class LeakScanner:
    """Splits the text of one answer into text and calls."""

    def __init__(self, known: Known, accepts: Accepts) -> None:
        self._known = known
        self._accepts = accepts
        self._prose = Prose()
        self._out: list[Piece] = []
        self._pending = ""
        self._candidate: _Candidate | None = None
        self._doubt = _Doubt()
        self._explains = False
        """Whether JSON turned out to be shown; then more of it is not taken for calls."""
        self._after_call = False
        self._gap: list[str] = []
        """White space since the last call: nothing, unless prose follows."""

    def feed(self, text: str) -> list[Piece]:
        """What `text` adds, as far as it is certain."""
        for start in range(0, len(text), SLICE):
            self._take(text[start : start + SLICE])
        return self._given()

    def end(self, *, cut: bool = False, called: bool = False) -> list[Piece]:
        """What is left at the end of the answer.

        In an answer that was `cut` at a limit nothing unfinished is a call. Where the model
        also `called` in the proper way, a doubtful call was only words about it.
        """
        if cut and self._candidate is not None:
            text, self._candidate = self._candidate.cursor.text(0), None
            self._emit(text)
        self._run(ended=True)
        self._decide(calls=not (cut or called))
        return self._given()

    def _given(self) -> list[Piece]:
        """The pieces so far, neighbouring texts joined."""
        out, self._out = self._out, []
        made: list[Piece] = []
        for is_text, group in groupby(out, lambda piece: isinstance(piece, str)):
            if not is_text:
                made += group
            elif text := "".join(map(str, group)):
                made.append(text)
        return made

    def _take(self, text: str) -> None:
        if self._candidate is None:
            self._pending += text
        else:
            self._candidate.cursor.append(text)
        self._run(ended=False)

    def _run(self, *, ended: bool) -> None:
        """Go on until more text is needed, or none is left."""
        progress = True
        while progress:
            if self._candidate is not None:
                self._candidate.cursor.ended = ended
                progress = self._resume(self._candidate)
            else:
                progress = bool(self._pending) and self._look(ended=ended)

    def _resume(self, candidate: _Candidate) -> bool:
        """Let the reader go on; False if it needs more text."""
        try:
            next(candidate.reading)
        except StopIteration as finished:
            self._candidate = None
            self._found(candidate, tuple(finished.value))
        except NoCall:
            self._candidate = None
            self._disproved(candidate)
        else:
            return False
        return True

    def _look(self, *, ended: bool) -> bool:
        """Look through pending text for the beginning of a call; False if there is none."""
        if self._after_call and not self._skip_strays(ended=ended):
            return False
        text, self._pending = self._pending, ""
        done = 0
        for opener in OPENER.finditer(text):
            self._emit(text[done : opener.start()])
            done = opener.start()
            if not ended and text[done:] in BEGINNINGS:
                # A short opener that may yet grow into a longer one.
                break
            style = OPENERS[opener[0]]
            if self._prose.admits(style):
                cursor = Cursor(text[done:])
                self._candidate = _Candidate(style, cursor, style.read(cursor, self._known))
                return True
        self._emit_certain(text[done:], ended=ended)
        return False

    def _emit_certain(self, text: str, *, ended: bool) -> None:
        """Pass `text` on but for an end of it that may be the beginning of an opener."""
        done = 0
        for length in range(0 if ended else min(LONGEST_BEGINNING, len(text)), 0, -1):
            if styles := BEGINNINGS.get(text[-length:]):
                self._emit(text[done:-length])
                done = len(text) - length
                if any(self._prose.admits(style) for style in styles):
                    break
        else:
            self._emit(text[done:])
            return
        self._pending = text[done:]

    def _skip_strays(self, *, ended: bool) -> bool:
        """Leave out the ends of tags after a call; False if what follows is still open."""
        while self._pending:
            rest = self._pending.lstrip()
            self._emit(self._pending[: len(self._pending) - len(rest)])
            stray = STRAY.match(rest)
            self._pending = rest[stray.end() :] if stray else rest
            if not stray:
                return bool(rest) and (ended or not STRAY_BEGINNING.fullmatch(rest))
            if self._doubt.calls:
                self._doubt.text += [*self._gap, stray[0]]
            self._gap = []
        return False

    def _found(self, candidate: _Candidate, calls: tuple[WrittenCall, ...]) -> None:
        style, cursor, doubt = candidate.style, candidate.cursor, self._doubt
        strict = not style.tagged
        self._pending = cursor.text(cursor.at)
        shown = self._prose.introduces(style) or (strict and self._explains)
        if shown or not all(self._accepts(call, strict) for call in calls):
            # It is a call by its form, so that nothing inside of it is another.
            self._emit(cursor.text(0, cursor.at))
            if not shown:
                self._prose.forget_tags()
            return
        if doubt.calls:
            doubt.text += self._gap
        doubt.calls.append(Found(calls, style.name))
        doubt.text.append(cursor.text(0, cursor.at))
        doubt.announced = doubt.announced and self._prose.announces
        if style.tagged:
            self._decide(calls=True)
        self._gap = []
        self._prose.line = ""
        self._after_call = True

    def _decide(self, *, calls: bool) -> None:
        """End the doubt: these were calls, or they were text."""
        doubt, self._doubt = self._doubt, _Doubt()
        if calls:
            self._out += doubt.calls
        elif doubt.calls:
            text = "".join([*doubt.text, *self._gap])
            self._out.append(text)
            self._prose.add(text)
            self._gap = []
            self._explains = True

    def _disproved(self, candidate: _Candidate) -> None:
        cursor = candidate.cursor
        text = cursor.text(0)
        # One byte at least, and a whole character of it.
        done = 1 if cursor.at < RESCAN_LIMIT else max(1, len(cursor.text(0, cursor.at)))
        self._emit(text[:done])
        self._prose.forget_tags()
        self._pending = text[done:] + self._pending

    def _emit(self, text: str) -> None:
        """Pass text on. Prose after a doubtful call makes that text, too."""
        if self._after_call:
            if not text.strip():
                self._gap.append(text)
                self._prose.add(text)
                return
            between = "".join(self._gap) + text[: -len(text.lstrip())]
            self._decide(calls=self._doubt.announced and "\n" in between)
            self._out += self._gap
            self._gap, self._after_call = [], False
        if text:
            self._out.append(text)
            self._prose.add(text)
