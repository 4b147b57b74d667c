"""What Ollama accepts on /api/chat and /api/generate, and what of it reaches the model."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

import orjson

from tests.fake_ollama import grammar, prompt, rules, schemas
from tests.fake_ollama.facts import ModelFacts, Rejected, find, number
from tests.fake_ollama.golang import as_go, check_base64, expect, go_kind, go_mismatch
from tests.fake_ollama.lines import Route
from tests.fake_ollama.script import Answer, Finish

Json = dict[str, Any]
Version = tuple[int, ...]
INTEGERS = (
    *("num_ctx", "num_predict", "num_keep", "num_batch", "num_gpu", "main_gpu", "num_thread"),
    *("top_k", "seed", "repeat_last_n", "draft_num_predict"),
)
FLOATS = (
    *("temperature", "top_p", "min_p", "typical_p"),
    *("repeat_penalty", "presence_penalty", "frequency_penalty"),
)
OPTIONS: dict[str, str] = {
    **dict.fromkeys(INTEGERS, "integer"),
    **dict.fromkeys(FLOATS, "float32"),
    "use_mmap": "boolean",
    "stop": "array",
}
"""The options that Ollama reads, with its words for their types."""
KINDS: dict[str, Any] = {"integer": (int, float), "float32": (int, float), "array": list}
DURATION = re.compile(r"[-+]?(?:0|(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|ms|s|m|h))+)", re.ASCII)
ARGUMENTS = "api.ToolCallFunctionArguments"


def read(
    body: bytes,
    route: Route,
    models: dict[str, ModelFacts],
    version: str,
    default_context: int = 4096,
    shown_before: Iterable[Json] = (),
) -> Json:
    """What the model gets of a native request; `messages` are empty where it is only loaded.

    `messages`, `tools`, `think`, `num_ctx` and `prompt_tokens` are as in `rules.check_chat`.
    `options` has the options of the request that Ollama reads; `format` and `keep_alive` are as
    they were sent, or None. `constrained`: whether the grammar of `format` holds from the first
    token. `stream` is true unless it was turned off. A request that only asks for its prompt has
    it as `prompt`. A raw request has `raw` and `prompt`, the messages and tools of the one in
    `shown_before` whose prompt its own begins with, and as `appended` what stands behind that.
    Raises Rejected.
    """
    struct = "ChatRequest" if route == "chat" else "GenerateRequest"
    given = _object(body, struct)
    kinds = (("model", str, "string"), ("stream", bool, "bool"), ("truncate", bool, "bool"))
    flags = ((key, bool, "bool") for key in ("_debug_render_only", "shift", "logprobs"))
    for key, kind, wanted in (*kinds, *flags):
        expect(given, key, kind, struct, wanted)
    think = _think(given.get("think"), number(version))
    _check_keep_alive(given.get("keep_alive"))
    messages = _messages(given, route, number(version))
    tools = _tools(given, struct, number(version)) if route == "chat" else []
    is_raw = route == "generate" and _is_raw(given, struct)
    expect(given, "options", dict, struct, "map[string]interface {}")
    if not given.get("model"):
        raise Rejected(400, "model is required")
    facts = find(given["model"], models)
    if is_raw and any(given.get(key) for key in ("template", "system", "context")):
        raise Rejected(400, "raw mode does not support template, system, or context")
    rules.check_capabilities(facts, tools, think, version)
    if given.get("suffix"):
        rules.check_capability(facts, "insert")
    options = _options(given.get("options") or {})
    form = given.get("format")
    _check_format(form)
    effective = {
        "model": given["model"],
        "stream": given.get("stream") is not False,
        "options": options,
        "think": rules.thinks_unasked(facts) if think is None else think,
        "format": form,
        "keep_alive": given.get("keep_alive"),
        "num_ctx": facts.context(options.get("num_ctx"), default_context),
    }
    if is_raw and messages:
        return effective | _raw(given, facts, effective["num_ctx"], shown_before)
    only_shown = given.get("_debug_render_only") is True
    shown, prompt_tokens = prompt.fit(
        messages,
        tools,
        facts,
        effective["num_ctx"],
        given.get("truncate") is not False,
        only_shown=only_shown,
    )
    if only_shown:
        effective["prompt"] = prompt.rendered(shown, facts.goes_on, tools)
    think = effective["think"]
    return effective | {
        "messages": shown,
        "tools": tools,
        "prompt_tokens": prompt_tokens,
        "constrained": grammar.holds_at_once(form, facts, think, number(version)),
    }


def _is_raw(given: Json, struct: str) -> bool:
    """Whether no template is used. Raises Rejected for fields of a wrong type."""
    kinds = (("raw", bool, "bool"), ("suffix", str, "string"), ("template", str, "string"))
    for key, kind, wanted in (*kinds, ("context", list, "[]int")):
        expect(given, key, kind, struct, wanted)
    return given.get("raw") is True


def _raw(given: Json, facts: ModelFacts, context: int, shown_before: Iterable[Json]) -> Json:
    text = given["prompt"]
    known = [
        shown
        for shown in shown_before
        if shown["model"] == given["model"] and text.startswith(shown["prompt"])
    ]
    begun = max(known, key=lambda shown: len(shown["prompt"]), default=None)
    images = given.get("images") or []
    if begun is None:
        messages = [{"role": "user", "content": text} | ({"images": images} if images else {})]
        tools, appended, count = [], "", prompt.tokens(messages)
    else:
        messages, tools = begun["messages"], begun["tools"]
        appended = text.removeprefix(begun["prompt"])
        count = begun["prompt_tokens"] + math.ceil(len(appended) / 4)
    cuts = given.get("truncate") is not False
    return {
        "raw": True,
        "prompt": text,
        "appended": appended,
        "messages": messages,
        "tools": tools,
        "constrained": bool(given.get("format")),
        "prompt_tokens": prompt.fit_raw(count, facts, context, truncate=cuts, images=len(images)),
    }


def loading(effective: Json) -> Answer | None:
    """The answer to a request without a prompt, which only loads or unloads; else None."""
    if effective["messages"]:
        return None
    return [Finish("unload" if unloads(effective) else "load")]


def unloads(effective: Json) -> bool:
    """Whether the model is unloaded after the answer: a `keep_alive` of zero."""
    given = effective.get("keep_alive")
    if isinstance(given, str):
        return not re.search("[1-9]", given)
    return given is not None and given == 0


def _object(body: bytes, struct: str) -> Json:
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        text = f"invalid character in JSON: {error}" if body.strip() else "missing request body"
        raise Rejected(400, text) from None
    if given is None:
        return {}
    if not isinstance(given, dict):
        text = f"json: cannot unmarshal {go_kind(given)} into Go value of type api.{struct}"
        raise Rejected(400, text)
    return given


def _think(given: Any, version: Version) -> bool | str | None:
    """A level, or whether to think at all; None where nothing is said."""
    if given is None or isinstance(given, bool):
        return given
    levels = ("high", "medium", "low", *(("max",) if version >= (0, 21, 3) else ()))
    names = ", ".join(f'"{level}"' for level in levels)
    if not isinstance(given, str):
        raise Rejected(400, f"think must be a boolean or string ({names}, true, or false)")
    if given not in levels:
        raise Rejected(400, f'invalid think value: "{given}" (must be {names}, true, or false)')
    return given


def _check_keep_alive(given: Any) -> None:
    if isinstance(given, str) and not DURATION.fullmatch(given):
        bare = re.fullmatch(r"[-+]?\d+", given)
        text = "missing unit in duration" if bare else "invalid duration"
        raise Rejected(400, f'time: {text} "{given}"')
    if isinstance(given, bool | list | dict):
        kinds = {bool: "bool", list: "[]interface {}", dict: "map[string]interface {}"}
        raise Rejected(400, f"Unsupported type: '{kinds[type(given)]}'")


def _options(given: Json) -> Json:
    """The known options that are not null. A whole number loses its fraction."""
    kept = {key: given[key] for key in given if key in OPTIONS and given[key] is not None}
    for key, value in kept.items():
        kind = OPTIONS[key]
        flag = isinstance(value, bool)
        if not (flag if kind == "boolean" else isinstance(value, KINDS[kind]) and not flag):
            raise Rejected(400, f'option "{key}" must be of type {kind}')
        if kind == "array" and not all(isinstance(entry, str) for entry in value):
            raise Rejected(400, f'option "{key}" must be of an array of strings')
        if kind == "integer":
            kept[key] = int(value)
    return kept


def _check_format(given: Any) -> None:
    if given not in (None, "", "json") and not isinstance(given, dict):
        shown = orjson.dumps(orjson.dumps(given).decode()).decode()
        text = f'invalid format: {shown}; expected "json" or a valid JSON Schema object'
        raise Rejected(400, text)


def _tools(given: Json, struct: str, version: Version) -> list[Json]:
    expect(given, "tools", list, struct, "api.Tools")
    try:
        return schemas.read_tools(given.get("tools") or [], version)
    except Rejected as refused:
        text = refused.message.replace(rules.REQUEST, struct, 1)
        raise Rejected(refused.status, text) from None


def _messages(given: Json, route: Route, version: Version) -> list[Json]:
    if route == "chat":
        expect(given, "messages", list, "ChatRequest", "[]api.Message")
        return [_message(message, version) for message in given.get("messages") or []]
    for key in ("prompt", "system"):
        expect(given, key, str, "GenerateRequest", "string")
    if not given.get("prompt"):
        return []
    asked = {"role": "user", "content": given["prompt"]} | _images(given, "GenerateRequest")
    system = {"role": "system", "content": given.get("system") or ""}
    return [system, asked] if system["content"] else [asked]


def _message(message: Any, version: Version) -> Json:
    """A message; unlike on the OpenAI route its content is a string, arguments an object."""
    where = "ChatRequest.messages"
    if message is None:
        message = {}
    if not isinstance(message, dict):
        raise go_mismatch(message, where, "api.Message")
    names = {"thinking": "reasoning", "tool_name": "name", "tool_call_id": "tool_call_id"}
    for key in ("role", "content", *names):
        expect(message, key, str, where, "string")
    expect(message, "tool_calls", list, where, "[]api.ToolCall")
    kept: Json = {
        "role": (message.get("role") or "").lower(),
        "content": message.get("content") or "",
    }
    kept |= {new: message[old] for old, new in names.items() if message.get(old)}
    if message.get("tool_calls"):
        kept["tool_calls"] = [_call(call, version) for call in message["tool_calls"]]
    return kept | _images(message, where)


def _images(given: Json, where: str) -> Json:
    expect(given, "images", list, where, "[]api.ImageData")
    images = given.get("images") or []
    for image in images:
        if not isinstance(image, str):
            raise go_mismatch(image, f"{where}.images", "api.ImageData")
        check_base64(image)
    return {"images": images} if images else {}


def _call(call: Any, version: Version) -> Json:
    where = "ChatRequest.messages.tool_calls"
    if not isinstance(call, dict):
        raise go_mismatch(call, where, "api.ToolCall")
    expect(call, "id", str, where, "string")
    expect(call, "function", dict, where, "api.ToolCallFunction")
    function = call.get("function") or {}
    expect(function, "name", str, f"{where}.function", "string")
    expect(function, "arguments", dict, f"{where}.function", ARGUMENTS)
    return {
        "id": call.get("id") or "",
        "name": function.get("name") or "",
        "arguments": as_go(function.get("arguments"), version),
    }
