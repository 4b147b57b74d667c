"""Ollama's own /api/chat and /api/generate: lines of JSON, over the same script."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

from codex_bridge.fake_ollama import prompt, rules, schemas, wire
from codex_bridge.fake_ollama.facts import ModelFacts, Rejected, find, go_mismatch, number
from codex_bridge.fake_ollama.script import Answer, Call, Finish, Say, Step, Think

Json = dict[str, Any]
WHOLE_OPTIONS = frozenset({"num_ctx", "num_predict", "top_k", "seed", "num_keep"})
OPTIONS = frozenset(
    {"temperature", "top_p", "min_p", "presence_penalty", "frequency_penalty", "repeat_penalty"}
)
DURATION = re.compile(r"-?(?:\d+(?:\.\d+)?(?:ms|s|m|h))+|-?0")
Route = Literal["chat", "generate"]
DURATIONS = {
    "total_duration": 90_827_234,
    "load_duration": 6_271_754,
    "prompt_eval_duration": 5_500_000,
    "eval_duration": 42_000_000,
}
"""Nanoseconds, always the same: a script takes no time worth telling."""


def read(
    body: bytes,
    route: Route,
    models: dict[str, ModelFacts],
    version: str,
    default_context: int = 4096,
) -> Json:
    """What the model gets of a native request; `messages` are empty where it only loads.

    In the shape of `rules.check_chat`, but for `options` and `format`. `stream` is on unless it
    is turned off, `keep_alive` is what was sent. Raises Rejected.
    """
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Rejected(400, f"invalid character in JSON: {error}") from None
    if not isinstance(given, dict):
        raise Rejected(400, "json: cannot unmarshal value into Go value of type api.ChatRequest")
    model = given.get("model")
    if not isinstance(model, str) or not model:
        raise Rejected(400, "model is required")
    facts = find(model, models)
    tools = schemas.read_tools(given.get("tools") or [], number(version))
    if tools and "tools" not in facts.capabilities:
        raise Rejected(400, f"registry.ollama.ai/library/{facts.name} does not support tools")
    _check_think(given.get("think"), facts, version)
    options = _options(given)
    messages = [_message(message, version) for message in _messages(given, route)]
    rules.check_images(facts, messages)
    num_ctx = facts.context(options.get("num_ctx"), default_context)
    truncate = given.get("truncate") is not False or number(version) < (0, 12, 6)
    fitting, prompt_tokens = prompt.fit(messages, tools, num_ctx, truncate=truncate)
    return {
        "stream": True,
        **given,
        "messages": prompt.shown(fitting, facts),
        "tools": tools,
        "num_ctx": num_ctx,
        "prompt_tokens": prompt_tokens,
    }


def _check_think(think: Any, facts: ModelFacts, version: str) -> None:
    levels = ("low", "medium", "high", *(("max",) if number(version) >= (0, 21, 3) else ()))
    if think is not None and not isinstance(think, bool) and think not in levels:
        shown = ", ".join(f'"{level}"' for level in reversed(levels))
        raise Rejected(400, f'invalid think value: "{think}" (must be {shown}, true, or false)')
    if think and "thinking" not in facts.capabilities:
        raise Rejected(400, f'"{facts.name}" does not support thinking')
    is_level = isinstance(think, str) and number(version) < (0, 17, 7)
    if is_level and facts.family not in {"gptoss", "gpt-oss"}:
        raise Rejected(400, f'think value "{think}" is not supported for this model')


def _options(given: Json) -> Json:
    """The options, each of its type; `format` and `keep_alive` are looked at, too."""
    options = given.get("options") or {}
    if not isinstance(options, dict):
        raise go_mismatch(options, "ChatRequest.options", "map[string]interface {}")
    for key, value in options.items():
        kinds = (int,) if key in WHOLE_OPTIONS else (int, float) if key in OPTIONS else (object,)
        if not isinstance(value, kinds) or (isinstance(value, bool) and object not in kinds):
            raise Rejected(400, f'option "{key}" must be of type {kinds[0].__name__}')
    form, keep_alive = given.get("format"), given.get("keep_alive")
    if form not in (None, "", "json") and not isinstance(form, dict):
        raise Rejected(400, f'invalid format: {form!r}; expected "json" or a valid JSON Schema')
    if isinstance(keep_alive, str) and not DURATION.fullmatch(keep_alive):
        raise Rejected(400, f'time: invalid duration "{keep_alive}"')
    return options


def _messages(given: Json, route: Route) -> list[Any]:
    if route == "chat":
        return given.get("messages") or []
    text = given.get("prompt")
    return [{"role": "user", "content": text}] if text else []


def _message(message: Any, version: str) -> Json:
    """A message; unlike on the OpenAI route its content is a string, arguments an object."""
    if not isinstance(message, dict):
        raise go_mismatch(message, "ChatRequest.messages", "api.Message")
    content = message.get("content") or ""
    if not isinstance(content, str):
        raise go_mismatch(content, "ChatRequest.messages.content", "string")
    made: Json = {"role": str(message.get("role", "")).lower(), "content": content}
    if message.get("tool_calls"):
        made["tool_calls"] = [_call(call) for call in message["tool_calls"]]
    if images := message.get("images"):
        made["images"] = [_image(image) for image in images]
    names = {"thinking": "reasoning", "tool_call_id": "tool_call_id"}
    if number(version) >= (0, 9, 6):
        names["tool_name"] = "name"
    return made | {new: message[old] for old, new in names.items() if message.get(old)}


def _image(image: Any) -> str:
    try:
        base64.b64decode(image, validate=True)
    except (TypeError, ValueError):
        raise Rejected(400, "illegal base64 data at input byte 0") from None
    return str(image)


def _call(call: Any) -> Json:
    function = call.get("function") if isinstance(call, dict) else None
    arguments = function.get("arguments") if isinstance(function, dict) else None
    if not isinstance(function, dict) or not isinstance(arguments, dict | None):
        where = "ChatRequest.messages.tool_calls.function.arguments"
        raise go_mismatch(arguments, where, "api.ToolCallFunctionArguments")
    name = str(function.get("name", ""))
    return {"id": str(call.get("id", "")), "name": name, "arguments": arguments}


class NativeDialect:
    """Steps -> lines of /api/chat or /api/generate."""

    content_type = b"application/x-ndjson"

    def __init__(self, effective: Json, route: Route) -> None:
        self._effective = effective
        self._chat = route == "chat"
        self._calls = 0

    def step(self, step: Step) -> Iterator[bytes]:
        """A line for each piece, and for each group of calls."""
        if isinstance(step, Say | Think):
            for piece in step.pieces:
                yield self._line(self._said(step, piece) | {"done": False})
        elif self._chat and (calls := wire.calls_of(step)):
            said = {"role": "assistant", "content": "", "tool_calls": self._made(calls)}
            yield self._line({"message": said, "done": False})

    def end(self, steps: Answer) -> bytes:
        """The line with the reason, never "tool_calls", and the counts."""
        finish = wire.ending(steps)
        usage = wire.token_counts(steps, self._effective["prompt_tokens"])
        counts = {
            "prompt_eval_count": usage["prompt_tokens"],
            "eval_count": usage["completion_tokens"],
        }
        counts = {key: count for key, count in counts.items() if count}
        loading = finish.reason in {"load", "unload"}
        said = {"message": {"role": "assistant", "content": ""}} if self._chat else {"response": ""}
        reason = "stop" if finish.reason == "tool_calls" else finish.reason
        last = said | {"done": True, "done_reason": reason}
        return self._line(last | ({} if loading else DURATIONS | counts))

    def broken(self, message: str) -> bytes:
        """A last line that, unlike the OpenAI route, tells what happened."""
        return wire.go_json({"error": message}) + b"\n"

    def whole(self, steps: Answer) -> bytes:
        """The last line with everything that was said in it."""
        last = orjson.loads(self.end(steps))
        content, thinking = wire.texts(steps, Say), wire.texts(steps, Think)
        calls = self._made(tuple(call for step in steps for call in wire.calls_of(step)))
        more = {key: value for key, value in {"thinking": thinking}.items() if value}
        if self._chat:
            said = {"content": content} | more | ({"tool_calls": calls} if calls else {})
            last["message"] |= said
        else:
            last |= {"response": content} | more
        return wire.go_json(last)

    def _said(self, step: Say | Think, piece: str) -> Json:
        thought = isinstance(step, Think)
        if self._chat:
            said = {"content": "", "thinking": piece} if thought else {"content": piece}
            return {"message": {"role": "assistant"} | said}
        return {"response": "", "thinking": piece} if thought else {"response": piece}

    def _made(self, calls: tuple[Call, ...]) -> list[Json]:
        made = []
        for call in calls:
            arguments = orjson.loads(call.arguments_text)
            function = {"index": self._calls, "name": call.name, "arguments": arguments}
            made.append({"id": call.id or wire.new_call_id(), "function": function})
            self._calls += 1
        return made

    def _line(self, record: Json) -> bytes:
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        head = {"model": self._effective["model"], "created_at": now}
        return wire.go_json(head | record) + b"\n"


def loading(effective: Json) -> Answer | None:
    """The answer to a request without a prompt, which only loads or unloads; else None."""
    if effective["messages"]:
        return None
    return [Finish("unload" if effective.get("keep_alive") in {0, "0"} else "load")]
