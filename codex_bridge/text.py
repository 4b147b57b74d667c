"""Text from clients, models and servers, made safe for log lines and messages."""

from __future__ import annotations


def printable(text: bytes | str | None, limit: int = 100) -> str:
    """`text` as one line for the log or for a message.

    Cut to `limit` characters, counted before escaping, with "…" after the cut; "-" if it is empty.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "backslashreplace")
    text = text or "-"
    return visible(text if len(text) <= limit else text[:limit] + "…")


def visible(text: str) -> str:
    """`text` with escapes for line ends, control characters and marks of writing direction."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
