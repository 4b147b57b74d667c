"""A scripted model that calls tools one by one, and the checks on what its calls did."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import orjson
from attrs import field, frozen

from tests.fake_ollama import Answer, Call, Recorded, Say

Json = dict[str, Any]
Style = Callable[[str, Json], Answer]
"""How a model writes a call of a function with arguments."""
DONE = "The walk is over."
CHILD = "You are the child: leave your mark."
"""The task of a sub-agent; requests that contain it are not those of the main thread."""
CHILD_DONE = "The child left its mark."
REFUSALS = ("unsupported", "aborted", "failed to parse", "Fatal error")
"""What the result of a call contains if Codex cannot route or read the call."""


def real(function: str, arguments: Json) -> Answer:
    """A proper call, not one in text."""
    return [Call(function, arguments)]


@frozen
class Chat:
    """One chat request, as the scripted model and the checks read it."""

    request: Json

    @property
    def of_child(self) -> bool:
        return any(
            CHILD in str(message["content"])
            for message in self.request["messages"]
            if message["role"] == "user"
        )

    @property
    def functions(self) -> list[str]:
        """The names of the functions that the model is offered."""
        return [tool["function"]["name"] for tool in self.request.get("tools") or []]

    @property
    def results(self) -> list[str]:
        """The results of calls so far."""
        return [m["content"] for m in self.request["messages"] if m["role"] == "tool"]

    @property
    def calls(self) -> list[tuple[str, Json]]:
        """Function name and arguments of every call so far."""
        calls = [c["function"] for m in self.request["messages"] for c in m.get("tool_calls") or []]
        # Arguments are text in chat completions, an object in Ollama's own dialect.
        pairs = [(call["name"], call["arguments"]) for call in calls]
        return [(n, a if isinstance(a, dict) else orjson.loads(a)) for n, a in pairs]

    @property
    def images(self) -> list[str]:
        """The base64 data of the images after the last result, in either dialect."""
        messages = self.request["messages"]
        last = max(n for n, message in enumerate(messages) if message["role"] == "tool")
        parts = [m["content"] for m in messages[last + 1 :] if isinstance(m["content"], list)]
        urls = [p["image_url"]["url"] for ps in parts for p in ps if p["type"] == "image_url"]
        beside = [data for m in messages[last + 1 :] for data in m.get("images", [])]
        return [url.partition(",")[2] for url in urls] + beside

    def offers(self, tool: str) -> bool:
        return any(_is(name, tool) for name in self.functions)

    def function(self, tool: str) -> str:
        """The function for `tool`, whatever its namespace is called. Raises LookupError."""
        for name in self.functions:
            if _is(name, tool):
                return name
        raise LookupError(f"{tool} is not among {', '.join(self.functions)}")


def _is(function: str, tool: str) -> bool:
    return function == tool or function.endswith(f"__{tool}")


Check = Callable[[Chat], None]
"""Asserts something about the chat after a step."""


def nothing(chat: Chat) -> None:
    """For steps whose result needs no other check."""


@frozen
class Step:
    """One call, and what the next chat must contain.

    `arguments` may depend on the chat so far. `style` overrides the scenario's. However a style
    writes the arguments, Codex must get them exactly, unless `exact` is False.
    """

    tool: str
    arguments: Json | Callable[[Chat], Json]
    result: str = ""
    """A text that the result must contain."""
    check: Check = nothing
    style: Style | None = None
    exact: bool = True
    leaves: dict[str, str] = field(factory=dict)
    """The files that it writes, with their contents."""

    def call(self, chat: Chat) -> tuple[str, Json]:
        """Function and arguments. Raises LookupError if the chat lacks what they depend on."""
        arguments = self.arguments
        if not isinstance(arguments, dict):
            arguments = arguments(chat)
        return chat.function(self.tool), arguments


class Scenario:
    """A model that takes one step per request. Each thread has steps of its own.

    The number of results in a request tells which step is next, so a request that is repeated
    gets the same answer again.
    """

    def __init__(
        self, steps: Sequence[Step], child: Sequence[Step] = (), style: Style = real
    ) -> None:
        self._steps = steps
        self._child = child
        self._style = style

    def __call__(self, request: Json) -> Answer:
        """The call of the next step; text if there is none, or if it cannot be made."""
        chat = Chat(request)
        steps = self._child if chat.of_child else self._steps
        done = len(chat.results)
        if done >= len(steps):
            return [Say(CHILD_DONE if chat.of_child else DONE)]
        step = steps[done]
        try:
            function, arguments = step.call(chat)
        except LookupError as error:
            return [Say(f"Stuck at {step.tool}: {error}")]
        return (step.style or self._style)(function, arguments)

    @property
    def leaves(self) -> dict[str, str]:
        """The files that the steps write."""
        return {name: text for step in self._steps for name, text in step.leaves.items()}

    def verify(self, chats: Sequence[Recorded]) -> None:
        """Every thread made all its steps, and each had the effect that it should have."""
        read = [Chat(chat.json) for chat in chats]
        _verify(self._steps, [chat for chat in read if not chat.of_child])
        if children := [chat for chat in read if chat.of_child]:
            _verify(self._child, children)


def _verify(steps: Sequence[Step], chats: list[Chat]) -> None:
    problems = [
        f"{step.tool} {after.calls[-1:]}: {problem}"
        for step, (before, after) in zip(steps, pairwise(chats), strict=False)
        for problem in _problems(step, before, after)
    ]
    problems += [f"{step.tool}: not called" for step in steps[max(len(chats) - 1, 0) :]]
    assert not problems, "\n".join([*problems, str(chats[-1:] and chats[-1].results[-1:])])
    # 0.130 may report the end of a sub-agent only after the last answer: then there is one more.
    assert [len(chat.results) for chat in chats[len(steps) :]] in ([len(steps)], 2 * [len(steps)])
    for before, after in pairwise(chats):
        for key in ("messages", "tools"):
            old, new = before.request[key], after.request[key]
            assert new[: len(old)] == old, f"{key} of an earlier request changed"


def _problems(step: Step, before: Chat, after: Chat) -> Iterator[str]:
    """What is wrong with one step, between the chats before and after it."""
    if len(after.results) != len(before.results) + 1:
        yield f"no result, but {after.request['messages'][-2:]}"
        return
    result, wanted, called = after.results[-1], step.call(before), after.calls[-1]
    if any(word in result for word in REFUSALS) or step.result not in result:
        yield f"{result!r} does not hold {step.result!r}"
    if called != wanted and (step.exact or called[0] != wanted[0]):
        yield f"should be {wanted}"
    try:
        step.check(after)
    except AssertionError as error:
        yield str(error)
