"""The chat completions dialect: ChatRequest -> bytes, bytes -> deltas. Without I/O."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from codex_bridge.engines.refusals import broken_off, error_text
from codex_bridge.vocabulary import (
    ChatRequest,
    Delta,
    FailureKind,
    FinishDelta,
    Json,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    UpstreamFailure,
    UsageDelta,
)

PATH = "/v1/chat/completions"
REASONING_KEYS = ("reasoning", "reasoning_content", "thinking")
"""Where a message carries reasoning: Ollama's key, then those of other servers."""
LARGEST_COUNT = 2**53
"""Of tokens; more is no count, and might not fit into JSON."""


def encode(request: ChatRequest, *, stream: bool) -> bytes:
    """The request's body. The same request gives the same bytes."""
    body: Json = {"model": request.model, "messages": request.messages}
    if request.functions:
        body["tools"] = request.functions
    optional = {
        "tool_choice": request.tool_choice,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "presence_penalty": request.presence_penalty,
        "frequency_penalty": request.frequency_penalty,
        "max_tokens": request.max_tokens,  # Ollama ignores max_completion_tokens
        "reasoning_effort": request.effort,
        "response_format": request.response_format,
    }
    body |= {key: value for key, value in optional.items() if value is not None}
    body["stream"] = stream
    if stream:
        body["stream_options"] = {"include_usage": True}
    return orjson.dumps(body)


class StreamDecoder:
    """Server-sent events, cut anywhere, -> deltas.

    `over` becomes true when the answer needs no more bytes. Call `eof` then, or when the
    bytes end: it raises UpstreamFailure unless the model finished.
    """

    def __init__(self) -> None:
        self.over = False
        self._partial: list[bytes] = []
        self._data: list[bytes] = []
        self._events = 0
        self._bytes = 0
        self._finished = False
        self._failure: UpstreamFailure | None = None

    def feed(self, data: bytes) -> list[Delta]:
        """The deltas that became complete with these bytes."""
        self._bytes += len(data)
        if b"\n" not in data:
            # Not joined yet: a long line in many pieces must stay linear.
            self._partial.append(data)
            return []
        *lines, rest = b"".join([*self._partial, data]).split(b"\n")
        self._partial = [rest]
        return [delta for line in lines for delta in self._line(line.removesuffix(b"\r"))]

    def eof(self) -> list[Delta]:
        """The last deltas. Raises UpstreamFailure if the answer is not whole."""
        last = [*self._line(b"".join(self._partial)), *self._line(b"")]
        self._partial = []
        if self._failure:
            raise self._failure
        if not self._finished:
            if self._bytes and not self._events:
                raise UpstreamFailure(FailureKind.GARBLED, "its answer holds no events")
            raise UpstreamFailure(FailureKind.BROKEN, "it ended without a finish reason")
        return last

    def _line(self, line: bytes) -> Iterator[Delta]:
        if self.over:
            return
        if line.startswith(b"data:"):
            self._data.append(line[5:].removeprefix(b" "))
        elif not line and self._data:
            data, self._data = b"\n".join(self._data), []
            try:
                yield from self._event(data)
            except UpstreamFailure as failure:
                self._failure, self.over = failure, True

    def _event(self, data: bytes) -> Iterator[Delta]:
        self._events += 1
        if data.strip() == b"[DONE]":
            self.over = True
            return
        for delta in chunk_deltas(json_object(data, "an event"), "delta"):
            self._finished = self._finished or isinstance(delta, FinishDelta)
            yield delta


class AnswerDecoder:
    """One JSON answer -> deltas, with the interface of `StreamDecoder`."""

    over = False

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def feed(self, data: bytes) -> list[Delta]:
        """Nothing yet: the answer is one JSON text."""
        self._pieces.append(data)
        return []

    def eof(self) -> list[Delta]:
        """All deltas. Raises UpstreamFailure if the answer is not whole."""
        body = b"".join(self._pieces)
        if not body:
            raise UpstreamFailure(FailureKind.BROKEN, "its answer is empty")
        deltas = list(chunk_deltas(json_object(body, "its answer"), "message"))
        if not any(isinstance(delta, FinishDelta) for delta in deltas):
            raise UpstreamFailure(FailureKind.BROKEN, "it ended without a finish reason")
        return deltas


def json_object(data: bytes, what: str) -> Json:
    """One object of an answer. Raises UpstreamFailure for anything else, and for an error."""
    try:
        answer = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise UpstreamFailure(FailureKind.GARBLED, f"{what} is not JSON: {error}") from None
    if not isinstance(answer, dict):
        raise UpstreamFailure(FailureKind.GARBLED, f"{what} is not a JSON object")
    if answer.get("error"):
        raise broken_off(error_message(answer))
    return answer


def written(value: Any) -> str:
    """A part of an answer as JSON. Raises UpstreamFailure for one that is nested too deeply."""
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        text = "its JSON is nested too deeply"
        raise UpstreamFailure(FailureKind.GARBLED, text) from None


def whole_number(value: Any) -> int:
    """A count; 0 where there is none that makes sense."""
    is_number = isinstance(value, int | float)
    return int(value) if is_number and 0 <= value < LARGEST_COUNT else 0


def chunk_deltas(chunk: Json, key: str) -> Iterator[Delta]:
    """The deltas in one chunk (`key` "delta") or one whole answer (`key` "message")."""
    choices = chunk.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else {}
    if isinstance(choice, dict):
        message = choice.get(key)
        if isinstance(message, dict):
            yield from _message_deltas(message)
        # Ollama says how it failed in no other way than a last chunk without a model.
        if choice.get("finish_reason") and chunk.get("model") != "":
            yield FinishDelta(str(choice["finish_reason"]))
    if isinstance(chunk.get("usage"), dict):
        yield _usage(chunk["usage"])


def _message_deltas(message: Json) -> Iterator[Delta]:
    for key in REASONING_KEYS:
        reasoning = message.get(key)
        if isinstance(reasoning, str) and reasoning:
            yield ReasoningDelta(reasoning)
            break
    content = message.get("content")
    if isinstance(content, str) and content:
        yield TextDelta(content)
    calls = message.get("tool_calls")
    for position, call in enumerate(calls if isinstance(calls, list) else []):
        if isinstance(call, dict):
            yield _call(call, position)


def _call(call: Json, position: int) -> ToolCallDelta:
    function = call.get("function")
    function = function if isinstance(function, dict) else {}
    arguments = function.get("arguments")
    if not isinstance(arguments, str):
        arguments = "" if arguments is None else written(arguments)
    index = call.get("index")
    return ToolCallDelta(
        index=index if isinstance(index, int) else position,
        id=str(call.get("id") or ""),
        name=str(function.get("name") or ""),
        arguments=arguments,
    )


def _usage(usage: Json) -> UsageDelta:
    def count(where: Any, key: str) -> int:
        return whole_number(where.get(key)) if isinstance(where, dict) else 0

    return UsageDelta(
        input_tokens=count(usage, "prompt_tokens"),
        output_tokens=count(usage, "completion_tokens"),
        cached_tokens=count(usage.get("prompt_tokens_details"), "cached_tokens"),
        reasoning_tokens=count(usage.get("completion_tokens_details"), "reasoning_tokens"),
    )


def error_message(answer: Json) -> str:
    """The sentence of an error body of any shape."""
    return error_text(answer) or written(answer.get("error"))
