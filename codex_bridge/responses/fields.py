"""Reads single fields of a request. What cannot be meant is a 400 that names the field."""

from __future__ import annotations

from typing import Any

from codex_bridge.errors import invalid
from codex_bridge.vocabulary import Json

TRUNCATIONS = ("auto", "disabled")
NAMES = ("service_tier", "user", "safety_identifier", "prompt_cache_key")
"""Fields that are strings, which a response repeats and which change nothing else."""
MOST_PAIRS, LONGEST_KEY, LONGEST_VALUE = 16, 64, 512
"""Of `metadata`: the API's limits, in pairs and in characters."""
MOST_LOGPROBS = 20
LOGPROBS = "message.output_text.logprobs"


def typed(request: Json, key: str, *types: type, within: str = "") -> Any:
    """`request[key]` if it is of one of `types`, None if null or absent.

    `within` names the object that `request` is in the whole request, such as "text.".
    """
    value = request.get(key)
    if value is None:
        return None
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        names = {str: "a string", bool: "true or false", dict: "an object", list: "an array"}
        wanted = names.get(types[0], "a number" if float in types else "a whole number")
        raise invalid(f"{within}{key} must be {wanted}.", f"{within}{key}", "invalid_type")
    return value


def decimal(request: Json, key: str, least: float, most: float) -> float | None:
    """A number from `least` to `most`; None if null or absent."""
    value: float | None = typed(request, key, int, float)
    if value is not None and not least <= value <= most:
        raise invalid(f"{key} must be a number from {least} to {most}.", key)
    return value


def count(request: Json, key: str, least: int, most: int | None = None) -> int | None:
    """A whole number from `least` to `most`, or without an upper limit; None if null or absent."""
    value: int | None = typed(request, key, int)
    if value is not None and (value < least or (most is not None and value > most)):
        limits = f"{least} or more" if most is None else f"a whole number from {least} to {most}"
        raise invalid(f"{key} must be {limits}.", key)
    return value


def logprobs(request: Json) -> int | None:
    """How many alternatives are wanted for each token of the text; None: no probabilities at all.

    `include` may hold names of tomorrow: each only asks for more than an answer has without it.
    """
    include = typed(request, "include", list) or []
    for n, name in enumerate(include):
        if not isinstance(name, str):
            raise invalid(f"include[{n}] must be a string.", f"include[{n}]", "invalid_type")
    most = count(request, "top_logprobs", 0, MOST_LOGPROBS)
    return most or 0 if most or LOGPROBS in include else None


def check_others(request: Json) -> None:
    """Raises ApiError (400) for a field that changes no answer and yet cannot be meant so."""
    for key in NAMES:
        typed(request, key, str)
    for key in ("store", "background"):
        typed(request, key, bool)
    truncation = typed(request, "truncation", str)
    if truncation is not None and truncation not in TRUNCATIONS:
        raise invalid('truncation must be "auto" or "disabled".', "truncation")
    options = typed(request, "stream_options", dict) or {}
    typed(options, "include_obfuscation", bool, within="stream_options.")
    _check_metadata(typed(request, "metadata", dict) or {})
    if request.get("prompt") is not None:
        raise invalid(
            "prompt is not supported: codex-bridge keeps no prompts under a name. Send the text "
            "as instructions, or as input.",
            "prompt",
            "unsupported_parameter",
        )


def _check_metadata(metadata: Json) -> None:
    if len(metadata) > MOST_PAIRS:
        raise invalid(f"metadata may have {MOST_PAIRS} pairs at most.", "metadata")
    for key, value in metadata.items():
        if len(key) > LONGEST_KEY:
            raise invalid(
                f"A key of metadata may have {LONGEST_KEY} characters at most.", "metadata"
            )
        if not isinstance(value, str) or len(value) > LONGEST_VALUE:
            where = f"metadata.{key}"
            raise invalid(f"{where} must be a string of {LONGEST_VALUE} characters at most.", where)
