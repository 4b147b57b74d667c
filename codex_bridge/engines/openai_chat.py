"""Chat completions: ChatRequest -> bytes, bytes -> deltas. Without I/O."""

from __future__ import annotations

import re
from collections.abc import Iterator

import orjson
from attrs import evolve, frozen
from twisted.web.http_headers import Headers

from codex_bridge.engines.engine import ContextPolicy, Decoder, Engine, Plan
from codex_bridge.engines.parsing import (
    LineReader,
    error_message,
    json_object,
    object_in,
    objects_in,
    probabilities,
    whole_number,
    written,
)
from codex_bridge.engines.refusals import broken_off
from codex_bridge.vocabulary import (
    ChatRequest,
    Delta,
    FailureKind,
    FinishDelta,
    Json,
    ModelInfo,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    UpstreamFailure,
    UsageDelta,
)

PATH = "/v1/chat/completions"
REASONING_KEYS = ("reasoning", "reasoning_content", "thinking")
"""Where a message carries reasoning: Ollama's key, then those of other servers."""


@frozen
class ChatEngine(Engine):
    """Any server: all speak chat completions. It may cut a prompt that is too long."""

    policy: ContextPolicy
    name = "chat"
    path = PATH
    remedy = "a setting of its server"
    cuts_in_silence = True
    reasoning_key = "reasoning"
    """Where a message that is sent carries reasoning. Servers ignore keys that they do not know."""
    has_template_options = False
    """Whether `chat_template_kwargs` reach the model's template."""

    @property
    def warning(self) -> str:
        if self.policy.num_ctx is None and self.policy.keep_alive is None:
            return ""
        return "--num-ctx and --keep-alive have no effect: the upstream is not Ollama"

    def plan(self, info: ModelInfo, default: int | None) -> Plan:
        context = info.allocated_context or default
        if context is None:
            return super().plan(info, default)
        return Plan(context, f"{self.server} reports it", is_default=True)

    def load_request(self, info: ModelInfo) -> tuple[str, bytes] | None:
        # Only a model that is loaded shows its context and its template.
        return None if info.is_loaded is not False else (self.path, shortest_request(info.name))

    def extras(self, request: ChatRequest, info: ModelInfo) -> Json:
        """Fields of the body that chat completions in general do not have."""
        if not self.has_template_options or request.effort != "none":
            return {}
        # The name differs between templates; one that a template does not know does nothing.
        return {"chat_template_kwargs": {"enable_thinking": False, "thinking": False}}

    def encode(
        self, request: ChatRequest, info: ModelInfo, plan: Plan, *, stream: bool
    ) -> tuple[str, bytes]:
        extras = self.extras(request, info)
        if "chat_template_kwargs" in extras:
            # Some servers refuse the word "none" as an effort.
            request = evolve(request, effort=None if request.effort == "none" else request.effort)
        return self.path, encode(request, extras, stream=stream, reasoning_key=self.reasoning_key)

    def render_request(
        self, request: ChatRequest, info: ModelInfo, plan: Plan
    ) -> tuple[str, bytes] | None:
        # llama.cpp's server has this route; other servers answer with 404.
        return "/apply-template", self.encode(request, info, plan, stream=False)[1]

    def rendered(self, answer: Json) -> str:
        return str(answer.get("prompt") or "")

    def decoder(self, headers: Headers, *, stream: bool) -> Decoder:
        return decoder(headers, stream=stream)


PROBE = "codex_bridge_probe"
"""The name of a function that is only declared to see whether the model is shown it."""


def shortest_request(model: str, *, has_function: bool = False) -> bytes:
    """The body of a request for one token, with the function PROBE or without any."""
    function = {"name": PROBE, "parameters": {"type": "object", "properties": {}}}
    functions = [{"type": "function", "function": function}] if has_function else []
    messages: list[Json] = [{"role": "user", "content": "hi"}]
    return encode(ChatRequest(model, messages, functions, max_tokens=1), stream=False)


def encode(
    request: ChatRequest,
    extras: Json | None = None,
    *,
    stream: bool,
    reasoning_key: str = "reasoning",
) -> bytes:
    """The request's body. The same request gives the same bytes.

    `extras` are fields for one server; `reasoning_key` is where a message has its reasoning there.
    """
    body: Json = {
        "model": request.model,
        "messages": [_message(message, reasoning_key) for message in request.messages],
    }
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
        "logprobs": None if request.logprobs is None else True,
        "top_logprobs": request.logprobs,
    }
    body |= {key: value for key, value in optional.items() if value is not None}
    body |= extras or {}
    body["stream"] = stream
    if stream:
        body["stream_options"] = {"include_usage": True}
    return orjson.dumps(body)


def _message(message: Json, reasoning_key: str) -> Json:
    if reasoning_key == "reasoning":
        return message
    return {reasoning_key if key == "reasoning" else key: message[key] for key in message}


def listed_models(answer: Json | None) -> list[Json]:
    """The entries of an answer of /v1/models, those that name a model."""
    entries = objects_in((answer or {}).get("data"))
    return [entry for entry in entries if isinstance(entry.get("id"), str)]


def decoder(headers: Headers, *, stream: bool) -> Decoder:
    """For an answer with these headers; `stream` as it was asked for."""
    content_type = (headers.getRawHeaders(b"content-type") or [b""])[0]
    is_whole = not stream or content_type.startswith(b"application/json")
    return AnswerDecoder() if is_whole else StreamDecoder()


LONE_CR = re.compile(rb"\r[^\n]")


class StreamDecoder(LineReader):
    """Server-sent events -> deltas."""

    def __init__(self) -> None:
        super().__init__()
        self._data: list[bytes] = []
        self._event_size = 0
        """Bytes of the event that is not whole yet, without its last line."""
        self._ends_in_cr = False
        """Whether lines end in CR alone."""
        self._may_be_crlf = False
        """Whether the last read ended in CR, and a line feed may follow."""
        self._events = 0
        self._bytes = 0

    @property
    def held(self) -> int:
        """Bytes that came and are no deltas yet."""
        return super().held + self._event_size

    def feed(self, data: bytes) -> list[Delta]:
        """The deltas that became complete with these bytes. Raises UpstreamFailure."""
        self._bytes += len(data)
        return super().feed(self._with_line_feeds(data))

    def eof(self) -> list[Delta]:
        """The last deltas. Raises UpstreamFailure unless the model finished."""
        last = super().feed(b"\n") if self._may_be_crlf else []
        return [*last, *super().eof()]

    def _with_line_feeds(self, data: bytes) -> bytes:
        """`data` with line feeds alone as line ends: a stream may also have CR LF, or CR."""
        if b"\r" not in data and not self._may_be_crlf:
            return data
        if self._may_be_crlf:
            data = b"\r" + data
        self._ends_in_cr = self._ends_in_cr or bool(LONE_CR.search(data))
        # A line feed may follow in the next read, unless lines end without it here.
        self._may_be_crlf = data.endswith(b"\r") and not self._ends_in_cr
        if self._may_be_crlf:
            data = data[:-1]
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _unfinished(self) -> UpstreamFailure:
        if self._bytes and not self._events:
            return UpstreamFailure(FailureKind.GARBLED, "its answer holds no events")
        return super()._unfinished()

    def _line(self, line: bytes) -> Iterator[Delta]:
        if line.startswith(b"data:"):
            self._data.append(line[5:].removeprefix(b" "))
            self._event_size += len(line)
        elif line.startswith(b"error:"):
            # As servers of llama.cpp before September 2025 write an error into a stream.
            raise broken_off(error_message({"error": json_object(line[6:], "an error")}))
        elif line.startswith(b"{") and b'"error"' in line:
            # As llama-swap does.
            json_object(line, "a line")
        elif not line and self._data:
            data, self._data, self._event_size = b"\n".join(self._data), [], 0
            self._events += 1
            if data.strip() == b"[DONE]":
                self.over = True
            else:
                yield from chunk_deltas(json_object(data, "an event"), "delta")


class AnswerDecoder:
    """One JSON answer -> deltas, with the interface of `StreamDecoder`."""

    over = False

    def __init__(self) -> None:
        self.held = 0
        self._pieces: list[bytes] = []

    def feed(self, data: bytes) -> list[Delta]:
        """Nothing yet: the answer is one JSON text."""
        self.held += len(data)
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


def chunk_deltas(chunk: Json, key: str) -> Iterator[Delta]:
    """The deltas in one chunk (`key` "delta") or one whole answer (`key` "message").

    Those of llama.cpp's /completion have no choices, and the model's words in `content`.
    """
    if "choices" not in chunk and isinstance(chunk.get("content"), str):
        yield from _own_words(chunk)
        return
    choices = chunk.get("choices")
    choice = object_in(choices[0] if isinstance(choices, list) and choices else None)
    logprobs = probabilities(object_in(choice.get("logprobs")).get("content"))
    yield from _message_deltas(object_in(choice.get(key)), logprobs)
    # In this dialect Ollama shows an error only by a last chunk whose model is empty.
    if choice.get("finish_reason") and chunk.get("model") != "":
        yield FinishDelta(str(choice["finish_reason"]))
    if isinstance(chunk.get("usage"), dict):
        yield _usage(chunk["usage"])


def _own_words(chunk: Json) -> Iterator[Delta]:
    """The deltas in a chunk, or in the one answer, of llama.cpp's /completion."""
    if chunk["content"]:
        yield TextDelta(chunk["content"])
    if chunk.get("stop") is True:
        yield FinishDelta("length" if chunk.get("stop_type") == "limit" else "stop")
        yield UsageDelta(
            input_tokens=whole_number(chunk.get("tokens_evaluated")),
            output_tokens=whole_number(chunk.get("tokens_predicted")),
            cached_tokens=whole_number(object_in(chunk.get("timings")).get("cache_n")),
        )


def _message_deltas(message: Json, logprobs: list[Json]) -> Iterator[Delta]:
    for key in REASONING_KEYS:
        reasoning = message.get(key)
        if isinstance(reasoning, str) and reasoning:
            yield ReasoningDelta(reasoning)
            break
    content = message.get("content")
    if isinstance(content, str) and content:
        yield TextDelta(content, tuple(logprobs))
    for position, call in enumerate(objects_in(message.get("tool_calls"))):
        if isinstance(call.get("function"), dict):
            yield _call(call, position)


def _call(call: Json, position: int) -> ToolCallDelta:
    function = call["function"]
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
    prompt = object_in(usage.get("prompt_tokens_details"))
    completion = object_in(usage.get("completion_tokens_details"))
    return UsageDelta(
        input_tokens=whole_number(usage.get("prompt_tokens")),
        output_tokens=whole_number(usage.get("completion_tokens")),
        cached_tokens=whole_number(prompt.get("cached_tokens")),
        # SGLang counts them beside the others.
        reasoning_tokens=whole_number(completion.get("reasoning_tokens"))
        or whole_number(usage.get("reasoning_tokens")),
    )
