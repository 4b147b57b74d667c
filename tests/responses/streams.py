"""A writer and its attempts, driven as an exchange drives them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from typing import Any

from codex_bridge.errors import ApiError
from codex_bridge.responses.attempt import Attempt
from codex_bridge.responses.events import ResponseTemplate
from codex_bridge.responses.writer import ResponseWriter
from codex_bridge.tools.toolbox import Toolbox
from codex_bridge.vocabulary import Delta

Json = dict[str, Any]


class Stream:
    """One response: each method returns the events that it gives rise to."""

    def __init__(
        self, toolbox: Toolbox, *, echo: Json | None = None, prompt_size: int = 0, **options: Any
    ) -> None:
        """`options` are those of an Attempt."""
        numbers = count()
        template = ResponseTemplate("resp_1", 1000, echo or {"model": "qwen3:14b"})
        self.writer = ResponseWriter(template, lambda prefix: f"{prefix}_{next(numbers)}")
        self._toolbox = toolbox
        self._options = options
        self._prompt_size = prompt_size
        self.attempt = self._new_attempt()

    def start(self) -> list[Json]:
        self.writer.start()
        return self.writer.take()

    def heartbeat(self) -> list[Json]:
        self.writer.heartbeat()
        return self.writer.take()

    def feed(self, deltas: Iterable[Delta]) -> list[Json]:
        self.attempt.feed(deltas)
        return self.writer.take()

    def finish(self) -> list[Json]:
        self.attempt.finish()
        return self.writer.take()

    def end(self, now: int = 1001, *, tells_cut: bool = True) -> list[Json]:
        """Finish the attempt, and complete the response."""
        self.attempt.finish()
        is_incomplete = self.attempt.is_cut and tells_cut
        usage = self.attempt.counted(self._prompt_size)
        self.writer.complete(self.writer.whole(usage, now=now, is_incomplete=is_incomplete))
        return self.writer.take()

    def again(self) -> list[Json]:
        """Throw the attempt away and begin another one."""
        self.writer.end_item()
        self.attempt = self._new_attempt()
        return self.writer.take()

    def fail(self, error: ApiError, code: str) -> list[Json]:
        self.writer.fail(error, code)
        return self.writer.take()

    def _new_attempt(self) -> Attempt:
        return Attempt(self.writer, self._toolbox, **self._options)
