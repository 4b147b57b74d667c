"""Calls between tags as in XML, one reader for each form."""

from __future__ import annotations

import re

from codex_bridge.leaks.cursor import Cursor, NoCall, Reading
from codex_bridge.leaks.json_calls import (
    MAX_NAME,
    TAGGED_KEYS,
    Known,
    WrittenCall,
    json_calls,
    json_object,
)
from codex_bridge.leaks.parts import (
    attribute,
    call_with_values,
    known_attribute,
    known_name,
    python_calls,
    without_tag_lines,
)

TOOL_CALL_TAGS = (
    *(b"<tool_call>", b"<tools>", b"<function_call>", b"<|tool_call|>", b"<|function_call|>"),
    b"<seed:tool_call>",
)
FENCES = (b"```json", b"```")
"""What models put around JSON, also between tags."""
ARG_VALUE_END = re.compile(rb"</arg_value>|</tool_call>")


def tool_call(cursor: Cursor, known: Known) -> Reading[list[WrittenCall]]:
    """`<tool_call>` or the like, and JSON, `<function=…>` or a name with `<arg_key>` pairs."""
    yield from cursor.literal(*TOOL_CALL_TAGS)
    yield from cursor.space()
    is_fenced = yield from cursor.take(*FENCES)
    yield from cursor.space()
    char = yield from cursor.peek()
    if char == b"<":
        calls = yield from function_tag(cursor, known)
        if is_fenced:
            yield from _end_of_fence(cursor)
        return calls
    if char in {b"{", b"["}:
        calls = yield from json_calls(cursor, known, TAGGED_KEYS)
        if is_fenced:
            yield from _end_of_fence(cursor)
        if not calls[-1].arguments.endswith("}"):
            # Unclosed brackets have taken in the end tag; they should have closed before it.
            arguments, tag, rest = calls[-1].arguments.partition("</tool_call>")
            calls[-1] = WrittenCall(calls[-1].name, arguments)
            cursor.at -= len((tag + rest).encode())
        return calls
    if is_fenced:
        raise NoCall
    name = yield from known_name(cursor, known)
    values: dict[str, str] = {}
    while True:
        yield from cursor.space()
        if not (yield from cursor.take(b"<arg_key>")):
            break
        key = yield from cursor.before(b"</arg_key>", MAX_NAME)
        yield from cursor.space()
        yield from cursor.literal(b"<arg_value>")
        value, end = yield from cursor.until(ARG_VALUE_END, 12)
        if not end:
            raise NoCall
        values[key.strip()] = value
    return [call_with_values(name, values)]


QUOTED_NAME = re.compile(rb"[\w.:/\"'-]*")
PARAMETER_END = re.compile(rb"</parameter>|\n[ \t]{0,40}<parameter=")
LONGEST_PARAMETER_END = 64
UNCLOSED_END = re.compile(r"\n[ \t]*(?:</function>|</(?:seed:)?tool_call>)")


def function_tag(cursor: Cursor, known: Known) -> Reading[list[WrittenCall]]:
    """`<function=name>` with `<parameter=key>` values, or with one JSON object."""
    yield from cursor.literal(b"<function=")
    name = (yield from cursor.run(QUOTED_NAME, MAX_NAME)).strip("\"'")
    yield from cursor.literal(b">")
    if not known(name):
        raise NoCall
    yield from cursor.space()
    if (yield from cursor.peek()) in {b"{", b"`"}:
        return [(yield from call_with_json(cursor, name))]
    values: dict[str, str] = {}
    while True:
        yield from cursor.space()
        if not (yield from cursor.take(b"<parameter=")):
            break
        key = yield from cursor.before(b">", MAX_NAME)
        values[key.strip("\"' ")] = yield from _parameter_value(cursor)
    if not (yield from cursor.take(b"</function>")):
        char = yield from cursor.peek()
        if char not in {b"", b"<"}:
            raise NoCall
    return [call_with_values(name, values)]


def _parameter_value(cursor: Cursor) -> Reading[str]:
    """Read the value of a `<parameter=…>`, whose end tag may be missing."""
    start = cursor.at
    value, end = yield from cursor.until(PARAMETER_END, LONGEST_PARAMETER_END)
    if end.endswith(b"="):
        # The end tag of this parameter is missing; the next one begins.
        cursor.at -= len(b"<parameter=")
    elif not end and (function_end := UNCLOSED_END.search(value)):
        value = value[: function_end.start()]
        cursor.at = start + len(value.encode())
    elif not end and not value.strip():
        raise NoCall
    return without_tag_lines(value)


NAMED_END = re.compile(rb"</parameter>|</function>")


def named_function(cursor: Cursor, known: Known) -> Reading[list[WrittenCall]]:
    """`<function name="…">` with `<parameter name="…">` values, or with one JSON object."""
    yield from cursor.literal(b"<function name=")
    name = yield from known_attribute(cursor, known)
    yield from cursor.space()
    if (yield from cursor.peek()) in {b"{", b"`"}:
        return [(yield from call_with_json(cursor, name))]
    values: dict[str, str] = {}
    while (yield from cursor.take(b"<parameter name=")):
        key = yield from cursor.before(b">", MAX_NAME)
        value, end = yield from cursor.until(NAMED_END, 12)
        if end != b"</parameter>":
            raise NoCall
        values[attribute(key)] = without_tag_lines(value)
        yield from cursor.space()
    yield from cursor.literal(b"</function>")
    return [call_with_values(name, values)]


def call_with_json(cursor: Cursor, name: str) -> Reading[WrittenCall]:
    """Read an object of arguments, maybe in a fence, and the function's end tag if it comes."""
    is_fenced = yield from cursor.take(*FENCES)
    yield from cursor.space()
    arguments = yield from json_object(cursor)
    if is_fenced:
        yield from _end_of_fence(cursor)
    yield from cursor.space()
    yield from cursor.take(b"</function>")
    return WrittenCall(name, arguments)


def _end_of_fence(cursor: Cursor) -> Reading[None]:
    yield from cursor.space()
    yield from cursor.take(b"```")


def tool_calls(cursor: Cursor, known: Known) -> Reading[list[WrittenCall]]:
    """`<tool_calls>` and JSON calls (Jamba), or calls in tags of their own."""
    yield from cursor.literal(b"<tool_calls>")
    yield from cursor.space()
    if (yield from cursor.peek()) != b"<":
        return (yield from json_calls(cursor, known, TAGGED_KEYS))
    calls: list[WrittenCall] = []
    while (yield from cursor.take(b"<tool_call>")):
        cursor.at -= len(b"<tool_call>")
        calls += yield from tool_call(cursor, known)
        yield from cursor.space()
        yield from cursor.take(b"</tool_call>")
        yield from cursor.space()
    if not calls:
        raise NoCall
    return calls


DSML = "<｜DSML｜"
DSML_WRAPPERS = (f"{DSML}function_calls>".encode(), f"{DSML}tool_calls>".encode())
DSML_INVOKE, DSML_PARAMETER = f"{DSML}invoke name=".encode(), f"{DSML}parameter name=".encode()
DSML_VALUE_END = re.compile("</｜DSML｜parameter>".encode())
LONGEST_DSML_END = len(DSML_VALUE_END.pattern)
DSML_ENDS = (
    "</｜DSML｜invoke>".encode(),
    "</｜DSML｜function_calls>".encode(),
    "</｜DSML｜tool_calls>".encode(),
)


def dsml(cursor: Cursor, known: Known) -> Reading[list[WrittenCall]]:
    """Between marks: `invoke name="…"` with `parameter name="…" string="true"` values, one or
    several, maybe wrapped (DeepSeek since V3.2)."""
    yield from cursor.take(*DSML_WRAPPERS)
    yield from cursor.space()
    calls: list[WrittenCall] = []
    while (yield from cursor.take(DSML_INVOKE)):
        name = yield from known_attribute(cursor, known)
        values: dict[str, str] = {}
        yield from cursor.space()
        while (yield from cursor.take(DSML_PARAMETER)):
            key = yield from cursor.before(b">", MAX_NAME)
            value, end = yield from cursor.until(DSML_VALUE_END, LONGEST_DSML_END)
            if not end:
                raise NoCall
            values[attribute(key)] = value
            yield from cursor.space()
        calls.append(call_with_values(name, values))
        while (yield from cursor.take(*DSML_ENDS)):
            yield from cursor.space()
        yield from cursor.space()
    if not calls:
        raise NoCall
    return calls


PREFIXES = ("", "antml:", "atem:")
"""What stands before the names of these tags; "atem:" is that of Muse Glimmer."""


def _each(tag: str) -> tuple[bytes, ...]:
    """A tag with each of the prefixes."""
    return tuple(tag.format(prefix).encode() for prefix in PREFIXES)


INVOKE_WRAPPERS = (*_each("<{}function_calls>"), b"<minimax:tool_call>")
INVOKE_WRAPPER_ENDS = (*_each("</{}function_calls>"), b"</minimax:tool_call>")
INVOKE, INVOKE_END = _each("<{}invoke name="), _each("</{}invoke>")
INVOKE_PARAMETER = _each("<{}parameter name=")
INVOKE_VALUE_END = re.compile(b"|".join(_each("</{}parameter>")))
LONGEST_VALUE_END = max(map(len, _each("</{}parameter>")))


def invoke(cursor: Cursor, known: Known) -> Reading[list[WrittenCall]]:
    """`<invoke name="…">` with `<parameter name="…">` values, one or several, maybe wrapped."""
    calls: list[WrittenCall] = []
    if (yield from cursor.take(*INVOKE_WRAPPERS)):
        yield from cursor.space()
        if (yield from cursor.peek()).isalpha():
            # OLMo 3 writes Python between these tags.
            return (yield from python_calls(cursor, known))
    while (yield from cursor.take(*INVOKE)):
        name = yield from known_attribute(cursor, known)
        values: dict[str, str] = {}
        while True:
            yield from cursor.space()
            if not (yield from cursor.take(*INVOKE_PARAMETER)):
                break
            key = yield from cursor.before(b">", MAX_NAME)
            value, end = yield from cursor.until(INVOKE_VALUE_END, LONGEST_VALUE_END)
            if not end:
                raise NoCall
            values[attribute(key)] = without_tag_lines(value)
        calls.append(call_with_values(name, values))
        if not (yield from cursor.take(*INVOKE_END)) and (yield from cursor.peek()):
            raise NoCall
        yield from cursor.space()
    if not calls:
        raise NoCall
    yield from cursor.take(*INVOKE_WRAPPER_ENDS)
    return calls
