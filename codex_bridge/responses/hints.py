"""What the model is told behind a result in which Codex says that a call failed.

Codex's sentences say what was wrong, in words for the authors of Codex ("missing field `cmd` at
line 1 column 13"). A hint shows the right form. It depends on the call and its result alone, so
that it is the same in every later request, and the model's prompt cache holds.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import orjson

from codex_bridge.tools.declarations import Kind
from codex_bridge.tools.freeform import PATCH_EXAMPLE
from codex_bridge.tools.schemas import properties_of, required_of, types_of, variants_of
from codex_bridge.tools.toolbox import Toolbox

MANY = 40
"""More functions than that are not all named."""
DEPTH = 4
"""Levels of an example of arguments."""
EXAMPLES = {"string": "…", "integer": 1, "number": 1, "boolean": True, "array": [], "object": {}}
"""A JSON type -> a value of it."""
NOT_FOUND = (
    "Read the lines of the file again. Copy them exactly, with their spaces, and no more than "
    "three around the change."
)
EDIT_NOT_FOUND = "Read the file again, and copy the old text from it exactly, with its spaces."
NO_CONTEXT = (
    "Behind @@ stands one whole line of the file that is above the change, or nothing. Lines of "
    "the file follow below it."
)
NO_FILE = "Find the file with ls. A new file begins with *** Add File: path."
FORM = f"A patch has this form:\n{PATCH_EXAMPLE}"
ENDED = "The command has ended. Run it again with exec_command."

Hint = Callable[[str, Toolbox], str]


def hint(result: str, function: str, toolbox: Toolbox) -> str:
    """What to tell the model behind `result`, which it got for a call of `function`; "" if nothing.

    The sentences by which Codex 0.130 to 0.169 tells a failure stand at the beginning of a result.
    """
    for failure, make in HINTS:
        if failure.match(result):
            return make(function, toolbox)
    return ""


def _functions(function: str, toolbox: Toolbox) -> str:
    """Which functions there are. Those that were found later would change what is told."""
    names = toolbox.shown_at_first
    if len(names) > MANY:
        names = [name for name in names if not name.startswith("mcp__")][:MANY]
    if not names:
        return ""
    return f"There is no function {function}. The functions are: {', '.join(names)}."


def _form_of_arguments(function: str, toolbox: Toolbox) -> str:
    tool = toolbox.tool(function)
    is_new = function not in toolbox.shown_at_first
    if tool is None or is_new or tool.kind is Kind.CUSTOM:
        return ""
    example = orjson.dumps(_example(tool.parameters, DEPTH)).decode()
    return f"The arguments of {function} have this form: {example}"


def _example(schema: Any, depth: int) -> Any:
    """A value that shows the form of a schema: what is required, or else all that there is."""
    if not isinstance(schema, dict) or depth == 0:
        return EXAMPLES["string"]
    if isinstance(schema.get("enum"), list) and schema["enum"]:
        return schema["enum"][0]
    if variants := variants_of(schema):
        return _example(variants[0], depth)
    properties = properties_of(schema)
    if properties:
        names = [name for name in required_of(schema) if name in properties] or list(properties)
        return {name: _example(properties[name], depth - 1) for name in names}
    kind = next(iter(types_of(schema)), "object")
    if kind == "array" and isinstance(schema.get("items"), dict):
        return [_example(schema["items"], depth - 1)]
    return EXAMPLES.get(kind, EXAMPLES["string"])


def _not_found(function: str, toolbox: Toolbox) -> str:
    tool = toolbox.tool(function)
    return EDIT_NOT_FOUND if tool and tool.kind is Kind.EDITOR else NOT_FOUND


def _says(text: str) -> Hint:
    return lambda function, toolbox: text


PATCH = "apply_patch verification failed: "
HINTS: tuple[tuple[re.Pattern[str], Hint], ...] = (
    (re.compile(r"unsupported (?:custom tool )?call: "), _functions),
    (re.compile(r"failed to parse function arguments: "), _form_of_arguments),
    (re.compile(rf"{PATCH}Failed to find expected lines in "), _not_found),
    (re.compile(rf"{PATCH}Failed to find context "), _says(NO_CONTEXT)),
    (re.compile(rf"{PATCH}Failed to read file to update "), _says(NO_FILE)),
    (re.compile(rf"{PATCH}invalid (?:hunk|patch)"), _says(FORM)),
    (re.compile(r"write_stdin failed: Unknown process id "), _says(ENDED)),
)
"""How Codex's sentence about a failure begins -> what makes the hint."""
