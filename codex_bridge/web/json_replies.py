"""JSON replies."""

from __future__ import annotations

from typing import Any

import orjson
from twisted.web.server import Request

from codex_bridge.errors import ApiError


def send_json(request: Request, status: int, body: Any) -> bytes:
    """Set status, type and length of the reply to `request`; return `body` as JSON bytes."""
    payload = orjson.dumps(body) + b"\n"
    request.setResponseCode(status)
    request.setHeader(b"content-type", b"application/json")
    request.setHeader(b"content-length", b"%d" % len(payload))
    return payload


def send_error(request: Request, error: ApiError) -> bytes:
    """Set up the reply for `error`; return `{"error": {"message", "type", "param", "code"}}`.

    OpenAI's libraries repeat a request that failed with 5xx unless x-should-retry is false.
    """
    if error.status >= 500:
        request.setHeader(b"x-should-retry", b"true" if error.is_temporary else b"false")
    if error.retry_after is not None:
        request.setHeader(b"retry-after", b"%d" % error.retry_after)
    if error.code == "invalid_api_key":
        request.setHeader(b"www-authenticate", b"Bearer")
    return send_json(request, error.status, error.body())
