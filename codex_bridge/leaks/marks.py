"""Calls behind the special marks of a family of models, one reader for each form."""

from __future__ import annotations

import re

import orjson

from codex_bridge.leaks.cursor import Cursor, NoCall, Reading
from codex_bridge.leaks.json_calls import (
    MAX_NAME,
    TAGGED_KEYS,
    Known,
    WrittenCall,
    json_calls,
    json_object,
)
from codex_bridge.leaks.parts import NAME, known_name, python_calls
from codex_bridge.leaks.tags import invoke


def lfm(cursor: Cursor, known: Known) -> Reading[list[WrittenCall]]:
    """`<|tool_call_start|>[name(key="value")]<|tool_call_end|>` (LFM2)."""
    yield from cursor.literal(b"<|tool_call_start|>")
    yield from cursor.space()
    return (yield from python_calls(cursor, known))


JSON_TAGS = (b"<TOOLCALL>", b"<|START_ACTION|>", b"functools[")


def tagged_json(cursor: Cursor, known: Known) -> Reading[list[WrittenCall]]:
    """`<TOOLCALL>[…]` (Nemotron), `<|START_ACTION|>[{"tool_name": …}]` (Cohere), `functools[…]`
    (Phi): JSON calls behind a mark."""
    mark = yield from cursor.literal(*JSON_TAGS)
    cursor.at -= mark.endswith(b"[")
    yield from cursor.space()
    return (yield from json_calls(cursor, known, TAGGED_KEYS))


def mistral(cursor: Cursor, known: Known) -> Reading[list[WrittenCall]]:
    """`[TOOL_CALLS]` and a list of JSON calls, or a name, `[ARGS]` and an object."""
    yield from cursor.literal(b"[TOOL_CALLS]")
    yield from cursor.space()
    if (yield from cursor.peek()) in {b"[", b"{"}:
        return (yield from json_calls(cursor, known, TAGGED_KEYS))
    name = yield from known_name(cursor, known)
    if (yield from cursor.take(b"[CALL_ID]")):
        yield from cursor.run(NAME, MAX_NAME)
    yield from cursor.take(b"[ARGS]")
    yield from cursor.space()
    return [WrittenCall(name, (yield from json_object(cursor)))]


def python_tag(cursor: Cursor, known: Known) -> Reading[list[WrittenCall]]:
    """`<|python_tag|>` and JSON calls, divided by semicolons."""
    yield from cursor.literal(b"<|python_tag|>")
    calls: list[WrittenCall] = []
    while True:
        yield from cursor.space()
        calls += yield from json_calls(cursor, known, TAGGED_KEYS)
        yield from cursor.space()
        if not (yield from cursor.take(b";")):
            return calls


CALLS_BEGIN, CALLS_END = "<｜tool▁calls▁begin｜>".encode(), "<｜tool▁calls▁end｜>".encode()
CALL_BEGIN, CALL_END = "<｜tool▁call▁begin｜>".encode(), "<｜tool▁call▁end｜>".encode()
SEPARATOR = "<｜tool▁sep｜>".encode()


def deepseek(cursor: Cursor, known: Known) -> Reading[list[WrittenCall]]:
    """Between marks: `function`, separator, name and fenced JSON (V3, R1); or name, separator,
    JSON (V3.1)."""
    yield from cursor.take(CALLS_BEGIN)
    calls: list[WrittenCall] = []
    while True:
        yield from cursor.space()
        if not (yield from cursor.take(CALL_BEGIN)):
            break
        name = yield from cursor.run(NAME, MAX_NAME)
        yield from cursor.literal(SEPARATOR)
        if name == "function":
            name = yield from cursor.run(NAME, MAX_NAME)
        if not known(name):
            raise NoCall
        yield from cursor.space()
        yield from cursor.take(b"```json", b"```")
        yield from cursor.space()
        calls.append(WrittenCall(name, (yield from json_object(cursor))))
        yield from cursor.space()
        yield from cursor.take(b"```")
        yield from cursor.space()
        yield from cursor.take(CALL_END)
    if not calls:
        raise NoCall
    yield from cursor.take(CALLS_END)
    return calls


KIMI_SECTION, KIMI_CALL = b"<|tool_calls_section_begin|>", b"<|tool_call_begin|>"
KIMI_NUMBER = re.compile(r":\d+$")


def kimi(cursor: Cursor, known: Known) -> Reading[list[WrittenCall]]:
    """`functions.name:0` and an object, with or without the marks around it."""
    calls: list[WrittenCall] = []
    yield from cursor.take(KIMI_SECTION)
    while True:
        yield from cursor.space()
        marked = yield from cursor.take(KIMI_CALL)
        yield from cursor.space()
        if calls and not marked:
            break
        name = yield from cursor.run(NAME, MAX_NAME)
        if not known(name) or not (marked or KIMI_NUMBER.search(name)):
            raise NoCall
        yield from cursor.space()
        yield from cursor.take(b"<|tool_call_argument_begin|>")
        calls.append(WrittenCall(name, (yield from json_object(cursor))))
        yield from cursor.space()
        yield from cursor.take(b"<|tool_call_end|>")
    yield from cursor.take(b"<|tool_calls_section_end|>")
    return calls


HARMONY_MARKS = (
    *(b"<|channel|>", b"<|constrain|>", b"<|message|>"),
    *(b"json", b"code", b"commentary", b"analysis"),
)


def harmony(cursor: Cursor, known: Known) -> Reading[list[WrittenCall]]:
    """`<|channel|>commentary to=functions.name … <|message|>` and an object (gpt-oss); or tags
    as of `tags.invoke` (Muse Glimmer)."""
    yield from cursor.take(b"<|start|>")
    yield from cursor.take(b"assistant")
    while (yield from cursor.take(*HARMONY_MARKS)):
        yield from cursor.space()
    yield from cursor.space()
    yield from cursor.literal(b"to=")
    name = yield from known_name(cursor, known)
    yield from cursor.space()
    while (yield from cursor.take(*HARMONY_MARKS)):
        yield from cursor.space()
    if (yield from cursor.peek()) == b"<":
        return (yield from invoke(cursor, known))
    arguments = yield from json_object(cursor)
    yield from cursor.space()
    yield from cursor.take(b"<|call|>", b"<|end|>")
    return [WrittenCall(name, arguments)]


GEMMA_QUOTE = re.compile(rb'<escape>|<\|"\|>')
GEMMA_MARK = re.compile(GEMMA_QUOTE.pattern + rb"|[{}]")


def gemma(cursor: Cursor, known: Known) -> Reading[list[WrittenCall]]:
    """`<start_function_call>call:name{key:<escape>text<escape>,n:5}`."""
    yield from cursor.literal(b"<start_function_call>", b"<|tool_call>")
    yield from cursor.literal(b"call:")
    name = yield from known_name(cursor, known)
    yield from cursor.literal(b"{")
    # With JSON's own quotes this is JSON with bare keys, which repair reads.
    pieces, depth = ["{"], 1
    while depth:
        plain, mark = yield from cursor.until(GEMMA_MARK, 8)
        pieces.append(plain)
        if mark in {b"{", b"}"}:
            pieces.append(mark.decode())
            depth += 1 if mark == b"{" else -1
        elif mark:
            quoted, end = yield from cursor.until(GEMMA_QUOTE, 8)
            if not end:
                # A string that breaks off.
                raise NoCall
            pieces.append(orjson.dumps(quoted).decode())
        else:
            break
    return [WrittenCall(name, "".join(pieces))]
