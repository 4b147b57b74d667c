"""Splits an answer's text into text and calls, while it arrives.

The scanner holds text back only as long as it can still become a call. What looks like a call
stays text, byte for byte:

- inside of a code fence, inline code, quotes, an indented block or a quotation;
- where the words right before it say that it is an example;
- as JSON without a tag (bare, or in a fence of its own), unless the words before announce it or
  nothing but white space and other calls comes after it.

Behind a call, a result that the model made up is left out, with all that it says afterwards: the
false claim would stand in the history.

Some calls are uncertain: JSON that ends an answer behind words which do not announce it, all JSON
where the user asked to be shown some, any call behind a refusal, a question or a condition, and
a call in the marks of another family of models than the one that answers.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import groupby

from attrs import Factory, define, evolve, frozen

from codex_bridge.leaks.cursor import Cursor, NoCall, Reading
from codex_bridge.leaks.json_calls import Known, WrittenCall
from codex_bridge.leaks.prose import RESULT_TAGS, Prose
from codex_bridge.leaks.styles import STYLES, Style


def _all_the_rest(cursor: Cursor, known: Known) -> Reading[list[WrittenCall]]:
    while not cursor.ended:
        yield
    cursor.at = len(cursor.buffer)
    return []


INVENTED = Style(
    "invented result", tuple(tag.encode() for tag in RESULT_TAGS), _all_the_rest, words=True
)
"""The result of a call that the model made up, and all that it says afterwards."""
OPENERS = {opener.decode(): style for style in (INVENTED, *STYLES) for opener in style.openers}
OPENER = re.compile("|".join(re.escape(opener) for opener in OPENERS))
BEGINNINGS: dict[str, list[Style]] = {}
"""The beginning of an opener, as a piece of text may end with it -> the styles it may open."""
for _opener, _style in OPENERS.items():
    for _end in range(1, len(_opener)):
        BEGINNINGS.setdefault(_opener[:_end], []).append(_style)
LONGEST_BEGINNING = max(map(len, BEGINNINGS))
STRAY = re.compile(
    r"(?:</(?:(?:minimax:|seed:)?tool_calls?|tools|function|(?:antml:|atem:)?(?:function_calls?|"
    r"invoke|parameter))>|"
    r"</TOOLCALL>|<\|END_ACTION\|>|<\|tool_call_end\|>|</s>|<\|endoftext\|>|"
    r"</｜DSML｜(?:invoke|function_calls|tool_calls)>|<end_function_call>|<tool_call\|>|"
    r"<\|(?:eom_id|eot_id|im_end|/tool_call|call|end|eom|eot|tool_calls_section_end)\|>|"
    r"<｜tool▁calls▁end｜>)"
)
"""End tags that models leave behind a call."""
STRAY_BEGINNING = re.compile(r"<[^>\s]{0,30}")
SLICE = 4096
"""Characters that are examined at once, so that one huge piece costs no more than many small."""
LONGEST_CALL = 256 * 1024
"""Bytes of a call, so that reading it blocks nobody else for long; longer ones stay text."""
RESCAN_LIMIT = 2000
"""Up to this length, in bytes, what turned out to be no call is searched for one inside of it."""


@frozen
class Found:
    """Calls that stood in the text, and the name of the form they were written in.

    Without calls, it is a result that the model made up, or an end tag behind an uncertain call.
    """

    calls: tuple[WrittenCall, ...]
    style: str
    text: str = ""
    """What they were read from."""
    is_tagged: bool = True
    """Whether they stood between marks that ordinary text does not contain."""
    is_certain: bool = True
    """Whether the model means them; if not, it may only show them, and can be asked."""


Piece = str | Found
Accepts = Callable[[WrittenCall, bool], bool]
"""Whether a call names an offered tool and its arguments can be read. If the second argument is
true: whether the arguments also fit that tool's schema."""


@define
class _Candidate:
    """Text that can still become a call, and its reader."""

    style: Style
    cursor: Cursor
    reading: Reading[list[WrittenCall]]

    @property
    def is_too_long(self) -> bool:
        """Whether no call is that long."""
        return self.style is not INVENTED and len(self.cursor.buffer) > LONGEST_CALL


@define
class _Doubt:
    """Calls that are certain only if no prose follows: those without a tag, and those in tags of
    another family of models."""

    pieces: list[Piece] = Factory(list)
    """The calls, with what stands between them; it is passed on if they do not count."""
    announced: bool = True
    """Whether the prose announced each; then prose may follow on a line of its own."""

    @property
    def calls(self) -> list[Found]:
        return [piece for piece in self.pieces if isinstance(piece, Found) and piece.calls]


class LeakScanner:
    """Splits the text of one answer into text and calls."""

    def __init__(
        self,
        known: Known,
        accepts: Accepts,
        *,
        is_shown_json: Callable[[], bool] = lambda: False,
        dialect: frozenset[str] | None = None,
    ) -> None:
        """`known` tells early whether a name may mean an offered function; `accepts` is asked
        once a call is complete. `is_shown_json` tells whether the user asked to be shown JSON;
        it is asked only about JSON that may be a call. `dialect` names the forms with marks that
        the model was taught, None if nobody knows."""
        self.has_unread = False
        """Whether a mark that begins a call, of a form that the model was taught, stood before
        something that is none, outside of examples and code."""
        self._dialect = dialect
        self._is_shown_json = is_shown_json
        self._has_prose = False
        """Whether the answer has any text that is no call."""
        self._known = known
        self._accepts = accepts
        self._prose = Prose()
        self._out: list[Piece] = []
        self._pending = ""
        """Text that was not examined yet, or may be the beginning of an opener."""
        self._candidate: _Candidate | None = None
        self._doubt = _Doubt()
        self._shows_json = False
        """Whether JSON calls turned out to be text; then later ones are text, too."""
        self._has_called = False
        """Whether there was a call that the model certainly means."""
        self._after_call = False
        """Whether nothing but white space came since the last call."""
        self._is_last_certain = True
        """Whether the model certainly means the last call."""
        self._gap: list[str] = []
        """That white space. It is passed on only if prose follows."""

    def begin_behind(self, text: str) -> None:
        """Take note that `text`, without any call, stands before what comes."""
        self._has_prose = bool(text.strip())
        self._prose.add(text)

    def feed(self, text: str) -> list[Piece]:
        """Take the text that came next; return the pieces that are certain by now."""
        for start in range(0, len(text), SLICE):
            piece = text[start : start + SLICE]
            candidate = self._candidate
            if candidate is None:
                self._pending += piece
            else:
                candidate.cursor.append(piece)
            self._run(ended=False)
            if candidate and candidate is self._candidate and candidate.is_too_long:
                self._candidate = None
                self._emit(candidate.cursor.text(0))
        return self._pieces()

    def end(self, *, cut: bool = False, called: bool = False) -> list[Piece]:
        """End the answer; return the remaining pieces.

        In an answer that was `cut` at a limit, nothing unfinished is a call. If the model also
        `called` through the API, a call in doubt is text: it only described that call.
        """
        if cut and self._candidate is not None and self._candidate.style is not INVENTED:
            if not self._prose.introduces_example(self._candidate.style):
                self._note_unread(self._candidate.style)
            text, self._candidate = self._candidate.cursor.text(0), None
            self._emit(text)
        self._run(ended=True)
        self._decide(calls=not (cut or called))
        return self._pieces()

    def _pieces(self) -> list[Piece]:
        """The pieces since the last time, neighbouring texts joined."""
        out, self._out = self._out, []
        pieces: list[Piece] = []
        for is_text, group in groupby(out, lambda piece: isinstance(piece, str)):
            if not is_text:
                pieces += group
            elif text := "".join(map(str, group)):
                pieces.append(text)
        return pieces

    def _run(self, *, ended: bool) -> None:
        """Go on until more text is needed, or none is left."""
        progress = True
        while progress:
            if self._candidate is not None:
                self._candidate.cursor.ended = ended
                progress = self._resume(self._candidate)
            else:
                progress = bool(self._pending) and self._search(ended=ended)

    def _resume(self, candidate: _Candidate) -> bool:
        """Let the candidate's reader go on; False if it needs more text."""
        try:
            next(candidate.reading)
        except StopIteration as finished:
            self._candidate = None
            self._take_calls(candidate, tuple(finished.value))
        except NoCall:
            self._candidate = None
            self._disprove(candidate)
        else:
            return False
        return True

    def _search(self, *, ended: bool) -> bool:
        """Search the pending text for the beginning of a call; False if it has none."""
        if self._after_call and not self._skip_strays(ended=ended):
            return False
        text, self._pending = self._pending, ""
        start = 0
        for opener in OPENER.finditer(text):
            self._emit(text[start : opener.start()])
            start = opener.start()
            if not ended and text[start:] in BEGINNINGS:
                # A short opener that may still grow into a longer one.
                break
            style = OPENERS[opener[0]]
            if self._admits(style):
                cursor = Cursor(text[start:])
                self._candidate = _Candidate(style, cursor, style.read(cursor, self._known))
                return True
        self._emit_certain(text[start:], ended=ended)
        return False

    def _admits(self, style: Style) -> bool:
        """Whether this form may begin here."""
        is_called = self._has_called or (self._after_call and self._is_last_certain)
        return self._prose.admits(style) and (style is not INVENTED or is_called)

    def _emit_certain(self, text: str, *, ended: bool) -> None:
        """Pass on `text`; hold back an end of it that may be the beginning of an opener."""
        start = 0
        for length in range(0 if ended else min(LONGEST_BEGINNING, len(text)), 0, -1):
            if styles := BEGINNINGS.get(text[-length:]):
                self._emit(text[start:-length])
                start = len(text) - length
                if any(map(self._admits, styles)):
                    break
        else:
            self._emit(text[start:])
            return
        self._pending = text[start:]

    def _skip_strays(self, *, ended: bool) -> bool:
        """Leave out end tags after a call; False if that needs more text to be decided."""
        while self._pending:
            rest = self._pending.lstrip()
            self._emit(self._pending[: len(self._pending) - len(rest)])
            stray = STRAY.match(rest)
            self._pending = rest[stray.end() :] if stray else rest
            if not stray:
                return bool(rest) and (ended or not STRAY_BEGINNING.fullmatch(rest))
            end_tag = Found((), "", "".join([*self._gap, stray[0]]), is_certain=False)
            if self._doubt.pieces:
                self._doubt.pieces.append(end_tag)
            elif not self._is_last_certain:
                self._out.append(end_tag)
            self._gap = []
        return False

    def _take_calls(self, candidate: _Candidate, calls: tuple[WrittenCall, ...]) -> None:
        """Take the calls that were read from a candidate, unless they are only shown."""
        if candidate.style is INVENTED:
            self._decide(calls=True)
            self._out.append(Found((), INVENTED.name))
            return
        style, cursor, doubt = candidate.style, candidate.cursor, self._doubt
        strict = not style.tagged
        text = cursor.text(0, cursor.at).rstrip()
        # Some readers look behind the white space that follows.
        self._pending = cursor.text(len(text.encode()))
        shown = self._prose.introduces_example(style) or (strict and self._shows_json)
        if shown or not all(self._accepts(call, strict) for call in calls):
            # It is a call by its form, so nothing inside of it is another.
            self._emit(text)
            if not shown:
                self._note_unread(style)
                self._prose.forget_tags()
            return
        if doubt.pieces:
            doubt.pieces += self._gap
        is_certain = not self._prose.hesitates
        if strict:
            is_certain = not self._is_shown_json() and (
                self._prose.announces or not self._has_prose
            )
        self._is_last_certain = is_certain
        doubt.pieces.append(Found(calls, style.name, text, style.tagged, is_certain))
        doubt.announced = doubt.announced and self._prose.announces
        if style.tagged and (self._dialect is None or style.name in self._dialect):
            self._decide(calls=True)
        self._gap = []
        self._prose.line = ""
        self._after_call = True

    def _decide(self, *, calls: bool) -> None:
        """Decide on the calls in doubt: with `calls` they are calls.

        Else those in tags are uncertain, and those without are text.
        """
        doubt, self._doubt = self._doubt, _Doubt()
        if calls:
            self._out += doubt.calls
            self._has_called = self._has_called or any(call.is_certain for call in doubt.calls)
        elif any(call.is_tagged for call in doubt.calls):
            pieces = [*doubt.pieces, *self._gap]
            self._out += [_uncertain(piece) for piece in pieces]
            self._gap = []
        elif doubt.pieces:
            text = "".join(map(_text_of, [*doubt.pieces, *self._gap]))
            self._out.append(text)
            self._prose.add(text)
            self._gap = []
            self._shows_json = True

    def _disprove(self, candidate: _Candidate) -> None:
        """Pass on the beginning of what turned out to be no call; search the rest again."""
        cursor = candidate.cursor
        if not self._prose.introduces_example(candidate.style):
            self._note_unread(candidate.style)
        text = cursor.text(0)
        # One byte at least, and a whole character of it.
        end = 1 if cursor.at < RESCAN_LIMIT else max(1, len(cursor.text(0, cursor.at)))
        self._emit(text[:end])
        self._prose.forget_tags()
        self._pending = text[end:]

    def _note_unread(self, style: Style) -> None:
        is_taught = self._dialect is None or style.name in self._dialect
        if style.tagged and not style.words and is_taught:
            self.has_unread = True

    def _emit(self, text: str) -> None:
        """Pass text on. Prose that follows calls in doubt decides about them."""
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
            self._has_prose = self._has_prose or not text.isspace()
            self._out.append(text)
            self._prose.add(text)


def _text_of(piece: Piece) -> str:
    return piece if isinstance(piece, str) else piece.text


def _uncertain(piece: Piece) -> Piece:
    """A call in tags, as one that the model may only show; anything else as it is or as text."""
    if isinstance(piece, str) or not piece.calls:
        return piece
    return evolve(piece, is_certain=False) if piece.is_tagged else piece.text
