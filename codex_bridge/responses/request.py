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
from codex_bridge.responses.contents import item_text, refuse_unreadable
from codex_bridge.responses.echo import echoed
from codex_bridge.responses.fields import check_others, count, decimal, logprobs, typed
from codex_bridge.responses.messages import INSTRUCTION_ROLES, RESULT_KINDS, SILENT
from codex_bridge.responses.title import is_title_request, question_alone
from codex_bridge.tools.choice import ToolChoice, choose
from codex_bridge.tools.declarations import hosted
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
    hosted_tools: list[str] = field(factory=list)
    """Types of the declared tools that nobody here can run."""
    logprobs: int | None = None
    """How many alternatives the client wants for each token of the text, with their
    probabilities; None: it wants no probabilities."""
    is_compaction: bool = False
    """Whether the client wants a summary of the conversation, as one sealed item."""

    @property
    def is_call_required(self) -> bool:
        """Whether `tool_choice` requires a call."""
        return self.tool_choice.field == "required"

    @property
    def is_at_work(self) -> bool:
        """Whether the model has begun to work with tools on what the user said last.

        A model that plans is not at work: in Plan mode it only tells what it would do.
        """
        if not self.toolbox.offered or self.text_format is not None or self.is_compaction:
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
    model: str | None = typed(request, "model", str)
    if not model or not model.strip():
        raise invalid(
            "model is missing; name one that `ollama list` shows.",
            "model",
            "missing_required_parameter",
        )
    return model


def read(
    request: Json,
    *,
    size: int = 0,
    before: int = 0,
    tool_profile: ToolProfile = ToolProfile.ESSENTIAL,
) -> ResponsesRequest:
    """Check the fields of a parsed request of `size` bytes; unknown fields are passed over.

    The first `before` items of its input are from earlier responses.
    Raises ApiError (400) that names the field: for a value of a wrong type, for a tool or a
    choice that makes no sense, for an input without anything to answer, or with an image or a
    file that nobody can read, and for what a local server cannot do.
    """
    model = model_name(request)
    _refuse_named_conversation(request)
    check_others(request)
    _check_background(request)
    echo = echoed(request)
    if is_title_request(request):
        request = question_alone(request)
    items = _items(request, before)
    text = _with_updates(request, "text", items)
    reasoning = _with_updates(request, "reasoning", items)
    sampling = Sampling(
        temperature=decimal(request, "temperature", 0, 2),
        top_p=decimal(request, "top_p", 0, 1),
        presence_penalty=decimal(request, "presence_penalty", -2, 2),
        frequency_penalty=decimal(request, "frequency_penalty", -2, 2),
    )
    instructions = _instructions(request)
    if not instructions and all(item["type"] in SILENT for item in items):
        raise invalid("input is empty; there is nothing to answer.", "input")
    max_output_tokens = count(request, "max_output_tokens", 1)
    most_calls = _most_calls(request)
    stream = bool(typed(request, "stream", bool))
    text_format = _text_format(typed(text, "format", dict, within="text."))
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
        verbosity=typed(text, "verbosity", str, within="text."),
        effort=typed(reasoning, "effort", str, within="reasoning."),
        sampling=sampling,
        max_output_tokens=max_output_tokens,
        most_calls=most_calls,
        stream=stream,
        echo=echo,
        size=size,
        think_budget=typed(reasoning, "max_tokens", int, within="reasoning."),
        hosted_tools=hosted(tools),
        logprobs=logprobs(request),
    )


def _sets_mode(item: Json) -> bool:
    return item.get("role") == "developer" and item_text(item).startswith(MODE)


def _begins_plan_mode(item: Json) -> bool:
    return item.get("role") == "developer" and item_text(item).startswith(PLAN_MODE)


def _most_calls(request: Json) -> int | None:
    """How many calls an answer may have; None if the client does not say. Raises ApiError (400)."""
    most = count(request, "max_tool_calls", 1)
    return 1 if typed(request, "parallel_tool_calls", bool) is False else most


def _instructions(request: Json) -> str | None:
    """`instructions`: a text, or items of whose texts one is made."""
    value = request.get("instructions")
    if not isinstance(value, list):
        text: str | None = typed(request, "instructions", str)
        return text
    texts = [each if isinstance(each, str) else item_text(_item(each)) for each in value if each]
    return "\n\n".join(filter(None, texts))


def _with_updates(request: Json, key: str, items: list[Json]) -> Json:
    """The object `request[key]`, with what `configuration_update` items changed in it later."""
    value = typed(request, key, dict) or {}
    for item in items:
        if item["type"] == "configuration_update" and isinstance(item.get(key), dict):
            value = value | item[key]
    return value


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
    store = typed(request, "store", bool)
    if typed(request, "background", bool) and store is False:
        raise invalid("background needs store: true, to get the response later.", "background")


def _items(request: Json, before: int) -> list[Json]:
    """`input` as a list of items, each an object with a type; places count behind `before`."""
    value = request.get("input")
    if value is None:
        raise invalid("input is missing.", "input", "missing_required_parameter")
    if isinstance(value, str):
        return [{"type": "message", "role": "user", "content": value}] if value else []
    if not isinstance(value, list):
        raise invalid("input must be a string or an array of items.", "input", "invalid_type")
    items = []
    for n, each in enumerate(value):
        if each is None:
            continue
        item = _item(each)
        if item["type"] == "message" and item.get("role") not in OTHER_ROLES:
            refuse_unreadable(item.get("content"), f"input[{n - before}].content")
        items.append(item)
    return items


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


def _text_format(form: Json | None) -> Json | None:
    kind = "text" if form is None else form.get("type")
    if form is None or kind == "text":
        return None
    if kind == "json_object":
        return {"type": "json_object"}
    if kind != "json_schema":
        raise invalid(
            "text.format.type must be text, json_object or json_schema.", "text.format.type"
        )
    if not isinstance(form.get("schema"), dict):
        raise invalid("text.format.schema must be an object.", "text.format.schema")
    keys = ("name", "strict", "schema")
    return {"type": "json_schema", "json_schema": {key: form[key] for key in keys if key in form}}
