"""Responses input items -> chat messages.

The templates of local models keep only messages of one shape: a single system message at the
beginning, one assistant message for each answer with all its calls, and the results of the calls
right after it. The same items always give the same messages, and more items only append to them,
so that the model's prompt cache holds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import orjson
from attrs import Factory, define

from codex_bridge.repair.editor import as_written
from codex_bridge.repair.lenient_json import can_be_written
from codex_bridge.responses.contents import (
    agent_task,
    agent_text,
    item_text,
    other_text,
    reasoning_text,
    result_content,
    text_and_images,
    user_content,
)
from codex_bridge.responses.hints import Circles, MadeCall, hint
from codex_bridge.responses.loops import as_remembered
from codex_bridge.tools.declarations import INPUT, Kind, declared_by_item
from codex_bridge.tools.shown import shorten
from codex_bridge.tools.toolbox import Toolbox
from codex_bridge.vocabulary import Json

INSTRUCTION_ROLES = frozenset({"system", "developer"})
NOTHING_FOUND = "No tools were found."
SILENT = frozenset(
    {
        "additional_tools",
        "compaction_trigger",
        "configuration_update",
        "ghost_snapshot",
        "item_reference",
    }
)
"""Kinds of items that say nothing to a model: settings, and notes of a client to itself."""
MARK_LIMIT = 40
"""Longest mark of a text of an unknown kind, in characters."""
ABORTED = "aborted"
"""Stands in place of a result that never came; Codex uses the same word."""


def to_messages(
    instructions: str | None,
    items: list[Json],
    toolbox: Toolbox,
    closing: str | None = None,
    *,
    sees: bool = True,
    thinks: bool = True,
    hints: bool = True,
) -> list[Json]:
    """The chat messages of a conversation, system message first.

    `items` are the `input` items in their order; an item of an unknown kind leaves a short text.
    `closing` is put at the end of the system message. Images are for models that see, reasoning
    for models that think. With `hints` a sentence behind a failure says how to call, and one behind
    a result that came three times that it did.
    """
    leading, others = leading_instructions(items)
    system = [text for text in (instructions, *map(item_text, leading), closing) if text]
    history = _History(toolbox, sees, thinks, hints)
    for item in others:
        history.add(item)
    head = [{"role": "system", "content": "\n\n".join(system)}] if system else []
    return head + history.finish()


def leading_instructions(items: list[Json]) -> tuple[list[Json], list[Json]]:
    """The developer and system messages before all other items, and the other items."""
    leading = []
    for n, item in enumerate(items):
        if item.get("type") == "message" and item.get("role") in INSTRUCTION_ROLES:
            leading.append(item)
        elif item.get("type") not in SILENT:
            return leading, items[n:]
    return leading, []


@define
class _Call:
    """A call in an assistant message, and the results that came for it."""

    original_id: str | None
    message: Json
    tool: str
    """The name of the tool, which the function may have in another form."""
    results: list[str] = Factory(list)

    @property
    def function(self) -> str:
        """The name of the function that is called."""
        name: str = self.message["function"]["name"]
        return name

    def made(self, result: str, images: list[Json]) -> MadeCall:
        """This call with a result."""
        arguments = self.message["function"]["arguments"]
        return MadeCall(self.tool, self.function, arguments, result, images)


@define
class _AssistantMessage:
    """One assistant message that is being collected, with the messages that have to follow it."""

    texts: list[str] = Factory(list)
    reasoning: list[str] = Factory(list)
    calls: list[_Call] = Factory(list)
    afterwards: list[Json] = Factory(list)
    """Messages that stood between a call and its result; they move behind the results."""
    answered: bool = False
    """Whether one of the calls has a result."""
    _same_id: dict[str, list[_Call]] = Factory(dict)
    _done: dict[str, int] = Factory(dict)
    """Id -> how many of its calls, from the first one on, have a result; "" for all calls."""

    @property
    def waiting(self) -> bool:
        """Whether a call has no result yet."""
        call = self._call_for("")
        return call is not None and not call.results

    def add(self, call: _Call) -> None:
        self.calls.append(call)
        self._same_id.setdefault(str(call.original_id), []).append(call)

    def answer(self, call_id: Any, result: str, hint_for: Callable[[_Call], str]) -> bool:
        """Give a result to its call; False if there is none.

        `hint_for` makes of the call what stands behind its result.
        """
        # A result without an id can only belong to the call that waits longest.
        call = self._call_for(str(call_id) if call_id else "")
        if call is None:
            return False
        call.results.append(f"{result}{hint_for(call)}")
        self.answered = True
        return True

    def _call_for(self, call_id: str) -> _Call | None:
        """Of the calls with this id the one that waits longest, else the last one."""
        same = self._same_id.get(call_id, []) if call_id else self.calls
        # The search goes on where it ended last time: a turn may have very many calls.
        n = self._done.get(call_id, 0)
        while n < len(same) and same[n].results:
            n += 1
        self._done[call_id] = n
        return next(iter(same[n : n + 1] or same[-1:]), None)

    def messages(self) -> Iterable[Json]:
        # A turn without text needs an empty string: Ollama refuses null where there are no calls.
        message: Json = {"role": "assistant", "content": "\n\n".join(self.texts)}
        if self.reasoning:
            message["reasoning"] = "\n\n".join(self.reasoning)
        if self.calls:
            message["tool_calls"] = [call.message for call in self.calls]
        yield message
        for call in self.calls:
            yield {
                "role": "tool",
                "tool_call_id": call.message["id"],
                "name": call.function,
                "content": "\n".join(call.results) if call.results else ABORTED,
            }
        yield from self.afterwards


class _History:
    """Collects items into turns and turns into messages."""

    def __init__(self, toolbox: Toolbox, sees: bool, thinks: bool, hints: bool) -> None:
        self._toolbox = toolbox
        self._hints = hints
        self._circles = Circles()
        self._sees = sees
        self._thinks = thinks
        self._messages: list[Json] = []
        self._turn: _AssistantMessage | None = None
        self._ids: set[str] = set()
        self._copies: dict[str, int] = {}

    def add(self, item: Json) -> None:
        kind = item.get("type")
        if kind == "message":
            self._message(item)
        elif kind == "reasoning":
            text = reasoning_text(item)
            if text and self._thinks:
                self._assistant().reasoning.append(text)
        elif kind in CALL_KINDS:
            self._call(item, *CALL_KINDS[kind](item))
        elif kind in RESULT_KINDS:
            self._result(item, *result_content(item, sees=self._sees))
        elif kind == "tool_search_output":
            self._result(item, self._tools_found(item), [])
        elif kind == "agent_message":
            self._marked("agent_message", agent_text(item))
        elif kind == "compaction":
            self._marked("summary", str(item.get("text")))
        elif kind not in SILENT and (text := other_text(item)):
            self._marked(re.sub(r"\W", "_", str(kind))[:MARK_LIMIT], text)

    def finish(self) -> list[Json]:
        self._close()
        return self._messages

    def _message(self, item: Json) -> None:
        role = item.get("role")
        if role == "assistant":
            text = as_remembered(item_text(item))
            if task := agent_task(text):
                self._marked("agent_message", agent_text(task))
            elif text:
                self._assistant().texts.append(text)
        elif role in INSTRUCTION_ROLES:
            # Templates drop or misplace a later system message; none drops a user's.
            content = item.get("content")
            parts = [content] if isinstance(content, str) else content
            text, images = text_and_images(parts, sees=self._sees)
            if text or not images:
                self._marked("developer", text)
            if images:
                self._other({"role": "user", "content": images})
        else:
            # What stands between a call and its result is a warning by Codex.
            if not (self._turn and self._turn.waiting):
                self._circles.forget()
            content = user_content(item.get("content"), sees=self._sees)
            self._other({"role": "user", "content": content})

    def _marked(self, mark: str, text: str) -> None:
        """Add a text that neither the user nor the model wrote; the mark says so."""
        self._other({"role": "user", "content": f"<{mark}>\n{text}\n</{mark}>"})

    def _call(self, item: Json, name: str, arguments: Any) -> None:
        function = self._toolbox.function_name(name, item.get("namespace") or None)
        tool = self._toolbox.tool(function)
        is_of_editor = tool and (tool.runs_commands or tool.kind is Kind.CUSTOM)
        if self._toolbox.has_editor and is_of_editor:
            own = as_written(name, arguments_object(arguments))
            function, arguments = own or (function, arguments)
        call_id = item.get("call_id")
        message = {
            "id": self._unique_id(call_id),
            "type": "function",
            "function": {"name": function, "arguments": _arguments(arguments)},
        }
        self._assistant().add(_Call(call_id, message, name))

    def _result(self, item: Json, text: str, images: list[Json]) -> None:
        def hint_for(call: _Call) -> str:
            if not self._hints:
                return ""
            told = [hint(text, call.function, self._toolbox)]
            if not call.results:
                told.append(self._circles.hint(call.made(text, images)))
            return "".join(f"\n{each}" for each in told if each)

        if self._turn is None or not self._turn.answer(item.get("call_id"), text, hint_for):
            self._marked("tool_result", text)
        if images:
            # Tool messages carry text only.
            self._other({"role": "user", "content": images})

    def _tools_found(self, item: Json) -> str:
        """The result of a search for tools: the names under which the model can call them."""
        lines = [
            f"- {self._toolbox.function_name(tool.name, tool.namespace)}: "
            f"{shorten(tool.description, 200)}"
            for tool in declared_by_item(item)
        ]
        return "\n".join(["These functions can be called now:", *lines]) if lines else NOTHING_FOUND

    def _other(self, message: Json) -> None:
        if self._turn and self._turn.calls and (self._turn.waiting or self._is_image(message)):
            self._turn.afterwards.append(message)
        else:
            self._close()
            self._messages.append(message)

    @staticmethod
    def _is_image(message: Json) -> bool:
        return isinstance(message["content"], list)

    def _assistant(self) -> _AssistantMessage:
        """The assistant turn that the next item belongs to."""
        if self._turn is None or self._turn.answered or self._turn.afterwards:
            self._close()
            self._turn = _AssistantMessage()
        return self._turn

    def _close(self) -> None:
        if self._turn is not None:
            self._messages.extend(self._turn.messages())
            self._turn = None

    def _unique_id(self, call_id: Any) -> str:
        """`call_id`, or one made from it: a result is matched to its call by this alone."""
        wanted = call_id if isinstance(call_id, str) and call_id else "call"
        unique, n = wanted, self._copies.get(wanted, 1)
        while unique in self._ids:
            n += 1
            unique = f"{wanted}_{n}"
        self._copies[wanted] = n
        self._ids.add(unique)
        return unique


def _arguments(arguments: Any) -> str:
    """The arguments of an earlier call as a JSON object in a string; Ollama refuses all else."""
    if isinstance(arguments, dict):
        return orjson.dumps(arguments).decode()
    if not isinstance(arguments, str) or not arguments.strip():
        return "{}"
    try:
        parsed = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        parsed = arguments
    if isinstance(parsed, dict) and can_be_written(parsed):
        return arguments
    return "{}" if parsed is None else orjson.dumps({"input": arguments}).decode()


def arguments_object(arguments: Any) -> Json:
    """The arguments of an earlier call, an object or JSON text, as an object; empty if neither."""
    if isinstance(arguments, str):
        try:
            arguments = orjson.loads(arguments)
        except orjson.JSONDecodeError:
            return {}
    return arguments if isinstance(arguments, dict) else {}


def _arguments_in(item: Json, key: str, *names: str) -> Json:
    """Those of the `names` that the object `item[key]` has, as the arguments of a call."""
    given = item.get(key)
    given = given if isinstance(given, dict) else {}
    return {name: given[name] for name in names if given.get(name) is not None}


CALL_KINDS: dict[str, Callable[[Json], tuple[str, Any]]] = {
    "function_call": lambda item: (str(item.get("name")), item.get("arguments")),
    "custom_tool_call": lambda item: (str(item.get("name")), {INPUT: str(item.get("input") or "")}),
    "tool_search_call": lambda item: ("tool_search", item.get("arguments")),
    "local_shell_call": lambda item: (
        "local_shell",
        _arguments_in(item, "action", "command", "working_directory", "timeout_ms"),
    ),
    "shell_call": lambda item: (
        "shell",
        _arguments_in(item, "action", "commands", "timeout_ms", "max_output_length"),
    ),
    "apply_patch_call": lambda item: (
        "apply_patch",
        _arguments_in(item, "operation", "type", "path", "diff"),
    ),
    "computer_call": lambda item: (
        "computer",
        {key: item[key] for key in ("action", "actions") if item.get(key)},
    ),
}
"""Kind of an item that is a call -> what reads the tool's name and the arguments from it."""
RESULT_KINDS = frozenset(f"{kind}_output" for kind in CALL_KINDS if kind != "tool_search_call")
