"""A scripted model that walks through tools one by one, and what its walk must have left."""

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
"""The task of a sub-agent, by which its requests are told from those of the main thread."""
CHILD_DONE = "The child left its mark."
REFUSALS = ("unsupported", "aborted", "failed to parse", "Fatal error")
"""What Codex gives a model in place of a result when it cannot route or read a call."""


def real(function: str, arguments: Json) -> Answer:
    """The call as such."""
    return [Call(function, arguments)]


@frozen
class Chat:
    """One chat request: what a scripted model, or who looks at it later, wants to know."""

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
        """The tool results so far."""
        return [m["content"] for m in self.request["messages"] if m["role"] == "tool"]

    @property
    def calls(self) -> list[tuple[str, Json]]:
        """The calls so far, by function name and arguments, of a request as it was sent."""
        calls = [c["function"] for m in self.request["messages"] for c in m.get("tool_calls") or []]
        # Text in chat completions, an object in Ollama's own dialect.
        given = [(call["name"], call["arguments"]) for call in calls]
        return [(n, a if isinstance(a, dict) else orjson.loads(a)) for n, a in given]

    @property
    def images(self) -> list[str]:
        """The data of the images behind the last tool result, of a request as it was sent."""
        messages = self.request["messages"]
        last = max(n for n, message in enumerate(messages) if message["role"] == "tool")
        parts = [m["content"] for m in messages[last + 1 :] if isinstance(m["content"], list)]
        urls = [p["image_url"]["url"] for ps in parts for p in ps if p["type"] == "image_url"]
        beside = [data for m in messages[last + 1 :] for data in m.get("images", [])]
        return [url.partition(",")[2] for url in urls] + beside

    def offers(self, tool: str) -> bool:
        return any(_is(name, tool) for name in self.functions)

    def function(self, tool: str) -> str:
        """The function that stands for `tool`, whatever its namespace is called."""
        for name in self.functions:
            if _is(name, tool):
                return name
        raise LookupError(f"{tool} is not among {', '.join(self.functions)}")


def _is(function: str, tool: str) -> bool:
    return function == tool or function.endswith(f"__{tool}")


Check = Callable[[Chat], None]
"""What asserts something about the chat behind a step."""


def nothing(chat: Chat) -> None:
    """For steps whose result says it all."""


@frozen
class Step:
    """One call: how it is made of the chat so far, and what the next chat must hold.

    `style` overrides the scenario's. Codex must get the arguments exactly as `arguments` made
    them, however the style wrote them down; where that cannot be said, `exact` is False.
    """

    tool: str
    arguments: Json | Callable[[Chat], Json]
    result: str = ""
    """A text that the result must contain."""
    check: Check = nothing
    style: Style | None = None
    exact: bool = True
    leaves: dict[str, str] = field(factory=dict)
    """The files that it writes, with what they then hold."""

    def made(self, chat: Chat) -> tuple[str, Json]:
        """Function and arguments. Raises LookupError where the chat does not hold what it takes."""
        given = self.arguments
        return chat.function(self.tool), given if isinstance(given, dict) else given(chat)


class Scenario:
    """A model that takes one step per request, by the number of results it sees.

    So a request that is repeated gets the same answer again. Each thread has steps of its own.
    """

    def __init__(
        self, steps: Sequence[Step], child: Sequence[Step] = (), style: Style = real
    ) -> None:
        self._steps = steps
        self._child = child
        self._style = style

    def __call__(self, request: Json) -> Answer:
        """The call of the next step; words where none is left or none can be made."""
        chat = Chat(request)
        steps = self._child if chat.of_child else self._steps
        walked = len(chat.results)
        if walked >= len(steps):
            return [Say(CHILD_DONE if chat.of_child else DONE)]
        step = steps[walked]
        try:
            function, arguments = step.made(chat)
        except LookupError as error:
            return [Say(f"Stuck at {step.tool}: {error}")]
        return (step.style or self._style)(function, arguments)

    @property
    def leaves(self) -> dict[str, str]:
        """The files that the steps write."""
        return {name: text for step in self._steps for name, text in step.leaves.items()}

    def verify(self, chats: Sequence[Recorded]) -> None:
        """Every thread made all its steps, each to the effect it should have."""
        seen = [Chat(chat.json) for chat in chats]
        _verify(self._steps, [chat for chat in seen if not chat.of_child])
        if children := [chat for chat in seen if chat.of_child]:
            _verify(self._child, children)


def _verify(steps: Sequence[Step], chats: list[Chat]) -> None:
    problems = [
        f"{step.tool} {after.calls[-1:]}: {problem}"
        for step, (before, after) in zip(steps, pairwise(chats), strict=False)
        for problem in _problems(step, before, after)
    ]
    problems += [f"{step.tool}: not walked" for step in steps[max(len(chats) - 1, 0) :]]
    assert not problems, "\n".join([*problems, str(chats[-1:] and chats[-1].results[-1:])])
    # 0.130 may tell that a sub-agent ended only after the last answer, which makes one more.
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
    result, wanted, called = after.results[-1], step.made(before), after.calls[-1]
    if any(word in result for word in REFUSALS) or step.result not in result:
        yield f"{result!r} does not hold {step.result!r}"
    if called != wanted and (step.exact or called[0] != wanted[0]):
        yield f"should be {wanted}"
    try:
        step.check(after)
    except AssertionError as error:
        yield str(error)
