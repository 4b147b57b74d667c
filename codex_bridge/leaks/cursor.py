"""Reads a text that is still arriving: generators that yield when they need more of it.

    def greeting(cursor):
        yield from cursor.literal(b"hello ")
        name, _ = yield from cursor.until(re.compile(b"!"), 1)
        return name

The caller of such a generator appends text to the cursor and resumes the generator after each
yield. Each byte is examined a bounded number of times, however the text was cut.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")
Reading = Generator[None, None, T]
"""A generator that yields whenever it needs more text, and returns what it read."""
SPACE = re.compile(rb"\s*")
OUTSIDE = re.compile(rb"[\"'{}\[\]]")
"""What matters outside of a JSON string: quotes and brackets."""
OUTSIDE_PYTHON = re.compile(rb"[\"'(){}\[\]]")
OPENING = frozenset({b"{", b"[", b"("})
INSIDE = {b'"': re.compile(rb'["\\]'), b"'": re.compile(rb"['\\]")}
"""The quote that opened a string -> what matters inside of it: that quote and backslashes."""


class NoCall(Exception):
    """The text read so far cannot become a tool call."""


class Cursor:
    """A growing text, kept as UTF-8, and a position in it (`at`, in bytes).

    `ended` is set by the owner once no more text will come.
    """

    def __init__(self, text: str = "") -> None:
        # A bytearray grows in place: appending a long call in small pieces takes linear time.
        self.buffer = bytearray(text.encode(errors="replace"))
        self.at = 0
        self.ended = False

    def append(self, text: str) -> None:
        """Add text that has arrived."""
        self.buffer += text.encode(errors="replace")

    def text(self, start: int, end: int | None = None) -> str:
        """The text between two positions; up to its end so far without `end`."""
        return self.buffer[start:end].decode(errors="replace")

    def space(self) -> Reading[None]:
        """Skip white space."""
        while True:
            self.at = SPACE.match(self.buffer, self.at).end()  # type: ignore[union-attr]
            if self.at < len(self.buffer) or self.ended:
                return
            yield

    def peek(self) -> Reading[bytes]:
        """The next byte, without taking it; b"" at the end of the text."""
        while self.at >= len(self.buffer) and not self.ended:
            yield
        return bytes(self.buffer[self.at : self.at + 1])

    def take(self, *words: bytes) -> Reading[bytes]:
        """Take the longest of `words` that comes next; b"" if none does."""
        longest = max(map(len, words))
        while True:
            rest = bytes(self.buffer[self.at : self.at + longest])
            undecided = any(word.startswith(rest) and word != rest for word in words)
            if self.ended or not undecided:
                word = max((w for w in words if rest.startswith(w)), key=len, default=b"")
                self.at += len(word)
                return word
            yield

    def literal(self, *words: bytes) -> Reading[bytes]:
        """Take one of `words`. Raises NoCall if none comes next."""
        word = yield from self.take(*words)
        if not word:
            raise NoCall
        return word

    def run(self, pattern: re.Pattern[bytes], longest: int) -> Reading[str]:
        r"""Take the bytes that match a repeated class such as `[\w.]*`.

        Raises NoCall when more than `longest` bytes match.
        """
        while True:
            found = pattern.match(self.buffer, self.at)
            end = found.end() if found else self.at
            if end - self.at > longest:
                raise NoCall
            if end < len(self.buffer) or self.ended:
                text = self.text(self.at, end)
                self.at = end
                return text
            yield

    def until(
        self, end: re.Pattern[bytes], longest_end: int, limit: int | None = None
    ) -> Reading[tuple[str, bytes]]:
        """Take the text before the first match of `end`, and the match itself.

        Returns both. Where the text ends without a match, that is all of it and b"".
        `longest_end` is the length of the longest match, in bytes. Raises NoCall when more than
        `limit` bytes come before.
        """
        start = search = self.at
        while True:
            found = end.search(self.buffer, search)
            # Without a match, the last bytes may still become the beginning of one.
            before = found.start() if found else len(self.buffer) - longest_end + 1
            if limit is not None and before - start > limit:
                raise NoCall
            if found:
                self.at = found.end()
                return self.text(start, found.start()), bytes(found[0])
            if self.ended:
                self.at = len(self.buffer)
                return self.text(start), b""
            search = max(start, len(self.buffer) - longest_end)
            yield

    def before(self, end: bytes, limit: int) -> Reading[str]:
        """Take the text before `end`, and `end`; return the text.

        Raises NoCall if `end` does not come within `limit` bytes.
        """
        text, found = yield from self.until(re.compile(re.escape(end)), len(end), limit)
        if not found:
            raise NoCall
        return text

    def json(self) -> Reading[str]:
        """Take an object or array, by its brackets; all the text if it never closes.

        Strings may stand in single quotes. Whether it is valid JSON is not checked.
        """
        return self._bracketed(OUTSIDE)

    def parenthesised(self) -> Reading[str]:
        """The same for what stands in parentheses, as the arguments of a call in Python do."""
        return self._bracketed(OUTSIDE_PYTHON)

    def _bracketed(self, outside: re.Pattern[bytes]) -> Reading[str]:
        start = at = self.at
        depth = 0
        while True:
            found = outside.search(self.buffer, at)
            if found is None:
                at = len(self.buffer)
                if self.ended:
                    break
                yield
                continue
            at = found.end()
            if found[0] in INSIDE:
                at = (yield from self._string_end(found.start())) or len(self.buffer)
            elif found[0] in OPENING:
                depth += 1
            else:
                depth -= 1
                if depth <= 0:
                    break
        self.at = at
        return self.text(start, at)

    def string(self) -> Reading[str]:
        """Take a string with its quotes. Raises NoCall if none comes, or the text ends inside."""
        if (yield from self.peek()) not in INSIDE:
            raise NoCall
        start = self.at
        end = yield from self._string_end(start)
        if end is None:
            raise NoCall
        self.at = end
        return self.text(start, end)

    def _string_end(self, start: int) -> Reading[int | None]:
        """The position behind the string whose quote is at `start`; None if it never closes."""
        quote = bytes(self.buffer[start : start + 1])
        at = start + 1
        while True:
            found = INSIDE[quote].search(self.buffer, at)
            if found and found[0] == quote:
                return found.end()
            if found and found.end() < len(self.buffer):
                at = found.end() + 1
                continue
            if self.ended:
                return None
            # A backslash at the end is looked at again, with the character that it escapes.
            at = found.start() if found else len(self.buffer)
            yield
