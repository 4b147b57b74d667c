"""What Ollama accepts on /v1/chat/completions, and what of it reaches the model."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import orjson

from tests.fake_ollama import grammar, prompt, schemas
from tests.fake_ollama.facts import ModelFacts, Rejected, find, number
from tests.fake_ollama.golang import as_go, expect, go_kind, go_mismatch

Json = dict[str, Any]
Version = tuple[int, ...]
REQUEST = "ChatCompletionRequest"
FIELDS: dict[str, tuple[Any, str]] = {
    "model": (str, "string"),
    "messages": (list, "[]openai.Message"),
    "stream": (bool, "bool"),
    "stream_options": (dict, "openai.StreamOptions"),
    "max_tokens": (int, "int"),
    "seed": (int, "int"),
    "temperature": ((int, float), "float64"),
    "top_p": ((int, float), "float64"),
    "frequency_penalty": ((int, float), "float64"),
    "presence_penalty": ((int, float), "float64"),
    "response_format": (dict, "openai.ResponseFormat"),
    "tools": (list, "[]api.Tool"),
    "reasoning": (dict, "openai.Reasoning"),
    "reasoning_effort": (str, "string"),
    "logprobs": (bool, "bool"),
    "top_logprobs": (int, "int"),
    "stop": (object, "interface {}"),
}
"""The fields that are read, each with its types in Python and in Go; others are dropped."""
ROLE_FIELDS = ("tool_call_id", "name", "reasoning")
PART_TYPES = frozenset({"text", "image_url", "input_audio"})
IMAGE_HEADS = (
    *(f"data:image/{kind};base64," for kind in ("jpeg", "jpg", "png", "webp")),
    "data:;base64,",
)


def check_chat(
    body: bytes, models: dict[str, ModelFacts], version: str, default_context: int = 4096
) -> Json:
    """What of a chat request reaches the model. Raises Rejected where Ollama refuses it.

    It has the known fields as they were sent, except for these:
    `temperature`, `top_p`: 1.0 where left out, which overrides the Modelfile;
    `messages`: one for each part, as the model's template shows them, cut to the allocated
    context, which no field of this route can set;
    `tools`: with the schema keywords that Ollama keeps;
    `think`: a level, True or False; None for a model that cannot think;
    `format`: what /api/chat calls so, made of `response_format`; None where there is none;
    `constrained`: whether the grammar of `format` holds from the first token;
    `num_ctx`: tokens of context that are allocated; `prompt_tokens`: tokens after the cut.
    """
    request = _read(body)
    if not request.get("messages"):
        raise Rejected(400, "[] is too short - 'messages'", early=True)
    messages = [
        part for message in request["messages"] for part in _message(message, number(version))
    ]
    _name_results(messages)
    tools = schemas.read_tools(request.get("tools") or [], number(version))
    effort = _effort(request, version)
    _check_top_logprobs(request)
    if not request.get("model"):
        raise Rejected(400, "model is required")
    facts = find(request["model"], models)
    check_capabilities(facts, tools, None if effort == "none" else effort, version)
    num_ctx = facts.context(None, default_context)
    shown, prompt_tokens = prompt.fit(messages, tools, facts, num_ctx)
    form, think = _format(request.get("response_format") or {}), _think(effort, facts)
    return {
        "temperature": 1.0,
        "top_p": 1.0,
        **request,
        "messages": shown,
        "tools": tools,
        "think": think,
        "format": form,
        "constrained": grammar.holds_at_once(form, facts, think, number(version)),
        "num_ctx": num_ctx,
        "prompt_tokens": prompt_tokens,
    }


def _read(body: bytes) -> Json:
    """The known fields that are not null, each of its type."""
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        text = "EOF" if not body.strip() else f"invalid character in JSON: {error}"
        raise Rejected(400, text, early=True) from None
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise Rejected(
            400,
            f"json: cannot unmarshal {go_kind(given)} into Go value of type openai.{REQUEST}",
            early=True,
        )
    request = {key: given[key] for key in FIELDS if given.get(key) is not None}
    for key, value in request.items():
        kind, wanted = FIELDS[key]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind not in {bool, object}):
            raise go_mismatch(value, f"{REQUEST}.{key}", wanted)
    return request


def _message(message: Any, version: Version) -> list[Json]:
    """One message, or one for each part of its content."""
    if not isinstance(message, dict):
        raise go_mismatch(message, f"{REQUEST}.messages", "openai.Message")
    for key in ("role", *ROLE_FIELDS):
        expect(message, key, str, f"{REQUEST}.messages", "string")
    expect(message, "tool_calls", list, f"{REQUEST}.messages", "[]openai.ToolCall")
    role, content = (message.get("role") or "").lower(), message.get("content")
    kept = {key: message[key] for key in ROLE_FIELDS if message.get(key)}
    calls = message.get("tool_calls")
    read_calls = {"tool_calls": [_call(call, version) for call in calls]} if calls else {}
    if isinstance(content, str):
        return [{"role": role, "content": content, **kept, **read_calls}]
    if isinstance(content, list):
        # Parts become messages of their own, which lose what belonged to the whole.
        parts = [_part(part, role) for part in content]
        return [*parts[:-1], {**parts[-1], **read_calls}] if parts else []
    if content is None and calls is not None:
        return [{"role": role, "content": "", **kept, **read_calls}]
    names = {bool: "bool", int: "float64", float: "float64", dict: "map[string]interface {}"}
    got = names.get(type(content), "<nil>")
    raise Rejected(400, f"invalid message content type: {got}", early=True)


def _part(part: Any, role: str) -> Json:
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(kind, str) or kind not in PART_TYPES:
        raise Rejected(400, "invalid message format", early=True)
    if kind == "text":
        if not isinstance(part.get("text"), str):
            raise Rejected(400, "invalid message format", early=True)
        return {"role": role, "content": part["text"]}
    if kind == "image_url":
        return {"role": role, "content": "", "images": [_image(part.get("image_url"))]}
    return {"role": role, "content": ""}


def _image(given: Any) -> str:
    """The base64 text of a data URL, which is the value itself or its key `url`."""
    url = given.get("url") if isinstance(given, dict) else given
    if not isinstance(url, str):
        raise Rejected(400, "invalid message format", early=True)
    if url.startswith(("http://", "https://")):
        text = "image URLs are not currently supported, please use base64 encoded data instead"
        raise Rejected(400, text, early=True)
    head = next((head for head in IMAGE_HEADS if url.startswith(head)), None)
    if head is None:
        raise Rejected(400, "invalid image input", early=True)
    try:
        base64.b64decode(url.removeprefix(head), validate=True)
    except (binascii.Error, ValueError):
        raise Rejected(400, "invalid message format", early=True) from None
    return url.removeprefix(head)


def _call(call: Any, version: Version) -> Json:
    """A call of the history; its arguments are a JSON text that holds an object or null."""
    where = f"{REQUEST}.messages.tool_calls"
    if not isinstance(call, dict):
        raise go_mismatch(call, where, "openai.ToolCall")
    expect(call, "id", str, where, "string")
    expect(call, "function", dict, where, "struct")
    function = call.get("function") or {}
    for key in ("name", "arguments"):
        expect(function, key, str, f"{where}.function", "string")
    try:
        arguments = orjson.loads(function.get("arguments") or "")
    except orjson.JSONDecodeError:
        raise Rejected(400, "invalid tool call arguments", early=True) from None
    if arguments is not None and not isinstance(arguments, dict):
        raise Rejected(400, "invalid tool call arguments", early=True)
    name = function.get("name") or ""
    return {"id": call.get("id") or "", "name": name, "arguments": as_go(arguments, version)}


def _name_results(messages: list[Json]) -> None:
    """Name tool results after the call with their id; the last call with that id wins."""
    names: dict[str, str] = {}
    for message in messages:
        names |= {call["id"]: call["name"] for call in message.get("tool_calls") or []}
        name = names.get(message.get("tool_call_id") or "")
        if name and message["role"] == "tool":
            message.setdefault("name", name)


def _effort(request: Json, version: str) -> str | None:
    """The level of reasoning that is asked for. Raises Rejected for one that is not known."""
    reasoning = request.get("reasoning") or {}
    expect(reasoning, "effort", str, f"{REQUEST}.reasoning", "string")
    effort: str | None = reasoning.get("effort") or request.get("reasoning_effort")
    if effort and effort not in efforts(version):
        *most, last = [f'"{level}"' for level in efforts(version)]
        words = f"(must be {', '.join(most)}, or {last})"
        raise Rejected(400, f'invalid reasoning value: "{effort}" {words}', early=True)
    return effort or None


def efforts(version: str) -> tuple[str, ...]:
    """The levels of reasoning that a version knows."""
    levels: tuple[str, ...] = ("low", "medium", "high")
    if number(version) >= (0, 32, 11):
        return ("minimal", *levels, "xhigh", "ultra", "max", "none")
    if number(version) >= (0, 21, 3):
        return (*levels, "max", "none")
    return (*levels, "none")


def _format(given: Json) -> Any:
    """The `format` that Ollama makes of a `response_format`."""
    if given.get("type") == "json_object":
        return "json"
    return (given.get("json_schema") or {}).get("schema")


def _check_top_logprobs(request: Json) -> None:
    if not 0 <= request.get("top_logprobs", 0) <= 20:
        raise Rejected(400, "top_logprobs must be between 0 and 20")


def check_capability(facts: ModelFacts, capability: str) -> None:
    """Raises Rejected for a model that does not have it."""
    if capability not in facts.capabilities:
        name = f"registry.ollama.ai/library/{facts.name}"
        raise Rejected(400, f"{name} does not support {capability}")


def check_capabilities(
    facts: ModelFacts, tools: list[Json], think: bool | str | None, version: str
) -> None:
    """Raises Rejected for tools or thinking that the model is not capable of."""
    if tools:
        check_capability(facts, "tools")
    if not think:
        return
    if "thinking" not in facts.capabilities:
        raise Rejected(400, f'"{facts.name}" does not support thinking')
    harmony = facts.family in {"gptoss", "gpt-oss"}
    if isinstance(think, str) and number(version) < (0, 17, 7) and not harmony:
        raise Rejected(400, f'think value "{think}" is not supported for this model')


def _think(effort: str | None, facts: ModelFacts) -> bool | str | None:
    if effort == "none":
        return False
    if effort:
        return {"minimal": "low", "xhigh": "max", "ultra": "max"}.get(effort, effort)
    return thinks_unasked(facts)


def thinks_unasked(facts: ModelFacts) -> bool | None:
    """Whether a model thinks where a request does not say; None for one that cannot."""
    return True if "thinking" in facts.capabilities else None
