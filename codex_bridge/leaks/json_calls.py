"""Calls that are written as JSON, read while they arrive."""

from __future__ import annotations

import re
from collections.abc import Callable

from attrs import frozen

from codex_bridge.leaks.cursor import Cursor, NoCall, Reading

MAX_NAME = 100
NAME_KEYS = frozenset({"name", "function", "tool", "tool_name"})
ARGUMENT_KEYS = frozenset({"arguments", "parameters", "args", "params"})
TAGGED_KEYS = NAME_KEYS | ARGUMENT_KEYS | frozenset({"type", "id", "index", "call_id"})
"""The keys of a call that stands between tags."""
PLAIN_KEYS = frozenset({"name", "function", "arguments", "parameters", "type", "id"})
"""The keys of a call without any tag around it: few, since JSON is everywhere."""
SCALAR = re.compile(rb"[\w.+-]*")


@frozen
class WrittenCall:
    """One call as it was written."""

    name: str
    arguments: str


Known = Callable[[str], bool]
"""Whether a name may mean an offered function."""


def json_call(cursor: Cursor, known: Known, keys: frozenset[str]) -> Reading[WrittenCall]:
    """`{"name": …, "arguments": {…}}`, its keys in any order, perhaps without its last brace."""
    tagged = "args" in keys
    yield from cursor.literal(b"{")
    found = {"name": "", "arguments": ""}
    while True:
        yield from cursor.space()
        if (yield from cursor.take(b"}")):
            break
        found.update((yield from _member(cursor, known, keys)))
        yield from cursor.space()
        if (yield from cursor.take(b",")):
            continue
        char = yield from cursor.peek()
        if char == b"" or (tagged and char in {b"<", b"["}):
            break
        if char != b"}":
            raise NoCall
    if not found["name"] or not (found["arguments"] or tagged):
        raise NoCall
    return WrittenCall(found["name"], found["arguments"] or "{}")


def _member(cursor: Cursor, known: Known, keys: frozenset[str]) -> Reading[dict[str, str]]:
    """One key of a call and its value: what it says of name and arguments."""
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
    if char in {b'"', b"'"}:
        yield from cursor.string()
    else:
        yield from cursor.run(SCALAR, MAX_NAME)
    return {}


def _key(cursor: Cursor, keys: frozenset[str]) -> Reading[str]:
    char = yield from cursor.peek()
    if char not in {b'"', b"'"}:
        raise NoCall
    cursor.at += 1
    key = yield from cursor.run(re.compile(rb"\w*"), 20)
    if not any(known.startswith(key) for known in keys) or (yield from cursor.peek()) != char:
        raise NoCall
    cursor.at += 1
    if key not in keys:
        raise NoCall
    yield from cursor.space()
    yield from cursor.literal(b":")
    yield from cursor.space()
    return key


def _arguments(cursor: Cursor, char: bytes) -> Reading[str]:
    """The value of `arguments`: an object, one in a string, or nothing."""
    if char == b"{":
        return (yield from cursor.json())
    if char in {b'"', b"'"}:
        return (yield from cursor.string())
    if (yield from cursor.take(b"null", b"None")):
        return "{}"
    raise NoCall


def json_calls(cursor: Cursor, known: Known, keys: frozenset[str]) -> Reading[list[WrittenCall]]:
    """One call as JSON, or a list of them."""
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


def bare(cursor: Cursor, known: Known) -> Reading[list[WrittenCall]]:
    """JSON with nothing around it, or several divided by semicolons."""
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
