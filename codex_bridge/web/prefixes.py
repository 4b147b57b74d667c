"""Which requests are one conversation; for --debug, how much of its prompt two of them share.

Ollama reads only what comes behind the common beginning; the rest it has in its cache.
"""

from __future__ import annotations

from itertools import takewhile, zip_longest
from typing import Any

import orjson
from attrs import frozen
from twisted.web.http_headers import Headers

from codex_bridge.responses.request import ResponsesRequest
from codex_bridge.vocabulary import ChatRequest, Json

MAX_CONVERSATIONS = 32
SHOWN = 60
"""Characters of each prompt that are shown from the place where the two differ."""
THREAD_HEADERS = (b"thread-id", b"thread_id", b"session-id", b"session_id")


@frozen
class _Prompt:
    exchange: str
    functions: list[Json]
    messages: list[Json]


class Prefixes:
    """The last prompt of each conversation."""

    def __init__(self) -> None:
        self._last: dict[Any, _Prompt] = {}

    def compare(self, conversation: Any, exchange: str, chat: ChatRequest) -> str | None:
        """A sentence on what the prompt `chat` of `exchange` (an id) shares with the one before
        it in the same `conversation` (any hashable key); None for the first one."""
        before = self._last.pop(conversation, None)
        self._last[conversation] = _Prompt(exchange, chat.functions, chat.messages)
        while len(self._last) > MAX_CONVERSATIONS:
            del self._last[next(iter(self._last))]
        if before is None:
            return None
        pairs = (
            ("tools", before.functions, chat.functions),
            ("messages", before.messages, chat.messages),
        )
        for what, old, new in pairs:
            if where := first_difference(old, new):
                return f"differs from {before.exchange} at {what}{where}"
        return (
            f"begins with all of {before.exchange}; "
            f"{len(chat.messages) - len(before.messages)} of {len(chat.messages)} messages are new"
        )


def conversation_of(request: ResponsesRequest, headers: Headers) -> tuple[Any, bool]:
    """A key for the conversation of a request; each sub-agent has a conversation of its own.

    One that the client does not name is known by its beginning.
    """
    threads = (headers.getRawHeaders(name) for name in THREAD_HEADERS)
    thread = next((values[0] for values in threads if values), None)
    named = thread or request.echo.get("prompt_cache_key") or _beginning(request)
    return str(named), len(request.toolbox) > 0


def _beginning(request: ResponsesRequest) -> int:
    """A hash of the messages before the first item of the model: a conversation keeps them.

    The instructions do not count: they are the same in many conversations.
    """
    said = takewhile(
        lambda item: item["type"] == "message" and item.get("role") != "assistant", request.items
    )
    return hash(orjson.dumps(list(said)))


def first_difference(old: list[Json], new: list[Json]) -> str | None:
    """Where `new` does not begin with `old`, None if it does: "[3], character 17: 'a' -> 'b'"."""
    for n, before in enumerate(old):
        if n >= len(new):
            return f"[{n}]: it is gone"
        if before != new[n]:
            was, now = (orjson.dumps(value).decode() for value in (before, new[n]))
            at = next(n for n, (a, b) in enumerate(zip_longest(was, now)) if a != b)
            shown = f"{was[at : at + SHOWN]!r} -> {now[at : at + SHOWN]!r}"
            return f"[{n}], character {at}: {shown}"
    return None
