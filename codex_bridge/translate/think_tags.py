"""Reasoning that stands in the text, between tags, as old versions of Ollama leave it there."""

from __future__ import annotations

import re
from enum import Enum, auto

BEGIN, END = "<think>", "</think>"
TAIL = re.compile(r"\s*(?:<(?:/(?:t(?:h(?:i(?:n(?:k)?)?)?)?)?)?)?$")
"""White space and a beginning of the end tag, at the end of a piece."""


class _State(Enum):
    START = auto()
    """Nothing but white space so far: the text may begin with reasoning."""
    INSIDE = auto()
    AFTER = auto()
    """The tag has just ended; white space behind it belongs to nothing."""
    TEXT = auto()


class ThinkSplitter:
    """Splits the text of one answer into reasoning and text, as it arrives.

    Only a tag that opens the answer counts: later ones are words about tags.
    """

    def __init__(self) -> None:
        self._state = _State.START
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

    def has_thought(self) -> None:
        """The model has reasoned already: an end tag that comes first only closes that."""
        self._thought = True

    def _look_for_begin(self) -> None:
        text = self._held.lstrip()
        tags = (BEGIN, END) if self._thought else (BEGIN,)
        if text.startswith(BEGIN):
            self._held, self._state = text[len(BEGIN) :], _State.INSIDE
        elif self._thought and text.startswith(END):
            self._held, self._state = text[len(END) :], _State.AFTER
        elif not any(tag.startswith(text) for tag in tags):
            self._state = _State.TEXT

    def _take_reasoning(self) -> str:
        """The reasoning so far, less white space around it and what may be the end tag."""
        if not self._reasoned:
            self._held = self._held.lstrip()
        reasoning, tag, rest = self._held.partition(END)
        if tag:
            self._held, self._state = rest, _State.AFTER
            return reasoning.rstrip()
        tail = TAIL.search(reasoning)
        end = tail.start() if tail else len(reasoning)
        self._held = reasoning[end:]
        self._reasoned = self._reasoned or end > 0
        return reasoning[:end]

    def _taken(self) -> str:
        held, self._held = self._held, ""
        return held
