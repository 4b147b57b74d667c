"""An answer on its way in: bytes to a decoder, deltas to whoever waits for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from typing import Protocol as Interface

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IResponse

from codex_bridge.idle import Silence
from codex_bridge.vocabulary import Delta, FailureKind, UpstreamFailure, UsageDelta

LINGER = 1.0
"""Seconds that the body of an answer may still take to end when all of it has been said."""


class Decoder(Interface):
    """Bytes of an answer -> deltas; see `chat.StreamDecoder`."""

    over: bool

    def feed(self, data: bytes) -> Sequence[Delta]: ...
    def eof(self) -> Sequence[Delta]: ...


class Receiver(Interface):
    """Who is told of an answer. Exactly one of the last two is called, once, at the end."""

    def deltas_received(self, deltas: Sequence[Delta]) -> None:
        """Everything that one read from the network brought."""

    def answer_ended(self) -> None:
        """The answer is whole: a finish reason came."""

    def answer_failed(self, failure: UpstreamFailure) -> None:
        """The answer is not whole."""


class ChatAnswer:
    """An answer that has begun. Nothing is read before `deliver_to`, which must be called."""

    def __init__(
        self,
        response: IResponse,
        decoder: Decoder,
        clock: IReactorTime,
        patience: float,
        counted: Callable[[UsageDelta], None] = lambda _: None,
        context: int | None = None,
    ) -> None:
        """`patience` in seconds is for silence; `counted` is told of the tokens, too."""
        self.context = context
        """Tokens that prompt and answer may take together; None where nobody knows."""
        self._response = response
        self._decoder = decoder
        self._clock = clock
        self._patience = patience
        self._counted = counted
        self._reader: _Reader | None = None

    def deliver_to(self, receiver: Receiver) -> None:
        """Tell `receiver` of everything that comes."""
        self._reader = _Reader(self._decoder, receiver, self._clock, self._patience, self._counted)
        self._response.deliverBody(self._reader)

    def pause(self) -> None:
        """Read no more for now; the upstream waits."""
        if self._reader:
            self._reader.pause()

    def resume(self) -> None:
        """Read on."""
        if self._reader:
            self._reader.resume()

    def close(self) -> None:
        """Hang up. The receiver is told nothing more.

        An answer that was whole may still end, so that its connection can be kept.
        """
        if self._reader is None:
            self.deliver_to(_Nobody())
        if self._reader and not self._reader.is_lingering:
            self._reader.hang_up()


class _Reader(Protocol):
    """Feeds a response's body to the decoder and its deltas to the receiver."""

    def __init__(
        self,
        decoder: Decoder,
        receiver: Receiver,
        clock: IReactorTime,
        patience: float,
        counted: Callable[[UsageDelta], None],
    ) -> None:
        self._decoder = decoder
        self._receiver = receiver
        self._clock = clock
        self._counted = counted
        self._told = False
        self._lingering: IDelayedCall | None = None
        self._patience = patience
        self._silence = Silence(clock, patience, self._give_up)
        self._silence.start()

    def dataReceived(self, data: bytes) -> None:
        if self._told:
            return
        self._silence.heard()
        self._tell(self._decoder.feed(data))
        if self._decoder.over and not self._told:
            # A kept connection is worth the moment that the rest of the body takes.
            self._lingering = self._clock.callLater(LINGER, self.hang_up)
            self._end()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._silence.stop()
        if self._lingering is not None and self._lingering.active():
            self._lingering.cancel()
        if self._told:
            return
        self._end(is_clean=bool(reason.check(ResponseDone, PotentialDataLoss)))

    def pause(self) -> None:
        body: Any = self.transport
        if body and not self._told:
            # The silence is of our own making.
            self._silence.stop()
            body.pauseProducing()

    def resume(self) -> None:
        body: Any = self.transport
        if body and not self._told:
            self._silence.start()
            body.resumeProducing()

    @property
    def is_lingering(self) -> bool:
        """Whether all was said, and only the end of the body is awaited."""
        return self._lingering is not None and self._lingering.active()

    def hang_up(self) -> None:
        self._told = True
        self._silence.stop()
        if self.transport:
            self.transport.loseConnection()

    def _give_up(self) -> None:
        self.hang_up()
        self._receiver.answer_failed(silent_for(self._patience))

    def _end(self, *, is_clean: bool = True) -> None:
        """Tell the end. A connection lost behind the finish reason took nothing with it."""
        self._told = True
        self._silence.stop()
        try:
            deltas = self._decoder.eof()
        except UpstreamFailure as failure:
            lost = UpstreamFailure(FailureKind.BROKEN, "its connection was lost")
            self._receiver.answer_failed(failure if is_clean else lost)
            return
        self._tell(deltas)
        self._receiver.answer_ended()

    def _tell(self, deltas: Sequence[Delta]) -> None:
        if not deltas:
            return
        if isinstance(deltas[-1], UsageDelta):
            self._counted(deltas[-1])
        self._receiver.deltas_received(deltas)


def silent_for(seconds: float) -> UpstreamFailure:
    """The upstream said nothing for so long."""
    return UpstreamFailure(FailureKind.SILENT, f"nothing for {seconds:.0f} s")


class _Nobody:
    """Receives an answer that nobody waits for any more."""

    def deltas_received(self, deltas: Sequence[Delta]) -> None:
        """Drop them."""

    def answer_ended(self) -> None:
        """Drop it."""

    def answer_failed(self, failure: UpstreamFailure) -> None:
        """Drop it."""


class Answer:
    def __init__(self, chat: ChatAnswer) -> None:
        self.chat = chat
        self.context = chat.context
        self.pauseProducing = chat.pause
        self.resumeProducing = chat.resume
        self.stopProducing = chat.close

    def deliver_to(self, sink: Any) -> Any:
        from twisted.internet.defer import Deferred

        done: Deferred[None] = Deferred(lambda _: self.chat.close())

        class R:
            def deltas_received(self, deltas: Any) -> None:
                try:
                    sink(deltas)
                except Exception:
                    if not done.called:
                        done.errback(Failure())

            def answer_ended(self) -> None:
                if not done.called:
                    done.callback(None)

            def answer_failed(self, failure: UpstreamFailure) -> None:
                if not done.called:
                    done.errback(Failure(failure))

        self.chat.deliver_to(R())
        return done
