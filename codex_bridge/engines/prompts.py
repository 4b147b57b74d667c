"""Whether a prompt fits into a context, judged by counts of earlier prompts. Without I/O."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import orjson
from attrs import evolve, frozen

from codex_bridge.vocabulary import ChatRequest, FailureKind, Json, UpstreamFailure

MOST_BYTES_PER_TOKEN, USUAL_BYTES_PER_TOKEN, CUT_BYTES_PER_TOKEN = 8.0, 4.5, 12.0
"""Bytes of text for each token: hardly ever more than the first; usually the second. More than the
third means that the server left out a part of the prompt."""
LEAST_IMAGE, LIKELY_IMAGE = 64, 1000
"""Tokens of a picture."""
ANSWER_SHARE = 16
"""A prompt has to leave 1/ANSWER_SHARE of the context for the answer: Ollama may cut the beginning
of a prompt when an answer exceeds the context."""
LEARNING_SIZE = 2000
"""Bytes: the count of a shorter prompt says more about its template than about text."""
CUT_RATIO = 0.9
"""If the count of a longer prompt is below this part of the earlier count, the prompt was cut."""
MAX_CONVERSATIONS = 64


@frozen
class Prompt:
    """What has to be known of a prompt to tell whether it fits. It is the same in any dialect."""

    text_bytes: int = 0
    """Bytes of messages and declarations that the model's template shows."""
    reasoning_bytes: int = 0
    """Bytes of reasoning since the last user message; templates drop them after the next one."""
    image_count: int = 0
    digests: tuple[bytes, ...] = ()
    """For each message, a digest of it and of all messages before it."""
    counted_tokens: int = 0
    """What the server counted; 0: not counted yet."""

    def lost(self, last: Prompt) -> int:
        """How many bytes of `last` the template may have dropped: reasoning, declarations."""
        reasoning = max(0, last.reasoning_bytes - self.reasoning_bytes)
        return reasoning + max(0, last.text_bytes - self.text_bytes)

    def bounds(self, last: Prompt) -> tuple[int, int]:
        """The least and the likely number of tokens, if the prompt continues `last`."""
        text = max(0, self.text_bytes - last.text_bytes)
        images = max(0, self.image_count - last.image_count)
        thought, lost = max(0, self.reasoning_bytes - last.reasoning_bytes), self.lost(last)
        least = max(
            self.text_bytes / MOST_BYTES_PER_TOKEN + self.image_count * LEAST_IMAGE,
            last.counted_tokens - lost + text / MOST_BYTES_PER_TOKEN + images * LEAST_IMAGE,
        )
        likely = (
            last.counted_tokens
            + (text + thought - lost) / USUAL_BYTES_PER_TOKEN
            + images * LIKELY_IMAGE
        )
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
    return Prompt(text, thought, images, tuple(_digests(request.messages)))


def beginning_of(request: ChatRequest) -> bytes:
    """A digest of what the prompt of `request` begins with: the functions, the system message.

    Templates show both before the words of the user; some begin with the effort.
    """
    system = [message for message in request.messages[:1] if message["role"] == "system"]
    told = orjson.dumps([request.functions, system, request.effort])
    return hashlib.blake2b(told, digest_size=16).digest()


def _size(text: str) -> int:
    return len(text.encode())


def _texts(messages: list[Json]) -> Iterator[str]:
    """Everything in messages that a template shows, except reasoning."""
    for message in messages:
        content = message["content"]
        if isinstance(content, str):
            yield content
        else:
            yield from (part["text"] for part in content if part["type"] == "text")
        for call in message.get("tool_calls", ()):
            yield from (call["function"]["name"], call["function"]["arguments"])


def _digests(messages: list[Json]) -> Iterator[bytes]:
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
        """The least and the likely number of tokens of a prompt."""
        return prompt.bounds(self._last(model, prompt))

    def check(self, model: str, prompt: Prompt, context: int, *, is_strict: bool) -> None:
        """Raises UpstreamFailure if a prompt cannot fit; if `is_strict`, if it likely does not."""
        least, likely = self.bounds(model, prompt)
        if (likely if is_strict else least) > context - context // ANSWER_SHARE:
            text = f"about {likely} tokens, and the context has {context}"
            raise UpstreamFailure(FailureKind.TOO_LONG, text, context=context)

    def is_cut(self, model: str, prompt: Prompt, tokens: int) -> bool:
        """Whether the server counted too few tokens for this prompt, so it must have cut it."""
        last = self._last(model, prompt)
        if tokens < CUT_RATIO * (last.counted_tokens - prompt.lost(last)):
            return True
        return (
            prompt.text_bytes >= LEARNING_SIZE and tokens * CUT_BYTES_PER_TOKEN < prompt.text_bytes
        )

    def learn(self, model: str, prompt: Prompt, tokens: int) -> None:
        """Remember what was counted, in place of the prompt that this one goes on from."""
        if not prompt.digests:
            return
        for mark in reversed(prompt.digests):
            if self._counted.pop((model, mark), None):
                break
        self._counted[model, prompt.digests[-1]] = evolve(prompt, counted_tokens=tokens, digests=())
        while len(self._counted) > MAX_CONVERSATIONS:
            del self._counted[next(iter(self._counted))]

    def _last(self, model: str, prompt: Prompt) -> Prompt:
        """The longest counted prompt that this one begins with; an empty one if there is none."""
        known = (self._counted.get((model, mark)) for mark in reversed(prompt.digests))
        return next((counted for counted in known if counted), Prompt())
