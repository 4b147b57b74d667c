"""The forms in which models write calls as text, one reader for each.

A reader is a generator over a Cursor that stands at the form's first byte. It returns the calls
it read, and raises NoCall as soon as the text cannot be a call in this form. `known` says whether
a name may mean an offered function; other names end the reading early.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable

import orjson
from attrs import frozen

from codex_bridge.leaks.cursor import Cursor, NoCall, Reading
from codex_bridge.leaks.json_calls import (
    MAX_NAME,
    PLAIN_KEYS,
    TAGGED_KEYS,
    Known,
    WrittenCall,
    json_calls,
    json_object,
    untagged_json,
)

NAME = re.compile(rb"[\w.:/-]*")
JSON_WORDS = {"true": True, "false": False, "null": None}
FENCE = re.compile(rb"`*")
FENCE_WORD = re.compile(rb"[\w+-]*")
FENCE_WORDS = frozenset({"", "json", "tool_call", "tool_calls", "tool_code", "tool", "function"})
"""What may stand behind the opening of a fence that holds calls."""


@frozen
class Style:
    """A form: its name in the log, the texts it can begin with, and its reader."""

    name: str
    openers: tuple[bytes, ...]
    read: Callable[[Cursor, Known], Reading[list[WrittenCall]]]
    tagged: bool = True
    """Whether it begins with a mark that ordinary text does not contain."""
    words: bool = False
    """Whether its opener is made of ordinary words, and counts only where a line begins."""


def fenced(cursor: Cursor, known: Known) -> Reading[list[WrittenCall]]:
    """A code fence that holds nothing but calls."""
    yield from cursor.run(FENCE, 8)
    word = yield from cursor.run(FENCE_WORD, 20)
    if word.lower() not in FENCE_WORDS:
        raise NoCall
    calls: list[WrittenCall] = []
    while True:
        yield from cursor.space()
        if calls and (yield from cursor.take(b"```")):
            return calls
        char = yield from cursor.peek()
        if char == b"<":
            calls += yield from _tag_in_fence(cursor, known)
        elif char in {b"{", b"["}:
            calls += yield from json_calls(cursor, known, PLAIN_KEYS)
        elif word == "tool_code" and char.isalpha():
            calls.append((yield from python_call(cursor, known)))
        elif not char and calls:
            return calls
        else:
            raise NoCall


def _tag_in_fence(cursor: Cursor, known: Known) -> Reading[list[WrittenCall]]:
    tag = yield from cursor.literal(b"<tool_call>", b"<function=")
    cursor.at -= len(tag)
    read = tool_call if tag == b"<tool_call>" else function_tag
    calls = yield from read(cursor, known)
    yield from cursor.space()
    yield from cursor.take(b"</tool_call>")
    return calls


TOOL_CALL_TAGS = (b"<tool_call>", b"<tools>", b"<function_call>", b"<|tool_call|>")
ARG_VALUE_END = re.compile(rb"</arg_value>|</tool_call>")


def tool_call(cursor: Cursor, known: Known) -> Reading[list[WrittenCall]]:
    """`<tool_call>` or the like, and JSON, `<function=…>` or a name with `<arg_key>` pairs."""
    yield from cursor.literal(*TOOL_CALL_TAGS)
    yield from cursor.space()
    char = yield from cursor.peek()
    if char == b"<":
        return (yield from function_tag(cursor, known))
    if char in {b"{", b"["}:
        calls = yield from json_calls(cursor, known, TAGGED_KEYS)
        if not calls[-1].arguments.endswith("}"):
            # Unclosed brackets have taken in the end tag; they should have closed before it.
            arguments, tag, rest = calls[-1].arguments.partition("</tool_call>")
            calls[-1] = WrittenCall(calls[-1].name, arguments)
            cursor.at -= len((tag + rest).encode())
        return calls
    name = yield from _known_name(cursor, known)
    values: dict[str, str] = {}
    while True:
        yield from cursor.space()
        if not (yield from cursor.take(b"<arg_key>")):
            break
        key = yield from cursor.before(b"</arg_key>", MAX_NAME)
        yield from cursor.space()
        yield from cursor.literal(b"<arg_value>")
        value, _ = yield from cursor.until(ARG_VALUE_END, 12)
        values[key.strip()] = value
    return [_call_with_values(name, values)]


QUOTED_NAME = re.compile(rb"[\w.:/\"'-]*")
PARAMETER_END = re.compile(rb"</parameter>|\n[ \t]{0,40}<parameter=")
LONGEST_PARAMETER_END = 64
UNCLOSED_END = re.compile(r"\n[ \t]*(?:</function>|</tool_call>)")


def function_tag(cursor: Cursor, known: Known) -> Reading[list[WrittenCall]]:
    """`<function=name>` with `<parameter=key>` values, or with one JSON object."""
    yield from cursor.literal(b"<function=")
    name = (yield from cursor.run(QUOTED_NAME, MAX_NAME)).strip("\"'")
    yield from cursor.literal(b">")
    if not known(name):
        raise NoCall
    yield from cursor.space()
    if (yield from cursor.peek()) == b"{":
        return [(yield from _call_with_json(cursor, name))]
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
    return [_call_with_values(name, values)]


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
    return _without_tag_lines(value)


def python_call(cursor: Cursor, known: Known) -> Reading[WrittenCall]:
    """`name(key="value", n=5)`: keywords and literals only; also true, false and null."""
    name = yield from _known_name(cursor, known)
    if (yield from cursor.peek()) != b"(":
        raise NoCall
    text = yield from cursor.parenthesised()
    try:
        call = ast.parse(f"call{text}", mode="eval").body
        if not isinstance(call, ast.Call) or call.args or not all(k.arg for k in call.keywords):
            raise NoCall
        values = {str(keyword.arg): _literal(keyword.value) for keyword in call.keywords}
        return WrittenCall(name, orjson.dumps(values).decode())
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        # Among them is the error of orjson for what JSON does not have.
        raise NoCall from None


def _literal(node: ast.expr) -> object:
    """The value of a literal. Raises ValueError for anything else."""
    if isinstance(node, ast.Name) and node.id in JSON_WORDS:
        return JSON_WORDS[node.id]
    return ast.literal_eval(node)


def python_calls(cursor: Cursor, known: Known) -> Reading[list[WrittenCall]]:
    """Calls as in Python: in a list, or one below the other."""
    is_list = yield from cursor.take(b"[")
    calls: list[WrittenCall] = []
    while True:
        yield from cursor.space()
        calls.append((yield from python_call(cursor, known)))
        yield from cursor.space()
        yield from cursor.take(b",")
        yield from cursor.space()
        char = yield from cursor.peek()
        if not (char.isalpha() or char == b"_"):
            break
    if is_list:
        yield from cursor.take(b"]")
    return calls


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


NAMED_END = re.compile(rb"</parameter>|</function>")


def named_function(cursor: Cursor, known: Known) -> Reading[list[WrittenCall]]:
    """`<function name="…">` with `<parameter name="…">` values, or with one JSON object."""
    yield from cursor.literal(b"<function name=")
    name = yield from _known_attribute(cursor, known)
    yield from cursor.space()
    if (yield from cursor.peek()) == b"{":
        return [(yield from _call_with_json(cursor, name))]
    values: dict[str, str] = {}
    while (yield from cursor.take(b"<parameter name=")):
        key = yield from cursor.before(b">", MAX_NAME)
        value, end = yield from cursor.until(NAMED_END, 12)
        if end != b"</parameter>":
            raise NoCall
        values[_attribute(key)] = _without_tag_lines(value)
        yield from cursor.space()
    yield from cursor.literal(b"</function>")
    return [_call_with_values(name, values)]


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
        name = yield from _known_attribute(cursor, known)
        values: dict[str, str] = {}
        yield from cursor.space()
        while (yield from cursor.take(DSML_PARAMETER)):
            key = yield from cursor.before(b">", MAX_NAME)
            value, end = yield from cursor.until(DSML_VALUE_END, LONGEST_DSML_END)
            if not end:
                raise NoCall
            values[_attribute(key)] = value
            yield from cursor.space()
        calls.append(_call_with_values(name, values))
        while (yield from cursor.take(*DSML_ENDS)):
            yield from cursor.space()
        yield from cursor.space()
    if not calls:
        raise NoCall
    return calls


INVOKE_WRAPPERS = (b"<function_calls>", b"<minimax:tool_call>")
INVOKE_VALUE_END = re.compile(rb"</parameter>")


def invoke(cursor: Cursor, known: Known) -> Reading[list[WrittenCall]]:
    """`<invoke name="…">` with `<parameter name="…">` values, one or several, maybe wrapped."""
    calls: list[WrittenCall] = []
    if (yield from cursor.take(*INVOKE_WRAPPERS)):
        yield from cursor.space()
        if (yield from cursor.peek()).isalpha():
            # OLMo 3 writes Python between these tags.
            return (yield from python_calls(cursor, known))
    while (yield from cursor.take(b"<invoke name=")):
        name = yield from _known_attribute(cursor, known)
        values: dict[str, str] = {}
        while True:
            yield from cursor.space()
            if not (yield from cursor.take(b"<parameter name=")):
                break
            key = yield from cursor.before(b">", MAX_NAME)
            value, end = yield from cursor.until(INVOKE_VALUE_END, 12)
            if not end:
                raise NoCall
            values[_attribute(key)] = _without_tag_lines(value)
        calls.append(_call_with_values(name, values))
        if not (yield from cursor.take(b"</invoke>")) and (yield from cursor.peek()):
            raise NoCall
        yield from cursor.space()
    if not calls:
        raise NoCall
    yield from cursor.take(b"</function_calls>", b"</minimax:tool_call>")
    return calls


def _attribute(text: str) -> str:
    """The value of the attribute that `text` begins with; others may follow a quoted one."""
    return text.split('"')[1] if text.count('"') > 1 else text.strip("\"' ")


def mistral(cursor: Cursor, known: Known) -> Reading[list[WrittenCall]]:
    """`[TOOL_CALLS]` and a list of JSON calls, or a name, `[ARGS]` and an object."""
    yield from cursor.literal(b"[TOOL_CALLS]")
    yield from cursor.space()
    if (yield from cursor.peek()) in {b"[", b"{"}:
        return (yield from json_calls(cursor, known, TAGGED_KEYS))
    name = yield from _known_name(cursor, known)
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
    """`<|channel|>commentary to=functions.name … <|message|>` and an object."""
    yield from cursor.take(b"<|start|>")
    yield from cursor.take(b"assistant")
    while (yield from cursor.take(*HARMONY_MARKS)):
        yield from cursor.space()
    yield from cursor.space()
    yield from cursor.literal(b"to=")
    name = yield from _known_name(cursor, known)
    yield from cursor.space()
    while (yield from cursor.take(*HARMONY_MARKS)):
        yield from cursor.space()
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
    name = yield from _known_name(cursor, known)
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
            quoted, _ = yield from cursor.until(GEMMA_QUOTE, 8)
            pieces.append(orjson.dumps(quoted).decode())
        else:
            break
    return [WrittenCall(name, "".join(pieces))]


def _known_name(cursor: Cursor, known: Known) -> Reading[str]:
    """Read a name. Raises NoCall if it means no offered function."""
    name = yield from cursor.run(NAME, MAX_NAME)
    if not known(name):
        raise NoCall
    return name


def _known_attribute(cursor: Cursor, known: Known) -> Reading[str]:
    """Read the name in `name="…">`, behind its `=`. Raises NoCall if it means no function."""
    name = (yield from cursor.before(b">", MAX_NAME)).strip("\"' ")
    if not known(name):
        raise NoCall
    return name


def _call_with_json(cursor: Cursor, name: str) -> Reading[WrittenCall]:
    """Read an object of arguments, and the end tag of the function if it comes."""
    arguments = yield from cursor.json()
    yield from cursor.space()
    yield from cursor.take(b"</function>")
    return WrittenCall(name, arguments)


def _without_tag_lines(value: str) -> str:
    """A value between tags without the line ends that belong to the tags."""
    if "\n" not in value:
        return value.strip()
    # If the value begins with a line end, that one and one at its end belong to the tags. One that
    # is only at the end belongs to the value.
    return value[1:].removesuffix("\n") if value.startswith("\n") else value


def _call_with_values(name: str, values: dict[str, str]) -> WrittenCall:
    """A call whose values are all strings, since tags carry no types; repair finds the types."""
    return WrittenCall(name, orjson.dumps(values).decode())


STYLES = (
    Style("tool_call tag", TOOL_CALL_TAGS, tool_call),
    Style("function tag", (b"<function=",), function_tag),
    Style("invoke tag", (*INVOKE_WRAPPERS, b"<invoke name="), invoke),
    Style("named function tag", (b"<function name=",), named_function),
    Style("dsml", (*DSML_WRAPPERS, DSML_INVOKE), dsml),
    Style("lfm", (b"<|tool_call_start|>",), lfm),
    Style("json tag", JSON_TAGS[:2], tagged_json),
    Style("functools", JSON_TAGS[2:], tagged_json, words=True),
    Style("mistral", (b"[TOOL_CALLS]",), mistral),
    Style("llama", (b"<|python_tag|>",), python_tag),
    Style("deepseek", (CALLS_BEGIN, CALL_BEGIN), deepseek),
    Style("kimi", (KIMI_SECTION, KIMI_CALL), kimi),
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
    Style("json", (b"{", b"["), untagged_json, tagged=False),
)
"""All forms, in the order in which their openers are tried at one place."""
