"""The forms in which models write calls as text, one reader for each.

A reader is a generator over a Cursor that stands at the form's first byte. It returns the calls
it read, and raises NoCall as soon as the text cannot be a call in this form. `known` says whether
a name may mean an offered function; other names end the reading early.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from attrs import frozen

from codex_bridge.leaks import marks, tags
from codex_bridge.leaks.cursor import Cursor, NoCall, Reading
from codex_bridge.leaks.json_calls import (
    PLAIN_KEYS,
    Known,
    WrittenCall,
    json_calls,
    untagged_json,
)
from codex_bridge.leaks.parts import python_call

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
    read = tags.tool_call if tag == b"<tool_call>" else tags.function_tag
    calls = yield from read(cursor, known)
    yield from cursor.space()
    yield from cursor.take(b"</tool_call>")
    return calls


STYLES = (
    Style("tool_call tag", tags.TOOL_CALL_TAGS, tags.tool_call),
    Style("function tag", (b"<function=",), tags.function_tag),
    Style("invoke tag", (*tags.INVOKE_WRAPPERS, *tags.INVOKE), tags.invoke),
    Style("named function tag", (b"<function name=",), tags.named_function),
    Style("dsml", (*tags.DSML_WRAPPERS, tags.DSML_INVOKE), tags.dsml),
    Style("lfm", (b"<|tool_call_start|>",), marks.lfm),
    Style("json tag", (b"<tool_calls>",), tags.tool_calls),
    Style("json tag", marks.JSON_TAGS[:2], marks.tagged_json),
    Style("functools", marks.JSON_TAGS[2:], marks.tagged_json, words=True),
    Style("mistral", (b"[TOOL_CALLS]",), marks.mistral),
    Style("llama", (b"<|python_tag|>",), marks.python_tag),
    Style("deepseek", (marks.CALLS_BEGIN, marks.CALL_BEGIN), marks.deepseek),
    Style("kimi", (marks.KIMI_SECTION, marks.KIMI_CALL), marks.kimi),
    Style("kimi", (b"functions.",), marks.kimi, words=True),
    Style(
        "harmony",
        (b"<|start|>assistant", b"<|channel|>", b"assistantcommentary to=functions."),
        marks.harmony,
    ),
    Style(
        "harmony",
        (b"commentary to=functions.", b"to=functions."),
        marks.harmony,
        words=True,
    ),
    Style("gemma", (b"<start_function_call>", b"<|tool_call>"), marks.gemma),
    Style("fence", (b"```",), fenced, tagged=False),
    Style("json", (b"{", b"["), untagged_json, tagged=False),
)
"""All forms, in the order in which their openers are tried at one place."""


@lru_cache(maxsize=100)
def dialect(template: str) -> frozenset[str] | None:
    """The names of the forms with marks that a model's chat template teaches it.

    None if it teaches none: then nothing is known of how the model writes calls. Servers have no
    template to show for models whose prompts they make in code of their own.
    """
    taught = {
        style.name
        for style in STYLES
        if style.tagged and not style.words
        if any(opener.decode() in template for opener in style.openers)
    }
    return frozenset(taught) or None


@lru_cache(maxsize=100)
def marks_of(dialect: frozenset[str] | None) -> re.Pattern[str]:
    """What finds the marks with which calls begin in these forms; None: in all forms."""
    openers = [
        re.escape(opener.decode())
        for style in STYLES
        if style.tagged and not style.words and (dialect is None or style.name in dialect)
        for opener in style.openers
    ]
    return re.compile("|".join(openers) or r"(?!)")
