"""Reads calls that are written as JSON, while they arrive."""

from __future__ import annotations

import re
from collections.abc import Callable

from attrs import frozen

from codex_bridge.leaks.cursor import Cursor, NoCall, Reading

MAX_NAME = 100
"""Longest name of a function, in bytes."""
MAX_KEY = 20
NAME_KEYS = frozenset({"name", "function", "tool", "tool_name"})
ARGUMENT_KEYS = frozenset({"arguments", "parameters", "args", "params"})
TAGGED_KEYS = (
    NAME_KEYS | ARGUMENT_KEYS | frozenset({"type", "id", "index", "call_id", "tool_call_id"})
)
"""The keys of a call that stands between tags."""
PLAIN_KEYS = frozenset({"name", "function", "arguments", "parameters", "type", "id"})
"""The keys of a call without any tag around it: few, since JSON is everywhere."""
QUOTES = frozenset({b'"', b"'"})
KEY = re.compile(rb"\w*")
SCALAR = re.compile(rb"[\w.+-]*")


@frozen
class WrittenCall:
    """One call as it was written."""

    name: str
    arguments: str
    """Nearly always JSON, but not certain to be valid or complete."""


Known = Callable[[str], bool]
"""Whether a name may mean an offered function."""


def json_call(cursor: Cursor, known: Known, keys: frozenset[str]) -> Reading[WrittenCall]:
    """Read `{"name": …, "arguments": {…}}`, its keys in any order.

    Between tags (`keys` are TAGGED_KEYS) the arguments and the last brace may be missing.
    """
    tagged = "args" in keys
    yield from cursor.literal(b"{")
    parts = {"name": "", "arguments": ""}
    while True:
        yield from cursor.space()
        if (yield from cursor.take(b"}")):
            break
        parts.update((yield from _member(cursor, known, keys)))
        yield from cursor.space()
        if (yield from cursor.take(b",")):
            continue
        char = yield from cursor.peek()
        if char == b"" or (tagged and char in {b"<", b"["}):
            break
        if char != b"}":
            raise NoCall
    if not parts["name"] or not (parts["arguments"] or tagged):
        raise NoCall
    return WrittenCall(parts["name"], parts["arguments"] or "{}")


def _member(cursor: Cursor, known: Known, keys: frozenset[str]) -> Reading[dict[str, str]]:
    """Read one key of a call and its value; return the name or the arguments it gives, if any."""
    key = yield from _key(cursor, keys)
    char = yield from cursor.peek()
    if key == "function" and char == b"{":
        inner = yield from json_call(cursor, known, keys - {"function"})
        return {"name": inner.name, "arguments": inner.arguments}
    if key in NAME_KEYS:
        name = (yield from cursor.string())[1:-1]
        if not known(name):
            raise NoCall
        return {"name": name}
    if key in ARGUMENT_KEYS:
        return {"arguments": (yield from _arguments(cursor, char))}
    if char in QUOTES:
        yield from cursor.string()
    else:
        yield from cursor.run(SCALAR, MAX_NAME)
    return {}


def _key(cursor: Cursor, keys: frozenset[str]) -> Reading[str]:
    """Read one of `keys` in quotes, and the colon. Raises NoCall for any other key."""
    quote = yield from cursor.peek()
    if quote not in QUOTES:
        raise NoCall
    cursor.at += 1
    key = yield from cursor.run(KEY, MAX_KEY)
    if key not in keys:
        raise NoCall
    yield from cursor.literal(quote)
    yield from cursor.space()
    yield from cursor.literal(b":")
    yield from cursor.space()
    return key


def _arguments(cursor: Cursor, char: bytes) -> Reading[str]:
    """Read the value of `arguments`, which begins with `char`: an object, one in a string, or
    a null, which stands for an empty object."""
    if char == b"{":
        return (yield from cursor.json())
    if char in QUOTES:
        return (yield from cursor.string())
    yield from cursor.literal(b"null", b"None")
    return "{}"


def json_calls(cursor: Cursor, known: Known, keys: frozenset[str]) -> Reading[list[WrittenCall]]:
    """Read one call as JSON, or a list of them."""
    if not (yield from cursor.take(b"[")):
        return [(yield from json_call(cursor, known, keys))]
    calls: list[WrittenCall] = []
    while True:
        yield from cursor.space()
        calls.append((yield from json_call(cursor, known, keys)))
        yield from cursor.space()
        if not (yield from cursor.take(b",")):
            break
    if (yield from cursor.peek()):
        yield from cursor.literal(b"]")
    return calls


def untagged_json(cursor: Cursor, known: Known) -> Reading[list[WrittenCall]]:
    """Read calls as JSON with nothing around it, several divided by semicolons; also the message
    that a server would make of them, `{"tool_calls": [{"function": {"name": …}}]}`."""
    start = cursor.at
    yield from cursor.take(b"{")
    yield from cursor.space()
    if (yield from cursor.take(b'"tool_calls"')):
        yield from cursor.space()
        yield from cursor.literal(b":")
        yield from cursor.space()
        calls = yield from json_calls(cursor, known, PLAIN_KEYS)
        yield from cursor.space()
        if (yield from cursor.peek()):
            yield from cursor.literal(b"}")
        return calls
    cursor.at = start
    calls = yield from json_calls(cursor, known, PLAIN_KEYS)
    while True:
        end = cursor.at
        yield from cursor.space()
        divided = yield from cursor.take(b";")
        yield from cursor.space()
        if not divided or (yield from cursor.peek()) != b"{":
            cursor.at = end
            return calls
        calls += yield from json_calls(cursor, known, PLAIN_KEYS)


def json_object(cursor: Cursor) -> Reading[str]:
    """Take an object. Raises NoCall if none comes next."""
    if (yield from cursor.peek()) != b"{":
        raise NoCall
    return (yield from cursor.json())
