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
from bisect import bisect_left as bisect
from collections.abc import Iterable, Iterator
from functools import cached_property
from urllib.parse import unquote

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
LONGEST_GAP = 80
"""Characters between the name of a parameter and its value, or between two lines of that:
`</arg_key><arg_value>`, and what programs put before a line."""
LONGEST_CALL_HEAD = 400
"""Characters between the names of a function and of its parameter."""
MAX_OCCURRENCES = 1000
LINE_MARK = re.compile(
    r"^(?:[ \t]*+(?:[\w./\\@-][\w./\\@ -]{0,199}:(?=\d+[:-])|\d+[ \t]*[:|)\].\t\u2502→-]?|"
    r"[>|+*#%-]+|//+|;+))+[ \t]?",
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
ESCAPED = re.compile(r"(?<!\\)\\++([ntr\"'/_*<>{}\[\]#])")
URL_ENCODED = re.compile(r"%(?:3c|7b|28|22)", re.IGNORECASE)
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
UNESCAPED = {"n": "\n", "t": "\t", "r": ""}
"""The letter behind a backslash -> the character that the two stand for."""
IGNORED = re.compile(r"[\s\\\"'`\u00b4\u2018-\u201f\u00ab\u00bb*]+")
"""White space, quotes, backslashes and marks of emphasis, none of which tells two texts apart."""
NAME = re.compile(
    rf"[\"']?(?:{'|'.join(sorted(NAME_KEYS))})[\"']?\s*:\s*(?:\{{\s*[\"']?name[\"']?\s*:\s*)?"
    r"[\"']([^\"']{1,100})[\"']"
)
ARGUMENTS_FIRST = re.compile(rf"[\[{{\s]*[\"'](?:{'|'.join(sorted(ARGUMENT_KEYS))}|type|id)[\"']")
PLAUSIBLE = {
    "```": re.compile(
        r"`{3,}(?:json|tool_calls?|tool|function)?\s*[{\[<]|`{3,}tool_code\s*\w+\(", re.IGNORECASE
    ),
    "functions.": re.compile(r"functions\.[\w.-]{1,100}:\d"),
}
"""Openers that are common elsewhere -> how they begin a call."""
HINT = re.compile(r"[{<&(]|%[237]|\[\w|functions\.|\\[ux]")
"""What a text that holds a call has, however it is quoted."""
CODED = re.compile(r"&#|&amp;|%3[cC]|%7[bB]|\\[ux][0-9a-fA-F]|[\uff01-\uff5e]|" + INVISIBLE.pattern)
"""What may be letters in another code."""
OPENERS = {opener.decode(): style for style in STYLES for opener in style.openers}
BRACKETS = {"{": r"\{(?=\s*[\"'])", "[": r"\[(?=\s*\{\s*[\"'])"}
"""The openers of JSON that are everywhere -> where they can begin a call."""
OPENER = re.compile(
    "|".join(
        BRACKETS.get(each) or re.escape(each) for each in sorted(OPENERS, key=len, reverse=True)
    )
)


def _stands_in(text: str, name: str, key: str, lines: list[str]) -> bool:
    """Whether `text` has the name, the key behind it, and then the lines in their order."""
    at = -1
    for _ in range(MAX_OCCURRENCES):
        at = text.find(lines[0], at + 1)
        if at < 0:
            return False
        key_at = text.rfind(key, max(0, at - LONGEST_GAP - len(key)), at)
        if key_at < 0 or name not in text[max(0, key_at - LONGEST_CALL_HEAD) : key_at]:
            continue
        end = at + len(lines[0])
        for line in lines[1:]:
            found = text.find(line, end, end + LONGEST_GAP + len(line))
            if found < 0:
                break
            end = found + len(line)
        else:
            return True
    return True


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
        self._named: dict[str, Quotations] = {}

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
        # Markdown has a backslash before an underscore.
        pattern = re.compile(re.escape(name).replace("_", r"\\*_"), re.IGNORECASE)
        if name not in self._named:
            self._named[name] = Quotations(
                [text for text in self._given if pattern.search(text) or CODED.search(text)]
            )
        return self._named[name]

    def hold(self, text: str) -> bool:
        """Whether `text` stands in one of the texts, quoted in whichever way."""
        wanted = plain(text)
        return any(wanted in each for each in self._plain)

    def hold_value(self, name: str, key: str, value: str) -> bool:
        """Whether a text names a function, then one of its parameters and, right behind, a value.

        So stands a call that `calls` cannot read: one without its end, or one whose lines have
        something else in front of them. Values of less than SHORTEST_VALUE characters stand
        everywhere, and count nowhere.
        """
        lines = [line for line in map(plain, value.split("\n")) if len(line) >= SHORTEST_VALUE]
        if not lines:
            return False
        wanted_name, wanted_key = plain(name), plain(key)
        return any(_stands_in(text, wanted_name, wanted_key, lines) for text in self._plain)

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
    if URL_ENCODED.search(text):
        text = unquote(text)
    if "\x1b" in text:
        text = COLOUR.sub("", text)
    if text.isascii():
        return text
    return INVISIBLE.sub("", unicodedata.normalize("NFKC", text))


def _unescaped(text: str) -> str:
    """A text that stands as a string in JSON or in code, as it was."""
    return ESCAPED.sub(lambda found: UNESCAPED.get(found[1], found[1]), text)


def _places(text: str, known: Known) -> Iterator[tuple[Style, int]]:
    """The forms that may begin in a text, and where. What is no call can be seen cheaply here."""
    names = [found.start() for found in NAME.finditer(text) if known(found[1])]
    for opener in OPENER.finditer(text):
        style = OPENERS[opener[0]]
        start = opener.start()
        if opener[0] in {"{", "["}:
            n = bisect(names, start)
            far = WINDOW if ARGUMENTS_FIRST.match(text, start) else LONGEST_HEAD
            if n == len(names) or names[n] > start + far:
                continue
        elif opener[0] in PLAUSIBLE and not PLAUSIBLE[opener[0]].match(text, start):
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
