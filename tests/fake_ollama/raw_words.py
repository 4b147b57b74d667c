"""An answer as the model itself writes it: thoughts and calls are text, as its template has it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import orjson

from tests.fake_ollama import wire
from tests.fake_ollama.facts import ModelFacts
from tests.fake_ollama.script import Answer, Call, Say, Step, Think

THOUGHT = ("<think>\n", "\n</think>\n\n")
MARKS = ("<think>", "</think>", "<tool_call>", "</tool_call>")
"""Marks that are single tokens."""
TOKEN = re.compile(rf"\s*(?:{'|'.join(MARKS)}|\w+|\W)")
"""What is about a token of a call, whose punctuation makes more of them than a text has words."""
XML_TEMPLATES = frozenset({"qwen3-coder", "qwen3.5"})
"""Templates that teach calls with one tag for each argument."""


def raw_words(steps: Answer, facts: ModelFacts, *, thoughts_apart: bool = False) -> list[Step]:
    """The steps with text in place of thoughts and calls.

    `thoughts_apart`: thoughts at the beginning stay what they are.
    """
    told = list(_told(steps, facts, thoughts_apart))
    return list(_without_marks(told)) if facts.marks_are_control_tokens else told


def written(call: Call, facts: ModelFacts) -> str:
    """The text of a call; arguments that are no JSON object are written as they are."""
    inside = _in_json(call)
    if facts.template in XML_TEMPLATES:
        inside = _in_xml(call)
    return f"<tool_call>\n{inside}\n</tool_call>"


def _in_json(call: Call) -> str:
    return f'{{"name": "{call.name}", "arguments": {call.arguments_text}}}'


def _in_xml(call: Call) -> str:
    inside = call.arguments_text
    if isinstance(call.arguments, dict):
        inside = "\n".join(
            f"<parameter={key}>\n{_as_text(value)}\n</parameter>"
            for key, value in call.arguments.items()
        )
    return f"<function={call.name}>\n{inside}\n</function>"


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _told(steps: Answer, facts: ModelFacts, thoughts_apart: bool) -> Iterator[Step]:
    opened, closed = THOUGHT
    is_thinking = has_text = False
    for step in steps:
        calls = wire.calls_of(step)
        if is_thinking and (calls or isinstance(step, Say)):
            yield Say(closed)
            is_thinking = False
        if isinstance(step, Think) and thoughts_apart and not has_text:
            yield step
        elif isinstance(step, Think):
            if not is_thinking:
                yield Say(opened, (opened,))
            yield Say(step.text, step.pieces)
            is_thinking = True
        elif not calls:
            yield step
            has_text = has_text or isinstance(step, Say)
        for call in calls:
            text = ("\n" if has_text else "") + written(call, facts)
            yield Say(text, tuple(TOKEN.findall(text)))
            has_text = True
    if is_thinking and wire.ending(steps).reason != "length":
        yield Say(closed)


def _without_marks(steps: list[Step]) -> Iterator[Step]:
    for step in steps:
        if not isinstance(step, Say):
            yield step
            continue
        pieces = step.pieces
        for mark in MARKS:
            pieces = tuple(piece.replace(mark, "") for piece in pieces)
        yield Say("".join(pieces), tuple(filter(None, pieces)))
