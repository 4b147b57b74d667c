"""Reads JSON as small models write it, and tells what was wrong with it.

Reads only what was written: a value that is missing or a string that breaks off is an error,
never a guess. Libraries that repair JSON put something in such places.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

MAX_DEPTH = 100
SPACE = re.compile(r"\s*")
NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.])")
WORD = re.compile(r"[A-Za-z_][\w-]*")
WORDS = {"true": True, "false": False, "null": None}
PYTHON_WORDS = {"True": True, "False": False, "None": None}
ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
HEX = re.compile(r"[0-9a-fA-F]{4}")
PLAIN = {quote: re.compile(rf"[^\\{quote}\x00-\x1f]+") for quote in "\"'"}
FENCE = re.compile(r"```[\w-]*+(.*)```", re.DOTALL)
AFTER_STRING = re.compile(r"\s*(?:[,:}\]]|\Z)")
MAX_ENCODINGS = 3


def loads(text: str) -> tuple[Any, frozenset[str]]:
    """The value of `text`, and the slips found in it; none if it is plain JSON.

    Raises ValueError where the text leaves open what is meant.
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
            value, more = orjson.loads(value), {"double encoding"}
        except orjson.JSONDecodeError:
            break
        slips |= more
    return value, frozenset(slips)


def can_be_written(value: Any) -> bool:
    """Whether a value that was read is not nested too deeply to be written inside of others.

    orjson reads 1024 levels and writes 254.
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
    reader = _Reader(text, slips)
    try:
        value = reader.value()
    except RecursionError:
        raise ValueError("nested too deeply") from None
    rest = text[reader.at :].strip()
    if rest and rest[0] in "{[":
        if rest != text[: reader.at].strip():
            # A second value is not to be lost without a word.
            raise ValueError("more than one value")
        slips.add("repeated")
    elif rest:
        slips.add("trailing text")
    return value, slips


class _Reader:
    """A recursive-descent reader over one text."""

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
        if char in {'"', "'"}:
            return self.string()
        if number := NUMBER.match(self.text, self.at):
            self.at = number.end()
            return orjson.loads(number[0])
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
        made: dict[str, Any] = {}
        while not self.closed("}"):
            key = self.key()
            if self.next() != ":":
                raise self.error("no colon")
            self.at += 1
            made[key] = self.value()
            self.separator("}")
        return made

    def array(self) -> list[Any]:
        self.enter()
        made: list[Any] = []
        while not self.closed("]"):
            made.append(self.value())
            self.separator("]")
        return made

    def enter(self) -> None:
        self.at += 1
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.error("nested too deeply")

    def closed(self, end: str) -> bool:
        """Whether the container ends here; where the text ends, or an outer one, it does."""
        char = self.next()
        if char == end:
            self.at += 1
        elif char == "" or (char in {"}", "]"} and self.depth > 1):
            self.slips.add("unclosed")
        else:
            return False
        self.depth -= 1
        return True

    def separator(self, end: str) -> None:
        char = self.next()
        if char == ",":
            self.at += 1
            if self.next() in {end, ""}:
                self.slips.add("trailing comma")
        elif char in {'"', "'"} and end == "}":
            self.slips.add("missing comma")
        elif char not in {"}", "]", ""}:
            raise self.error("no comma")

    def key(self) -> str:
        if self.next() in {'"', "'"}:
            return self.string()
        if word := WORD.match(self.text, self.at):
            self.at = word.end()
            self.slips.add("bare key")
            return word[0]
        raise self.error("no key")

    def string(self) -> str:
        quote = self.text[self.at]
        if self.text.startswith(quote * 3, self.at):
            return self.triple(quote * 3)
        if quote == "'":
            self.slips.add("single quotes")
        self.at += 1
        pieces: list[str] = []
        inner = 0
        while self.at < len(self.text):
            if plain := PLAIN[quote].match(self.text, self.at):
                pieces.append(plain[0])
                self.at = plain.end()
                continue
            char = self.text[self.at]
            self.at += 1
            if char == "\\":
                pieces.append(self.escape())
            elif char != quote:
                self.slips.add("raw newline" if char in "\r\n" else "raw control character")
                pieces.append(char)
            elif AFTER_STRING.match(self.text, self.at):
                if inner % 2:
                    raise self.error("quotes that do not pair")
                return _whole("".join(pieces))
            else:
                self.slips.add("inner quotes")
                inner += 1 if quote == '"' else 0
                pieces.append(char)
        raise self.error("a string breaks off")

    def triple(self, quotes: str) -> str:
        end = self.text.find(quotes, self.at + 3)
        if end < 0:
            raise self.error("a string breaks off")
        inner = self.text[self.at + 3 : end]
        self.at = end + 3
        self.slips.add("triple quotes")
        return inner

    def escape(self) -> str:
        char = self.text[self.at : self.at + 1]
        self.at += 1
        if char in ESCAPES:
            return ESCAPES[char]
        if char == "u" and (digits := HEX.match(self.text, self.at)):
            self.at = digits.end()
            return chr(int(digits[0], 16))
        if char == "'":
            return char
        if char == "\n":
            return "\\\n"
        # A regular expression or a path, written as in a shell.
        self.slips.add("bad escape")
        return f"\\{char}"

    def next(self) -> str:
        """The next character that is no space, without taking it; "" at the end."""
        self.at = SPACE.match(self.text, self.at).end()  # type: ignore[union-attr]
        return self.text[self.at : self.at + 1]

    def error(self, what: str) -> ValueError:
        return ValueError(f"{what} at character {self.at}")


def _whole(text: str) -> str:
    """Escaped surrogates joined in pairs; half of one replaced, since no encoder takes it."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
