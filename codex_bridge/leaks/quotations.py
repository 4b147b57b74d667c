"""Which calls stand in the texts that a model has read, however they are quoted there.

A file, a web page or a prompt may hold the text of a call. A model that repeats it quotes it, and
calls nothing.

    >>> read = Quotations(['NOTES.md:3: <tool_call>{"name": "run", "arguments": {"cmd": "ls"}}'])
    >>> read.hold('{ "cmd":  "ls" }')
    True
    >>> read.calls(lambda name: name == "run")
    [WrittenCall(name='run', arguments='{"cmd": "ls"}')]
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cached_property

from codex_bridge.leaks.cursor import Cursor, NoCall
from codex_bridge.leaks.json_calls import ARGUMENT_KEYS, NAME_KEYS, Known, WrittenCall
from codex_bridge.leaks.styles import STYLES, Style

WINDOW = 16 * 1024
"""Characters of a text in which one call is looked for."""
MAX_READINGS = 500
"""How many places of a request's texts are read in full. More are no accident: then every call
counts as quoted."""
LONGEST_HEAD = 400
"""Characters at the beginning of JSON in which its name is looked for, before more is read."""
SHORTEST_VALUE = 4
LONGEST_GAP = 24
"""Characters between the name of a parameter and its value: `</arg_key><arg_value>`."""
LINE_MARK = re.compile(
    r"^[ \t]*(?:[\w./\\-]+:(?=\d+[:-]))?(?:\d+[ \t]*[:|)\].\t→-]?|[>|+*#-]+|//+|;+)[ \t]?",
    re.MULTILINE,
)
"""What programs put before the lines that they show: numbers, file names, marks of a diff, of a
quotation or of a comment."""
INVISIBLE = re.compile(
    "[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufe00-\ufe0f\ufeff"
    "\U000e0000-\U000e007f]"
)
"""Characters that nobody sees: joiners, marks of writing direction, tags."""
ESCAPED_CHARACTER = re.compile(r"(?<!\\)\\++(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2}))")
ESCAPED_SPACE = re.compile(r"(?<!\\)\\++[nrt]")
ESCAPED = re.compile(r"(?<!\\)\\++([ntr\"'/])")
UNESCAPED = {"n": "\n", "t": "\t", "r": ""}
"""The letter behind a backslash -> the character that the two stand for."""
IGNORED = re.compile(r"[\s\\\"'`\u00b4\u2018-\u201f\u00ab\u00bb*]+")
"""White space, quotes, backslashes and marks of emphasis, none of which tells two texts apart."""
NAME = re.compile(
    rf"[\"']?(?:{'|'.join(sorted(NAME_KEYS))})[\"']?\s*:\s*(?:\{{\s*[\"']?name[\"']?\s*:\s*)?"
    r"[\"']([^\"']{1,100})[\"']"
)
ARGUMENTS_FIRST = re.compile(rf"[\[{{\s]*[\"'](?:{'|'.join(sorted(ARGUMENT_KEYS))}|type|id)[\"']")
HINT = re.compile(r"[{<&(]|\[\w|functions\.|\\[ux]")
"""What a text that holds a call has, however it is quoted."""
CODED = re.compile(r"&#|&\w+;|\\[ux]|[^\x00-\x7f]{2}")
"""What may be letters in another code."""
OPENERS = {opener.decode(): style for style in STYLES for opener in style.openers}
BRACKETS = {"{": r"\{(?=\s*[\"'])", "[": r"\[(?=\s*\{\s*[\"'])"}
"""The openers of JSON that are everywhere -> where they can begin a call."""
OPENER = re.compile(
    "|".join(
        BRACKETS.get(each) or re.escape(each) for each in sorted(OPENERS, key=len, reverse=True)
    )
)


class TooManyCalls(Exception):
    """The texts hold more that looks like a call than is read."""


def plain(text: str) -> str:
    """`text` without what differs between a text and its quotation: white space, quotes, escapes.

    Equal letters of other alphabets' forms (full width) become the same, and case is ignored.
    """
    return _plain(_decoded(text))


def _plain(decoded: str) -> str:
    text = ESCAPED_SPACE.sub("", decoded)
    return IGNORED.sub("", text).casefold()


class Quotations:
    """The texts of one request that the model did not write itself."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        """`texts` is read when the first question comes, not before."""
        self._unread = texts

    @cached_property
    def _given(self) -> list[str]:
        return list(self._unread)

    @cached_property
    def _texts(self) -> dict[str, str]:
        """Each text that may hold a call -> the same decoded."""
        return {text: _decoded(text) for text in self._given if HINT.search(text)}

    @cached_property
    def _plain(self) -> list[str]:
        variants = (
            variant for text in self._texts.values() for variant in (text, LINE_MARK.sub("", text))
        )
        return [_plain(variant) for variant in dict.fromkeys(variants)]

    def naming(self, name: str) -> Quotations:
        """The texts in which `name` stands, or may stand in another code. This is fast."""
        return Quotations(text for text in self._given if name in text or CODED.search(text))

    def hold(self, text: str) -> bool:
        """Whether `text` stands in one of the texts, quoted in whichever way."""
        wanted = plain(text)
        return any(wanted in each for each in self._plain)

    def hold_value(self, name: str, key: str, value: str) -> bool:
        """Whether a text names a function, then one of its parameters and, right behind, a value.

        So stands a call that `calls` cannot read, such as one whose end tag is missing. Values of
        less than SHORTEST_VALUE characters stand everywhere, and count nowhere.
        """
        wanted = plain(value)
        if len(wanted) < SHORTEST_VALUE:
            return False
        pair = re.compile(f"{re.escape(plain(key))}.{{1,{LONGEST_GAP}}}?{re.escape(wanted)}")
        return any(
            bool(pair.search(each, each.index(plain(name))))
            for each in self._plain
            if plain(name) in each and wanted in each
        )

    def calls(self, known: Known) -> list[WrittenCall]:
        """Every call of a `known` function in the texts, in whichever form and however quoted.

        Raises TooManyCalls.
        """
        found: dict[WrittenCall, None] = {}
        readings = 0
        for text, decoded in self._texts.items():
            for variant in _variants(text, decoded):
                for style, start in _places(variant, known):
                    readings += 1
                    if readings > MAX_READINGS:
                        raise TooManyCalls
                    found |= dict.fromkeys(_read(style, variant[start : start + WINDOW], known))
        return list(found)


def _variants(text: str, decoded: str) -> Iterable[str]:
    """A text as it stands, and without each way of quoting it that a call may be hidden in."""
    bare = LINE_MARK.sub("", decoded)
    quoted = (text, decoded, bare, _unescaped(decoded), _unescaped(bare))
    return dict.fromkeys(quoted)


def _decoded(text: str) -> str:
    """`text` without character references, escapes of characters and invisible characters."""
    if "&" in text:
        text = html.unescape(html.unescape(text))
    if "\\" in text:
        text = ESCAPED_CHARACTER.sub(lambda found: chr(int(found[1] or found[2], 16)), text)
    if text.isascii():
        return text
    return INVISIBLE.sub("", unicodedata.normalize("NFKC", text))


def _unescaped(text: str) -> str:
    """A text that stands as a string in JSON or in code, as it was."""
    return ESCAPED.sub(lambda found: UNESCAPED.get(found[1], found[1]), text)


def _places(text: str, known: Known) -> Iterator[tuple[Style, int]]:
    """The forms that may begin in a text, and where."""
    for opener in OPENER.finditer(text):
        style = OPENERS[opener[0]]
        start = opener.start()
        if opener[0] in {"{", "["}:
            head = text[start : start + LONGEST_HEAD]
            name = NAME.search(head)
            if not (name and known(name[1])) and not ARGUMENTS_FIRST.match(head):
                continue
        yield style, start


def _read(style: Style, text: str, known: Known) -> list[WrittenCall]:
    """The calls that `text` begins with in this form."""
    cursor = Cursor(text)
    cursor.ended = True
    try:
        next(style.read(cursor, known))
    except StopIteration as finished:
        return list(finished.value)
    except NoCall:
        pass
    return []
