"""Reasoning that a server leaves in the text, between <think> tags -> reasoning, and the text."""

from __future__ import annotations

import re
from enum import Enum, auto

BEGIN, END = "<think>", "</think>"
TAIL = re.compile(r"<(?:/(?:t(?:h(?:i(?:n(?:k)?)?)?)?)?)?\Z")
"""The first characters of an end tag, where a piece of text ends with them."""

LONGEST_BLANK = 4096
"""Characters of white space behind which no reasoning begins; so much is held back."""


class _State(Enum):
    START = auto()
    """Only white space came so far: the text may still begin with reasoning."""
    INSIDE = auto()
    AFTER = auto()
    """The end tag has come; white space right behind it is dropped."""
    TEXT = auto()


class ThinkSplitter:
    """Splits the text of one answer into reasoning and text, as it arrives.

    Only a tag at the beginning of the answer counts: later ones are text about tags.
    """

    def __init__(self, *, inside: bool = False) -> None:
        """`inside`: whether the prompt has the tag that begins the reasoning."""
        self._state = _State.INSIDE if inside else _State.START
        self._spaces: list[str] = []
        """White space that is held back, before `_held`."""
        self._held = ""
        self._thought = False
        self._reasoned = False

    def feed(self, text: str) -> tuple[str, str]:
        """(reasoning, text) that are certain with this piece."""
        if self._state is _State.TEXT:
            return "", text
        self._held += text
        reasoning = ""
        if self._state is _State.START:
            self._look_for_begin()
        if self._state is _State.INSIDE:
            reasoning = self._take_reasoning()
        if self._state is _State.AFTER:
            self._held = self._held.lstrip()
            if self._held:
                self._state = _State.TEXT
        return reasoning, self._taken() if self._state is _State.TEXT else ""

    def end(self) -> tuple[str, str]:
        """(reasoning, text) that were held back until the end of the answer."""
        held = self._taken()
        return (held, "") if self._state is _State.INSIDE else ("", held)

    def note_reasoning(self) -> None:
        """Note that the server sent reasoning apart from the text.

        An end tag at the beginning of the text then only closes that reasoning.
        """
        self._thought = True

    def _look_for_begin(self) -> None:
        text = self._held.lstrip()
        self._spaces.append(self._held[: len(self._held) - len(text)])
        self._held = text
        tags = (BEGIN, END) if self._thought else (BEGIN,)
        if text.startswith(BEGIN):
            self._held, self._state = text[len(BEGIN) :], _State.INSIDE
            self._spaces = []
        elif self._thought and text.startswith(END):
            self._held, self._state = text[len(END) :], _State.AFTER
            self._spaces = []
        elif (
            not any(tag.startswith(text) for tag in tags)
            or sum(map(len, self._spaces)) > LONGEST_BLANK
        ):
            self._state = _State.TEXT

    def _take_reasoning(self) -> str:
        """The reasoning that is certain, without white space around it and a possible end tag."""
        if not self._reasoned:
            self._held = self._held.lstrip()
        text, tag, rest = self._held.partition(END)
        tail = None if tag else TAIL.search(text, max(0, len(text) - len(END)))
        self._held = text[tail.start() :] if tail else ""
        text = text[: len(text) - len(self._held)]
        reasoning = text.rstrip()
        space = text[len(reasoning) :]
        if reasoning:
            self._reasoned = True
            reasoning = "".join([*self._spaces, reasoning])
            self._spaces = []
        # A list, so that very many small pieces take linear time.
        self._spaces.append(space)
        if tag:
            self._held, self._state, self._spaces = rest, _State.AFTER, []
        return reasoning

    def _taken(self) -> str:
        held = "".join([*self._spaces, self._held])
        self._spaces, self._held = [], ""
        return held
