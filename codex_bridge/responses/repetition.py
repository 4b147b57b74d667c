"""Notices that a model repeats itself without an end, while its answer is still arriving.

Small models do, at low temperatures above all, until the context is full. Only text whose end is
the same over and over counts, character by character or but for the digits of a counter. How much
of it is needed depends on what is repeated: a sentence is seldom meant twenty times, while the
cells of a table, or the zeros of a matrix, may well be.
"""

from __future__ import annotations

import re

STEP = 256
"""Characters between two looks at the text: about sixty tokens."""
KEPT = 8192
"""Characters in which the instance before the last one is looked for."""
SAMPLES = (40, 160, 640, 2560)
"""Lengths of the end that is looked for in the text before. A short one may stand twice in what is
repeated; the longest decides then."""
FEWEST, FEWEST_COUNTED = 5, 20
"""Instances that make a loop; of lines that differ by a counter there have to be more."""
BLANKS, WORDS, SYMBOLS = 1000, 1500, 4000
"""Characters that a loop has at least if white space alone, prose, or anything else is repeated."""
COUNTED, SHORTEST_COUNTED = 3000, 40
"""The same for prose with a counter, and the length of one instance of it."""
EQUAL_PIECES = 25
"""Ollama (`llm/server.go`) stops a model that gave more than thirty equal tokens in a row. Some of
them may arrive in one piece."""
DIGITS = str.maketrans("123456789", 9 * "0")
WORD = re.compile(r"\b[^\W\d]+\b|[\u2e80-\U0010ffff]")
"""A word, or a name without digits, or an emoji. Hexadecimal numbers are none."""
EDGE = re.compile(r"\W")
SYMBOL = re.compile(r"[<>{}()\[\];=|\\]")
"""What programs, markup and tables have in place of words."""


class Repetition:
    """Reads one text of a model piece by piece: its answer, its thoughts, or a call's arguments."""

    def __init__(self, patience: int = 1) -> None:
        """`patience`: how many times more has to be repeated than in text for people to read.

        The arguments of a call may hold a file, and a file many equal lines.
        """
        self._patience = patience
        self._pieces: list[str] = []
        """What came since the last look."""
        self._pending = 0
        """Characters in them."""
        self._size = 0
        """Characters that were looked at."""
        self._exact, self._counted = _End(), _End()
        self._loop: _End | None = None
        self._last_piece = ""
        self._equal_pieces = 0

    def add(self, text: str) -> bool:
        """Read the next piece, about a token; whether the text only repeats itself by now.

        The result depends on the text alone, not on how it is cut into pieces.
        """
        piece = text.strip()
        if piece == self._last_piece:
            self._equal_pieces += 1
        else:
            self._last_piece, self._equal_pieces = piece, 1
        self._pieces.append(text)
        self._pending += len(text)
        if self._pending >= STEP and self._loop is None:
            self._look()
        return self._loop is not None

    @property
    def useful(self) -> int:
        """How many characters of the text are of use: all, or up to the first repetition."""
        if self._loop is None:
            return self._size + self._pending
        return self._size - self._loop.length + self._loop.period

    @property
    def ended_in_equal_pieces(self) -> bool:
        """Whether the last pieces were equal but for white space.

        Where this answer has no finish reason, Ollama ended it for this reason.
        """
        return self._equal_pieces >= EQUAL_PIECES

    def _look(self) -> None:
        text = "".join(self._pieces)
        start = 0
        while self._loop is None and start + STEP <= len(text):
            part = text[start : start + STEP]
            start += STEP
            self._size += STEP
            self._exact.add(part)
            self._counted.add(part.translate(DIGITS))
            if self._is_loop(self._exact):
                self._loop = self._exact
            elif self._is_counted_loop(self._counted):
                self._loop = self._counted
        self._pieces, self._pending = [text[start:]], len(text) - start

    def _is_loop(self, end: _End) -> bool:
        if end.length < max(self._patience * BLANKS, FEWEST * end.period):
            return False
        unit = end.unit
        if unit.isspace():
            return True
        return end.length >= self._patience * (WORDS if _is_prose(unit) else SYMBOLS)

    def _is_counted_loop(self, end: _End) -> bool:
        """The same where all digits are one. A text with many of them is a list of dates or so."""
        least = max(self._patience * COUNTED, FEWEST_COUNTED * end.period)
        if end.length < least or end.period < SHORTEST_COUNTED:
            return False
        unit = end.unit
        return 10 * unit.count("0") <= len(unit) and _is_prose(unit)


def _is_prose(unit: str) -> bool:
    """Whether what is repeated are words rather than numbers, marks or code."""
    # It begins somewhere: cut it where no word is.
    edge = EDGE.search(unit)
    start = edge.start() if edge else 0
    text = unit[start:] + unit[:start]
    words = WORD.findall(text)
    if len(set("".join(words))) < 2 and text.isascii():
        # Such as zeros in base64. A single character of Chinese is a word.
        return False
    return 2 * sum(map(len, words)) >= len(text) and 20 * len(SYMBOL.findall(text)) <= len(text)


class _End:
    """The end of a text, and how far back from there it repeats itself."""

    def __init__(self) -> None:
        self.period = 0
        """Characters from one instance to the next; 0 if nothing is repeated."""
        self.length = 0
        """Characters at the end of the text that repeat themselves with this period."""
        self._kept = ""

    @property
    def unit(self) -> str:
        """What is repeated, beginning somewhere in it."""
        return self._kept[-self.period :]

    def add(self, part: str) -> None:
        self._kept = kept = (self._kept + part)[-KEPT:]
        before = len(kept) - len(part) - self.period
        if self.period and kept.startswith(part, before):
            self.length += len(part)
        else:
            self.period, self.length = _longest_repetition(kept)


def _longest_repetition(text: str) -> tuple[int, int]:
    """Period and length of the longest end of `text` that repeats itself; zeros if none does."""
    best = (0, 0)
    for sample in SAMPLES:
        at = text.rfind(text[-sample:], 0, len(text) - 1)
        if at < 0:
            break
        period = len(text) - sample - at
        length = period + _common_end(text, period)
        if length > best[1]:
            best = (period, length)
    return best


def _common_end(text: str, period: int) -> int:
    """How many characters at the end of `text` also stand `period` characters before."""
    known, impossible = 0, len(text) - period + 1
    while impossible - known > 1:
        middle = (known + impossible) // 2
        if text.endswith(text[-middle - period : -period]):
            known = middle
        else:
            impossible = middle
    return known
