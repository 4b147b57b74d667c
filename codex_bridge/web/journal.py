"""What the log tells of an exchange: one line; with --debug also what was said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import attrs
import orjson

from codex_bridge.engines.retries import Retry
from codex_bridge.errors import without_quoted_call
from codex_bridge.responses.attempt import Attempt
from codex_bridge.text import printable
from codex_bridge.vocabulary import FailureKind, UpstreamFailure
from codex_bridge.web.state import BridgeState

MAX_LOGGED_ONCE = 1000
"""Lines that are remembered, so that they are logged only once."""
DEBUG_BODY_LIMIT = 20_000
"""Characters of a body that --debug logs."""


class Journal:
    """The notes on one exchange."""

    def __init__(self, state: BridgeState, exchange: str, model: str) -> None:
        """`exchange` is the id of its response; `model` as the log names it, "" if unknown."""
        self.exchange = exchange
        self.outcome = "client gone"
        self.upstream = ""
        """The name of the upstream that was asked last; "" if there is only one."""
        self._model = printable(model)
        self._log = state.log
        self._clock = state.clock
        self._debugs = state.settings.debug
        self._logged_once = state.logged_once
        self._started = state.clock.seconds()
        self._first_delta: float | None = None
        self._last_retry: FailureKind | None = None

    def note_delta(self) -> None:
        """A part of the answer came."""
        if self._first_delta is None:
            self._first_delta = self._clock.seconds()

    def debug(self, what: str, body: Any) -> None:
        """Log a body or a sentence, if --debug is on."""
        if self._debugs:
            self._log.debug(
                "{exchange} {what}: {body}", exchange=self.exchange, what=what, body=_pretty(body)
            )

    def log_downgrades(self, sentences: Iterable[str]) -> None:
        """Log what the model is not given because it could not use it; once for each model."""
        for sentence in sentences:
            line = f"{self._model} {sentence}"
            if line not in self._logged_once and len(self._logged_once) < MAX_LOGGED_ONCE:
                self._logged_once.add(line)
                self._log.info("{line}", line=line)

    def log_retry(self, retry: Retry) -> None:
        """Log that the upstream is asked again, how soon and why.

        A server that is not running is asked every half second: the first time is logged.
        """
        last, self._last_retry = self._last_retry, retry.failure.kind
        if last is self._last_retry is FailureKind.NOT_RUNNING:
            return
        self._log.warn(
            "{exchange} {model} is asked again in {wait} s{how}: {kind}{why}",
            exchange=self.exchange,
            model=self._asked,
            wait=retry.step.wait,
            how=f", {retry.step.change.value}" if retry.step.change.value else "",
            kind=retry.failure.kind.value,
            why=f", {_reason(retry.failure)}" if _reason(retry.failure) else "",
        )

    def log_move(self, failure: UpstreamFailure) -> None:
        """Log that another upstream is asked, and why."""
        self._log.warn(
            "{exchange} {model} is asked of another upstream: {kind}, {why}",
            exchange=self.exchange,
            model=self._asked,
            kind=failure.kind.value,
            why=_reason(failure),
        )

    def log_prepared(self, mode: str) -> None:
        """Log the one line of a request that wants no answer."""
        self._log.info(
            "{exchange} {model} {mode}: no answer is wanted yet",
            exchange=self.exchange,
            model=self._asked,
            mode=mode,
        )

    @property
    def _asked(self) -> str:
        return f"{self._model} at {self.upstream}" if self.upstream else self._model

    def log_line(self, mode: str, attempt: Attempt | None = None, requests: int = 0) -> None:
        """Log the one line at the end.

        `attempt` is the last one, if there was any; `requests` tells how often the upstream was
        asked for an answer.
        """
        now, first = self._clock.seconds(), self._first_delta
        usage = attempt.usage if attempt else None
        tools = attempt.tools_called if attempt else []
        repairs = _counts(attempt.repairs) if attempt else ""
        self._log.info(
            "{exchange} {model} {mode}: {input} in, {output} out, first token {first}, "
            "{duration:.3f} s, tools: {tools}; repairs: {repairs}; {outcome}",
            exchange=self.exchange,
            model=self._asked,
            mode=mode,
            input=usage.input_tokens if usage else "?",
            output=usage.output_tokens if usage else "?",
            first="never" if first is None else f"{first - self._started:.3f} s",
            duration=now - self._started,
            tools=printable(", ".join(tools) or "none", 500),
            repairs=printable(repairs or "none", 500),
            outcome=printable(self.outcome, 500)
            + (f", asked {requests} times" if requests > 1 else ""),
        )


def _reason(failure: UpstreamFailure) -> str:
    """Why it failed, without what the model wrote."""
    if failure.kind is FailureKind.UNFIT or not failure.message:
        return ""
    return printable(without_quoted_call(failure.message), 500)


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
    """An attrs object as a dict, without the attributes that are None."""
    return attrs.asdict(value, filter=lambda _, member: member is not None, recurse=False)
