"""A chat request, as a scripted model reads it: which task it is, and how far it has come."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any

import orjson
from attrs import define

from codex_bridge.cli.exam.tasks import TASKS, Task

Json = dict[str, Any]
IN_WORDS = re.compile(r"<tool_response name=[^>]*>\n(.*?)\n</tool_response>", re.DOTALL)
BY_LENGTH = sorted(TASKS, key=lambda task: -len(task.prompt))


@define(slots=False)
class Conversation:
    """What reached the model of one request."""

    request: Json

    @property
    def messages(self) -> list[Json]:
        found: list[Json] = self.request["messages"]
        return found

    @property
    def words(self) -> bytes:
        """All that it was told, and the form that its answer is held to."""
        behind = self.request.get("appended")
        return orjson.dumps([self.messages, behind or "", self.request.get("format")])

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
        results = self.all_results
        is_last = [n + 1 >= len(calls) or calls[n] != calls[n + 1] for n in range(len(results))]
        return [result for result, last in zip(results, is_last, strict=True) if last]

    @property
    def repeated(self) -> list[str]:
        """The outputs of the last call, which was made with the same arguments so many times."""
        count = len(self.all_results) - len(self.results) + 1
        return [output(result) for result in self.all_results[-count:]]

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
            not self.functions and any(f'"name":"{tool}"' in text for text in self._of("system"))
        )

    @cached_property
    def all_results(self) -> list[str]:
        """What all calls returned; where tools are told in words, results are, too."""
        return self._of("tool") or IN_WORDS.findall("\n".join(self._of("user")))

    def _of(self, role: str) -> list[str]:
        return [each["content"] for each in self.messages if each["role"] == role]


def output(result: str) -> str:
    """What a command printed, of the result that Codex makes of it."""
    return result.rpartition("Output:\n")[2].strip()
