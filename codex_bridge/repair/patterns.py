"""Whether a text matches a regular expression of a JSON schema, within a bounded time.

Python's own `re` may try exponentially many ways, and nothing can stop it meanwhile. Here all ways
are followed at once: each part of an expression turns the set of places that were reached in the
text into the set of places that are reached behind it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache, partial

from attrs import define, field

MAX_STEPS = 200_000
"""Places that are visited for one match, which takes some 0.06 s."""
MAX_DEPTH = 30
"""Groups inside of groups."""
Char = Callable[[str], bool]
Part = Callable[["_Text", "Places"], "Places"]
Places = frozenset[int]

DIGITS = frozenset("0123456789")
WORD = DIGITS | frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
SPACE = frozenset(" \t\n\r\v\f\u00a0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff") | frozenset(
    map(chr, range(0x2000, 0x200B))
)
LINE_ENDS = frozenset("\n\r\u2028\u2029")
CLASSES = {"d": DIGITS, "w": WORD, "s": SPACE}
"""What the dialect of JSON schemas (ECMA-262) means by a class, unlike Python."""
CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "v": "\v", "f": "\f", "0": "\0"}
CODE = re.compile(r"x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|u\{([0-9a-fA-F]{1,6})\}")
COUNT = re.compile(r"\{(\d{1,5})(?:(,)(\d{1,5})?)?\}")
GROUP = re.compile(r"\?(?::|<[A-Za-z_]\w*>|(<?[=!]))")
COUNTS = {"*": (0, None), "+": (1, None), "?": (0, 1)}


class NotUnderstood(Exception):
    """The expression has something that is not read here, or takes too many steps."""


def matches(pattern: str, text: str) -> bool:
    """Whether `pattern` matches somewhere in `text`. Raises NotUnderstood.

    Backreferences, lookbehind and classes of Unicode properties are not read.
    """
    if len(text) > MAX_STEPS:
        raise NotUnderstood("too many steps")
    return bool(_compiled(pattern)(_Text(text), frozenset(range(len(text) + 1))))


@define
class _Text:
    """The text that is matched; counts the places that are visited in it."""

    value: str
    steps: int = field(init=False, default=0)

    def count(self, places: Places) -> None:
        self.steps += len(places) + 1
        if self.steps > MAX_STEPS:
            raise NotUnderstood("too many steps")


@lru_cache(maxsize=100)
def _compiled(pattern: str) -> Part:
    parser = _Parser(pattern)
    part = parser.alternatives(0)
    if parser.at < len(pattern):
        raise NotUnderstood("a bracket without its partner")
    return part


# Parts of an expression.


def _one(is_meant: Char, text: _Text, places: Places) -> Places:
    text.count(places)
    end = len(text.value)
    return frozenset(at + 1 for at in places if at < end and is_meant(text.value[at]))


def _at(is_place: Callable[[str, int], bool], text: _Text, places: Places) -> Places:
    text.count(places)
    return frozenset(at for at in places if is_place(text.value, at))


def _ahead(part: Part, wanted: bool, text: _Text, places: Places) -> Places:
    return frozenset(at for at in places if bool(part(text, frozenset({at}))) is wanted)


def _sequence(parts: list[Part], text: _Text, places: Places) -> Places:
    for part in parts:
        if not places:
            break
        places = part(text, places)
    return places


def _any(parts: list[Part], text: _Text, places: Places) -> Places:
    return frozenset().union(*(part(text, places) for part in parts))


def _repeated(part: Part, least: int, most: int | None, text: _Text, places: Places) -> Places:
    for _ in range(least):
        text.count(places)
        places = part(text, places)
    reached, new = set(places), places
    times = least
    while new and (most is None or times < most):
        text.count(new)
        new = part(text, new) - reached
        reached |= new
        times += 1
    return frozenset(reached)


def _is_start(_: str, at: int) -> bool:
    return at == 0


def _is_end(text: str, at: int) -> bool:
    return at == len(text)


def _is_word_end(text: str, at: int) -> bool:
    return (at > 0 and text[at - 1] in WORD) != (at < len(text) and text[at] in WORD)


def _is_no_word_end(text: str, at: int) -> bool:
    return not _is_word_end(text, at)


PLACES = {"b": _is_word_end, "B": _is_no_word_end}


@define
class _Parser:
    """Reads one expression. Each method reads what begins at `at`, and raises NotUnderstood."""

    pattern: str
    at: int = 0

    def peek(self) -> str:
        return self.pattern[self.at : self.at + 1]

    def take(self) -> str:
        char = self.peek()
        if not char:
            raise NotUnderstood("it breaks off")
        self.at += 1
        return char

    def alternatives(self, depth: int) -> Part:
        if depth > MAX_DEPTH:
            raise NotUnderstood("nested too deeply")
        parts = [self.sequence(depth)]
        while self.peek() == "|":
            self.at += 1
            parts.append(self.sequence(depth))
        return parts[0] if len(parts) == 1 else partial(_any, parts)

    def sequence(self, depth: int) -> Part:
        parts: list[Part] = []
        while self.peek() not in {"", "|", ")"}:
            parts.append(self.counted(depth))
        return partial(_sequence, parts)

    def counted(self, depth: int) -> Part:
        part = self.atom(depth)
        if self.peek() in COUNTS:
            least, most = COUNTS[self.take()]
        elif count := COUNT.match(self.pattern, self.at):
            self.at = count.end()
            least = int(count[1])
            most = int(count[3]) if count[3] else None if count[2] else least
        else:
            return part
        if self.peek() == "?":
            # Whether it takes few or many makes no difference to whether there is a match.
            self.at += 1
        return partial(_repeated, part, least, most)

    def atom(self, depth: int) -> Part:
        char = self.take()
        if char == "(":
            return self.group(depth)
        if char == "[":
            return partial(_one, self.char_class())
        if char == "^":
            return partial(_at, _is_start)
        if char == "$":
            return partial(_at, _is_end)
        if char == ".":
            return partial(_one, lambda each: each not in LINE_ENDS)
        if char in "*+?)":
            raise NotUnderstood("nothing to repeat")
        if char != "\\":
            return partial(_one, char.__eq__)
        if self.peek() in PLACES:
            return partial(_at, PLACES[self.take()])
        return partial(_one, self.escape().__contains__)

    def group(self, depth: int) -> Part:
        look = ""
        if self.peek() == "?":
            kind = GROUP.match(self.pattern, self.at)
            look = (kind[1] or "") if kind else "unknown"
            if kind is None or look.startswith("<"):
                raise NotUnderstood("a group of an unknown kind")
            self.at = kind.end()
        part = self.alternatives(depth + 1)
        if self.take() != ")":
            raise NotUnderstood("a bracket without its partner")
        return partial(_ahead, part, look == "=") if look else part

    def char_class(self) -> Char:
        is_negated = self.peek() == "^"
        self.at += is_negated
        singles: set[str] = set()
        ranges: list[tuple[str, str]] = []
        wholes: list[_Chars] = []
        while self.peek() != "]":
            first = self.class_member()
            if self.pattern.startswith("-", self.at) and self.pattern[self.at + 1 :][:1] != "]":
                self.at += 1
                last = self.class_member()
                if not isinstance(first, str) or not isinstance(last, str) or last < first:
                    raise NotUnderstood("a range without an order")
                ranges.append((first, last))
            elif isinstance(first, str):
                singles.add(first)
            else:
                wholes.append(first)
        self.at += 1

        def is_member(char: str) -> bool:
            found = (
                char in singles
                or any(first <= char <= last for first, last in ranges)
                or any(char in whole for whole in wholes)
            )
            return found is not is_negated

        return is_member

    def class_member(self) -> str | _Chars:
        char = self.take()
        if char != "\\":
            return char
        if self.peek() == "b":
            self.at += 1
            return "\b"
        chars = self.escape()
        return next(iter(chars.members)) if chars.is_single else chars

    def escape(self) -> _Chars:
        """The characters that an escape stands for; `at` is behind its backslash."""
        if code := CODE.match(self.pattern, self.at):
            self.at = code.end()
            number = int(code[1] or code[2] or code[3], 16)
            if number > 0x10FFFF:
                raise NotUnderstood("no character")
            return _Chars(chr(number), is_single=True)
        char = self.take()
        if char.lower() in CLASSES:
            return _Chars(CLASSES[char.lower()], is_negated=char.isupper())
        if char in CONTROLS:
            return _Chars(CONTROLS[char], is_single=True)
        if char.isalnum():
            raise NotUnderstood("an unknown escape")
        return _Chars(char, is_single=True)


@define
class _Chars:
    """A set of characters, or all but these."""

    members: Iterable[str]
    is_negated: bool = False
    is_single: bool = False

    def __contains__(self, char: str) -> bool:
        return (char in self.members) is not self.is_negated
