"""Reads a text that is still arriving: generators that yield when they need more of it.

    def greeting(cursor):
        yield from cursor.literal(b"hello ")
        name, _ = yield from cursor.until(re.compile(b"!"), 1)
        return name

Whoever drives the generator appends to the cursor and resumes it after each yield. Each byte
is looked at a bounded number of times, however the text was cut.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")
Reading = Generator[None, None, T]
SPACE = re.compile(rb"\s*")
OUTSIDE = re.compile(rb"[\"'{}\[\]]")
INSIDE = {b'"'[0]: re.compile(rb'["\\]'), b"'"[0]: re.compile(rb"['\\]")}


class NoCall(Exception):
    """What was read cannot become a tool call."""


class Cursor:
    """A growing text, as UTF-8, and a place in it."""

    def __init__(self, text: str = "") -> None:
        # A bytearray grows in place: a long call in small pieces stays linear.
        self.buffer = bytearray(text.encode(errors="replace"))
        self.at = 0
        self.ended = False

    def append(self, text: str) -> None:
        self.buffer += text.encode(errors="replace")

    def text(self, start: int, end: int | None = None) -> str:
        """What lies between two places."""
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
            open_still = any(word.startswith(rest) and word != rest for word in words)
            if self.ended or not open_still:
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
        """Take the bytes of a class such as `[\\w.]*`. Raises NoCall beyond `longest`."""
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
        """Take what comes before `end`, and `end` itself; without it, all there is.

        `longest_end` is the length of the longest match, in bytes. Raises NoCall when more
        than `limit` bytes come before.
        """
        start = search = self.at
        while True:
            if found := end.search(self.buffer, search):
                self.at = found.end()
                return self.text(start, found.start()), bytes(found[0])
            if limit is not None and len(self.buffer) - start > limit:
                raise NoCall
            if self.ended:
                self.at = len(self.buffer)
                return self.text(start), b""
            search = max(start, len(self.buffer) - longest_end)
            yield

    def before(self, end: bytes, limit: int) -> Reading[str]:
        """Take what comes before `end`, and `end`. Raises NoCall if it does not come soon."""
        text, found = yield from self.until(re.compile(re.escape(end)), len(end), limit)
        if not found:
            raise NoCall
        return text

    def json(self) -> Reading[str]:
        """Take an object or array up to its own end, by brackets; without it, all there is.

        Strings may stand in single quotes; whether it is JSON is not checked.
        """
        start, at, depth = self.at, self.at, 0
        quote = 0
        while True:
            pattern = INSIDE[quote] if quote else OUTSIDE
            found = pattern.search(self.buffer, at)
            if found is None or (found[0] == b"\\" and found.end() >= len(self.buffer)):
                if self.ended:
                    self.at = len(self.buffer)
                    return self.text(start)
                at = found.start() if found else len(self.buffer)
                yield
                continue
            char, at = found[0][0], found.end()
            if quote:
                if char == quote:
                    quote = 0
                elif char == b"\\"[0]:
                    at += 1
            elif char in INSIDE:
                quote = char
            elif char in b"{[":
                depth += 1
            else:
                depth -= 1
                if depth <= 0:
                    self.at = at
                    return self.text(start, at)

    def string(self) -> Reading[str]:
        """Take a string with its quotes. Raises NoCall if none comes, or the text ends inside."""
        start = at = self.at
        quote = (yield from self.peek())[:1]
        if quote not in {b'"', b"'"}:
            raise NoCall
        at += 1
        while True:
            found = INSIDE[quote[0]].search(self.buffer, at)
            if found and found[0] == quote:
                self.at = found.end()
                return self.text(start, self.at)
            if found and found.end() < len(self.buffer):
                at = found.end() + 1
                continue
            if self.ended:
                raise NoCall
            at = found.start() if found else len(self.buffer)
            yield
