"""Ollama's parser of calls for models whose template it runs itself (tools/tools.go of 0.33).

It finds a call by the name of a declared function and the first whole JSON object, wherever both
stand behind the tag. What is no such call is dropped, and so is everything behind the first tag.
"""

from __future__ import annotations

from typing import Any

import orjson

from tests.fake_ollama import wire
from tests.fake_ollama.facts import ModelFacts
from tests.fake_ollama.raw_words import raw_words
from tests.fake_ollama.script import Answer, Call, Calls, Finish, Say, Step

Json = dict[str, Any]
TAG = "<tool_call>"


def parsed(steps: Answer, facts: ModelFacts, declared: list[str], prompt_tokens: int) -> list[Step]:
    """What the parser leaves of an answer; all tokens are counted, those of dropped calls, too.

    Without `declared` functions there is no parser: calls are text.
    """
    told = raw_words(steps, facts, thoughts_apart=True)
    if not declared:
        return told
    parser, kept = GenericParser(declared), list[Step]()
    for step in told:
        if isinstance(step, Say):
            for piece in step.pieces:
                calls, text = parser.add(piece)
                kept += [Say(text, (text,))] if text else [Calls(*calls)] if calls else []
        elif not isinstance(step, Finish):
            kept.append(step)
    given = [step.reason for step in steps if isinstance(step, Finish)]
    reason = wire.ending(kept).reason if given in ([], ["tool_calls"]) else given[0]
    return [*kept, Finish(reason, wire.token_counts(told, prompt_tokens))]


class GenericParser:
    """Reads an answer piece by piece."""

    def __init__(self, declared: list[str]) -> None:
        self._declared = declared
        self._buffer = ""
        self._is_calling = False

    def add(self, text: str) -> tuple[list[Call], str]:
        """The calls that are complete now, and the text that may go out."""
        self._buffer += text
        said = ""
        if not self._is_calling:
            said, self._buffer = self._before_tag()
            self._is_calling = self._buffer.startswith(TAG)
        calls: list[Call] = []
        while self._is_calling and (call := self._next_call()) is not None:
            calls.append(call)
        return calls, said

    def _before_tag(self) -> tuple[str, str]:
        """The text before the tag or its beginning, and the rest."""
        at = self._buffer.find(TAG)
        if at < 0:
            ends = (n for n in range(len(TAG) - 1, 0, -1) if self._buffer.endswith(TAG[:n]))
            at = len(self._buffer) - next(ends, 0)
        return self._buffer[:at], self._buffer[at:]

    def _next_call(self) -> Call | None:
        name, end = self._name()
        found = first_object(self._buffer) if name else None
        if found is None:
            return None
        value, last = found
        is_call, arguments = _arguments(value, name)
        if is_call and arguments is None:
            return None
        # As Ollama: the end is that of the name or the last brace, whichever comes later.
        self._buffer = self._buffer[max(end, last) :]
        return Call(name, value if arguments is None else arguments)

    def _name(self) -> tuple[str, int]:
        """The first declared name in the buffer and its end; "" where it may still grow."""
        for name in self._declared:
            if any(self._buffer.endswith(name[:n]) for n in range(1, len(name))):
                return "", 0
        places = [(self._buffer.find(name), -len(name), name) for name in self._declared]
        at, _, name = min((place for place in places if place[0] >= 0), default=(0, 0, ""))
        return name, at + len(name)


def first_object(text: str) -> tuple[Json, int] | None:
    """The first whole JSON object in a text, and the index of its last brace."""
    start = depth = 0
    in_string = escaped = False
    for n, character in enumerate(text):
        if escaped or character == "\\":
            escaped = not escaped
        elif character == '"':
            in_string = not in_string
        elif in_string:
            continue
        elif character == "{":
            start, depth = (n if depth == 0 else start), depth + 1
        elif character == "}" and depth:
            depth -= 1
            if depth == 0 and (value := _object(text[start : n + 1])) is not None:
                return value, n
    return None


def _object(text: str) -> Json | None:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def _arguments(value: Json, name: str) -> tuple[bool, Json | None]:
    """Whether an object is a call or has one inside, and the arguments of that call, if any."""
    for key in ("arguments", "parameters") if "name" in value else (name,):
        given = value.get(key)
        given = _object(given) if isinstance(given, str) else given
        if isinstance(given, dict):
            return True, given
    if "name" in value:
        return True, None
    for child in value.values():
        for each in child if isinstance(child, list) else [child]:
            found = _arguments(each, name) if isinstance(each, dict) else (False, None)
            if found[0]:
                return found
    return False, None
