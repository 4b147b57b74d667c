"""The raw text for a freeform tool, taken out of the arguments that a model wrote."""

from __future__ import annotations

import re

import orjson

from codex_bridge.repair import lenient_json
from codex_bridge.repair.patch_slips import needs_repair, repair_patch
from codex_bridge.repair.seen import NOTHING_SEEN, Seen, with_seen_lines
from codex_bridge.tools.declarations import INPUT, Tool
from codex_bridge.tools.freeform import PATCH_TOOL

FENCE = re.compile(r"\s*```[\w+-]*[ \t]*\n(.*?)\n?```\s*", re.DOTALL)
SEEN_LINE = "context line"
ESCAPE = re.compile(r'\\([ntr"\\])')
UNESCAPED = {"n": "\n", "t": "\t", '"': '"', "\\": "\\", "r": ""}
"""The character behind a backslash -> what the two stand for; no line end needs its "\\r"."""
QUOTE = re.compile(r"[\"'`]")
QUOTED = {
    quote: re.compile(rf"{quote}(?:[^{quote}\\]|\\.)*+{quote}", re.DOTALL) for quote in "\"'`"
}


def raw_input(arguments: str, tool: Tool, seen: Seen = NOTHING_SEEN) -> tuple[str, list[str]]:
    """Return the text for a freeform tool, and the repair steps that it took to get it.

    `arguments` are the model's: `{"input": text}`, or the text bare, fenced or escaped twice.
    `seen` is what the model has read of files.
    """
    text, steps = _unwrapped(arguments)
    if tool.name == PATCH_TOOL:
        patch, more = repaired_patch(text, seen)
        return patch, [*steps, *more]
    if fenced := FENCE.fullmatch(text):
        return fenced[1], [*steps, "fence"]
    if "\n" not in text and "/" not in text and "\\n" in _unquoted(text):
        # Outside of quotes, comments and regular expressions these can only be line ends.
        return _unescaped(text), [*steps, "double escape"]
    return text, steps


def strict_raw_input(arguments: str) -> str:
    """The text inside of `{"input": text}`; `arguments` themselves if they are anything else."""
    try:
        value = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return arguments
    text = value.get(INPUT) if isinstance(value, dict) else None
    return text if isinstance(text, str) else arguments


def _unwrapped(arguments: str) -> tuple[str, list[str]]:
    """The text inside of the JSON around it, if there is any, and the steps to get at it."""
    try:
        value, slips = lenient_json.loads(arguments)
    except ValueError:
        return arguments, ["bare input"]
    steps = sorted(slips)
    if isinstance(value, str) and not slips - {"double encoding"}:
        # A program may begin with a quote, too; only a whole JSON string is one.
        return value, ["bare input", *steps]
    if not isinstance(value, dict):
        return arguments, ["bare input"]
    text = value.get(INPUT)
    if isinstance(text, str):
        inner = _wrapped_again(text)
        return (text, steps) if inner is None else (inner, [*steps, "double encoding"])
    if len(value) == 1:
        (only,) = value.values()
        if isinstance(only, list) and only and all(isinstance(word, str) for word in only):
            only = only[-1] if only[0] == PATCH_TOOL else "\n".join(only)
        if isinstance(only, str):
            return only, ["input key", *steps]
    return arguments, ["bare input"]


def _wrapped_again(text: str) -> str | None:
    """The text inside of a second `{"input": …}`, if `text` is one."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    inner = value[INPUT] if isinstance(value, dict) and list(value) == [INPUT] else None
    return inner if isinstance(inner, str) else None


def repaired_patch(text: str, seen: Seen) -> tuple[str, list[str]]:
    """A patch that Codex can apply, and the repair steps; `text` itself if it is none."""
    steps = []
    if needs_repair(text):
        if repaired := repair_patch(text):
            steps = ["patch"]
        elif "\\n" in text and (repaired := repair_patch(_unescaped(text))):
            steps = ["double escape"]
        else:
            return text, []
        text = repaired
    exact = with_seen_lines(text, seen)
    return exact, [*steps, SEEN_LINE] if exact != text else steps


def _unquoted(text: str) -> str:
    """`text` without what stands in quotes."""
    pieces, at = [], 0
    unpaired: set[str] = set()
    for quote in QUOTE.finditer(text):
        if quote.start() < at or quote[0] in unpaired:
            continue
        if quoted := QUOTED[quote[0]].match(text, quote.start()):
            pieces.append(text[at : quote.start()])
            at = quoted.end()
        else:
            # No later quote of this kind has a second one either; trying each would take long.
            unpaired.add(quote[0])
    return "".join([*pieces, text[at:]])


def _unescaped(text: str) -> str:
    return ESCAPE.sub(lambda escape: UNESCAPED[escape[1]], text)
