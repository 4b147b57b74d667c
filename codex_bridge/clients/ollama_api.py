"""Ollama's own API for models of another server: what its routes answer, as JSON. No I/O.

The programs that speak to an Ollama read it: `codex --oss` at its start, the `ollama` command, and
others. Sources: docs/api.md and cmd/cmd.go of Ollama.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from attrs import Factory, define, evolve, frozen

from codex_bridge.errors import ApiError, invalid
from codex_bridge.vocabulary import (
    ChatRequest,
    Delta,
    FinishDelta,
    Json,
    ModelInfo,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    UsageDelta,
)

VERSION = "0.13.4"
"""The version of Ollama's API that is answered: the oldest that Codex accepts."""
NEVER = "0001-01-01T00:00:00Z"
"""A time that the `ollama` command prints as "Never"."""
FOR_EVER = "2318-01-01T00:00:00Z"
"""When a model is unloaded that stays in memory, as Ollama writes it."""
OPTIONS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "num_predict": "max_tokens",
}
"""Option of a native request -> the field of `ChatRequest`. Other options are Ollama's alone."""


def tags(models: Iterable[ModelInfo]) -> Json:
    """The answer to GET /api/tags."""
    return {"models": [_listed(info) | {"modified_at": NEVER} for info in models]}


def running(models: Iterable[tuple[ModelInfo, int | None]]) -> Json:
    """The answer to GET /api/ps, for models that are in memory and their contexts in tokens."""
    return {
        "models": [
            _listed(info)
            | {
                "expires_at": FOR_EVER,
                "context_length": context or 0,
                # Where it is, the server does not tell. For more than all of it the `ollama`
                # command prints "Unknown".
                "size_vram": (info.size or 0) + 1,
            }
            for info, context in models
        ]
    }


def _listed(info: ModelInfo) -> Json:
    # The `ollama` command needs 12 letters of a digest. No server tells one; this one is stable.
    digest = hashlib.sha256(info.name.encode(errors="replace")).hexdigest()
    return {
        "name": info.name,
        "model": info.name,
        "size": info.size or 0,
        "digest": digest,
        "details": _details(info),
    }


def _details(info: ModelInfo) -> Json:
    return {
        "parent_model": "",
        "format": "",
        "family": info.family,
        "families": [info.family] if info.family else [],
        "parameter_size": _human(info.parameters) if info.parameters else "",
        "quantization_level": info.quantization,
    }


def _human(count: int) -> str:
    """A number of weights as Ollama writes it: 14.8B, 135M."""
    for unit, size in (("B", 10**9), ("M", 10**6), ("K", 10**3)):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return str(count)


def shown(info: ModelInfo, context: int | None) -> Json:
    """The answer to POST /api/show; `context` in tokens, None where nobody knows."""
    family = info.family or "unknown"
    facts: Json = {"general.architecture": family}
    if longest := info.trained_context or context:
        facts[f"{family}.context_length"] = longest
    if info.parameters:
        facts["general.parameter_count"] = info.parameters
    answer: Json = {
        "details": _details(info),
        "model_info": facts,
        "template": info.template,
        "parameters": f"num_ctx {context}" if context else "",
        "modified_at": NEVER,
    }
    if info.capabilities is not None:
        known = ("completion", "tools", "vision", "thinking")
        answer["capabilities"] = [each for each in known if info.can(each)]
    return answer


def named(name: str, names: Collection[str]) -> str | None:
    """The listed name that `name` means: the `ollama` command and others add ":latest"."""
    return next((each for each in (name, name.removesuffix(":latest")) if each in names), None)


@frozen
class Native:
    """A request to /api/chat or /api/generate, read."""

    chat: ChatRequest
    stream: bool
    key: str
    """Where an answer has its text: "message" (chat) or "response" (generate)."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing is asked: such a request only loads the model."""
        return not self.chat.messages


def read(path: str, body: bytes) -> Native:
    """Read a POST of /api/chat or /api/generate. Raises ApiError for what is none."""
    asked = parsed(body)
    key = "message" if path == "/api/chat" else "response"
    messages = _messages(asked) if key == "message" else _prompt(asked)
    options = _object(asked.get("options"))
    fields = {
        field: options[option]
        for option, field in OPTIONS.items()
        if isinstance(options.get(option), int | float)
    }
    if fields.get("max_tokens", 1) <= 0:
        # A negative number means no limit.
        del fields["max_tokens"]
    tools = _list(asked, "tools")
    chat = ChatRequest(
        model=asked["model"],
        messages=messages,
        functions=[tool for tool in tools if isinstance(tool, dict)],
        effort=_effort(asked.get("think")),
        response_format=_format(asked.get("format")),
        **fields,
    )
    return Native(chat, asked.get("stream") is not False, key)


def parsed(body: bytes) -> Json:
    """The JSON object of a native request that names its model. Raises ApiError."""
    try:
        asked = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise invalid(f"The body is not JSON: {error}.") from None
    if not isinstance(asked, dict):
        raise invalid("The body must be a JSON object.")
    try:
        orjson.dumps(asked)
    except orjson.JSONEncodeError:
        # It could not be sent on either.
        raise invalid("The body is nested too deeply.") from None
    # /api/show and /api/pull also take the older name of the field.
    model = asked.get("model") or asked.get("name")
    if not isinstance(model, str) or not model:
        raise invalid("model is missing: name one that /api/tags lists.", "model")
    return asked | {"model": model}


def _object(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _list(fields: Json, name: str) -> list[Any]:
    """A field that may be missing. Raises ApiError for what is no list."""
    value = fields.get(name)
    if value is not None and not isinstance(value, list):
        raise invalid(f"{name} must be an array.", name)
    return value or []


def for_model(chat: ChatRequest, info: ModelInfo) -> ChatRequest:
    """`chat`, addressed to the model that `info` describes. Raises ApiError for tools it lacks."""
    if chat.functions and not info.can("tools"):
        raise ApiError(400, f"{info.name} does not support tools", param="tools")
    return evolve(chat, model=info.name, effort=chat.effort if info.can("thinking") else None)


def _messages(asked: Json) -> list[Json]:
    messages = asked.get("messages") or []
    if not isinstance(messages, list) or not all(isinstance(each, dict) for each in messages):
        raise invalid("messages must be an array of objects.", "messages")
    read: list[Json] = []
    calls = answered = 0
    for message in messages:
        content = str(message.get("content") or "")
        entry: Json = {"role": str(message.get("role") or "user"), "content": content}
        if images := _list(message, "images"):
            entry["content"] = _with_images(content, images)
        if message.get("thinking"):
            entry["reasoning"] = str(message["thinking"])
        if tool_calls := _list(message, "tool_calls"):
            # Ollama's calls have no ids that their results repeat; chat completions need some.
            entry["tool_calls"] = [
                _call(call, f"call_{calls + n}") for n, call in enumerate(tool_calls)
            ]
            calls += len(tool_calls)
            answered = calls - len(tool_calls)
        if entry["role"] == "tool":
            entry["tool_call_id"] = str(message.get("tool_call_id") or f"call_{answered}")
            entry["name"] = str(message.get("tool_name") or message.get("name") or "")
            answered += 1
        read.append(entry)
    return read


def _with_images(content: str, images: Any) -> list[Json]:
    urls = [f"data:image/png;base64,{image}" for image in images]
    parts: list[Json] = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return [{"type": "text", "text": content}, *parts]


def _call(call: Any, call_id: str) -> Json:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        raise invalid("tool_calls must hold functions.", "messages")
    arguments = orjson.dumps(function.get("arguments") or {}).decode()
    return {
        "id": str(call.get("id") or call_id),
        "type": "function",
        "function": {"name": str(function.get("name") or ""), "arguments": arguments},
    }


def _prompt(asked: Json) -> list[Json]:
    """The messages of a request of /api/generate."""
    prompt = str(asked.get("prompt") or "")
    if not prompt:
        return []
    if asked.get("raw") or asked.get("suffix"):
        raise invalid("raw and suffix need an Ollama; use /api/chat.", "raw")
    images = _list(asked, "images")
    user: Json = {"role": "user", "content": _with_images(prompt, images) if images else prompt}
    system = asked.get("system")
    return [*([{"role": "system", "content": str(system)}] if system else []), user]


def _effort(think: Any) -> str | None:
    if think is False:
        return "none"
    return think if isinstance(think, str) else None


def _format(wanted: Any) -> Json | None:
    if wanted == "json":
        return {"type": "json_object"}
    if isinstance(wanted, dict):
        return {"type": "json_schema", "json_schema": {"name": "answer", "schema": wanted}}
    return None


@define
class Lines:
    """The deltas of one answer -> lines of Ollama's API. Calls come whole, before the end."""

    native: Native
    _calls: list[list[str]] = Factory(list)
    """Of each call the name, and the fragments of its arguments."""
    _open: dict[int, tuple[str, list[str]]] = Factory(dict)
    """Index of a call -> its id, and its entry in `_calls`."""
    _reason: str = "stop"
    _usage: UsageDelta = Factory(lambda: UsageDelta(0, 0))
    _text: list[str] = Factory(list)
    _thinking: list[str] = Factory(list)

    def feed(self, deltas: Sequence[Delta]) -> Iterator[bytes]:
        """The lines for these deltas; none where the answer is not to be streamed."""
        for delta in deltas:
            if isinstance(delta, TextDelta):
                self._text.append(delta.text)
                yield from self._streamed(delta.text, "")
            elif isinstance(delta, ReasoningDelta):
                self._thinking.append(delta.text)
                yield from self._streamed("", delta.text)
            elif isinstance(delta, ToolCallDelta):
                self._call(delta).append(delta.arguments)
            elif isinstance(delta, FinishDelta):
                self._reason = "length" if delta.reason == "length" else "stop"
            else:
                self._usage = delta

    def _call(self, delta: ToolCallDelta) -> list[str]:
        """The entry that a fragment belongs to; a new id under a known index is a new call."""
        known_id, call = self._open.get(delta.index, ("", None))
        if call is None or (delta.id and delta.id != known_id):
            call = [delta.name]
            self._calls.append(call)
            self._open[delta.index] = (delta.id, call)
        return call

    def end(self) -> Iterator[bytes]:
        """The last lines."""
        calls = [
            {"function": {"name": name, "arguments": _arguments("".join(pieces))}}
            for name, *pieces in self._calls
        ]
        last = {
            "done": True,
            "done_reason": self._reason,
            "prompt_eval_count": self._usage.input_tokens,
            "eval_count": self._usage.output_tokens,
        }
        if self.native.stream:
            if calls:
                yield self._line("", "", calls) + b"\n"
            yield self._line("", "", [], last) + b"\n"
        else:
            yield self._line("".join(self._text), "".join(self._thinking), calls, last)

    def _streamed(self, text: str, thinking: str) -> Iterator[bytes]:
        if self.native.stream:
            yield self._line(text, thinking, []) + b"\n"

    def _line(self, text: str, thinking: str, calls: list[Json], last: Json | None = None) -> bytes:
        said: Json = {"content": text} if self.native.key == "message" else {"response": text}
        if thinking:
            said["thinking"] = thinking
        if calls:
            said["tool_calls"] = calls
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        line: Json = {"model": self.native.chat.model, "created_at": now}
        if self.native.key == "message":
            line["message"] = {"role": "assistant", **said}
        else:
            line |= said
        return orjson.dumps(line | (last or {"done": False}))


def _arguments(text: str) -> Json:
    """The arguments of a call; {} where the model did not write an object."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}
