"""Ollama's own dialect, /api/chat: ChatRequest -> bytes, lines of JSON -> deltas. Without I/O."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from codex_bridge.engines.parsing import (
    LineReader,
    json_object,
    object_in,
    objects_in,
    probabilities,
    whole_number,
    written,
)
from codex_bridge.vocabulary import (
    ChatRequest,
    Delta,
    FinishDelta,
    Json,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    UsageDelta,
)

PATH = "/api/chat"
OWN_WORDS_PATH = "/api/generate"
NANOSECONDS = 1e9
"""In a second."""


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

    `thinks` tells whether the model can think: unlike in chat completions, a model then has to be
    asked to think. `num_ctx` in tokens. With `truncate` Ollama may cut the prompt.
    """
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
    body |= _for_runner(request, num_ctx, keep_alive, truncate=truncate)
    body["stream"] = stream
    return orjson.dumps(body)


def encode_own_words(
    request: ChatRequest,
    prompt: str,
    *,
    stream: bool,
    num_ctx: int | None = None,
    keep_alive: str | None = None,
    truncate: bool = False,
) -> bytes:
    """The body of a POST to OWN_WORDS_PATH: what the model writes behind `prompt`.

    With `raw` no template and no parser is used. `think` decides there only whether thoughts are
    taken out of the text. With the same options the prompt cache of /api/chat is used.
    """
    body: Json = {"model": request.model, "prompt": prompt, "raw": True, "think": False}
    body |= _for_runner(request, num_ctx, keep_alive, truncate=truncate)
    return orjson.dumps(body | {"stream": stream})


def _for_runner(
    request: ChatRequest, num_ctx: int | None, keep_alive: str | None, *, truncate: bool
) -> Json:
    """The fields that decide how the model is loaded, and how it generates."""
    options = {
        "num_ctx": num_ctx,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "presence_penalty": request.presence_penalty,
        "frequency_penalty": request.frequency_penalty,
        "num_predict": request.max_tokens,
    }
    body: Json = {}
    if keep_alive is not None:
        body["keep_alive"] = int(keep_alive) if _is_number(keep_alive) else keep_alive
    if not truncate:
        body["truncate"] = False
    if request.logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": request.logprobs}
    body["options"] = {key: value for key, value in options.items() if value is not None}
    return body


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
    native: Json = {"role": message["role"], "content": content}
    if isinstance(content, list):
        native["content"] = "\n".join(part["text"] for part in content if part["type"] == "text")
        urls = [part["image_url"]["url"] for part in content if part["type"] == "image_url"]
        native["images"] = [url.partition(",")[2] for url in urls]
    if message.get("reasoning"):
        native["thinking"] = message["reasoning"]
    if message.get("tool_calls"):
        native["tool_calls"] = [_call(call) for call in message["tool_calls"]]
    if message["role"] == "tool":
        native["tool_name"] = message["name"]
        native["tool_call_id"] = message["tool_call_id"]
    return native


def _call(call: Json) -> Json:
    function = call["function"]
    arguments = orjson.loads(function["arguments"])
    return {"id": call["id"], "function": {"name": function["name"], "arguments": arguments}}


class LineDecoder(LineReader):
    """One JSON object a line -> deltas; an answer that is not streamed is a single line."""

    def __init__(self) -> None:
        super().__init__()
        self._calls = 0
        self._logprobs: list[Json] = []
        """Of tokens whose text was not delivered yet: Ollama's parsers hold text back."""

    def _line(self, line: bytes) -> Iterator[Delta]:
        if not line.strip():
            return
        record = json_object(line, "a line")
        self._logprobs += probabilities(record.get("logprobs"))
        yield from self._message(object_in(record.get("message")))
        words = record.get("response")
        if isinstance(words, str) and words:
            # Of /api/generate, see `encode_own_words`.
            yield TextDelta(words, self._taken())
        if record.get("done"):
            self.over = True
            yield FinishDelta(str(record.get("done_reason") or "stop"))
            yield UsageDelta(
                whole_number(record.get("prompt_eval_count")),
                whole_number(record.get("eval_count")),
                load_seconds=whole_number(record.get("load_duration")) / NANOSECONDS,
            )

    def _taken(self) -> tuple[Json, ...]:
        logprobs, self._logprobs = self._logprobs, []
        return tuple(logprobs)

    def _message(self, message: Json) -> Iterator[Delta]:
        thinking, content = message.get("thinking"), message.get("content")
        if isinstance(thinking, str) and thinking:
            yield ReasoningDelta(thinking)
            # Only the text has probabilities in the Responses API.
            self._logprobs = []
        if isinstance(content, str) and content:
            yield TextDelta(content, self._taken())
        for call in objects_in(message.get("tool_calls")):
            function = call.get("function")
            if isinstance(function, dict):
                arguments = written(function.get("arguments") or {})
                name = str(function.get("name") or "")
                # Calls come whole, and not all with an index.
                yield ToolCallDelta(self._calls, str(call.get("id") or ""), name, arguments)
                self._calls += 1
