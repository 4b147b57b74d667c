"""What the log tells of an exchange: one line; with --debug also what was said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import attrs
import orjson
from attrs import define
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from codex_bridge.errors import unquoted
from codex_bridge.responses.stream import ResponseStream
from codex_bridge.text import printable
from codex_bridge.vocabulary import UpstreamFailure

MAX_TOLD = 1000
"""Lines that are remembered as told."""
DEBUG_BODY_LIMIT = 20_000
"""Characters of a body that --debug logs."""


@define
class Journal:
    """The notes on one exchange."""

    exchange: str
    log: Logger
    clock: IReactorTime
    debugs: bool
    started: float
    told: set[str]
    """What was logged once, by all exchanges."""
    first_delta: float | None = None
    model: str = ""
    asked: int = 0
    """How often the upstream was."""
    outcome: str = "client gone"

    def delta(self) -> None:
        """Something of the answer came."""
        if self.first_delta is None:
            self.first_delta = self.clock.seconds()

    def debug(self, what: str, body: Any) -> None:
        """A body or a sentence, where the user wants to see what is said."""
        if self.debugs:
            self.log.debug(
                "{exchange} {what}: {body}", exchange=self.exchange, what=what, body=_pretty(body)
            )

    def downgrades(self, sentences: Iterable[str]) -> None:
        """What the model is not given because it could not use it; once for each model."""
        for sentence in sentences:
            line = f"{printable(self.model)} {sentence}"
            if line not in self.told and len(self.told) < MAX_TOLD:
                self.told.add(line)
                self.log.info("{line}", line=line)

    def retry(self, failure: UpstreamFailure, wait: float) -> None:
        """The upstream is asked again."""
        self.log.warn(  # noqa: G010 - Twisted's name for it
            "{exchange} {model} is asked again in {wait} s: {kind}, {why}",
            exchange=self.exchange,
            model=printable(self.model),
            wait=wait,
            kind=failure.kind.value,
            why=printable(unquoted(failure.message), 500),
        )

    def line(self, stream: ResponseStream, mode: str) -> None:
        """The one line, at the end."""
        seconds, usage, first = self.clock.seconds(), stream.usage, self.first_delta
        self.log.info(
            "{exchange} {model} {mode}: {input} in, {output} out, first token {first}, "
            "{duration:.3f} s, tools: {tools}; repairs: {repairs}; {outcome}",
            exchange=self.exchange,
            model=printable(self.model),
            mode=mode,
            input=usage.input_tokens if usage else "?",
            output=usage.output_tokens if usage else "?",
            first="never" if first is None else f"{first - self.started:.3f} s",
            duration=seconds - self.started,
            tools=printable(", ".join(stream.tools_called) or "none", 500),
            repairs=printable(_counts(stream.repairs) or "none", 500),
            outcome=printable(self.outcome, 500)
            + (f", asked {self.asked} times" if self.asked > 1 else ""),
        )


def _counts(counter: Counter[str]) -> str:
    """What was counted, a number behind what happened more than once."""
    return ", ".join(f"{what} x{n}" if n > 1 else what for what, n in counter.items())


def _pretty(body: Any) -> str:
    """A body for the debug log: a sentence, or indented JSON cut at a sane length."""
    if isinstance(body, str):
        return body
    text = orjson.dumps(body, default=_plain, option=orjson.OPT_INDENT_2).decode()
    if len(text) <= DEBUG_BODY_LIMIT:
        return text
    return f"{text[:DEBUG_BODY_LIMIT]}… ({len(text)} characters in all)"


def _plain(value: Any) -> Any:
    """An attrs object as a dict, less what is not set."""
    return attrs.asdict(value, filter=lambda _, member: member is not None, recurse=False)
