"""Stores that answer at once, on the thread of the test."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from codex_bridge.storage.store import ResponseStore
from codex_bridge.vocabulary import Json

T = TypeVar("T")
DAY = 86400.0
OPEN: list[ResponseStore] = []
"""Stores that a test has started; they are closed at its end."""


class SameThread:
    """In place of a ThreadPool, and of the reactor that it calls back: all is done at once."""

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def callFromThread(self, act: Callable[..., object], *arguments: Any) -> None:
        act(*arguments)

    def callInThreadWithCallback(
        self, done: Callable[[bool, Any], None], act: Callable[..., Any], *arguments: Any
    ) -> None:
        try:
            result = act(*arguments)
        except Exception:
            done(False, Failure())
        else:
            done(True, result)


class Calendar:
    """The time of the calendar, which only the test moves."""

    def __init__(self) -> None:
        self.seconds = 1_700_000_000.0

    def __call__(self) -> float:
        return self.seconds


def started(path: Any = None, **settings: Any) -> ResponseStore:
    """A store that is open. `settings` are those of ResponseStore."""
    thread, numbers = SameThread(), count(1)
    usual = {
        "max_age": 30 * DAY,
        "max_bytes": 1 << 28,
        "log": Logger(namespace="codex_bridge"),
        "now": Calendar(),
        "new_id": lambda prefix: f"{prefix}_new{next(numbers)}",
        "reactor": thread,
        "pool": thread,
    }
    store = ResponseStore(None if path is None else str(path), **(usual | settings))
    store.start()
    OPEN.append(store)
    return store


def got(asked: Deferred[T]) -> T:
    """The result of a Deferred that has fired; raises what it failed with."""
    results: list[Any] = []
    asked.addBoth(results.append)
    (result,) = results
    if isinstance(result, Failure):
        result.raiseException()
    return result  # type: ignore[no-any-return]


def user(text: str, **more: Any) -> Json:
    """A message of the user."""
    return {
        "type": "message",
        "role": "user",
        "content": [{"type": "input_text", "text": text}],
        **more,
    }


def said(text: str, item_id: str) -> Json:
    """A message of the model."""
    content = [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]
    return {
        "type": "message",
        "id": item_id,
        "role": "assistant",
        "status": "completed",
        "content": content,
    }


def response(response_id: str, *output: Json, **more: Any) -> Json:
    """A response object."""
    return {"id": response_id, "object": "response", "output": list(output), "error": None, **more}
