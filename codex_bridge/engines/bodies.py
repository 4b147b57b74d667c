"""Bodies of requests that are sent at once, and of responses that are read up to a limit."""

from __future__ import annotations

from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IConsumer, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IBodyProducer, IResponse
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


def read_limited(
    response: IResponse, limit: int, clock: IReactorTime, seconds: float
) -> Deferred[bytes]:
    """The first `limit` bytes of a response's body, or what came of it in so many seconds.

    Then the connection is closed. Fails with the failure of the connection. Cancelling closes the
    connection.
    """
    reader = _LimitedReader(limit)
    alarm = clock.callLater(seconds, reader.stop)

    def stop_alarm(result: Any) -> Any:
        if alarm.active():
            alarm.cancel()
        return result

    response.deliverBody(reader)
    return reader.done.addBoth(stop_alarm)


@define(eq=False)
class _LimitedReader(Protocol):
    limit: int
    pieces: list[bytes] = field(factory=list)
    done: Deferred[bytes] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.done = Deferred(lambda _: self._hang_up())

    def dataReceived(self, data: bytes) -> None:
        self.pieces.append(data[: self.limit])
        self.limit -= len(self.pieces[-1])
        if self.limit == 0:
            self.stop()

    def stop(self) -> None:
        """Do with what has come."""
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
