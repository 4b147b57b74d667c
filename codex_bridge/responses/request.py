"""A request of the Responses API, read once: each field is checked here, by its name.

What is read goes where it is needed: `chat.translate` makes a chat request of it, the writer
repeats `echo`, the attempt puts calls into the form of `toolbox`.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

import orjson
from attrs import field, frozen

from codex_bridge.errors import invalid
from codex_bridge.repair.lenient_json import can_be_written
from codex_bridge.responses.contents import item_text, refuse_remote_images
from codex_bridge.responses.messages import INSTRUCTION_ROLES, RESULT_KINDS, SILENT
from codex_bridge.responses.title import is_title_request, question_alone
from codex_bridge.tools.choice import ToolChoice, choose
from codex_bridge.tools.shown import ToolProfile
from codex_bridge.tools.toolbox import Toolbox
from codex_bridge.vocabulary import Json

STRING_FIELDS = ("type", "role", "name", "namespace", "call_id")
"""Fields that are strings in every kind of item that has them."""
OTHER_ROLES = INSTRUCTION_ROLES | {"assistant"}
"""Whose messages are not a user's."""
MODE = "<collaboration_mode>"
PLAN_MODE = f"{MODE}# Plan Mode"
"""With these words Codex (0.130 to 0.169) tells the model that it plans from now on."""
ECHOED = (
    *("model", "instructions", "tools", "tool_choice", "parallel_tool_calls", "max_tool_calls"),
    *("max_output_tokens", "reasoning", "text", "temperature", "top_p", "presence_penalty"),
    *("frequency_penalty", "metadata", "prompt_cache_key", "previous_response_id", "background"),
)
"""Fields that a response object repeats."""


@frozen
class Sampling:
    """How the next token is chosen. None: the client did not say."""

    temperature: float | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None


@frozen
class ResponsesRequest:
    """What a client asks for."""

    model: str
    """The one that is asked. `echo` has the client's name for it, which may be an alias."""
    items: list[Json]
    """`input`: each an object with a type."""
    instructions: str | None
    toolbox: Toolbox
    """The declared tools, narrowed to what `tool_choice` allows."""
    tool_choice: ToolChoice
    text_format: Json | None
    """`text.format` in the words of chat completions; None for plain text."""
    verbosity: str | None
    effort: str | None
    """`reasoning.effort`, in the client's words."""
    sampling: Sampling
    max_output_tokens: int | None
    most_calls: int | None
    """How many calls the client takes, by `parallel_tool_calls` and `max_tool_calls`; None: any
    number."""
    stream: bool
    """Whether the client wants a stream of events; else it gets one JSON object."""
    echo: Json = field(factory=dict)
    """The fields that a response object repeats, as they came."""
    size: int = 0
    """Bytes of the request."""
    think_budget: int | None = None
    """`reasoning.max_tokens`: tokens that the model may think; None: the client does not say."""

    @property
    def is_call_required(self) -> bool:
        """Whether `tool_choice` requires a call."""
        return self.tool_choice.field == "required"

    @property
    def is_at_work(self) -> bool:
        """Whether the model has begun to work with tools on what the user said last.

        A model that plans is not at work: in Plan mode it only tells what it would do.
        """
        if not self.toolbox.offered or self.text_format is not None:
            return False
        for item in reversed(self.items):
            if item["type"] in RESULT_KINDS:
                return not self._is_planning
            if item["type"] == "message" and item.get("role") == "user":
                return False
        return False

    @property
    def _is_planning(self) -> bool:
        modes = (item for item in reversed(self.items) if _sets_mode(item))
        return any(map(_begins_plan_mode, islice(modes, 1)))


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
    model: str | None = _typed(request, "model", str)
    if not model or not model.strip():
        raise invalid(
            "model is missing; name one that `ollama list` shows.",
            "model",
            "missing_required_parameter",
        )
    return model


def read(
    request: Json, *, size: int = 0, tool_profile: ToolProfile = ToolProfile.ESSENTIAL
) -> ResponsesRequest:
    """Check the fields of a parsed request of `size` bytes; unknown fields are passed over.

    Raises ApiError (400) that names the field: for a value of a wrong type, for a tool or a
    choice that makes no sense, for an input without anything to answer or with an image that
    would have to be fetched, and for what a server without a memory cannot do.
    """
    model = model_name(request)
    _refuse_named_conversation(request)
    _check_background(request)
    echo = echoed(request)
    if is_title_request(request):
        request = question_alone(request)
    items = _items(request)
    text = _typed(request, "text", dict) or {}
    verbosity = text.get("verbosity")
    reasoning = _typed(request, "reasoning", dict) or {}
    effort = reasoning.get("effort")
    sampling = Sampling(
        temperature=_typed(request, "temperature", int, float),
        top_p=_typed(request, "top_p", int, float),
        presence_penalty=_typed(request, "presence_penalty", int, float),
        frequency_penalty=_typed(request, "frequency_penalty", int, float),
    )
    instructions = _typed(request, "instructions", str)
    if not instructions and all(item["type"] in SILENT for item in items):
        raise invalid("input is empty; there is nothing to answer.", "input")
    for item in items:
        if item["type"] == "message" and item.get("role") not in OTHER_ROLES:
            refuse_remote_images(item.get("content"))
    max_output_tokens = _typed(request, "max_output_tokens", int)
    most_calls = _most_calls(request)
    stream = bool(_typed(request, "stream", bool))
    text_format = _text_format(text.get("format"))
    has_planned = any(map(_begins_plan_mode, items))
    tools = request.get("tools")
    toolbox = Toolbox.from_request(tools, items, tool_profile, has_planned=has_planned)
    return ResponsesRequest(
        model=model,
        items=items,
        instructions=instructions,
        toolbox=toolbox,
        tool_choice=choose(request.get("tool_choice"), toolbox),
        text_format=text_format,
        verbosity=verbosity if isinstance(verbosity, str) else None,
        effort=effort if isinstance(effort, str) else None,
        sampling=sampling,
        max_output_tokens=max_output_tokens,
        most_calls=most_calls,
        stream=stream,
        echo=echo,
        size=size,
        think_budget=_typed(reasoning, "max_tokens", int),
    )


def _sets_mode(item: Json) -> bool:
    return item.get("role") == "developer" and item_text(item).startswith(MODE)


def _begins_plan_mode(item: Json) -> bool:
    return item.get("role") == "developer" and item_text(item).startswith(PLAN_MODE)


def echoed(request: Json) -> Json:
    """The fields of a parsed request that a response object repeats."""
    return {key: request[key] for key in ECHOED if key in request}


def _typed(request: Json, key: str, *types: type) -> Any:
    """`request[key]` if it is of one of `types`, None if null or absent."""
    value = request.get(key)
    if value is None:
        return None
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        names = {str: "a string", bool: "true or false", dict: "an object"}
        wanted = names.get(types[0], "a number" if float in types else "a whole number")
        raise invalid(f"{key} must be {wanted}.", key, "invalid_type")
    return value


def _most_calls(request: Json) -> int | None:
    """How many calls an answer may have; None if the client does not say. Raises ApiError (400)."""
    most: int | None = _typed(request, "max_tool_calls", int)
    if most is not None and most < 1:
        raise invalid("max_tool_calls must be 1 or more.", "max_tool_calls")
    return 1 if _typed(request, "parallel_tool_calls", bool) is False else most


def _refuse_named_conversation(request: Json) -> None:
    """Raises ApiError for a conversation that only its name stands for.

    An answer to a part of the conversation, as if it were the whole, would be worse than none.
    """
    if request.get("conversation") is not None:
        raise invalid(
            "conversation is not supported: name the response to go on from as "
            "previous_response_id, or send the whole conversation as input.",
            "conversation",
            "unsupported_parameter",
        )


def _check_background(request: Json) -> None:
    """Raises ApiError (400) for a response in the background that nobody could get later."""
    store = _typed(request, "store", bool)
    if _typed(request, "background", bool) and store is False:
        raise invalid("background needs store: true, to get the response later.", "background")


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
    """One item. A value that is no item becomes one with its text, so that nothing is lost."""
    if isinstance(value, str):
        value = {"role": "user", "content": value}
    if not isinstance(value, dict):
        value = {"type": "item", "text": orjson.dumps(value).decode()}
    item: Json = value
    if item.get("type") is None:
        item = item | {"type": "message" if "role" in item or "content" in item else "item"}
    as_text = {
        key: str(item[key]) for key in STRING_FIELDS if not isinstance(item.get(key), str | None)
    }
    return item | as_text if as_text else item


def _text_format(form: Any) -> Json | None:
    if not isinstance(form, dict) or form.get("type") not in ("json_object", "json_schema"):
        return None
    if form["type"] == "json_object":
        return {"type": "json_object"}
    if not isinstance(form.get("schema"), dict):
        raise invalid("text.format.schema must be an object.", "text.format.schema")
    keys = ("name", "strict", "schema")
    return {"type": "json_schema", "json_schema": {key: form[key] for key in keys if key in form}}
