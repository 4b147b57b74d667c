"""Reading and writing the bodies of the routes that generate nothing."""

from __future__ import annotations

from typing import Any

import orjson

from tests.fake_ollama.facts import Rejected
from tests.fake_ollama.wire import go_json

Json = dict[str, Any]


def request_object(body: bytes, request: Any) -> Json:
    """The body of a request to a native route. Raises Rejected if it is not a JSON object."""
    if request.digest is not None or request.method in {b"GET", b"HEAD"}:
        return {}
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        text = f"invalid character in JSON: {error}" if body else "missing request body"
        raise Rejected(400, text) from None
    if not isinstance(parsed, dict):
        raise Rejected(400, "json: cannot unmarshal value into Go value")
    return parsed


def write_text(request: Any, status: int, text: str) -> None:
    """Answer with plain text."""
    write(request, status, b"text/plain; charset=utf-8", text.encode())


def write_json(request: Any, value: Any, status: int = 200) -> None:
    """Answer with JSON as Go writes it."""
    write(request, status, b"application/json; charset=utf-8", go_json(value))


def write_progress(request: Any, lines: list[Json], *, stream: bool, failed: int = 500) -> None:
    """Answer with all lines, or without a stream with the last; `failed`: status of an error."""
    if not stream:
        write_json(request, lines[-1], failed if "error" in lines[-1] else 200)
        return
    request.setHeader(b"content-type", b"application/x-ndjson")
    for line in lines:
        request.write(go_json(line) + b"\n")


def write(request: Any, status: int, kind: bytes, body: bytes) -> None:
    """Answer with a body of content type `kind`."""
    request.setResponseCode(status)
    request.setHeader(b"content-type", kind)
    request.setHeader(b"content-length", str(len(body)).encode())
    request.write(body)
