"""HTTP for commands that do one thing after another: blocking, on http.client.

It is simpler here than treq: nothing runs beside a request, and Ctrl-C raises KeyboardInterrupt at
once. http.client reads no proxy variables, so a proxy cannot come between a check and the server
that it checks.
"""

from __future__ import annotations

import http.client
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import urlsplit

import orjson
from attrs import field, frozen

from codex_bridge.settings import SETTINGS
from codex_bridge.vocabulary import Json

KEY_VARIABLE = SETTINGS["api_key"].variable
TIMEOUT = 10.0
"""Seconds for a response that needs no model."""


class Unreachable(Exception):
    """No response, or one that broke off; the text says why in a few words."""


class OutOfTime(Unreachable):
    """No whole response in time."""


@frozen
class Response:
    """A whole response."""

    status: int
    body: bytes

    @property
    def text(self) -> str:
        """The body as text, whatever it is."""
        return self.body.decode(errors="replace").strip()

    @property
    def json(self) -> Json | None:
        """The body as a JSON object; None if it is anything else."""
        return json_object(self.body)

    @property
    def error(self) -> str:
        """The sentence of an error, in either of Ollama's shapes or as plain text."""
        return error_text(self.json) or self.text[:200] or f"HTTP {self.status}"


@frozen
class Server:
    """A server to send requests to."""

    url: str
    """Base URL without a trailing slash."""
    headers: Mapping[str, str] = field(factory=dict)
    """Sent with every request."""

    def ask(
        self, method: str, path: str, body: Json | None = None, seconds: float = TIMEOUT
    ) -> Response:
        """One request and its whole response, within `seconds`. Raises Unreachable."""
        with self.open(method, path, body, seconds=seconds) as (status, lines):
            return Response(status, b"\n".join(lines))

    @contextmanager
    def open(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        seconds: float,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[tuple[int, Iterator[bytes]]]:
        """Send a request; give the status of its response, and the lines of its body as they come.

        Raises Unreachable. So does the iterator of lines if not all of them come within `seconds`.
        """
        parts = urlsplit(self.url)
        is_https = parts.scheme == "https"
        kind = http.client.HTTPSConnection if is_https else http.client.HTTPConnection
        deadline = time.monotonic() + seconds
        sent = {**self.headers, **(headers or {})}
        if body is not None:
            sent["Content-Type"] = "application/json"
        with closing(kind(parts.hostname or "", parts.port, timeout=seconds)) as connection:
            with _as_unreachable():
                data = None if body is None else orjson.dumps(body)
                connection.request(method, parts.path + path, data, sent)
                # getresponse() drops the socket if the server will close it, but the body still
                # comes from it.
                socket: Any = connection.sock
                response = connection.getresponse()
            yield response.status, _lines(response, socket, deadline)


def bridge(url: str) -> Server:
    """The bridge at `url`; each request has its key if KEY_VARIABLE is set."""
    return Server(url, {"Authorization": f"Bearer {key}"} if (key := bridge_key()) else {})


def bridge_key() -> str:
    """The bridge's key, "" if the variable is not set."""
    return os.environ.get(KEY_VARIABLE, "").strip()


def _lines(response: http.client.HTTPResponse, socket: Any, deadline: float) -> Iterator[bytes]:
    with _as_unreachable():
        while not response.isclosed():
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            socket.settimeout(left)
            line = response.readline()
            if not line:
                return
            yield line.rstrip(b"\r\n")


@contextmanager
def _as_unreachable() -> Iterator[None]:
    """Turn errors of the connection into Unreachable, with the reason in words."""
    try:
        yield
    except TimeoutError:
        raise OutOfTime("no answer in time") from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error).strip() or type(error).__name__
        raise Unreachable(reason) from None


def json_object(data: bytes) -> Json | None:
    """JSON text -> the object it holds; None for all else."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def error_text(body: Json | None) -> str:
    """The sentence of an error, "" if there is none."""
    error = (body or {}).get("error")
    return str(error.get("message") or error) if isinstance(error, dict) else str(error or "")
