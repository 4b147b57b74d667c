"""Ollama's own dialect, /api/chat: ChatRequest -> bytes, lines of JSON -> deltas. Without I/O.

It alone can set the context, keeps a model in memory on request, tells an error inside of an
answer, and refuses an overlong prompt in place of cutting it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from codex_bridge.engines.openai_chat import json_object, whole_number, written
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

PATH = "/api/chat"


def encode(
    request: ChatRequest,
    *,
    stream: bool,
    thinks: bool = False,
    num_ctx: int | None = None,
    keep_alive: str | None = None,
    truncate: bool = False,
) -> bytes:
    """The request's body. The same request gives the same bytes.

    `thinks` tells whether the model can think: unlike chat completions, this dialect leaves
    that off where nothing is said. `num_ctx` in tokens. With `truncate` Ollama may cut.
    """
    options = {
        "num_ctx": num_ctx,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "presence_penalty": request.presence_penalty,
        "frequency_penalty": request.frequency_penalty,
        "num_predict": request.max_tokens,
    }
    body: Json = {
        "model": request.model,
        "messages": [_message(message) for message in request.messages],
    }
    if request.functions:
        body["tools"] = request.functions
    think = _think(request.effort, thinks)
    if think is not None:
        body["think"] = think
    if request.response_format:
        body["format"] = _format(request.response_format)
    if keep_alive is not None:
        body["keep_alive"] = int(keep_alive) if _is_number(keep_alive) else keep_alive
    if not truncate:
        body["truncate"] = False
    body["options"] = {key: value for key, value in options.items() if value is not None}
    body["stream"] = stream
    return orjson.dumps(body)


def _think(effort: str | None, thinks: bool) -> bool | str | None:
    if effort == "none":
        return False
    return effort or (True if thinks else None)


def _format(response_format: Json) -> Any:
    if response_format.get("type") == "json_schema":
        return (response_format.get("json_schema") or {}).get("schema") or "json"
    return "json"


def _is_number(text: str) -> bool:
    return text.lstrip("-").isdigit()


def _message(message: Json) -> Json:
    """A message of chat completions in Ollama's words: one string, images beside it."""
    content = message["content"]
    made: Json = {"role": message["role"], "content": content}
    if isinstance(content, list):
        made["content"] = "\n".join(part["text"] for part in content if part["type"] == "text")
        urls = [part["image_url"]["url"] for part in content if part["type"] == "image_url"]
        made["images"] = [url.partition(",")[2] for url in urls]
    if message.get("reasoning"):
        made["thinking"] = message["reasoning"]
    if message.get("tool_calls"):
        made["tool_calls"] = [_call(call) for call in message["tool_calls"]]
    if message["role"] == "tool":
        made["tool_name"] = message["name"]
        made["tool_call_id"] = message["tool_call_id"]
    return made


def _call(call: Json) -> Json:
    function = call["function"]
    arguments = orjson.loads(function["arguments"])
    return {"id": call["id"], "function": {"name": function["name"], "arguments": arguments}}


class LineDecoder:
    """Lines of JSON, cut anywhere, -> deltas; one JSON answer is a single line.

    `over` becomes true when the answer needs no more bytes. Call `eof` then, or when the
    bytes end: it raises UpstreamFailure unless the model finished.
    """

    def __init__(self) -> None:
        self.over = False
        self._partial: list[bytes] = []
        self._calls = 0
        self._seen = False
        self._finished = False
        self._failure: UpstreamFailure | None = None

    def feed(self, data: bytes) -> list[Delta]:
        """The deltas that became complete with these bytes."""
        if b"\n" not in data:
            # Not joined yet: a long line in many pieces must stay linear.
            self._partial.append(data)
            return []
        *lines, rest = b"".join([*self._partial, data]).split(b"\n")
        self._partial = [rest]
        return [delta for line in lines for delta in self._deltas(line)]

    def eof(self) -> list[Delta]:
        """The last deltas. Raises UpstreamFailure if the answer is not whole."""
        last = list(self._deltas(b"".join(self._partial)))
        self._partial = []
        if self._failure:
            raise self._failure
        if not self._finished:
            raise UpstreamFailure(FailureKind.BROKEN, "it ended without a finish reason")
        return last

    def _deltas(self, line: bytes) -> Iterator[Delta]:
        if self.over or not line.strip():
            return
        try:
            yield from self._line(line)
        except UpstreamFailure as failure:
            self._failure, self.over = failure, True

    def _line(self, line: bytes) -> Iterator[Delta]:
        record = json_object(line, "a line")
        message = record.get("message")
        if isinstance(message, dict):
            yield from self._said(message)
        if record.get("done"):
            self._finished = self.over = True
            yield FinishDelta(str(record.get("done_reason") or "stop"))
            yield UsageDelta(
                whole_number(record.get("prompt_eval_count")),
                whole_number(record.get("eval_count")),
            )

    def _said(self, message: Json) -> Iterator[Delta]:
        thinking, content = message.get("thinking"), message.get("content")
        if isinstance(thinking, str) and thinking:
            yield ReasoningDelta(thinking)
        if isinstance(content, str) and content:
            yield TextDelta(content)
        calls = message.get("tool_calls")
        for call in calls if isinstance(calls, list) else []:
            function = call.get("function") if isinstance(call, dict) else None
            if isinstance(function, dict):
                arguments = written(function.get("arguments") or {})
                name = str(function.get("name") or "")
                # Calls come whole; old versions give them neither index nor id.
                yield ToolCallDelta(self._calls, str(call.get("id") or ""), name, arguments)
                self._calls += 1
