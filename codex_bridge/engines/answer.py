"""Receives an answer: gives its bytes to a decoder, and the deltas to a sink."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum
from functools import partial
from itertools import chain
from typing import Any

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IResponse
from zope.interface import implementer

from codex_bridge.engines.budget import Budget, Phase, size_of
from codex_bridge.engines.engine import Decoder
from codex_bridge.vocabulary import (
    Delta,
    FailureKind,
    FinishDelta,
    ReasoningDelta,
    TextDelta,
    UpstreamFailure,
    UsageDelta,
)

PORTION = 8 * 1024
"""Characters that are delivered at once. A sink takes up to 50 ms for them, and other exchanges go
on in between."""

Sink = Callable[[Sequence[Delta]], None]
"""Takes everything that one read from the network brought."""


class State(Enum):
    """Where an answer stands; it only goes forward."""

    WAITING = "waiting"
    """It has begun. Nothing is read before `deliver_to`."""
    DELIVERING = "delivering"
    FINISHING = "finishing"
    """All is read, but not delivered yet."""
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
        self._size = 0
        """Bytes of all deltas. The sink keeps them: the last events repeat the answer."""
        self._portions: deque[Sequence[Delta]] = deque()
        """What is not delivered yet, since it is too much for one turn of the reactor."""
        self._turn: IDelayedCall | None = None
        """The delivery of the next portion."""
        self._ending: Callable[[], None] | None = None
        """What is left to do when all portions are delivered."""
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
        if self._is_delivering:
            # The upstream is not to blame for this silence.
            self._silence.stop()
            self._stop_turn()
            self._body.pauseProducing()

    def resumeProducing(self) -> None:
        """Read on."""
        self._is_paused = False
        if self._is_delivering:
            self._silence.start()
            self._go_on()

    def stopProducing(self) -> None:
        """Close the connection and fail with CancelledError; nothing more is delivered.

        If the answer is whole already, this does nothing: its body may still end, so that the
        connection can be kept.
        """
        if self._state is State.WAITING or self._is_delivering:
            self._end(State.ENDED, Failure(CancelledError()))

    def dataReceived(self, data: bytes) -> None:
        if self._state is not State.DELIVERING:
            return
        self._silence.touch()
        try:
            deltas = self._decoder.feed(data)
            self._deliver(deltas)
            self._budget.check_size(self._size + self._decoder.held)
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
    def _is_delivering(self) -> bool:
        return self._state in {State.DELIVERING, State.FINISHING}

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
        self._state = State.FINISHING
        self._tail.stop()
        outcome = None
        try:
            self._deliver(self._decoder.eof())
        except UpstreamFailure as failure:
            # `eof` fails only without a finish reason. After one, a lost connection does no harm.
            lost = UpstreamFailure(FailureKind.BROKEN, "its connection was lost")
            outcome = Failure(failure if is_clean else lost)
        except Exception:
            state, outcome = State.ENDED, Failure()
        self._ending = partial(self._end, state, outcome)
        self._go_on()

    def _end(self, state: State, outcome: Failure | None = None) -> None:
        """Go on to LINGERING or ENDED; the first time, tell the outcome."""
        if self._state is State.ENDED:
            return
        self._state = state
        for timer in (self._silence, self._tail, self._linger):
            timer.stop()
        self._stop_turn()
        self._portions.clear()
        if state is State.LINGERING:
            self._linger.start()
            self._body.resumeProducing()
        else:
            if self.transport is None:
                # Only the protocol that the body is delivered to can close the connection.
                self._response.deliverBody(self)
            self._body.loseConnection()
        if self._done is not None and not self._done.called:
            # callback() with a Failure makes the Deferred fail.
            self._done.callback(outcome)

    def _deliver(self, deltas: Sequence[Delta]) -> None:
        """Hand deltas to the sink, now or in portions."""
        if not deltas:
            return
        if isinstance(deltas[-1], UsageDelta):
            self._on_usage(deltas[-1])
        size = sum(map(size_of, deltas))
        self._size += size
        if size <= PORTION and not self._portions:
            self._sink(deltas)
            return
        self._portions.extend(_portions(deltas))
        self._body.pauseProducing()
        self._go_on()

    def _go_on(self) -> None:
        """Deliver the next portion soon; if there is none, read on, or end."""
        if self._is_paused or self._turn is not None:
            return
        if self._portions:
            self._turn = self._budget.next_turn(self._deliver_portion)
        elif self._ending is not None:
            self._ending()
        else:
            self._body.resumeProducing()

    def _deliver_portion(self) -> None:
        self._turn = None
        self._silence.touch()
        try:
            self._sink(self._portions.popleft())
        except Exception:
            self._end(State.ENDED, Failure())
            return
        self._go_on()

    def _stop_turn(self) -> None:
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None


def _portions(deltas: Iterable[Delta]) -> Iterator[Sequence[Delta]]:
    """The deltas in groups that are small enough for one turn."""
    portion: list[Delta] = []
    size = 0
    for piece in chain.from_iterable(map(_pieces, deltas)):
        if portion and size + size_of(piece) > PORTION:
            yield portion
            portion, size = [], 0
        portion.append(piece)
        size += size_of(piece)
    if portion:
        yield portion


def _pieces(delta: Delta) -> Iterator[Delta]:
    """A delta, its text cut where that is too long for one turn."""
    if isinstance(delta, TextDelta | ReasoningDelta):
        for start in range(0, len(delta.text), PORTION):
            yield evolve(delta, text=delta.text[start : start + PORTION])
    else:
        yield delta
