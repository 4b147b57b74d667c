"""Responses request -> chat request."""

from __future__ import annotations

from typing import Any

import orjson
from attrs import frozen

from codex_bridge.translate.errors import invalid
from codex_bridge.translate.history import to_messages
from codex_bridge.translate.toolbox import Toolbox
from codex_bridge.vocabulary import ChatRequest, Json

STRING_FIELDS = ("type", "role", "name", "namespace", "call_id")
"""What is a string in every kind of item that has it."""
EFFORTS = {
    "none": "none",
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
    "ultra": "high",
}
"""Codex's reasoning efforts -> the four that every Ollama with thinking models knows."""


@frozen
class Translation:
    """What one Responses request comes to."""

    chat: ChatRequest
    toolbox: Toolbox
    stream: bool
    """Whether the client wants events, or one JSON object."""
    original: Json
    """The request itself, whose settings the response repeats."""


def parse(body: bytes) -> Json:
    """The request as a JSON object. Raises ApiError (400) for anything else."""
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise invalid(
            f"The request body is not valid JSON: {error}.", code="invalid_json"
        ) from None
    if not isinstance(request, dict):
        raise invalid("The request body must be a JSON object.", code="invalid_type")
    try:
        # Reading goes deeper than writing; parts of the request are written inside of others.
        orjson.dumps([[[[[[[[request]]]]]]]])
    except orjson.JSONEncodeError:
        raise invalid("The request body is nested too deeply.", code="nested_too_deeply") from None
    return request


def translate(request: Json) -> Translation:
    """Turn a parsed request into what the model is asked.

    Unknown fields are passed over. Raises ApiError (400) that names the field for a value
    of a wrong type and for what a bridge that stores nothing cannot do.
    """
    model = _get(request, "model", str)
    if not model or not model.strip():
        raise invalid(
            "model is missing; name one that `ollama list` shows.",
            "model",
            "missing_required_parameter",
        )
    _refuse_stateful(request)
    toolbox = Toolbox.from_request(request.get("tools"))
    functions = [] if request.get("tool_choice") == "none" else toolbox.functions()
    response_format = _response_format(request)
    messages = to_messages(
        _instructions(request, functions, response_format), _items(request), toolbox
    )
    if not messages:
        raise invalid("input is empty; there is nothing to answer.", "input")
    chat = ChatRequest(
        model=model,
        messages=messages,
        functions=functions,
        tool_choice=_tool_choice(request.get("tool_choice"), toolbox) if functions else None,
        temperature=_get(request, "temperature", int, float),
        top_p=_get(request, "top_p", int, float),
        presence_penalty=_get(request, "presence_penalty", int, float),
        frequency_penalty=_get(request, "frequency_penalty", int, float),
        max_tokens=_get(request, "max_output_tokens", int),
        effort=_effort(request),
        # A grammar for the answer leaves no room for a call.
        response_format=None if functions else response_format,
    )
    return Translation(chat, toolbox, bool(_get(request, "stream", bool)), request)


def _get(request: Json, key: str, *types: type) -> Any:
    """`request[key]` if it is of one of `types`, None if null or absent."""
    value = request.get(key)
    if value is None:
        return None
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        names = {str: "a string", bool: "true or false", list: "an array", dict: "an object"}
        wanted = names.get(types[0], "a number" if float in types else "a whole number")
        raise invalid(f"{key} must be {wanted}.", key, "invalid_type")
    return value


def _refuse_stateful(request: Json) -> None:
    """Better no answer than one that has silently lost the conversation."""
    for key in ("previous_response_id", "conversation"):
        if request.get(key) is not None:
            raise invalid(
                f"{key} is not supported: codex-bridge stores no conversations. "
                f"Send the whole conversation as input.",
                key,
                "unsupported_parameter",
            )
    if request.get("background"):
        raise invalid(
            "background is not supported: codex-bridge stores no responses.",
            "background",
            "unsupported_parameter",
        )


def _items(request: Json) -> list[Json]:
    """`input` as a list of items, each an object with a type."""
    value = request.get("input")
    if value is None:
        raise invalid("input is missing.", "input", "missing_required_parameter")
    if isinstance(value, str):
        return [{"type": "message", "role": "user", "content": value}] if value else []
    if not isinstance(value, list):
        raise invalid("input must be a string or an array of items.", "input", "invalid_type")
    return [_item(item, f"input[{n}]") for n, item in enumerate(value)]


def _item(value: Any, where: str) -> Json:
    if not isinstance(value, dict):
        raise invalid(f"{where} must be an object.", where, "invalid_type")
    item: Json = value
    if "type" not in item and "role" in item:
        item = {"type": "message", **item}
    for key in STRING_FIELDS:
        if not isinstance(item.get(key), str if key == "type" else str | None):
            raise invalid(f"{where}.{key} must be a string.", f"{where}.{key}", "invalid_type")
    return item


def _tool_choice(choice: Any, toolbox: Toolbox) -> Json | str | None:
    """`tool_choice` in chat's words; None, the default, for everything that means "auto"."""
    if choice == "required":
        return "required"
    if isinstance(choice, dict) and choice.get("type") == "function":
        namespace = choice.get("namespace")
        if not isinstance(namespace, str | None):
            raise invalid("tool_choice.namespace must be a string.", "tool_choice.namespace")
        name = toolbox.function_name(str(choice.get("name")), namespace or None)
        return {"type": "function", "function": {"name": name}}
    return None


def _effort(request: Json) -> str | None:
    reasoning = _get(request, "reasoning", dict) or {}
    effort = reasoning.get("effort")
    return EFFORTS.get(effort) if isinstance(effort, str) else None


def _response_format(request: Json) -> Json | None:
    """`text.format` in chat's words; None for plain text."""
    form = (_get(request, "text", dict) or {}).get("format")
    if not isinstance(form, dict) or form.get("type") not in ("json_object", "json_schema"):
        return None
    if form["type"] == "json_object":
        return {"type": "json_object"}
    if not isinstance(form.get("schema"), dict):
        raise invalid("text.format.schema must be an object.", "text.format.schema")
    keys = ("name", "strict", "schema")
    return {"type": "json_schema", "json_schema": {key: form[key] for key in keys if key in form}}


def _instructions(request: Json, functions: list[Json], response_format: Json | None) -> str | None:
    """The client's instructions; with tools and a schema together, also the schema in words."""
    instructions: str | None = _get(request, "instructions", str)
    if not functions or not response_format:
        return instructions
    schema = response_format.get("json_schema", {}).get("schema", {"type": "object"})
    words = (
        "Your final answer, after all function calls, must be one JSON object and nothing "
        f"else. It must fit this JSON schema: {orjson.dumps(schema).decode()}"
    )
    return f"{instructions}\n\n{words}" if instructions else words
