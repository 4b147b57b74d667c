"""Whether a prompt fits, by what was counted of the conversation before it. No I/O."""

from __future__ import annotations

from attrs import frozen

from codex_bridge.engines.prompt_size import Prompt, PromptSize

LEAST_BYTES, LIKELY_BYTES, CUT_BYTES = 8.0, 4.5, 12.0
"""Bytes of text in a token: hardly ever more; mostly; more only where something was left out."""
LEAST_IMAGE, LIKELY_IMAGE, MOST_IMAGE = 64, 1000, 1500
"""Tokens of a picture."""
MARKUP, PREAMBLE = 16, 512
"""Tokens that a template adds at most: to each message; and on how to call functions."""
LEARNING_SIZE = 2000
"""Bytes: the count of a shorter prompt says more about its template than about text."""
CLEARLY = 0.9
"""The part of a count below which the next one has fallen, whatever it is made of."""
MAX_CONVERSATIONS = 64


@frozen
class Bounds:
    """How many tokens a prompt has."""

    least: int
    likely: int
    most: int


@frozen
class Counted:
    """A prompt of which the server told the tokens."""

    size: PromptSize
    tokens: int
    api: str
    """The dialect in which it was sent."""


class Counts:
    """The last prompt that was counted of each conversation.

    A prompt goes on with another one if it begins with all its messages; so nothing that was
    learned of one conversation is held against another.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, bytes], Counted] = {}

    def __len__(self) -> int:
        return len(self._known)

    def before(self, model: str, prompt: Prompt) -> Counted | None:
        """The longest counted prompt that this one begins with."""
        marks = reversed(prompt.marks)
        known = self._known
        return next((known[model, mark] for mark in marks if (model, mark) in known), None)

    def bounds(self, model: str, prompt: Prompt) -> Bounds:
        """How many tokens the prompt can have."""
        return bounds(prompt.size, self.before(model, prompt))

    def is_cut(self, model: str, prompt: Prompt, tokens: int) -> bool:
        """Whether the server counted less than can be: it left something out."""
        size, last = prompt.size, self.before(model, prompt)
        if last and tokens < CLEARLY * (last.tokens - _vanished(size, last.size)):
            return True
        return size.text >= LEARNING_SIZE and tokens * CUT_BYTES < size.text

    def learn(self, model: str, prompt: Prompt, tokens: int, api: str) -> None:
        """Remember what was counted, in place of what the prompt goes on with."""
        if not prompt.marks:
            return
        for mark in reversed(prompt.marks):
            if self._known.pop((model, mark), None):
                break
        self._known[model, prompt.marks[-1]] = Counted(prompt.size, tokens, api)
        while len(self._known) > MAX_CONVERSATIONS:
            del self._known[next(iter(self._known))]


def bounds(size: PromptSize, last: Counted | None = None) -> Bounds:
    """How many tokens a prompt of this size has, if it goes on with `last`."""
    least, likely, most = _least(size), _likely(size), _most(size) + PREAMBLE
    if last is not None:
        grown = _grown(size, last.size)
        vanished = _vanished(size, last.size)
        least = max(least, last.tokens - vanished + _least(grown))
        likely = last.tokens - vanished / LIKELY_BYTES + _likely(grown)
        most = min(most, last.tokens + _most(grown))
    likely = max(likely, least)
    return Bounds(round(least), round(likely), round(max(most, likely)))


def _least(size: PromptSize) -> float:
    return size.text / LEAST_BYTES + LEAST_IMAGE * size.images


def _likely(size: PromptSize) -> float:
    return (size.text + size.thought) / LIKELY_BYTES + LIKELY_IMAGE * size.images


def _most(size: PromptSize) -> float:
    text = (size.text - size.dense) / 2 + size.dense + size.thought
    return text + MOST_IMAGE * size.images + MARKUP * size.messages


def _grown(size: PromptSize, last: PromptSize) -> PromptSize:
    """What is new in a prompt."""
    return PromptSize(
        max(0, size.text - last.text),
        max(0, size.dense - last.dense),
        max(0, size.thought - last.thought),
        max(0, size.images - last.images),
        max(0, size.messages - last.messages),
    )


def _vanished(size: PromptSize, last: PromptSize) -> int:
    """Bytes that may be shown no more: reasoning behind a new question, declarations."""
    return max(0, last.thought - size.thought) + max(0, last.text - size.text)
