"""Whether a prompt fits into a context, by what was counted of its conversation. Without I/O."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import orjson
from attrs import evolve, frozen

from codex_bridge.vocabulary import ChatRequest, FailureKind, Json, UpstreamFailure

LEAST_BYTES, LIKELY_BYTES, CUT_BYTES = 8.0, 4.5, 12.0
"""Bytes of text in a token: hardly ever more; mostly; more only where something was left out."""
LEAST_IMAGE, LIKELY_IMAGE = 64, 1000
"""Tokens of a picture."""
ANSWER_SHARE = 16
"""The part of the context (one in so many) that a prompt has to leave for the answer: Ollama may
cut the beginning of a prompt when an answer goes past the context."""
LEARNING_SIZE = 2000
"""Bytes: the count of a shorter prompt says more about its template than about text."""
CLEARLY = 0.9
"""The part of a count below which the next one has fallen, whatever it is made of."""
MAX_CONVERSATIONS = 64


@frozen
class Prompt:
    """What has to be known of a prompt to tell whether it fits. It is the same in any dialect."""

    text: int = 0
    """Bytes of messages and declarations that the model's template shows."""
    thought: int = 0
    """Bytes of reasoning since the last question: it vanishes behind the next one."""
    images: int = 0
    marks: tuple[bytes, ...] = ()
    """One for each message, which stands for it and all before it."""
    tokens: int = 0
    """What the server counted; 0: not counted yet."""

    def lost(self, last: Prompt) -> int:
        """Bytes of `last` that may not be shown any more: reasoning, declarations."""
        return max(0, last.thought - self.thought) + max(0, last.text - self.text)

    def bounds(self, last: Prompt) -> tuple[int, int]:
        """The tokens at the least and likely, if the prompt goes on from `last`."""
        text, images = max(0, self.text - last.text), max(0, self.images - last.images)
        thought, lost = max(0, self.thought - last.thought), self.lost(last)
        least = max(
            self.text / LEAST_BYTES + self.images * LEAST_IMAGE,
            last.tokens - lost + text / LEAST_BYTES + images * LEAST_IMAGE,
        )
        likely = last.tokens + (text + thought - lost) / LIKELY_BYTES + images * LIKELY_IMAGE
        return round(least), round(max(least, likely))


def measured(request: ChatRequest) -> Prompt:
    """The prompt of `request`."""
    images, thought = 0, 0
    for message in request.messages:
        thought = 0 if message["role"] == "user" else thought + _size(message.get("reasoning", ""))
        if isinstance(message["content"], list):
            images += sum(part["type"] == "image_url" for part in message["content"])
    text = len(orjson.dumps(request.functions)) if request.functions else 0
    text += sum(map(_size, _texts(request.messages)))
    return Prompt(text, thought, images, tuple(_marks(request.messages)))


def _size(text: str) -> int:
    return len(text.encode())


def _texts(messages: list[Json]) -> Iterator[str]:
    """Everything in messages that a template shows but reasoning."""
    for message in messages:
        content = message["content"]
        if isinstance(content, str):
            yield content
        else:
            yield from (part["text"] for part in content if part["type"] == "text")
        for call in message.get("tool_calls", ()):
            yield from (call["function"]["name"], call["function"]["arguments"])


def _marks(messages: list[Json]) -> Iterator[bytes]:
    hashed = hashlib.blake2b(digest_size=16)
    for message in messages:
        hashed.update(orjson.dumps(message))
        yield hashed.digest()


class Conversations:
    """The last prompt of each conversation that the server counted.

    A prompt belongs to a conversation if it begins with all its messages; so no conversation is
    judged by the counts of another one.
    """

    def __init__(self) -> None:
        self._counted: dict[tuple[str, bytes], Prompt] = {}

    def __len__(self) -> int:
        return len(self._counted)

    def bounds(self, model: str, prompt: Prompt) -> tuple[int, int]:
        """The tokens that a prompt has at the least and likely."""
        return prompt.bounds(self._last(model, prompt))

    def check(self, model: str, prompt: Prompt, context: int, *, is_strict: bool) -> None:
        """Raises UpstreamFailure for a prompt that cannot fit; if `is_strict`, likely does not."""
        least, likely = self.bounds(model, prompt)
        if (likely if is_strict else least) > context - context // ANSWER_SHARE:
            text = f"about {likely} tokens, and the context has {context}"
            raise UpstreamFailure(FailureKind.TOO_LONG, text, context=context)

    def is_cut(self, model: str, prompt: Prompt, tokens: int) -> bool:
        """Whether the server counted less than can be: it left something out."""
        last = self._last(model, prompt)
        if tokens < CLEARLY * (last.tokens - prompt.lost(last)):
            return True
        return prompt.text >= LEARNING_SIZE and tokens * CUT_BYTES < prompt.text

    def learn(self, model: str, prompt: Prompt, tokens: int) -> None:
        """Remember what was counted, in place of the prompt that this one goes on from."""
        if not prompt.marks:
            return
        for mark in reversed(prompt.marks):
            if self._counted.pop((model, mark), None):
                break
        self._counted[model, prompt.marks[-1]] = evolve(prompt, tokens=tokens, marks=())
        while len(self._counted) > MAX_CONVERSATIONS:
            del self._counted[next(iter(self._counted))]

    def _last(self, model: str, prompt: Prompt) -> Prompt:
        """The longest counted prompt that this one begins with; an empty one if there is none."""
        known = (self._counted.get((model, mark)) for mark in reversed(prompt.marks))
        return next((counted for counted in known if counted), Prompt())
