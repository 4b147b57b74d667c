"""How long a prompt is before anybody has counted its tokens, and what tells it from others."""

from __future__ import annotations

import hashlib
import string
from collections.abc import Iterator

import orjson
from attrs import frozen

from codex_bridge.vocabulary import ChatRequest, Json

LOOSE = (string.ascii_letters + string.whitespace).encode()
"""Bytes of which a token holds at least two. Others may be one each: some models take every
digit for itself, and scripts that a model hardly knows byte by byte."""


@frozen
class PromptSize:
    """What a prompt is made of. It is the same in either dialect."""

    text: int
    """Bytes of messages and declarations that the model's template shows."""
    dense: int = 0
    """Of these, the bytes that may be a token each."""
    thought: int = 0
    """Bytes of reasoning since the last question: some templates show it, others do not."""
    images: int = 0
    messages: int = 0


@frozen
class Prompt:
    """What has to be known of a prompt to tell whether it fits."""

    size: PromptSize
    marks: tuple[bytes, ...] = ()
    """One for each message, which stands for it and all before it."""


def measured(request: ChatRequest) -> Prompt:
    """The prompt of `request`."""
    text, dense, images = 0, 0, 0
    for piece in _pieces(request):
        raw = piece if isinstance(piece, bytes) else piece.encode()
        text += len(raw)
        dense += len(raw.translate(None, LOOSE))
    for message in request.messages:
        content = message["content"]
        if isinstance(content, list):
            images += sum(part["type"] == "image_url" for part in content)
    size = PromptSize(text, dense, _thought(request.messages), images, len(request.messages))
    return Prompt(size, tuple(_marks(request.messages)))


def _pieces(request: ChatRequest) -> Iterator[str | bytes]:
    """Everything that a template shows but reasoning."""
    if request.functions:
        yield orjson.dumps(request.functions)
    for message in request.messages:
        content = message["content"]
        if isinstance(content, str):
            yield content
        else:
            yield from (part["text"] for part in content if part["type"] == "text")
        for call in message.get("tool_calls", ()):
            yield call["function"]["name"]
            yield call["function"]["arguments"]


def _thought(messages: list[Json]) -> int:
    """Templates show the reasoning of the last turn at most."""
    size = 0
    for message in reversed(messages):
        if message["role"] == "user":
            break
        size += len(message.get("reasoning", "").encode())
    return size


def _marks(messages: list[Json]) -> Iterator[bytes]:
    hashed = hashlib.blake2b(digest_size=16)
    for message in messages:
        hashed.update(orjson.dumps(message))
        yield hashed.digest()
