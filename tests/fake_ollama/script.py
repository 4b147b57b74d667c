"""Scripted models: the steps of an answer, and functions from requests to answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import orjson
from attrs import field, frozen
from twisted.internet.defer import Deferred

from codex_bridge.cli.scripted_ollama import scripted_answer

Json = dict[str, Any]


def _words(text: str) -> tuple[str, ...]:
    """`text` in pieces of about a token, so that streaming is visible."""
    return tuple(re.findall(r"\s*\S+|\s+", text))


@frozen
class _Spoken:
    """A text, sent as one delta for each of `pieces`."""

    text: str
    pieces: tuple[str, ...] = field()

    @pieces.default
    def _pieces(self) -> tuple[str, ...]:
        return _words(self.text)


@frozen
class Say(_Spoken):
    """Content."""


@frozen
class Think(_Spoken):
    """Reasoning."""


@frozen
class Call:
    """A call in a chunk of its own; `arguments` that are a string are sent verbatim.

    `index` sets its position: parsers of Ollama before 0.20.6 gave 0 to every call.
    """

    name: str
    arguments: Json | str
    id: str | None = None
    index: int | None = None

    @property
    def arguments_text(self) -> str:
        given = self.arguments
        return given if isinstance(given, str) else orjson.dumps(given).decode()


@frozen(init=False)
class Calls:
    """Several calls in one chunk."""

    calls: tuple[Call, ...]

    def __init__(self, *calls: Call) -> None:
        self.__attrs_init__(calls)


@frozen
class Fragments:
    """A call whose arguments come in pieces, as servers other than Ollama send them."""

    name: str
    arguments: tuple[str, ...]
    id: str | None = None


@frozen
class Pause:
    """Silence for a number of seconds."""

    seconds: float


@frozen
class Hold:
    """Silence until a Deferred fires."""

    until: Deferred[None]


@frozen
class Finish:
    """The end of an answer; an answer without it ends as Ollama would end it.

    `reason`: "stop", "tool_calls", "length" or any other word. `usage`: the token counts
    `prompt_tokens`, `completion_tokens`, `total_tokens`; counted where left out.
    """

    reason: str = "stop"
    usage: Json | None = None


@frozen
class Raw:
    """Bytes that are put on the stream as they are."""

    data: bytes


@frozen
class Refuse:
    """An HTTP error in place of an answer; in mid-stream, an error of that dialect."""

    status: int
    message: str


@frozen
class Die:
    """An answer that breaks off: "close" (clean EOF, no finish reason), "empty-model" (the chunk
    that stands for an error), "reset" (of TCP), "ndjson" (200, another type, no body).
    """

    how: Literal["close", "empty-model", "reset", "ndjson"]


Step = Say | Think | Call | Calls | Fragments | Pause | Hold | Finish | Raw | Refuse | Die
Answer = Sequence[Step]
Model = Callable[[Json], Answer]
"""Effective chat request -> the steps of the answer."""


class Playlist:
    """A model that gives the answers in order, one for each request."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)
        self._played = 0

    def __call__(self, request: Json) -> Answer:
        """The next answer; a refusal when none is left."""
        self._played += 1
        if self._played > len(self._answers):
            left = f"request {self._played}, but only {len(self._answers)} answers are scripted"
            return [Refuse(500, left)]
        return self._answers[self._played - 1]


def demo_model(request: Json) -> Answer:
    """The model of `codex-bridge demo`."""
    return [step for message in scripted_answer(request) for step in _steps(message)]


def _steps(message: Json) -> Iterator[Step]:
    """The steps that put a message of /api/chat on the wire."""
    if "thinking" in message:
        yield Think(message["thinking"])
    if "content" in message:
        yield Say(message["content"])
    for call in message.get("tool_calls", ()):
        yield Call(**call["function"])
