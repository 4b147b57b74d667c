"""Receives an answer: gives its bytes to a decoder, and the deltas to a sink."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from functools import partial
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IResponse
from zope.interface import implementer

from codex_bridge.engines.budget import Budget, Phase, size_of
from codex_bridge.engines.engine import Decoder
from codex_bridge.vocabulary import Delta, FailureKind, FinishDelta, UpstreamFailure, UsageDelta

Sink = Callable[[Sequence[Delta]], None]
"""Takes everything that one read from the network brought."""


class State(Enum):
    """Where an answer stands; it only goes forward."""

    WAITING = "waiting"
    """It has begun. Nothing is read before `deliver_to`."""
    DELIVERING = "delivering"
    LINGERING = "lingering"
    """It is whole; its body may still end, so that the connection can be kept."""
    ENDED = "ended"
    """Nothing more is read: the body ended, or the connection was closed."""


@implementer(IPushProducer)
class Answer(Protocol):
    """An answer that has begun. Call `deliver_to` or `stopProducing`, or its connection leaks."""

    def __init__(
        self,
        response: IResponse,
        decoder: Decoder,
        budget: Budget,
        context: int | None = None,
        on_usage: Callable[[UsageDelta], None] = lambda _: None,
    ) -> None:
        """`budget` limits how long the upstream may be silent, and what is kept of the answer;
        `on_usage` gets the token counts."""
        self.context = context
        """Tokens that prompt and answer may take together; None where nobody knows."""
        self._response = response
        self._decoder = decoder
        self._budget = budget
        self._on_usage = on_usage
        self._state = State.WAITING
        self._is_paused = False
        self._sink: Sink = lambda _: None
        self._done: Deferred[None] | None = None
        self._delivered = 0
        """Bytes that were delivered. The sink keeps them: the last events repeat the answer."""
        self._silence = budget.watch(Phase.SILENCE, self._give_up)
        self._tail = budget.watch(Phase.TAIL, self._end_tail)
        self._linger = budget.watch(Phase.LINGER, partial(self._end, State.ENDED))

    def deliver_to(self, sink: Sink) -> Deferred[None]:
        """Hand everything that comes to `sink`. Fires when the answer is whole.

        Fails with UpstreamFailure where it is not, or with what `sink` raised. Cancelling closes
        the connection, which makes Ollama stop generating. Raises RuntimeError when called twice.
        """
        if self._state is not State.WAITING:
            raise RuntimeError(f"this answer is {self._state.value}")
        self._state = State.DELIVERING
        self._sink = sink
        done: Deferred[None] = Deferred(lambda _: self.stopProducing())
        self._done = done
        self._silence.start()
        self._response.deliverBody(self)
        if self._is_paused:
            self.pauseProducing()
        return done

    def pauseProducing(self) -> None:
        """Stop reading for now, or, before `deliver_to`, do not begin to; the upstream waits."""
        self._is_paused = True
        if self._state is State.DELIVERING:
            # The upstream is not to blame for this silence.
            self._silence.stop()
            self._body.pauseProducing()

    def resumeProducing(self) -> None:
        """Read on."""
        self._is_paused = False
        if self._state is State.DELIVERING:
            self._silence.start()
            self._body.resumeProducing()

    def stopProducing(self) -> None:
        """Close the connection and fail with CancelledError; nothing more is delivered.

        If the answer is whole already, this does nothing: its body may still end, so that the
        connection can be kept.
        """
        if self._state in {State.WAITING, State.DELIVERING}:
            self._end(State.ENDED, Failure(CancelledError()))

    def dataReceived(self, data: bytes) -> None:
        if self._state is not State.DELIVERING:
            return
        self._silence.touch()
        try:
            deltas = self._decoder.feed(data)
            self._deliver(deltas)
            self._budget.check_size(self._delivered + self._decoder.held)
        except Exception:
            self._end(State.ENDED, Failure())
            return
        if self._state is not State.DELIVERING:
            return
        if self._decoder.over:
            self._finish(State.LINGERING)
        elif not self._tail.is_running and any(isinstance(each, FinishDelta) for each in deltas):
            self._tail.start()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._state is State.DELIVERING:
            self._finish(State.ENDED, is_clean=bool(reason.check(ResponseDone, PotentialDataLoss)))
        elif self._state is State.LINGERING:
            self._end(State.ENDED)

    @property
    def _body(self) -> Any:
        """The body's producer."""
        return self.transport

    def _give_up(self) -> None:
        self._end(State.ENDED, Failure(self._budget.exceeded(Phase.SILENCE)))

    def _end_tail(self) -> None:
        """The stream stays open behind the finish reason: the answer is whole all the same."""
        if not self._is_paused:
            self._finish(State.LINGERING)

    def _finish(self, state: State, *, is_clean: bool = True) -> None:
        """Deliver the last deltas, as no more bytes are needed or will come; go on to `state`."""
        outcome = None
        try:
            self._deliver(self._decoder.eof())
        except UpstreamFailure as failure:
            # `eof` fails only without a finish reason. After one, a lost connection does no harm.
            lost = UpstreamFailure(FailureKind.BROKEN, "its connection was lost")
            outcome = Failure(failure if is_clean else lost)
        except Exception:
            state, outcome = State.ENDED, Failure()
        self._end(state, outcome)

    def _end(self, state: State, outcome: Failure | None = None) -> None:
        """Go on to LINGERING or ENDED; the first time, tell the outcome."""
        if self._state is State.ENDED:
            return
        self._state = state
        for timer in (self._silence, self._tail, self._linger):
            timer.stop()
        if state is State.LINGERING:
            self._linger.start()
        else:
            if self.transport is None:
                # Only the protocol that the body is delivered to can close the connection.
                self._response.deliverBody(self)
            self._body.loseConnection()
        if self._done is not None and not self._done.called:
            # callback() with a Failure makes the Deferred fail.
            self._done.callback(outcome)

    def _deliver(self, deltas: Sequence[Delta]) -> None:
        if deltas:
            if isinstance(deltas[-1], UsageDelta):
                self._on_usage(deltas[-1])
            self._delivered += sum(map(size_of, deltas))
            self._sink(deltas)
