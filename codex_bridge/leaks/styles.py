"""The forms in which models write calls as text, one reader for each.

A reader is a generator over a Cursor that stands at the form's first byte. It returns the calls
it read, and raises NoCall as soon as what comes cannot be one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import orjson
from attrs import frozen

from codex_bridge.leaks.cursor import Cursor, NoCall, Reading
from codex_bridge.leaks.json_calls import (
    MAX_NAME,
    PLAIN_KEYS,
    TAGGED_KEYS,
    Known,
    WrittenCall,
    bare,
    json_calls,
    json_object,
)

NAME = re.compile(rb"[\w.:/-]*")


@frozen
class Style:
    """A form: what it begins with, and how the rest is read."""

    name: str
    openers: tuple[bytes, ...]
    read: Callable[[Cursor, Known], Reading[list[WrittenCall]]]
    tagged: bool = True
    """Whether it begins with a mark that stands in no ordinary text."""
    words: bool = False
    """Whether its opener is made of ordinary words, and counts only where a line begins."""


def fenced(cursor: Cursor, known: Known) -> Reading[list[WrittenCall]]:
    """A code fence that holds nothing but calls."""
    yield from cursor.run(re.compile(rb"`*"), 8)
    info = yield from cursor.run(re.compile(rb"[\w+-]*"), 20)
    if info.lower() not in {"", "json", "tool_call", "tool_calls", "tool_code", "tool", "function"}:
        raise NoCall
    calls: list[WrittenCall] = []
    while True:
        yield from cursor.space()
        if calls and (yield from cursor.take(b"```")):
            return calls
        char = yield from cursor.peek()
        if char == b"<":
            tag = yield from cursor.literal(b"<tool_call>", b"<function=")
            reader = tool_call if tag == b"<tool_call>" else function_tag
            cursor.at -= len(tag)
            calls += yield from reader(cursor, known)
            yield from cursor.space()
            yield from cursor.take(b"</tool_call>")
        elif char in {b"{", b"["}:
            calls += yield from json_calls(cursor, known, PLAIN_KEYS)
        elif not char and calls:
            return calls
        else:
            raise NoCall


TOOL_CALL_TAGS = (b"<tool_call>", b"<tools>", b"<function_call>", b"<|tool_call|>")


def tool_call(cursor: Cursor, known: Known) -> Reading[list[WrittenCall]]:
    """`<tool_call>` or the like, and JSON, `<function=…>` or a name with `<arg_key>` pairs."""
    yield from cursor.literal(*TOOL_CALL_TAGS)
    yield from cursor.space()
    char = yield from cursor.peek()
    start = cursor.at
    if char == b"<":
        return (yield from function_tag(cursor, known))
    if char in {b"{", b"["}:
        calls = yield from json_calls(cursor, known, TAGGED_KEYS)
        if not calls[-1].arguments.endswith("}"):
            # Brackets that never closed swallowed the end tag, which tells where they should.
            arguments, tag, rest = calls[-1].arguments.partition("</tool_call>")
            calls[-1] = WrittenCall(calls[-1].name, arguments)
            cursor.at -= len((tag + rest).encode())
        return calls
    name = (yield from cursor.run(NAME, MAX_NAME)).strip()
    if cursor.at == start or not known(name):
        raise NoCall
    values: dict[str, str] = {}
    while True:
        yield from cursor.space()
        if not (yield from cursor.take(b"<arg_key>")):
            break
        key = yield from cursor.before(b"</arg_key>", MAX_NAME)
        yield from cursor.space()
        yield from cursor.literal(b"<arg_value>")
        value, _ = yield from cursor.until(re.compile(rb"</arg_value>|</tool_call>"), 12)
        values[key.strip()] = value
    return [_typed(name, values)]


PARAMETER_END = re.compile(rb"</parameter>|\n[ \t]{0,40}<parameter=")
UNCLOSED_END = re.compile(r"\n[ \t]*(?:</function>|</tool_call>)")


def function_tag(cursor: Cursor, known: Known) -> Reading[list[WrittenCall]]:
    """`<function=name>` with `<parameter=key>` values, or with one JSON object."""
    yield from cursor.literal(b"<function=")
    name = (yield from cursor.run(re.compile(rb"[\w.:/\"'-]*"), MAX_NAME)).strip("\"'")
    yield from cursor.literal(b">")
    if not known(name):
        raise NoCall
    yield from cursor.space()
    if (yield from cursor.peek()) == b"{":
        arguments = yield from cursor.json()
        yield from cursor.space()
        yield from cursor.take(b"</function>")
        return [WrittenCall(name, arguments)]
    values: dict[str, str] = {}
    while True:
        yield from cursor.space()
        if not (yield from cursor.take(b"<parameter=")):
            break
        key = yield from cursor.before(b">", MAX_NAME)
        start = cursor.at
        value, closed = yield from cursor.until(PARAMETER_END, 64)
        if closed.endswith(b"="):
            # The end of this one is missing; the next begins.
            cursor.at -= len(b"<parameter=")
        elif not closed and (cut := UNCLOSED_END.search(value)):
            value = value[: cut.start()]
            cursor.at = start + len(value.encode())
        elif not closed and not value.strip():
            raise NoCall
        values[key.strip("\"' ")] = _value(value)
    if not (yield from cursor.take(b"</function>")) and (yield from cursor.peek()) not in {
        b"",
        b"<",
    }:
        raise NoCall
    return [_typed(name, values)]


INVOKE_WRAPPERS = (b"<function_calls>", b"<minimax:tool_call>")


def invoke(cursor: Cursor, known: Known) -> Reading[list[WrittenCall]]:
    """`<invoke name="…">` with `<parameter name="…">` values, one or several, maybe wrapped."""
    calls: list[WrittenCall] = []
    if (yield from cursor.take(*INVOKE_WRAPPERS)):
        yield from cursor.space()
    while (yield from cursor.take(b"<invoke name=")):
        name = (yield from cursor.before(b">", MAX_NAME)).strip("\"' ")
        if not known(name):
            raise NoCall
        values: dict[str, str] = {}
        while True:
            yield from cursor.space()
            if not (yield from cursor.take(b"<parameter name=")):
                break
            key = yield from cursor.before(b">", MAX_NAME)
            value, closed = yield from cursor.until(re.compile(rb"</parameter>"), 12)
            if not closed:
                raise NoCall
            values[key.split('"')[1] if key.count('"') > 1 else key.strip("\"' ")] = _value(value)
        calls.append(_typed(name, values))
        if not (yield from cursor.take(b"</invoke>")) and (yield from cursor.peek()):
            raise NoCall
        yield from cursor.space()
    if not calls:
        raise NoCall
    yield from cursor.take(b"</function_calls>", b"</minimax:tool_call>")
    return calls


def mistral(cursor: Cursor, known: Known) -> Reading[list[WrittenCall]]:
    """`[TOOL_CALLS]` and a list of JSON calls, or a name, `[ARGS]` and an object."""
    yield from cursor.literal(b"[TOOL_CALLS]")
    yield from cursor.space()
    if (yield from cursor.peek()) in {b"[", b"{"}:
        return (yield from json_calls(cursor, known, TAGGED_KEYS))
    name = yield from cursor.run(NAME, MAX_NAME)
    if not known(name):
        raise NoCall
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
    """Between marks: `function`, separator, name and fenced JSON; later: name, separator, JSON."""
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


KIMI = (b"<|tool_calls_section_begin|>", b"<|tool_call_begin|>")


def kimi(cursor: Cursor, known: Known) -> Reading[list[WrittenCall]]:
    """`functions.name:0` and an object, with or without the marks around it."""
    calls: list[WrittenCall] = []
    yield from cursor.take(KIMI[0])
    while True:
        yield from cursor.space()
        marked = yield from cursor.take(KIMI[1])
        yield from cursor.space()
        if calls and not marked:
            break
        name = yield from cursor.run(NAME, MAX_NAME)
        if not known(name) or not (marked or re.search(r":\d+$", name)):
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
    """`<|channel|>commentary to=functions.name … <|message|>` and an object."""
    yield from cursor.take(b"<|start|>")
    yield from cursor.take(b"assistant")
    while (yield from cursor.take(*HARMONY_MARKS)):
        yield from cursor.space()
    yield from cursor.space()
    yield from cursor.literal(b"to=")
    name = yield from cursor.run(NAME, MAX_NAME)
    if not known(name):
        raise NoCall
    yield from cursor.space()
    while (yield from cursor.take(*HARMONY_MARKS)):
        yield from cursor.space()
    arguments = yield from json_object(cursor)
    yield from cursor.space()
    yield from cursor.take(b"<|call|>", b"<|end|>")
    return [WrittenCall(name, arguments)]


QUOTE = re.compile(rb'<escape>|<\|"\|>')


def gemma(cursor: Cursor, known: Known) -> Reading[list[WrittenCall]]:
    """`<start_function_call>call:name{key:<escape>text<escape>,n:5}`."""
    yield from cursor.literal(b"<start_function_call>", b"<|tool_call>")
    yield from cursor.literal(b"call:")
    name = yield from cursor.run(NAME, MAX_NAME)
    if not known(name):
        raise NoCall
    yield from cursor.literal(b"{")
    # Less its quotes this is JSON with bare keys, which the lenient reader takes.
    pieces, depth = ["{"], 1
    while depth:
        plain, mark = yield from cursor.until(re.compile(QUOTE.pattern + rb"|[{}]"), 8)
        pieces.append(plain + (mark.decode() if mark in {b"{", b"}"} else ""))
        if mark in {b"{", b"}"}:
            depth += 1 if mark == b"{" else -1
        elif mark:
            quoted, _ = yield from cursor.until(QUOTE, 8)
            pieces.append(orjson.dumps(quoted).decode())
        else:
            break
    return [WrittenCall(name, "".join(pieces))]


def _value(text: str) -> str:
    """A value between tags, less the line ends that belong to the tags."""
    if "\n" not in text:
        return text.strip()
    # A line end before the value goes together with one behind it; one alone is the value's.
    return text[1:].removesuffix("\n") if text.startswith("\n") else text


def _typed(name: str, values: dict[str, Any]) -> WrittenCall:
    """Values without types; the tool's schema will tell which are no strings."""
    return WrittenCall(name, orjson.dumps(values).decode())


STYLES = (
    Style("tool_call tag", TOOL_CALL_TAGS, tool_call),
    Style("function tag", (b"<function=",), function_tag),
    Style("invoke tag", (*INVOKE_WRAPPERS, b"<invoke name="), invoke),
    Style("mistral", (b"[TOOL_CALLS]",), mistral),
    Style("llama", (b"<|python_tag|>",), python_tag),
    Style("deepseek", (CALLS_BEGIN, CALL_BEGIN), deepseek),
    Style("kimi", KIMI, kimi),
    Style("kimi", (b"functions.",), kimi, words=True),
    Style(
        "harmony",
        (b"<|start|>assistant", b"<|channel|>", b"assistantcommentary to=functions."),
        harmony,
    ),
    Style(
        "harmony",
        (b"commentary to=functions.", b"to=functions."),
        harmony,
        words=True,
    ),
    Style("gemma", (b"<start_function_call>", b"<|tool_call>"), gemma),
    Style("fence", (b"```",), fenced, tagged=False),
    Style("json", (b"{", b"["), bare, tagged=False),
)
"""Every form that is known, in the order in which their openers are tried at one place."""
