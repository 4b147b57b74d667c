"""Responses request -> chat request."""

from __future__ import annotations

from typing import Any

import orjson
from attrs import frozen

from codex_bridge.errors import invalid
from codex_bridge.repair.lenient_json import can_be_written
from codex_bridge.responses.effort import effort
from codex_bridge.responses.images import BLIND
from codex_bridge.responses.messages import to_messages
from codex_bridge.responses.title import is_title_request, question_alone
from codex_bridge.tools import in_words as told_tools
from codex_bridge.tools.choice import choose
from codex_bridge.tools.shown import ToolProfile
from codex_bridge.tools.toolbox import Toolbox
from codex_bridge.vocabulary import ChatRequest, Json, ModelInfo

STRING_FIELDS = ("type", "role", "name", "namespace", "call_id")
"""What is a string in every kind of item that has it."""
VERBOSITIES = {
    "low": "Keep your answers short.",
    "high": "Answer in detail.",
}
"""Codex's verbosity -> what the model is told."""

DIRECTIVES = (
    "To act, call a function. Do not describe a call, and do not write one as text. The arguments "
    "of a call are one JSON object with the declared parameters, by their exact names. Wait for "
    "the result of a call before you rely on it. When nothing is left to do, answer in plain text."
)
"""How to call: small models drift into telling what they would call."""
PATCH_DIRECTIVES = {
    "apply_patch": "Edit files with apply_patch.",
    "exec_command": "Edit files with the command apply_patch <<'EOF', then the patch, then EOF.",
}
"""Function that is offered -> how files are edited then; the first one counts."""


@frozen
class Translation:
    """What one Responses request comes to."""

    chat: ChatRequest
    toolbox: Toolbox
    stream: bool
    """Whether the client wants events, or one JSON object."""
    tells_tools: bool = False
    """Whether the model has no tools, and is told of them in words."""
    downgrades: tuple[str, ...] = ()
    """What the model cannot do and was asked for, one predicate each: "has no …"."""


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
    if not can_be_written(request):
        raise invalid("The request body is nested too deeply.", code="nested_too_deeply")
    return request


def model_name(request: Json) -> str:
    """The model that a request is for. Raises ApiError (400) where it names none."""
    model: str | None = _get(request, "model", str)
    if not model or not model.strip():
        raise invalid(
            "model is missing; name one that `ollama list` shows.",
            "model",
            "missing_required_parameter",
        )
    return model


def translate(
    request: Json,
    info: ModelInfo | None = None,
    *,
    tool_profile: ToolProfile = ToolProfile.ESSENTIAL,
    directives: bool = True,
) -> Translation:
    """Turn a parsed request into what the model is asked, given what is known of that model.

    With `directives` the model is told how to call functions. Unknown fields are passed over.
    Raises ApiError (400) that names the field for a value of a wrong type and for what a bridge
    that stores nothing cannot do.
    """
    model = model_name(request)
    info = info or ModelInfo(model)
    _refuse_stateful(request)
    if is_title_request(request):
        request = question_alone(request)
    items = _items(request)
    toolbox = Toolbox.from_request(request.get("tools"), items, tool_profile)
    choice = choose(request.get("tool_choice"), toolbox)
    functions = toolbox.functions()
    response_format = _response_format(request)
    tells_tools = bool(functions) and not info.can("tools")
    closing = [_directives(toolbox)] if directives else []
    if tells_tools:
        closing = [told_tools.told(functions)]
    if functions and response_format:
        # A grammar for the answer would leave no room for a call.
        closing.append(_in_words(response_format))
    closing.append(VERBOSITIES.get(_text_setting(request, "verbosity"), ""))
    if choice.words:
        items.append({"type": "message", "role": "developer", "content": choice.words})
    messages = to_messages(
        _get(request, "instructions", str),
        items,
        toolbox,
        "\n\n".join(filter(None, closing)),
        sees=info.can("vision"),
        thinks=info.can("thinking"),
    )
    if not messages:
        raise invalid("input is empty; there is nothing to answer.", "input")
    chat = ChatRequest(
        model=model,
        messages=messages,
        functions=functions,
        tool_choice=choice.field,
        temperature=_first(_get(request, "temperature", int, float), info.temperature),
        top_p=_first(_get(request, "top_p", int, float), info.top_p),
        presence_penalty=_get(request, "presence_penalty", int, float),
        frequency_penalty=_get(request, "frequency_penalty", int, float),
        max_tokens=_get(request, "max_output_tokens", int),
        effort=effort((_get(request, "reasoning", dict) or {}).get("effort"), info),
        response_format=None if functions else response_format,
    )
    return Translation(
        chat=told_tools.in_words(chat) if tells_tools else chat,
        toolbox=toolbox,
        stream=bool(_get(request, "stream", bool)),
        tells_tools=tells_tools,
        downgrades=_downgrades(request, messages, info, tells_tools),
    )


def _is_noted(note: str, messages: list[Json]) -> bool:
    return any(note in message["content"] for message in messages)


def _downgrades(
    request: Json, messages: list[Json], info: ModelInfo, tells_tools: bool
) -> tuple[str, ...]:
    """What was asked for and is left out, or done in another way."""
    effort_asked = (_get(request, "reasoning", dict) or {}).get("effort") not in (None, "none")
    is_blind = not info.can("vision") and _is_noted(BLIND, messages)
    found = {
        "has no tools: it is told of them in words, which small models often forget": tells_tools,
        "cannot think: the effort is left out": effort_asked and not info.can("thinking"),
        "sees nothing: pictures are left out": is_blind,
    }
    return tuple(sentence for sentence, applies in found.items() if applies)


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
    return [_item(item) for item in value if item is not None]


def _item(value: Any) -> Json:
    if isinstance(value, str):
        value = {"role": "user", "content": value}
    if not isinstance(value, dict):
        value = {"type": "item", "text": orjson.dumps(value).decode()}
    item: Json = value
    if item.get("type") is None:
        item = item | {"type": "message" if "role" in item or "content" in item else "item"}
    strange = {key: str(item[key]) for key in STRING_FIELDS if _is_strange(item.get(key))}
    return item | strange if strange else item


def _is_strange(value: Any) -> bool:
    """Whether something stands where a text should: it is read as one, and fails nothing."""
    return value is not None and not isinstance(value, str)


def _first(*values: float | None) -> float | None:
    """The first that is given. Without any, chat completions force 1.0 on the model."""
    return next((value for value in values if value is not None), None)


def _text_setting(request: Json, key: str) -> Any:
    setting = (_get(request, "text", dict) or {}).get(key)
    return setting if isinstance(setting, str) else None


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


def _in_words(response_format: Json) -> str:
    schema = response_format.get("json_schema", {}).get("schema", {"type": "object"})
    return (
        "Your final answer, after all function calls, must be one JSON object and nothing "
        f"else. It must fit this JSON schema: {orjson.dumps(schema).decode()}"
    )


def _directives(toolbox: Toolbox) -> str:
    """How to call, if there is anything to call."""
    if not toolbox.offered:
        return ""
    editing = [text for function, text in PATCH_DIRECTIVES.items() if function in toolbox.offered]
    return " ".join([DIRECTIVES, *editing[:1]])
