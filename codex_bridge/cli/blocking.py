"""HTTP for commands that do one thing after another: blocking, on http.client.

Plainer here than treq: nothing happens beside a request, Ctrl-C arrives as KeyboardInterrupt at
once, and http.client reads no proxy variables, so that a proxy cannot stand between a check and
what it checks.
"""

from __future__ import annotations

import argparse
import http.client
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import orjson
from attrs import frozen

from codex_bridge.settings import DEFAULTS, KNOBS, URL_VARIABLE
from codex_bridge.values import base_url
from codex_bridge.vocabulary import Json

KEY_VARIABLE = KNOBS["api_key"].variable
DEFAULT_URL = f"http://127.0.0.1:{DEFAULTS.port}"
"""Where the bridge listens, unless the variable or an option says otherwise."""
PATIENCE = 10.0
"""Seconds that an answer may take which needs no model."""


class Unreachable(Exception):
    """No answer, or one that broke off; the text says why in a few words."""


class OutOfTime(Unreachable):
    """No answer in time, or not all of it."""


@frozen
class Reply:
    """An answer as a whole."""

    status: int
    body: bytes

    @property
    def text(self) -> str:
        """The body, whatever it is."""
        return self.body.decode(errors="replace").strip()

    @property
    def json(self) -> Json | None:
        """The body as a JSON object; None if it is none."""
        return json_object(self.body)

    @property
    def error(self) -> str:
        """What an error says, in either of Ollama's shapes or as plain text."""
        return error_text(self.json) or self.text[:200] or f"HTTP {self.status}"


@frozen
class Opened:
    """An answer whose body is still coming."""

    status: int
    lines: Iterator[bytes]
    """Without their ends. Raises Unreachable and OutOfTime."""


def ollama_url(text: str) -> str:
    """For argparse: the base URL of Ollama, without a trailing slash."""
    return _url(text.strip(), DEFAULTS.ollama_url)


def bridge_url(text: str) -> str:
    """For argparse: that of the bridge; /v1, as Codex has it, is left out."""
    return _url(text.strip().rstrip("/").removesuffix("/v1"), DEFAULT_URL)


def _url(text: str, example: str) -> str:
    try:
        return base_url(text, example)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error} (got {text!r})") from None


def add_bridge_url(parser: argparse.ArgumentParser) -> None:
    """Declare --bridge-url."""
    default = os.environ.get(URL_VARIABLE) or DEFAULT_URL
    parser.add_argument(
        "--bridge-url",
        type=bridge_url,
        metavar="URL",
        default=default,
        help=f"where the bridge listens (default: ${URL_VARIABLE}, or {DEFAULT_URL})",
    )


def key_headers(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What shows a bridge its key, where the variable holds one."""
    key = environ.get(KEY_VARIABLE, "").strip()
    return {"Authorization": f"Bearer {key}"} if key else {}


def ask(
    base: str,
    method: str,
    path: str,
    body: Json | None = None,
    seconds: float = PATIENCE,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """One request and its answer. Raises Unreachable."""
    with opened(base, method, path, body, seconds=seconds, headers=headers) as answer:
        return Reply(answer.status, b"\n".join(answer.lines))


@contextmanager
def opened(
    base: str,
    method: str,
    path: str,
    body: Json | None = None,
    *,
    seconds: float,
    headers: Mapping[str, str] | None = None,
) -> Iterator[Opened]:
    """A request whose answer is read line by line, all of it within `seconds`."""
    parts = urlsplit(base)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    deadline = time.monotonic() + seconds
    connection = kind(parts.hostname or "", parts.port, timeout=seconds)
    sent = {"Content-Type": "application/json"} if body is not None else {}
    try:
        with _told():
            data = None if body is None else orjson.dumps(body)
            connection.request(method, parts.path + path, data, {**sent, **(headers or {})})
            # getresponse() lets go of it where the server closes; the body still comes from it.
            socket: Any = connection.sock
            response = connection.getresponse()
        yield Opened(response.status, _lines(response, socket, deadline))
    finally:
        connection.close()


def _lines(response: http.client.HTTPResponse, socket: Any, deadline: float) -> Iterator[bytes]:
    with _told():
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
def _told() -> Iterator[None]:
    """What goes wrong on a connection, in words."""
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


def error_text(answer: Json | None) -> str:
    """The sentence of an error, "" where there is none."""
    error = (answer or {}).get("error")
    return str(error.get("message") or error) if isinstance(error, dict) else str(error or "")
