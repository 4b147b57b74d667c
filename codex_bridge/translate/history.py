"""Responses input items -> chat messages.

Local templates keep only what has the one shape they were written for: a single leading
system message, one assistant message per turn with all its calls, each call's result right
behind it. The same items always give the same messages, and more items only append, so that
the model's prompt cache holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import orjson
from attrs import Factory, define

from codex_bridge.translate.tool_profiles import shorten
from codex_bridge.translate.toolbox import Toolbox
from codex_bridge.translate.tools import INPUT, declared_by_item
from codex_bridge.vocabulary import Json

INSTRUCTION_ROLES = frozenset({"system", "developer"})
TEXT_PARTS = ("input_text", "output_text", "text", "summary_text", "reasoning_text")
NOTHING_FOUND = "No tools were found."
ABORTED = "aborted"
"""Stands for a result that never came; Codex uses the same word."""


def to_messages(
    instructions: str | None, items: list[Json], toolbox: Toolbox, closing: str | None = None
) -> list[Json]:
    """The chat messages of a conversation, system message first.

    `items` are the `input` items in their order; unknown kinds are passed over. `closing`
    ends the system message.
    """
    leading = _leading_instructions(items)
    system = [text for text in (instructions, *map(_text, leading), closing) if text]
    history = _History(toolbox)
    for item in items[len(leading) :]:
        history.add(item)
    head = [{"role": "system", "content": "\n\n".join(system)}] if system else []
    return head + history.finish()


def _leading_instructions(items: list[Json]) -> list[Json]:
    for n, item in enumerate(items):
        if item.get("type") != "message" or item.get("role") not in INSTRUCTION_ROLES:
            return items[:n]
    return items


@define
class _Call:
    """A call of an assistant turn, and the results that came for it."""

    original_id: str | None
    message: Json
    results: list[str] = Factory(list)


@define
class _Turn:
    """One assistant message in the making, with what has to follow it."""

    texts: list[str] = Factory(list)
    reasoning: list[str] = Factory(list)
    calls: list[_Call] = Factory(list)
    afterwards: list[Json] = Factory(list)
    """Messages that stood between a call and its result; they move behind the results."""

    @property
    def answered(self) -> bool:
        return any(call.results for call in self.calls)

    @property
    def waiting(self) -> bool:
        return any(not call.results for call in self.calls)

    def messages(self) -> Iterable[Json]:
        # A turn that only calls still needs a string: null is refused without calls.
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
                "name": call.message["function"]["name"],
                "content": "\n".join(call.results) if call.results else ABORTED,
            }
        yield from self.afterwards


class _History:
    """Collects items into turns and turns into messages."""

    def __init__(self, toolbox: Toolbox) -> None:
        self._toolbox = toolbox
        self._messages: list[Json] = []
        self._turn: _Turn | None = None
        self._ids: set[str] = set()

    def add(self, item: Json) -> None:
        kind = item.get("type")
        if kind == "message":
            self._message(item)
        elif kind == "reasoning":
            if text := _reasoning(item):
                self._assistant().reasoning.append(text)
        elif kind in CALL_KINDS:
            self._call(item, *CALL_KINDS[kind](item))
        elif kind in RESULT_KINDS:
            self._result(item, *_output(item.get("output")))
        elif kind == "tool_search_output":
            self._result(item, self._tools_found(item), [])
        elif kind == "agent_message":
            text = f"<agent_message>\n{_agent_text(item)}\n</agent_message>"
            self._other({"role": "user", "content": text})

    def finish(self) -> list[Json]:
        self._close()
        return self._messages

    def _message(self, item: Json) -> None:
        role = item.get("role")
        if role == "assistant":
            if text := _text(item):
                self._assistant().texts.append(text)
        elif role in INSTRUCTION_ROLES:
            # Templates drop or misplace a later system message; none drops a user's.
            text = _text(item)
            self._other({"role": "user", "content": f"<developer>\n{text}\n</developer>"})
        else:
            self._other({"role": "user", "content": _content(item.get("content"))})

    def _call(self, item: Json, name: str, arguments: Any) -> None:
        function = self._toolbox.function_name(name, item.get("namespace") or None)
        call_id = item.get("call_id")
        message = {
            "id": self._unique_id(call_id),
            "type": "function",
            "function": {"name": function, "arguments": _arguments(arguments)},
        }
        self._assistant().calls.append(_Call(call_id, message))

    def _result(self, item: Json, text: str, images: list[Json]) -> None:
        call = self._call_for(item.get("call_id"))
        if call is None:
            self._other({"role": "user", "content": f"<tool_result>\n{text}\n</tool_result>"})
        else:
            call.results.append(text)
        if images:
            # Tool messages carry text only.
            self._other({"role": "user", "content": images})

    def _tools_found(self, item: Json) -> str:
        """What a search found: the functions by the names under which they can be called."""
        lines = [
            f"- {self._toolbox.function_name(tool.name, tool.namespace)}: "
            f"{shorten(tool.description, 200)}"
            for tool in declared_by_item(item)
        ]
        return "\n".join(["These functions can be called now:", *lines]) if lines else NOTHING_FOUND

    def _call_for(self, call_id: Any) -> _Call | None:
        calls = self._turn.calls if self._turn else []
        # A result without an id can only belong to the call that waits longest.
        same = [call for call in calls if not call_id or call.original_id == call_id]
        unanswered = [call for call in same if not call.results]
        return next(iter(unanswered or same[-1:]), None)

    def _other(self, message: Json) -> None:
        if self._turn and self._turn.calls and (self._turn.waiting or self._is_image(message)):
            self._turn.afterwards.append(message)
        else:
            self._close()
            self._messages.append(message)

    @staticmethod
    def _is_image(message: Json) -> bool:
        return isinstance(message["content"], list)

    def _assistant(self) -> _Turn:
        """The assistant turn that the next item belongs to."""
        if self._turn is None or self._turn.answered or self._turn.afterwards:
            self._close()
            self._turn = _Turn()
        return self._turn

    def _close(self) -> None:
        if self._turn is not None:
            self._messages.extend(self._turn.messages())
            self._turn = None

    def _unique_id(self, call_id: Any) -> str:
        """`call_id`, or one made from it: a result is matched to its call by this alone."""
        wanted = call_id if isinstance(call_id, str) and call_id else "call"
        unique, n = wanted, 1
        while unique in self._ids:
            n += 1
            unique = f"{wanted}_{n}"
        self._ids.add(unique)
        return unique


def _arguments(arguments: Any) -> str:
    """A JSON object in a string, whatever was in the history: Ollama refuses all else."""
    if isinstance(arguments, dict):
        return orjson.dumps(arguments).decode()
    if not isinstance(arguments, str) or not arguments.strip():
        return "{}"
    try:
        parsed = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        parsed = arguments
    if isinstance(parsed, dict):
        return arguments
    return "{}" if parsed is None else orjson.dumps({"input": arguments}).decode()


def _local_shell_arguments(item: Json) -> Json:
    action = item.get("action")
    keys = ("command", "working_directory", "timeout_ms")
    given = action if isinstance(action, dict) else {}
    return {key: given[key] for key in keys if given.get(key) is not None}


CALL_KINDS: dict[str, Callable[[Json], tuple[str, Any]]] = {
    "function_call": lambda item: (str(item.get("name")), item.get("arguments")),
    "custom_tool_call": lambda item: (str(item.get("name")), {INPUT: str(item.get("input") or "")}),
    "tool_search_call": lambda item: ("tool_search", item.get("arguments")),
    "local_shell_call": lambda item: ("local_shell", _local_shell_arguments(item)),
}
"""Kinds of items that are calls -> the name of the tool, and its arguments."""
RESULT_KINDS = frozenset(
    {"function_call_output", "custom_tool_call_output", "local_shell_call_output"}
)


def _agent_text(item: Json) -> str:
    """What one agent wrote to another. Codex calls the text encrypted where it is not."""
    parts = item.get("content")
    texts = [
        part.get("text") or part.get("encrypted_content")
        for part in (parts if isinstance(parts, list) else [])
        if isinstance(part, dict)
    ]
    text = "\n".join(text for text in texts if isinstance(text, str))
    return f"from {item.get('author')} to {item.get('recipient')}:\n{text}"


def _output(output: Any) -> tuple[str, list[Json]]:
    """A tool's result as text, and the message parts of its images."""
    if isinstance(output, str):
        return output, []
    if isinstance(output, list):
        images = [part for part in map(_image, output) if part]
        text = _join(output)
        return text or ("The images follow." if images else ""), images
    return "" if output is None else orjson.dumps(output).decode(), []


def _text(item: Json) -> str:
    content = item.get("content")
    return content if isinstance(content, str) else _join(content)


def _content(content: Any) -> str | list[Json]:
    """A user message's content: a string, or parts where there are images."""
    if isinstance(content, str):
        return content
    text = _join(content)
    images = [part for part in map(_image, content if isinstance(content, list) else []) if part]
    if not images:
        return text
    return ([{"type": "text", "text": text}] if text else []) + images


def _join(parts: Any) -> str:
    """The texts of content parts, one below the other."""
    if not isinstance(parts, list):
        return ""
    texts = (_part_text(part) for part in parts if isinstance(part, dict))
    return "\n".join(text for text in texts if isinstance(text, str))


def _part_text(part: Json) -> Any:
    """The text of a content part; for a file, that it was left out."""
    kind = part.get("type")
    if kind == "input_file":
        return f"[The file {part.get('filename', '')} was left out: it cannot be read here.]"
    return part.get("text") if kind in TEXT_PARTS else part.get("refusal")


def _image(part: Any) -> Json | None:
    if not isinstance(part, dict) or part.get("type") != "input_image":
        return None
    url = part.get("image_url")
    return {"type": "image_url", "image_url": {"url": url}} if isinstance(url, str) else None


def _reasoning(item: Json) -> str:
    return _join(item.get("content")) or _join(item.get("summary"))
