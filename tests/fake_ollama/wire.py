"""The bytes of Ollama's answers on /v1/chat/completions, by version."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any

import orjson

from tests.fake_ollama.facts import number
from tests.fake_ollama.script import (
    Answer,
    Call,
    Calls,
    Finish,
    Fragments,
    Say,
    Step,
    Think,
)

Json = dict[str, Any]
DONE = b"data: [DONE]\n\n"
_ID = "abcdefghijklmnopqrstuvwxyz0123456789"


def go_json(value: Any) -> bytes:
    """JSON as Go writes it: `<`, `>` and `&` escaped."""
    text = orjson.dumps(value)
    for character in (b"<", b">", b"&"):
        text = text.replace(character, b"\\u%04x" % ord(character))
    return text


def error_body(status: int, message: str, version: str) -> bytes:
    """An error before the stream; since 0.18 its type depends on the status."""
    types = {400: "invalid_request_error", 404: "not_found_error"}
    kind = types.get(status, "api_error") if number(version) >= (0, 18) else "api_error"
    error = {"message": message, "type": kind, "param": None, "code": None}
    return go_json({"error": error}) + b"\n"


def ending(steps: Answer) -> Finish:
    """The Finish of the script, or the one with which Ollama would end such an answer."""
    for step in steps:
        if isinstance(step, Finish):
            return step
    called = any(isinstance(step, Call | Calls | Fragments) for step in steps)
    return Finish("tool_calls" if called else "stop")


def token_counts(steps: Answer, prompt_tokens: int) -> Json:
    """The token counts of the script; by default those of the prompt, and one for each piece."""
    if given := ending(steps).usage:
        return given
    said = sum(len(step.pieces) for step in steps if isinstance(step, Say | Think))
    completion = said + 1
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion,
        "total_tokens": prompt_tokens + completion,
    }


class ChatStream:
    """Steps -> the chunks of one streamed answer."""

    def __init__(self, model: str, version: str) -> None:
        self._new = number(version) >= (0, 32, 6)
        self._first = True
        self._calls = 0
        self._head: Json = {
            "id": f"chatcmpl-{random.randrange(999)}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": model,
            "system_fingerprint": "fp_ollama",
        }

    def step(self, step: Step) -> Iterator[bytes]:
        """The chunks of one step."""
        if isinstance(step, Think):
            for piece in step.pieces:
                yield self._delta({"content": "", "reasoning": piece})
        elif isinstance(step, Say):
            for piece in step.pieces:
                yield self._delta({"content": piece})
        elif isinstance(step, Call):
            yield self._delta({"content": "", "tool_calls": [self._call(step)]})
        elif isinstance(step, Calls):
            calls = [self._call(call) for call in step.calls]
            yield self._delta({"content": "", "tool_calls": calls})
        elif isinstance(step, Fragments):
            yield from self._fragments(step)

    def finish(self, reason: str) -> bytes:
        """The chunk with the finish reason. An answer without text gets an empty chunk before it.

        Up to 0.32.5 an answer with calls always ends with "tool_calls".
        """
        said = self._delta({"content": ""}) if self._first and self._new else b""
        if self._calls and not self._new:
            reason = "tool_calls"
        delta = {} if self._new else {"role": "assistant", "content": ""}
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return said + self._chunk([choice])

    def usage(self, usage: Json) -> bytes:
        """The chunk with the token counts."""
        return self._chunk([], usage=usage)

    def empty_model(self) -> bytes:
        """The chunk that stands for an error in mid-stream. It has no message."""
        delta = {"content": ""} if self._new else {"role": "assistant", "content": ""}
        choice = {"index": 0, "delta": delta, "finish_reason": None}
        return b"data: " + go_json(self._head | {"model": "", "choices": [choice]}) + b"\n\n"

    def _fragments(self, step: Fragments) -> Iterator[bytes]:
        index, self._calls = self._calls, self._calls + 1
        function = {"name": step.name, "arguments": ""}
        head = {"index": index, "id": step.id or new_call_id(), "type": "function"}
        yield self._delta({"tool_calls": [head | {"function": function}]})
        for piece in step.arguments:
            yield self._delta({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})

    def _call(self, call: Call) -> Json:
        index = self._calls if call.index is None else call.index
        self._calls += 1
        return {
            "id": call.id or new_call_id(),
            "index": index,
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments_text},
        }

    def _delta(self, delta: Json) -> bytes:
        if self._first or not self._new:
            delta = {"role": "assistant", **delta}
        self._first = False
        return self._chunk([{"index": 0, "delta": delta, "finish_reason": None}])

    def _chunk(self, choices: list[Json], **more: Any) -> bytes:
        if not self._new:
            self._head["created"] = int(time.time())
        return b"data: " + go_json(self._head | {"choices": choices} | more) + b"\n\n"


def whole_answer(model: str, steps: Answer, usage: Json) -> bytes:
    """The one JSON answer of `stream: false`."""
    message: Json = {"role": "assistant", "content": texts(steps, Say)}
    if reasoning := texts(steps, Think):
        message["reasoning"] = reasoning
    calls: list[Json] = []
    for call in (call for step in steps for call in calls_of(step)):
        function = {"name": call.name, "arguments": call.arguments_text}
        head = {"id": call.id or new_call_id(), "index": len(calls), "type": "function"}
        calls.append(head | {"function": function})
    if calls:
        message["tool_calls"] = calls
    choice = {"index": 0, "message": message, "finish_reason": ending(steps).reason}
    return (
        go_json(
            {
                "id": f"chatcmpl-{random.randrange(999)}",
                "object": "chat.completion",
                "created": int(time.time()),
                "model": model,
                "system_fingerprint": "fp_ollama",
                "choices": [choice],
                "usage": usage,
            }
        )
        + b"\n"
    )


def texts(steps: Answer, kind: type[Say] | type[Think]) -> str:
    """All content, or all reasoning, of an answer."""
    return "".join("".join(step.pieces) for step in steps if isinstance(step, kind))


def calls_of(step: Step) -> tuple[Call, ...]:
    """The calls of a step, each whole."""
    if isinstance(step, Call):
        return (step,)
    if isinstance(step, Fragments):
        return (Call(step.name, "".join(step.arguments), step.id),)
    return step.calls if isinstance(step, Calls) else ()


def new_call_id() -> str:
    """`call_` and eight letters or digits."""
    return "call_" + "".join(random.choices(_ID, k=8))
