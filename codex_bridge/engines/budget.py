"""What one exchange, or one question, may take of time and memory while the upstream answers.

Every wait for the upstream and everything that is kept of its answers goes through a `Budget`, and
so has a limit; tests/test_architecture.py sees to that. Pass-through is the exception: it keeps
nothing, and ends when its client leaves.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import Any, TypeVar
from weakref import WeakSet

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure
from twisted.web.iweb import IResponse

from codex_bridge.engines.bodies import LimitedReader
from codex_bridge.idle import IdleTimer
from codex_bridge.vocabulary import Delta, FailureKind, ToolCallDelta, UpstreamFailure

T = TypeVar("T")
PIECE_COST = 16
"""Bytes that a piece of an answer takes in memory besides its text, roughly."""


def size_of(delta: Delta) -> int:
    """Bytes that a piece of an answer takes in memory, roughly."""
    if isinstance(delta, ToolCallDelta):
        return len(delta.id) + len(delta.name) + len(delta.arguments) + PIECE_COST
    return len(getattr(delta, "text", "")) + PIECE_COST


class Phase(Enum):
    """What is waited for."""

    CONNECT = auto()
    """A connection to be made. The endpoints of `connections.py` see to that."""
    LOAD = auto()
    """A model to be loaded, also by another exchange, so that its context can be seen."""
    HEAD = auto()
    """An answer to begin."""
    SILENCE = auto()
    """The next bytes of an answer."""
    TAIL = auto()
    """The counts of tokens, or the end of the stream, behind the finish reason. A server that then
    still keeps the stream open has no more to say."""
    LINGER = auto()
    """The end of a body whose answer is whole, so that its connection can be kept."""
    QUESTION = auto()
    """The whole answer to a question about the server or a model. Ollama answers these at once, and
    without the answer nothing can be sent."""
    LISTING = auto()
    """The same for a list of models, where other upstreams may have the model, too."""
    REFUSAL = auto()
    """The body of an error, whose status is known already."""


SECONDS = {
    Phase.CONNECT: 10.0,
    Phase.TAIL: 3.0,
    Phase.LINGER: 1.0,
    Phase.QUESTION: 20.0,
    Phase.LISTING: 5.0,
    Phase.REFUSAL: 5.0,
}
"""Seconds that a phase may take; those without an entry may take `Limits.silence`."""
# /api/show sends whole licences and templates.
BODY_SIZE = {Phase.QUESTION: 4 * 1024 * 1024, Phase.REFUSAL: 64 * 1024}
"""Bytes of a body that is read as a whole."""
GENERATIONS = 3
"""How often an exchange lets a model begin to generate."""
REQUESTS = 12
"""How often an exchange asks for an answer, also where no model begins to generate. A connection
that was refused does not count, nor a server that still loads its model: nothing was done."""


@frozen
class Limits:
    """The limits that the user sets."""

    silence: float = 1800.0
    """Seconds that the upstream may send nothing when it is asked for an answer or for a load."""
    answer_size: int = 8 * 1024 * 1024
    """Bytes that are kept of one answer."""

    def seconds(self, phase: Phase) -> float:
        """Seconds that a phase may take."""
        return SECONDS.get(phase, self.silence)


class Budget:
    """The limits of one exchange or question, as it uses them up."""

    def __init__(self, clock: IReactorTime, limits: Limits) -> None:
        self._limits = limits
        self.requests = 0
        """How often an answer was asked for."""
        self._clock = clock
        self._timers: WeakSet[IdleTimer] = WeakSet()

    def within(self, phase: Phase, waiting: Deferred[T]) -> Deferred[T]:
        """`waiting`, which is cancelled where the phase takes too long.

        Then it fails with UpstreamFailure: UNREACHABLE for a question or a list, otherwise SILENT.
        """
        is_late = False

        def give_up() -> None:
            nonlocal is_late
            is_late = True
            waiting.cancel()

        def over(result: Any) -> Any:
            timer.stop()
            is_cancelled = isinstance(result, Failure) and result.check(CancelledError)
            return Failure(self.exceeded(phase)) if is_late and is_cancelled else result

        timer = self.watch(phase, give_up)
        timer.start()
        return waiting.addBoth(over)

    def answer_in(self, response: IResponse) -> Deferred[bytes]:
        """The body of the answer to a question, or so much of it as is read.

        Fails as `within`, or with the failure of the connection. Cancelling closes the connection.
        """
        return self.within(Phase.QUESTION, _reader(Phase.QUESTION, response).done)

    def refusal_in(self, response: IResponse) -> Deferred[bytes]:
        """What comes in time of the body of an error, up to a size; then the connection is closed.

        Fails with the failure of the connection. Cancelling closes the connection, too.
        """
        reader = _reader(Phase.REFUSAL, response)
        alarm = self.watch(Phase.REFUSAL, reader.stop)
        alarm.start()

        def over(result: Any) -> Any:
            alarm.stop()
            return result

        return reader.done.addBoth(over)

    def watch(self, phase: Phase, on_over: Callable[[], None]) -> IdleTimer:
        """A timer that calls `on_over` whenever the phase has taken too long; not started yet."""
        timer = IdleTimer(self._clock, self._limits.seconds(phase), on_over)
        self._timers.add(timer)
        return timer

    def next_turn(self, call: Callable[[], None]) -> IDelayedCall:
        """Have `call` made in the next turn of the reactor, so that other exchanges go on."""
        return self._clock.callLater(0, call)

    def restart(self) -> None:
        """Measure every phase that lasts anew: the machine slept, and so may have the upstream."""
        for timer in self._timers:
            timer.touch()

    def exceeded(self, phase: Phase) -> UpstreamFailure:
        """The failure of an upstream that let a phase take too long."""
        seconds = f"{self._limits.seconds(phase):.0f} s"
        if phase in {Phase.QUESTION, Phase.LISTING}:
            return UpstreamFailure(FailureKind.UNREACHABLE, f"no answer within {seconds}")
        return UpstreamFailure(FailureKind.SILENT, f"nothing for {seconds}")

    def check_size(self, held: int) -> None:
        """Raises UpstreamFailure if `held`, the bytes that are kept of an answer, are too many."""
        limit = self._limits.answer_size
        if held > limit:
            raise UpstreamFailure(
                FailureKind.OVERSIZED, f"more than {limit:,} bytes (--max-answer-size)"
            )


def _reader(phase: Phase, response: IResponse) -> LimitedReader:
    reader = LimitedReader(BODY_SIZE[phase])
    response.deliverBody(reader)
    return reader
