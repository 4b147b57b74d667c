"""A Responses request -> what the model is asked, with words on how to call functions."""

from __future__ import annotations

import orjson
from attrs import frozen

from codex_bridge.leaks.styles import dialect
from codex_bridge.responses.effort import effort
from codex_bridge.responses.images import BLIND
from codex_bridge.responses.messages import to_messages
from codex_bridge.responses.request import ResponsesRequest
from codex_bridge.text import printable
from codex_bridge.tools import in_words
from codex_bridge.tools.toolbox import Toolbox
from codex_bridge.vocabulary import ChatRequest, Json, ModelInfo

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
"""How to call: small models tend to tell what they would call."""
EDITOR_DIRECTIVE = "Edit files with edit_file and write_file, not with apply_patch."
PATCH_DIRECTIVES = {
    "apply_patch": "Edit files with apply_patch.",
    "exec_command": "Edit files with the command apply_patch <<'EOF', then the patch, then EOF.",
}
"""Offered function -> how files are edited with it; the first one that is offered counts."""


@frozen
class Translation:
    """What one Responses request becomes for one model."""

    chat: ChatRequest
    calls_as_text: bool = False
    """Whether the model has no tools: it is told of them in words, and calls in its text."""
    dialect: frozenset[str] | None = None
    """The forms in which the model was taught to call, see `leaks.styles.dialect`."""
    downgrades: tuple[str, ...] = ()
    """What was asked for and the model cannot do, one predicate each: "has no …"."""


def translate(
    request: ResponsesRequest, info: ModelInfo, *, directives: bool = True
) -> Translation:
    """What the model that `info` describes is asked.

    With `directives` it is told how to call functions, also behind calls that failed.
    """
    functions = request.toolbox.functions()
    calls_as_text = bool(functions) and not info.can("tools")
    items = request.items
    if request.tool_choice.words:
        words = {"type": "message", "role": "developer", "content": request.tool_choice.words}
        items = [*items, words]
    messages = to_messages(
        request.instructions,
        items,
        request.toolbox,
        _closing(request, functions, calls_as_text, directives),
        sees=info.can("vision"),
        thinks=info.can("thinking"),
        hints=directives,
    )
    sampling = request.sampling
    chat = ChatRequest(
        model=request.model,
        messages=messages,
        functions=functions,
        tool_choice=request.tool_choice.field,
        # Without a value, Ollama's chat completions use 1.0 in place of the model's own value.
        temperature=_first(sampling.temperature, info.temperature),
        top_p=_first(sampling.top_p, info.top_p),
        presence_penalty=sampling.presence_penalty,
        frequency_penalty=sampling.frequency_penalty,
        max_tokens=request.max_output_tokens,
        effort=effort(request.effort, info),
        response_format=None if functions else request.text_format,
        logprobs=request.logprobs,
    )
    return Translation(
        chat=in_words.in_words(chat) if calls_as_text else chat,
        calls_as_text=calls_as_text,
        # In words it is taught one form, and may know others.
        dialect=None if calls_as_text else dialect(info.template),
        downgrades=_downgrades(request, messages, info, calls_as_text),
    )


def _closing(
    request: ResponsesRequest, functions: list[Json], calls_as_text: bool, directives: bool
) -> str:
    """The end of the system message: what the bridge itself tells the model."""
    parts = []
    if calls_as_text:
        parts.append(in_words.description_of(functions))
    elif directives:
        parts.append(_directives(request.toolbox))
    if functions and request.text_format:
        # A grammar for the answer would leave no room for a call.
        parts.append(_format_in_words(request.text_format))
    parts.append(VERBOSITIES.get(request.verbosity or "", ""))
    return "\n\n".join(filter(None, parts))


def _directives(toolbox: Toolbox) -> str:
    """How to call functions, if any is offered."""
    if not toolbox.offered:
        return ""
    editing = [text for function, text in PATCH_DIRECTIVES.items() if function in toolbox.offered]
    if toolbox.has_editor and "edit_file" in toolbox.offered:
        editing = [EDITOR_DIRECTIVE]
    return " ".join([DIRECTIVES, *editing[:1]])


def _format_in_words(text_format: Json) -> str:
    schema = text_format.get("json_schema", {}).get("schema", {"type": "object"})
    return (
        "Your final answer, after all function calls, must be one JSON object and nothing "
        f"else. It must fit this JSON schema: {orjson.dumps(schema).decode()}"
    )


def _downgrades(
    request: ResponsesRequest, messages: list[Json], info: ModelInfo, calls_as_text: bool
) -> tuple[str, ...]:
    """What was asked for and is left out, or done in another way."""
    is_blind = not info.can("vision") and any(BLIND in each["content"] for each in messages)
    cannot_think = request.effort not in (None, "none") and not info.can("thinking")
    found = {
        "has no tools: its prompt describes them, and it may forget to call them": calls_as_text,
        "cannot think: the effort is left out": cannot_think,
        "has no vision: pictures are left out": is_blind,
    }
    hosted = [
        f"is not offered {printable(kind)}: the server would have to run this tool"
        for kind in request.hosted_tools
    ]
    return (*(sentence for sentence, applies in found.items() if applies), *hosted)


def _first(*values: float | None) -> float | None:
    """The first value that is not None."""
    return next((value for value in values if value is not None), None)
