"""What the model is told behind a result: how to call after a failure, and that it repeats itself.

Codex's sentences say what was wrong, in words for the authors of Codex ("missing field `cmd` at
line 1 column 13"). A hint shows the right form. It depends on the call, its result and what came
before them alone, so that it is the same in every later request and the prompt cache holds.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from typing import Any

import orjson
from attrs import frozen

from codex_bridge.tools.declarations import Kind
from codex_bridge.tools.freeform import PATCH_EXAMPLE
from codex_bridge.tools.schemas import properties_of, required_of, types_of, variants_of
from codex_bridge.tools.toolbox import Toolbox
from codex_bridge.vocabulary import Json

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
LONGEST_CYCLE = 4
"""Calls that may follow each other over and over and count as one loop."""
AGAIN = (
    "You made this call {times} times with the same result. If you expected another one, do not "
    "repeat the call: try another command or other arguments, or tell the user what is in the way."
)
STOP = (
    "You made this call {times} times with the same result, and will most likely get it again. Do "
    "not repeat the call: do something else now, or end your turn and tell the user what is in the "
    "way."
)
VARYING = re.compile(
    # What Codex 0.101 to 0.169 puts before an output, and the same where it is JSON.
    r"Chunk ID: \w+|Wall time:? [\d.]+ seconds|[Oo]riginal token count: \d+"
    r'|"chunk_id":"\w+"|"\w+_seconds":[\d.e+-]+|"original_token_count":\d+'
    # What programs measure, such as the time that tests took. An age has no fraction.
    r"|\b\d+\.\d+ ?(?:[mµu]?s|secs?|seconds)\b"
)
"""What differs between two results that are the same."""
WAITING = frozenset({"wait", "wait_agent"})
"""Tools of Codex that wait."""
SLEEPS = re.compile(r"(?:\b|\\n)sleep\b")
"""A command or a program that waits, as JSON."""

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


@frozen
class MadeCall:
    """A call, and what came of it."""

    tool: str
    function: str
    arguments: str
    """A JSON object."""
    result: str
    images: list[Json]

    @property
    def waits(self) -> bool:
        """Whether it waits for something: the same result means that nothing has happened yet."""
        if self.tool == "write_stdin":
            return not orjson.loads(self.arguments).get("chars")
        return self.tool in WAITING or SLEEPS.search(self.arguments) is not None

    def is_like(self, other: MadeCall) -> bool:
        """Whether it is the same call, with the same result."""
        return (
            (self.function, self.arguments) == (other.function, other.arguments)
            and self.images == other.images
            and _are_alike(self.result.split("\n"), other.result.split("\n"))
        )


def _are_alike(one: list[str], other: list[str]) -> bool:
    """Whether two results are the same but for what always differs."""
    return len(one) == len(other) and all(
        mine == theirs or VARYING.sub("", mine) == VARYING.sub("", theirs)
        for mine, theirs in zip(one, other, strict=True)
    )


class Circles:
    """Notices calls that were made before, with the same results, in the same order.

    A cycle is one call, or several: of one answer, or of answers that follow each other.
    """

    def __init__(self) -> None:
        self._latest: deque[MadeCall] = deque(maxlen=LONGEST_CYCLE)
        self._equal = dict.fromkeys(range(1, LONGEST_CYCLE + 1), 0)
        """Length of a cycle -> how many calls in a row were equal to the call so many before."""

    def forget(self) -> None:
        """What was called so far does not count any more."""
        self._latest.clear()
        self._equal = dict.fromkeys(self._equal, 0)

    def hint(self, made: MadeCall) -> str:
        """What to tell the model behind the result of its next call; "" if nothing."""
        for length in self._equal:
            is_like = length <= len(self._latest) and made.is_like(self._latest[-length])
            self._equal[length] = self._equal[length] + 1 if is_like else 0
        self._latest.append(made)
        for length, equal in self._equal.items():
            if equal >= 2 * length:
                if any(call.waits for call in list(self._latest)[-length:]):
                    return ""
                times = equal // length + 1
                return (AGAIN if times == 3 else STOP).format(times=times)
        return ""
