"""Reads JSON as small models write it, and names what was wrong with it.

It reads only what was written: a missing value, or a string that breaks off, is an error and never
a guess. Libraries that repair JSON invent something in such places.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

MAX_DEPTH = 100
"""Objects and arrays inside of each other."""
SPACE = re.compile(r"\s*")
COMMENT = re.compile(r"//[^\n]*+|/\*.*?\*/", re.DOTALL)
NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.])")
ODD_NUMBER = re.compile(
    r"(?=[+-]?\.?\d)([+-]?)((?:0|[1-9]\d*(?:_\d+)*)?(?:\.\d+)?(?:[eE][+-]?\d+)?)(?<=\d)(?![\w.])"
)
"""A number as Python and JavaScript also write it: .5, +1, 1_000."""
WORD = re.compile(r"[A-Za-z_][\w-]*")
WORDS = {"true": True, "false": False, "null": None}
PYTHON_WORDS = {"True": True, "False": False, "None": None}
ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
HEX = re.compile(r"[0-9a-fA-F]{4}")
CLOSING = {'"': '"', "'": "'", "\u201c": "\u201d"}
"""The quote that opens a string -> the one that closes it."""
PLAIN = {quote: re.compile(rf"[^\\{quote}\x00-\x1f]+") for quote in CLOSING.values()}
LOST_BRACE = re.compile(r"([\"'\u201c]?)[A-Za-z_][\w-]*[\"'\u201d]\s*:")
"""The key with which arguments begin whose brace is missing, perhaps also the quote."""
FENCE = re.compile(r"```[\w-]*+(.*)```", re.DOTALL)
AFTER_STRING = re.compile(r"\s*(?:[,:}\]]|//|/\*|\Z)")
NOTHING = re.compile(r"\s*\Z")
NO_COMMA = re.compile(r"[\"']\s+[\"'\[{]")
"""Two entries of a list without the comma between them, or quotes inside of one."""
MAX_ENCODINGS = 3
"""How often a value may be JSON inside of a JSON string."""


def loads(text: str) -> tuple[Any, frozenset[str]]:
    """Return the value of `text`, and the slips found in it; none if it is plain JSON.

    The slips are repair steps in the words of docs/tools.md. Raises ValueError where the text
    leaves open which value was intended.
    """
    try:
        value = orjson.loads(text)
        slips: set[str] = set()
    except orjson.JSONDecodeError:
        value, slips = _read(text)
    for _ in range(MAX_ENCODINGS):
        if not isinstance(value, str) or value.lstrip()[:1] not in {"{", "[", '"'}:
            break
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            break
        slips.add("double encoding")
    return value, frozenset(slips)


def can_be_written(value: Any) -> bool:
    """Whether orjson can write `value`, which it has read, inside of an event.

    It reads 1024 levels of nesting and writes 254.
    """
    try:
        orjson.dumps([[[[[[[[value]]]]]]]])
    except orjson.JSONEncodeError:
        return False
    return True


def _read(text: str) -> tuple[Any, set[str]]:
    slips: set[str] = set()
    if fenced := FENCE.fullmatch(text.strip()):
        text = fenced[1].strip()
        slips.add("fence")
    if lost := LOST_BRACE.match(text.lstrip()):
        text = ("{" if lost[1] else '{"') + text.lstrip()
        slips.add("lost brace")
    reader = _Reader(text, slips)
    try:
        value = reader.value()
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if isinstance(value, str) and "inner quotes" in slips:
        raise ValueError("a string with quotes inside, and nothing around it")
    rest = text[reader.at :].strip()
    if rest and rest[0] in "{[":
        if rest != text[: reader.at].strip():
            # Taking the first value would lose the second without a word.
            raise ValueError("more than one value")
        slips.add("repeated")
    elif rest:
        if rest[0] in ":=" and not isinstance(value, dict | list):
            raise ValueError("a key, and no value")
        if rest[0] == "," or LOST_BRACE.match(rest):
            raise ValueError("more keys behind the last bracket")
        slips.add("trailing text")
    return value, slips


class _Reader:
    """A recursive-descent parser over one text. Each method reads what begins at `at`."""

    def __init__(self, text: str, slips: set[str]) -> None:
        self.text = text
        self.at = 0
        self.slips = slips
        self.depth = 0

    def value(self) -> Any:
        char = self.next()
        if char == "{":
            return self.object()
        if char == "[":
            return self.array()
        if char in CLOSING:
            return self.string()
        if number := NUMBER.match(self.text, self.at):
            self.at = number.end()
            return orjson.loads(number[0])
        if number := ODD_NUMBER.match(self.text, self.at):
            self.at = number.end()
            self.slips.add("odd number")
            sign, digits = number[1].replace("+", ""), number[2].replace("_", "")
            return orjson.loads(f"{sign}0{digits}" if digits[0] == "." else sign + digits)
        if word := WORD.match(self.text, self.at):
            self.at = word.end()
            if word[0] in WORDS:
                return WORDS[word[0]]
            if word[0] in PYTHON_WORDS:
                self.slips.add("python literal")
                return PYTHON_WORDS[word[0]]
        raise self.error("no value")

    def object(self) -> dict[str, Any]:
        self.enter()
        members: dict[str, Any] = {}
        while not self.closed("}"):
            key = self.key()
            if self.next() != ":":
                raise self.error("no colon")
            self.at += 1
            members[key] = self.value()
            self.separator("}")
        return members

    def array(self) -> list[Any]:
        self.enter()
        entries: list[Any] = []
        while not self.closed("]"):
            entry = self.value()
            if isinstance(entry, str) and "inner quotes" in self.slips and NO_COMMA.search(entry):
                raise self.error("two strings, or one with quotes inside")
            entries.append(entry)
            self.separator("]")
        return entries

    def enter(self) -> None:
        """Take the bracket that opens a container."""
        self.at += 1
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.error("nested too deeply")

    def closed(self, end: str) -> bool:
        """Take the bracket that closes a container; whether it ends here.

        It also ends, unclosed, where the text or an outer container does.
        """
        char = self.next()
        if char == end:
            self.at += 1
        elif char == "" or (char in {"}", "]"} and self.depth > 1):
            self.slips.add("unclosed")
        elif char in {"}", "]"} and not self.text[self.at :].strip(" \t\r\n}]"):
            # No outer container is open that it could close, and nothing else comes.
            self.at += 1
            self.slips.add("wrong bracket")
        else:
            return False
        self.depth -= 1
        return True

    def separator(self, end: str) -> None:
        """Take the comma behind an entry of a container that `end` closes."""
        char = self.next()
        if char == ",":
            self.at += 1
            if self.next() in {end, ""}:
                self.slips.add("trailing comma")
        elif (char in CLOSING and end == "}") or (end == "]" and self.is_next_number()):
            self.slips.add("missing comma")
        elif char not in {"}", "]", ""}:
            raise self.error("no comma")

    def is_next_number(self) -> bool:
        """Whether a number follows behind white space: `1-2` and `1 -2` are no two numbers."""
        is_apart = self.text[self.at - 1].isspace()
        return is_apart and self.text[self.at : self.at + 1].isdigit()

    def key(self) -> str:
        if self.next() in CLOSING:
            return self.string(is_key=True)
        if word := WORD.match(self.text, self.at):
            self.at = word.end()
            self.slips.add("bare key")
            return word[0]
        raise self.error("no key")

    def string(self, *, is_key: bool = False) -> str:
        opening = self.text[self.at]
        quote = CLOSING[opening]
        if self.text.startswith(opening * 3, self.at):
            return self.triple_quoted(quote * 3)
        if quote != '"':
            self.slips.add("single quotes" if quote == "'" else "curly quotes")
        self.at += 1
        pieces: list[str] = []
        inner_quotes = 0
        while self.at < len(self.text):
            if plain := PLAIN[quote].match(self.text, self.at):
                pieces.append(plain[0])
                self.at = plain.end()
                continue
            char = self.text[self.at]
            self.at += 1
            if char == "\\":
                pieces.append(self.escape(quote))
            elif char != quote:
                self.slips.add("raw newline" if char in "\r\n" else "raw control character")
                pieces.append(char)
            elif self.closes_string(quote, inner_quotes, is_key):
                return _without_surrogates("".join(pieces))
            else:
                self.slips.add("inner quotes")
                pieces.append(char)
                inner_quotes += 1
        raise self.error("a string breaks off")

    def closes_string(self, quote: str, inner_quotes: int, is_key: bool) -> bool:
        """Whether the quote before `at` closes its string, by what follows.

        Raises ValueError if that cannot be told.
        """
        if not AFTER_STRING.match(self.text, self.at):
            if is_key:
                raise self.error("no colon")
            return False
        if quote == '"' and inner_quotes % 2:
            # Inner double quotes come in pairs. Single quotes need not: one is an apostrophe.
            raise self.error("quotes that do not pair")
        if inner_quotes and NOTHING.match(self.text, self.at):
            # It may be the quote behind an inner word of a string that breaks off.
            raise self.error("a string breaks off")
        return True

    def triple_quoted(self, quotes: str) -> str:
        """A string of Python between three quotes."""
        start = self.at + len(quotes)
        end = self.text.find(quotes, start)
        if end < 0:
            raise self.error("a string breaks off")
        if "\\" in self.text[start:end]:
            raise self.error("a backslash, which may be Python's or the text's")
        self.at = end + len(quotes)
        self.slips.add("triple quotes")
        return self.text[start:end]

    def escape(self, quote: str) -> str:
        """The text that an escape stands for; `at` is behind its backslash.

        `quote` ends the string that it stands in.
        """
        char = self.text[self.at : self.at + 1]
        self.at += 1
        if char in ESCAPES:
            return ESCAPES[char]
        if char == "u" and (digits := HEX.match(self.text, self.at)):
            self.at = digits.end()
            return chr(int(digits[0], 16))
        if char == quote:
            return char
        self.slips.add("bad escape")
        # A shell's line continuation, a regular expression or a path: the backslash belongs to it.
        return char if char == "'" else f"\\{char}"

    def next(self) -> str:
        """Skip white space and comments; return the next character without taking it.

        At the end it is "".
        """
        self.at = SPACE.match(self.text, self.at).end()  # type: ignore[union-attr]
        while comment := COMMENT.match(self.text, self.at):
            self.slips.add("comment")
            self.at = SPACE.match(self.text, comment.end()).end()  # type: ignore[union-attr]
        return self.text[self.at : self.at + 1]

    def error(self, what: str) -> ValueError:
        return ValueError(f"{what} at character {self.at}")


def _without_surrogates(text: str) -> str:
    """`text` with pairs of surrogates joined, and single ones replaced: no encoder takes them."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
