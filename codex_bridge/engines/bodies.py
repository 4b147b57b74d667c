"""Bodies of requests that are sent at once, and of responses that are read up to a size."""

from __future__ import annotations

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IConsumer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer


@implementer(IBodyProducer)
@frozen
class BytesBody:
    """A request body that is in memory: written at once, not in pieces by a cooperator."""

    data: bytes

    @property
    def length(self) -> int:
        return len(self.data)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        consumer.write(self.data)
        return succeed(None)

    def pauseProducing(self) -> None:
        """Nothing left to pause."""

    def resumeProducing(self) -> None:
        """Nothing left to send."""

    def stopProducing(self) -> None:
        """Nothing left to stop."""


@define(eq=False)
class LimitedReader(Protocol):
    """Collects a response's body, or its first `limit` bytes; then it closes the connection."""

    limit: int
    pieces: list[bytes] = field(factory=list)
    done: Deferred[bytes] = field(init=False)
    """What was read. Fails with the failure of the connection; cancelling closes that."""

    def __attrs_post_init__(self) -> None:
        self.done = Deferred(lambda _: self._hang_up())

    def dataReceived(self, data: bytes) -> None:
        self.pieces.append(data[: self.limit])
        self.limit -= len(self.pieces[-1])
        if self.limit == 0:
            self.stop()

    def stop(self) -> None:
        """Read no more: what has come is all."""
        if not self.done.called:
            self.done.callback(b"".join(self.pieces))
            self._hang_up()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.done.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            self.done.callback(b"".join(self.pieces))
        else:
            self.done.errback(reason)

    def _hang_up(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()
