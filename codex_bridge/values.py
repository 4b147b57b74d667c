"""A setting as a user writes it -> its value.

Each check takes a text without spaces around it, and raises ValueError with what to give instead.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")


def on_off(text: str) -> bool:
    """A switch; an empty text means off."""
    word = text.lower()
    if word in {"on", "1", "true", "yes"}:
        return True
    if word in {"off", "0", "false", "no", ""}:
        return False
    raise ValueError("give on or off")


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """The check for a whole number from `low` to `high`."""

    def check(text: str) -> int:
        # int() alone would also take "1_000" and digits of other scripts.
        if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
            raise ValueError(f"give a whole number from {low} to {high}")
        return int(text)

    return check


def seconds(low: float, high: float) -> Callable[[str], float]:
    """The check for a number of seconds from `low` to `high`."""

    def check(text: str) -> float:
        if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) or not low <= float(text) <= high:
            raise ValueError(f"give a number of seconds from {low} to {high}")
        return float(text)

    return check


def one_of(*words: str) -> Callable[[str], str]:
    """The check for one of `words`, in upper or lower case."""

    def check(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(f"give one of {', '.join(words)}")
        return text.lower()

    return check


def several(check: Callable[[str], T]) -> Callable[[str], tuple[T, ...]]:
    """The check for a list with commas; each of its parts has to pass `check`."""

    def check_all(text: str) -> tuple[T, ...]:
        return tuple(check(part.strip()) for part in text.split(",") if part.strip())

    return check_all


def named(
    name: Callable[[str], str], value: Callable[[str], str], advice: str
) -> Callable[[str], tuple[str, str]]:
    """The check for NAME=VALUE, whose parts have to pass `name` and `value`.

    `advice` is what to give in place of a text that lacks one of them.
    """

    def check(text: str) -> tuple[str, str]:
        left, _, right = (part.strip() for part in text.partition("="))
        if not left or not right:
            raise ValueError(advice)
        return name(left), value(right)

    return check


def matching(pattern: str, advice: str) -> Callable[[str], str]:
    """The check for a text that is what the regular expression `pattern` describes."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(advice)
        return text

    return check


duration = matching(
    r"(?a)-?\d+|-?(\d+(\.\d+)?(ms|s|m|h))+",
    "give a time such as 30m, 2h or 600 (seconds), or -1 for ever",
)
"""A time as Ollama reads it: seconds, or numbers with units as Go writes them."""
key = matching(
    r"[\x21-\x7e]+",
    "give a key of ASCII letters, digits and signs, without spaces; leave the option out for none",
)
interface = matching(r"[^\s/\[\]]+", "give an IP address such as 127.0.0.1, 0.0.0.0 or ::1")
_lower_origin = matching(
    r"(?a)\*|[a-z][a-z0-9+.-]*://[^*/?#\s]*\*?[^*/?#\s]*",
    "give origins such as https://app.example.com, with at most one *, or *",
)
upstream_name = matching(r"[a-z0-9._-]+", "names have small letters, digits and . _ - only")
alias = named(str, str, "give a name and the model that it stands for: gpt-4o=qwen3:14b")


def origin(text: str) -> str:
    """A web page's origin, in lower case; or "*"."""
    return _lower_origin(text.lower())


def host(text: str) -> str:
    """A name or address as in the Host header, without port, brackets and final dot; or "*"."""
    name = text.lower().removesuffix(".").removeprefix("[").removesuffix("]")
    is_address = name.count(":") > 1
    if not name.isascii() or any(c.isspace() or c in "/@[]" for c in name):
        raise ValueError("give names such as bridge.example.com, or *")
    if not is_address and (":" in name or ("*" in name and name != "*")):
        raise ValueError("give names such as bridge.example.com, without port, or * for all")
    return name


def base_url(text: str, example: str = "http://localhost:11433") -> str:
    """A server's base URL, without a trailing slash; `example` is for the message."""
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - raises where the port is no number
    except ValueError as error:
        raise ValueError(f"this is no URL: {error}") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"give a URL such as {example}")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("give only scheme, host, port and path")
    if not text.isascii() or any(c.isspace() or ord(c) < 33 for c in text):
        raise ValueError("a URL has no spaces and only ASCII characters")
    path = parts.path.rstrip("/")
    if path.endswith("/v1"):
        raise ValueError("leave out /v1; the bridge adds the paths itself")
    return f"{parts.scheme}://{parts.netloc}{path}"


MEMORY, OFF = "memory", "off"
"""Values of `store` that are no path."""


def store(text: str) -> str:
    """Where responses are kept: MEMORY, OFF, or the absolute path of a file."""
    if text.lower() in {MEMORY, OFF}:
        return text.lower()
    if not text:
        raise ValueError("give the path of a file, memory or off")
    return file(text)


def file(text: str) -> str:
    """The absolute path of a file."""
    if not text or "\0" in text:
        raise ValueError("give the path of a file")
    # Twisted may change the working directory before the file is opened.
    return os.path.abspath(os.path.expanduser(text))


upstream = named(upstream_name, base_url, "give a name and a URL: gpu=http://10.0.0.5:11434")
upstream_keys = several(named(upstream_name, key, "give NAME=KEY, with the name of an upstream"))
"""The keys of several upstreams, by name."""
