"""What a response object repeats of its request, with every field of the API in its full form.

Clients with strict types demand each key, also where the request had none. A value that makes no
sense, as a refused request may have, is replaced by the default.
"""

from __future__ import annotations

from typing import Any

from codex_bridge.vocabulary import Json

ECHOED = (
    *("model", "instructions", "tools", "tool_choice", "parallel_tool_calls", "max_tool_calls"),
    *("max_output_tokens", "reasoning", "text", "temperature", "top_p", "presence_penalty"),
    *("frequency_penalty", "top_logprobs", "truncation", "service_tier", "metadata", "user"),
    *("safety_identifier", "prompt_cache_key", "previous_response_id", "store", "background"),
    "include",
)
"""Fields of a request that its response objects depend on."""
WHOLE = (int,)
NUMBER = (int, float)


def echoed(request: Json) -> Json:
    """The fields of a parsed request that its response objects depend on, as they came."""
    return {key: request[key] for key in ECHOED if key in request}


def completed(echo: Json) -> Json:
    """The fields of `echoed` in the form of a response object."""

    def given(key: str, types: type | tuple[type, ...], default: Any = None) -> Any:
        value = echo.get(key)
        is_bool = isinstance(value, bool) and types is not bool
        return value if isinstance(value, types) and not is_bool else default

    tier = given("service_tier", str, "auto")
    fields: Json = {
        "model": given("model", str, ""),
        "instructions": given("instructions", (str, list)),
        "tools": [_tool(each) for each in given("tools", list, [])],
        "tool_choice": _choice(echo.get("tool_choice")),
        "parallel_tool_calls": given("parallel_tool_calls", bool, True),
        "max_tool_calls": given("max_tool_calls", WHOLE),
        "max_output_tokens": given("max_output_tokens", WHOLE),
        "reasoning": {"effort": None, "summary": None} | given("reasoning", dict, {}),
        "text": _text(given("text", dict, {})),
        "temperature": given("temperature", NUMBER, 1.0),
        "top_p": given("top_p", NUMBER, 1.0),
        "presence_penalty": given("presence_penalty", NUMBER, 0.0),
        "frequency_penalty": given("frequency_penalty", NUMBER, 0.0),
        "top_logprobs": given("top_logprobs", WHOLE, 0),
        "truncation": "auto" if echo.get("truncation") == "auto" else "disabled",
        # As the API does: the tier that was used, which "auto" leaves open.
        "service_tier": "default" if tier == "auto" else tier,
        "metadata": given("metadata", dict, {}),
        "safety_identifier": given("safety_identifier", str),
        "prompt_cache_key": given("prompt_cache_key", str),
        "previous_response_id": given("previous_response_id", str),
        "store": given("store", bool, True),
        "background": given("background", bool, False),
    }
    if isinstance(echo.get("user"), str):
        fields["user"] = echo["user"]
    return fields


def _tool(tool: Any) -> Any:
    """A declared tool. Of a function the API names all five fields."""
    if not isinstance(tool, dict) or tool.get("type") != "function":
        return tool
    return {"name": "", "description": None, "parameters": None, "strict": None} | tool


def _choice(choice: Any) -> Any:
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        return {"mode": "auto", "tools": []} | choice
    return choice if isinstance(choice, str | dict) and choice else "auto"


def _text(text: Json) -> Json:
    """`text` with a format that has all its fields, and without what was sent as null."""
    form = text.get("format")
    if not isinstance(form, dict) or not isinstance(form.get("type"), str):
        form = {"type": "text"}
    elif form["type"] == "json_schema":
        missing = {"name": "", "description": None, "schema": None}
        form = missing | form | {"strict": form.get("strict") is True}
    given = {key: value for key, value in text.items() if value is not None}
    return given | {"format": form}
