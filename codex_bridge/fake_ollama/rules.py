"""What Ollama accepts, and what it makes of it: pure checks with Ollama's own words."""

from __future__ import annotations

import math
from typing import Any

import orjson
from attrs import frozen

Json = dict[str, Any]
KNOWN_FIELDS = frozenset(
    {"model", "messages", "stream", "stream_options", "max_tokens", "seed", "stop"}
    | {"temperature", "top_p", "frequency_penalty", "presence_penalty", "response_format"}
    | {"tools", "reasoning", "reasoning_effort", "logprobs", "top_logprobs"}
)
"""What is read of a chat request; all else is dropped without a word."""
SCHEMA_KEYS = frozenset(
    {"type", "items", "description", "enum", "properties", "required", "anyOf", "$defs"}
)
"""What is read of a schema."""
PART_TYPES = frozenset({"text", "image_url", "input_audio"})
IMAGE_TYPES = ("jpeg", "jpg", "png", "webp")
EFFORTS = ("minimal", "low", "medium", "high", "xhigh", "ultra", "max", "none")


@frozen
class ModelFacts:
    """A model that the fake has."""

    name: str = "qwen3:14b"
    capabilities: tuple[str, ...] = ("completion", "tools", "thinking", "vision")
    num_ctx: int = 32768
    """Allocated context, tokens."""
    trained_ctx: int = 40960
    family: str = "qwen3"


class Rejected(Exception):
    """Refused before the model saw it, with an HTTP status and Ollama's sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def find(name: str, models: dict[str, ModelFacts]) -> ModelFacts:
    """The model called `name`: case does not count, `:latest` is implied."""
    wanted = name.lower()
    for known in models.values():
        if known.name.lower() in {wanted, f"{wanted}:latest"}:
            return known
    raise Rejected(404, f"model '{name}' not found")


def check_chat(body: bytes, models: dict[str, ModelFacts], version: str) -> Json:
    """What reaches the model of a chat request. Raises Rejected as Ollama refuses."""
    request = _parse(body)
    for key, kind, name in (
        ("model", str, "string"),
        ("messages", list, "[]openai.Message"),
        ("stream", bool, "bool"),
        ("max_tokens", int, "int"),
        ("seed", int, "int"),
        ("temperature", (int, float), "float64"),
        ("top_p", (int, float), "float64"),
        ("tools", list, "[]api.Tool"),
    ):
        value = request.get(key)
        if value is not None and (not isinstance(value, kind) or _is_wrong_bool(value, kind)):
            raise _go_type(value, key, name)
    if not request.get("messages"):
        raise Rejected(400, "[] is too short - 'messages'")
    if not request.get("model"):
        raise Rejected(400, "model is required")
    facts = find(request["model"], models)
    messages = [made for message in request["messages"] for made in _message(message)]
    tools = [_tool(tool) for tool in request.get("tools") or []]
    if tools and "tools" not in facts.capabilities:
        name = f"registry.ollama.ai/library/{facts.name}"
        raise Rejected(400, f"{name} does not support tools")
    _check_effort(request, facts, version)
    top_logprobs = request.get("top_logprobs")
    if top_logprobs is not None and not 0 <= top_logprobs <= 20:
        raise Rejected(400, "top_logprobs must be between 0 and 20")
    effective = {key: value for key, value in request.items() if key in KNOWN_FIELDS}
    # Left out, these two override what the model's own file says.
    effective.setdefault("temperature", 1.0)
    effective.setdefault("top_p", 1.0)
    return effective | {"messages": _fit(messages, facts), "tools": tools}


def _parse(body: bytes) -> Json:
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Rejected(400, f"invalid character in request: {error}") from None
    if not isinstance(request, dict):
        kind = "array" if isinstance(request, list) else "string"
        raise Rejected(
            400,
            f"json: cannot unmarshal {kind} into Go value of type openai.ChatCompletionRequest",
        )
    return request


def _is_wrong_bool(value: Any, kind: Any) -> bool:
    return isinstance(value, bool) and kind is not bool


def _go_type(value: Any, key: str, wanted: str) -> Rejected:
    names = {str: "string", bool: "bool", list: "array", dict: "object"}
    got = names.get(type(value), f"number {value}" if wanted == "int" else "number")
    return Rejected(
        400,
        f"json: cannot unmarshal {got} into Go struct field "
        f"ChatCompletionRequest.{key} of type {wanted}",
    )


def _check_effort(request: Json, facts: ModelFacts, version: str) -> None:
    reasoning = request.get("reasoning")
    effort = reasoning.get("effort") if isinstance(reasoning, dict) else None
    effort = effort or request.get("reasoning_effort")
    if not effort:
        return
    known = EFFORTS if number(version) >= (0, 32, 11) else ("low", "medium", "high", "none", "max")
    if effort not in known:
        words = '(must be "minimal", "low", "medium", "high", "xhigh", "max", or "none")'
        raise Rejected(400, f'invalid reasoning value: "{effort}" {words}')
    if effort != "none" and "thinking" not in facts.capabilities:
        raise Rejected(400, f'"{facts.name}" does not support thinking')
    if effort != "none" and number(version) < (0, 17, 7) and facts.family != "gptoss":
        raise Rejected(400, f'think value "{effort}" is not supported for this model')


def number(version: str) -> tuple[int, ...]:
    """A version as numbers: "0.33.0-rc2" -> (0, 33, 0)."""
    return tuple(int(part) for part in version.split("-")[0].split("."))


def _message(message: Any) -> list[Json]:
    """One message, or one for each part of its content."""
    if not isinstance(message, dict):
        raise Rejected(
            400, "json: cannot unmarshal string into Go struct field of type openai.Message"
        )
    role, content = str(message.get("role", "")).lower(), message.get("content")
    kept = {key: message[key] for key in ("tool_call_id", "name", "reasoning") if key in message}
    calls = message.get("tool_calls")
    if isinstance(calls, list):
        kept["tool_calls"] = [_call(call) for call in calls]
    if isinstance(content, str):
        return [{"role": role, "content": content, **kept}]
    if isinstance(content, list):
        # Parts become messages of their own, which lose what belonged to the whole.
        return [_part(part, role) for part in content]
    if content is None and calls is not None:
        return [{"role": role, "content": "", **kept}]
    got = "<nil>" if content is None else "map[string]interface {}"
    raise Rejected(400, f"invalid message content type: {got}")


def _part(part: Any, role: str) -> Json:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind not in PART_TYPES:
        raise Rejected(400, "invalid message format")
    if kind == "text":
        return {"role": role, "content": part.get("text", "")}
    if kind == "image_url":
        url = part["image_url"]
        url = url.get("url", "") if isinstance(url, dict) else url
        if url.startswith(("http://", "https://")):
            raise Rejected(
                400,
                "image URLs are not currently supported, please use base64 encoded data instead",
            )
        allowed = tuple(f"data:image/{kind};base64," for kind in IMAGE_TYPES)
        if not url.startswith((*allowed, "data:;base64,")):
            raise Rejected(400, "invalid image input")
        return {"role": role, "content": "", "images": [url.split(",", 1)[1]]}
    return {"role": role, "content": ""}


def _call(call: Any) -> Json:
    function = call.get("function", {})
    arguments = function.get("arguments")
    if not isinstance(arguments, str):
        raise Rejected(
            400,
            "json: cannot unmarshal object into Go struct field "
            "ChatCompletionRequest.messages.tool_calls.function.arguments of type string",
        )
    try:
        parsed = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        raise Rejected(400, "invalid tool call arguments") from None
    if parsed is not None and not isinstance(parsed, dict):
        raise Rejected(400, "invalid tool call arguments")
    return {"id": call.get("id", ""), "name": function.get("name", ""), "arguments": parsed}


def _tool(tool: Any) -> Json:
    """A declaration as a template sees it: what the server does not know is gone."""
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict):
        raise _schema_error("Tool.function", "api.ToolFunction")
    description = function.get("description", "")
    if not isinstance(description, str):
        raise _schema_error("ToolFunction.description", "string")
    parameters = function.get("parameters")
    if parameters is not None:
        if not isinstance(parameters, dict):
            raise _schema_error("ToolFunction.parameters", "api.ToolFunctionParameters")
        if isinstance(parameters.get("type"), list):
            raise _schema_error("ToolFunctionParameters.type", "string")
        parameters = _schema(parameters)
    return {
        "type": tool.get("type", ""),
        "function": {
            "name": function.get("name", ""),
            "description": description,
            "parameters": parameters or {"type": "object", "properties": {}},
        },
    }


def _schema(schema: Any) -> Json:
    if not isinstance(schema, dict):
        raise _schema_error("ToolProperty", "api.ToolProperty")
    if not isinstance(schema.get("description", ""), str):
        raise _schema_error("ToolProperty.description", "string")
    if not isinstance(schema.get("type") or "", str | list):
        raise _schema_error("ToolProperty.type", "api.PropertyType")
    required = schema.get("required") or []
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise _schema_error("ToolProperty.required", "[]string")
    properties = schema.get("properties")
    if not isinstance(properties, dict | None):
        raise _schema_error("ToolProperty.properties", "map[string]api.ToolProperty")
    kept = {key: value for key, value in schema.items() if key in SCHEMA_KEYS}
    if properties:
        kept["properties"] = {name: _schema(entry) for name, entry in properties.items()}
    if isinstance(schema.get("anyOf"), list):
        kept["anyOf"] = [_schema(entry) for entry in schema["anyOf"]]
    return kept


def _schema_error(where: str, wanted: str) -> Rejected:
    return Rejected(
        400, f"json: cannot unmarshal value into Go struct field {where} of type {wanted}"
    )


def tokens(messages: list[Json]) -> int:
    """A crude count: four characters a token, and some for each message."""
    return sum(4 + math.ceil(len(str(message.get("content", ""))) / 4) for message in messages)


def _fit(messages: list[Json], facts: ModelFacts) -> list[Json]:
    """Drop whole messages from the front until the rest fits, all but system and the last."""
    messages = list(messages)
    while tokens(messages) > facts.num_ctx:
        victims = [n for n, m in enumerate(messages[:-1]) if m["role"] != "system"]
        if not victims:
            break
        del messages[victims[0]]
    return messages
