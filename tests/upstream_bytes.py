"""What an upstream sends: bytes in the two dialects that the bridge reads."""

from __future__ import annotations

import random
import string
from collections.abc import Callable
from typing import Any, Literal

import orjson
from attrs import frozen

Json = dict[str, Any]
Dialect = Literal["chat", "ollama"]
"""Chat completions as server-sent events, or /api/chat as lines of JSON."""
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
"""The last chunk."""


def varied(size: int) -> str:
    """Text of `size` characters that does not repeat itself, the same each time."""
    return "".join(random.Random(size).choices(string.ascii_lowercase, k=size))


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def encoded(payload: Any) -> bytes:
    """JSON; bytes stay as they are."""
    return payload if isinstance(payload, bytes) else orjson.dumps(payload)


def event(payload: Any) -> bytes:
    """A chunk with one server-sent event."""
    return chunk(b"data: " + encoded(payload) + b"\n\n")


def line(payload: Any) -> bytes:
    """A chunk with one line of JSON."""
    return chunk(encoded(payload) + b"\n")


def delta(delta: Any, finish: Any = None, model: str = "m", **more: Any) -> bytes:
    """A chunk of chat completions."""
    return event({"model": model, "choices": [{"delta": delta, "finish_reason": finish}]} | more)


def message(message: Any, **more: Any) -> bytes:
    """A line of /api/chat."""
    return line({"model": "m", "message": message, "done": False} | more)


def answered(status_line: bytes, *headers: bytes, body: bytes = b"") -> bytes:
    """An answer with this status ("400 Bad Request") and these headers."""
    return b"\r\n".join([b"HTTP/1.1 " + status_line, *headers, b"", body])


def sized(status_line: bytes, *headers: bytes, body: bytes) -> bytes:
    """The same, with the Content-Length of its body."""
    return answered(status_line, *headers, b"Content-Length: %d" % len(body), body=body)


def status(code: int, message: str) -> bytes:
    body = orjson.dumps({"error": {"message": message}})
    return sized(b"%d X" % code, body=body)


@frozen
class Part:
    """The same part of an answer in both dialects."""

    chat: bytes
    ollama: bytes

    def of(self, dialect: Dialect) -> bytes:
        return self.chat if dialect == "chat" else self.ollama

    def through(self, change: Callable[[bytes], bytes]) -> Part:
        return Part(change(self.chat), change(self.ollama))

    def __add__(self, other: Part | bytes) -> Part:
        rest = other if isinstance(other, Part) else Part(other, other)
        return Part(self.chat + rest.chat, self.ollama + rest.ollama)
