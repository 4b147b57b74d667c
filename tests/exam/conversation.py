"""A chat request, as a scripted model reads it: which task it is, and how far it has come."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any

import orjson
from attrs import define

from codex_bridge.cli.exam.tasks import TASKS, Task

Json = dict[str, Any]
BY_LENGTH = sorted(TASKS, key=lambda task: -len(task.prompt))
RENDERED = re.compile(r"<\|im_start\|>(\w+)\n(.*?)(?:<\|im_end\|>|\Z)", re.DOTALL)


@define(slots=False)
class Conversation:
    """One request to a model, of /api/chat or, with a prompt that is made already, raw."""

    request: Json

    @cached_property
    def messages(self) -> list[Json]:
        given: list[Json] = self.request["messages"]
        if len(given) == 1 and "<|im_start|>" in given[0]["content"]:
            return [{"role": r, "content": c} for r, c in RENDERED.findall(given[0]["content"])]
        return given

    @cached_property
    def task(self) -> Task | None:
        """The task that the user set; None if it is none of the exam's."""
        asked = "\n".join(self._of("user"))
        return next((task for task in BY_LENGTH if task.prompt.strip() in asked), None)

    @cached_property
    def place(self) -> str:
        """The folder that Codex works in, which is another one for each run of a task."""
        found = re.search(r"<cwd>(.*?)</cwd>", "\n".join(each["content"] for each in self.messages))
        return found[1] if found else ""

    @cached_property
    def functions(self) -> list[str]:
        """The names of the functions that it is offered as such."""
        return [tool["function"]["name"] for tool in self.request.get("tools") or []]

    @cached_property
    def results(self) -> list[str]:
        """What the calls returned; of those that were made again and again, the last one."""
        calls = [
            (call["name"], orjson.dumps(call["arguments"]))
            for message in self.messages
            for call in message.get("tool_calls") or []
        ]
        results = self._of("tool")
        is_last = [n + 1 >= len(calls) or calls[n] != calls[n + 1] for n in range(len(results))]
        return [result for result, last in zip(results, is_last, strict=True) if last]

    @property
    def repeated(self) -> list[str]:
        """The outputs of the last call, which was made with the same arguments so many times."""
        count = len(self._of("tool")) - len(self.results) + 1
        return [output(result) for result in self._of("tool")[-count:]]

    @property
    def images(self) -> list[str]:
        """The pictures that it was shown, as base64."""
        return [image for message in self.messages for image in message.get("images") or []]

    @property
    def form(self) -> Json | None:
        """The JSON schema that its answer is held to."""
        given = self.request.get("format")
        return given if isinstance(given, dict) else None

    def function(self, tool: str) -> str:
        """The function for `tool`, whatever its namespace is called; `tool` if there is none."""
        names = self.functions or re.findall(r"[\w.-]+", "\n".join(self._of("system")))
        found = (name for name in names if name == tool or name.endswith(f"__{tool}"))
        return next(found, tool)

    def offers(self, tool: str) -> bool:
        """Whether it is offered `tool`, as a function or in words."""
        return tool in self.functions or (
            not self.functions and any(tool in text for text in self._of("system"))
        )

    @property
    def messages_of_tools(self) -> list[str]:
        """What all calls returned."""
        return self._of("tool")

    def _of(self, role: str) -> list[str]:
        return [each["content"] for each in self.messages if each["role"] == role]


def output(result: str) -> str:
    """What a command printed, of the result that Codex makes of it."""
    return result.rpartition("Output:\n")[2].strip()
