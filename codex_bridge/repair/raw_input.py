"""The raw text that a freeform tool is given, taken from the arguments that a model wrote."""

from __future__ import annotations

import re

import orjson

from codex_bridge.repair import lenient_json, patches
from codex_bridge.tools.declarations import INPUT, Tool
from codex_bridge.tools.freeform import PATCH_TOOL

FENCE = re.compile(r"\s*```[\w+-]*[ \t]*\n(.*?)\n?```\s*", re.DOTALL)
QUOTE = re.compile(r"[\"'`]")
QUOTED = {
    quote: re.compile(rf"{quote}(?:[^{quote}\\]|\\.)*+{quote}", re.DOTALL) for quote in "\"'`"
}


def raw_input(arguments: str, tool: Tool, *, mend: bool = True) -> tuple[str, list[str]]:
    """The text a freeform tool is given, and what had to be mended to get at it.

    `arguments` are the model's: `{"input": text}`, or the text bare, fenced or escaped twice.
    """
    if not mend:
        return _strictly(arguments), []
    text, steps = _unwrapped(arguments)
    if tool.name == PATCH_TOOL:
        return _patch(text, steps)
    if fenced := FENCE.fullmatch(text):
        return fenced[1], [*steps, "fence"]
    if "\n" not in text and "/" not in text and "\\n" in _unquoted(text):
        # Outside of quotes, comments and regular expressions these can only be line ends.
        return _unescaped(text), [*steps, "double escape"]
    return text, steps


def _strictly(arguments: str) -> str:
    try:
        value = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return arguments
    text = value.get(INPUT) if isinstance(value, dict) else None
    return text if isinstance(text, str) else arguments


def _unwrapped(arguments: str) -> tuple[str, list[str]]:
    """The text inside of the JSON around it, if there is any."""
    try:
        value, slips = lenient_json.loads(arguments)
    except ValueError:
        return arguments, ["bare input"]
    steps = sorted(slips)
    if isinstance(value, str) and not slips - {"double encoding"}:
        # A program may begin with a quote, too; only a whole JSON string is one.
        return value, ["bare input", *steps]
    if isinstance(value, dict):
        if isinstance(value.get(INPUT), str):
            inner: str = value[INPUT]
            return (_inner(inner, steps)) if inner.lstrip().startswith('{"') else (inner, steps)
        if len(value) == 1:
            (only,) = value.values()
            if isinstance(only, list) and only and all(isinstance(word, str) for word in only):
                only = only[-1] if only[0] == PATCH_TOOL else "\n".join(only)
            if isinstance(only, str):
                return only, ["input key", *steps]
    return arguments, ["bare input"]


def _inner(text: str, steps: list[str]) -> tuple[str, list[str]]:
    """`{"input": "{\\"input\\": …}"}` is wrapped twice."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text, steps
    if isinstance(value, dict) and list(value) == [INPUT] and isinstance(value[INPUT], str):
        return value[INPUT], [*steps, "double encoding"]
    return text, steps


def _patch(text: str, steps: list[str]) -> tuple[str, list[str]]:
    if not patches.needs_mending(text):
        return text, steps
    if mended := patches.mend(text):
        return mended, [*steps, "patch"]
    if "\\n" in text and (mended := patches.mend(_unescaped(text))):
        return mended, [*steps, "double escape"]
    return text, steps


def _unquoted(text: str) -> str:
    """`text` without what stands in quotes."""
    made, at = [], 0
    unpaired: set[str] = set()
    for quote in QUOTE.finditer(text):
        if quote.start() < at or quote[0] in unpaired:
            continue
        if quoted := QUOTED[quote[0]].match(text, quote.start()):
            made.append(text[at : quote.start()])
            at = quoted.end()
        else:
            # No later one of its kind has a second one either; looking again would take long.
            unpaired.add(quote[0])
    return "".join([*made, text[at:]])


def _unescaped(text: str) -> str:
    pairs = {"\\n": "\n", "\\t": "\t", '\\"': '"', "\\\\": "\\", "\\r": ""}
    return re.sub(r'\\[ntr"\\]', lambda found: pairs[found[0]], text)
