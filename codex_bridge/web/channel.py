"""One client's connection: how long each of its steps may take, and what ends it.

While the bridge waits for its client there is a deadline, so that no client holds a connection by
sending next to nothing. Each deadline is counted from:

- the opening of the connection, until the first byte;
- the first byte of a request, until its headers are complete;
- the end of the headers, until the body of an exchange is complete; a body that keeps coming
  gets more time for what has come;
- the last bytes, for a body that passes through, unless the bridge holds the client back;
- the end of a reply, until the next request;
- the first byte of a message over a WebSocket, until it is whole, as for the body of an exchange.

Nothing is counted while a request is being answered, except for a client that does not read, nor
between two messages over a WebSocket.
"""

from __future__ import annotations

from enum import Enum, auto
from http import HTTPStatus
from typing import Any, Protocol

import orjson
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import connectionDone
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from codex_bridge.errors import ApiError
from codex_bridge.twisted_private import unsent_bytes
from codex_bridge.web.framing import StrictChannel

BYTES_A_SECOND = 64 * 1024
"""The body of an exchange gets one second more for each BYTES_A_SECOND bytes of it."""
UPLOAD_IDLE = 60.0
"""Seconds without a byte after which the upload of a body that passes through is ended."""
KEPT_IDLE = 120.0
"""Seconds between two requests. Codex drops a connection after 90; if the bridge did so first,
a request that is on its way at that moment would be lost."""
STALL = 300.0
"""Seconds after which a client that reads nothing of its reply is cut off."""
STALL_CHECK = 30.0
"""Seconds between two checks whether such a client reads."""
LINGER = 1.0
"""Seconds for which a refused client may go on sending. Closing a socket whose data nobody has
read resets the connection, and the client loses the refusal."""


class Phase(Enum):
    """What the channel waits for from its client."""

    NOTHING = auto()
    """A request is being answered, or the bridge holds the client back."""
    FIRST_BYTE = auto()
    HEADERS = auto()
    BODY = auto()
    """The body of an exchange."""
    UPLOAD = auto()
    """A body that passes through."""
    NEXT_REQUEST = auto()
    MESSAGE = auto()
    """A message over a WebSocket."""
    CLOSING = auto()
    """The end of a WebSocket that the bridge has closed."""
    REFUSED = auto()
    """The client may read why; what it sends is dropped. No other phase follows."""


class Upgraded(Protocol):
    """What reads and writes a connection in place of HTTP."""

    def data_received(self, data: bytes) -> None:
        """Bytes came."""

    def time_is_up(self) -> None:
        """What the channel waits for did not come in time."""

    def going_away(self) -> None:
        """The bridge is being stopped."""


class BridgeChannel(StrictChannel):
    """The connection of one client. It has the deadlines above; Twisted's idle timeout is off.

    `site.client_timeout` is in seconds.
    """

    site: Any
    transport: Any

    upgraded: Upgraded | None = None
    """What speaks another protocol over this connection; its request is never done."""

    _phase = Phase.NOTHING
    _since = 0.0
    """When the deadline of the phase began to count."""
    _received = 0
    """Bytes that came in this phase."""
    _timer: IDelayedCall | None = None
    _unsent = 0
    _last_read = 0.0
    """When the client last read bytes of its reply, in seconds of the reactor's clock."""

    def connectionMade(self) -> None:
        """Wait for the first byte."""
        super().connectionMade()
        self._reading_check = LoopingCall(self._check_reading)
        self._reading_check.clock = self.site.reactor
        self.site.channels.add(self)
        self.wait_for(Phase.FIRST_BYTE)

    def wait_for(self, phase: Phase) -> None:
        """Wait for `phase` from now on, unless the client was refused."""
        if self._phase is Phase.REFUSED:
            return
        self._stop_timer()
        self._phase, self._since, self._received = phase, self._now(), 0
        if phase is not Phase.NOTHING:
            self._timer = self.callLater(self._time_left(), self._time_is_up)

    def dataReceived(self, data: bytes) -> None:
        """Bytes came."""
        if self._phase is Phase.REFUSED:
            return
        self._received += len(data)
        if self._phase is Phase.UPLOAD:
            self._since = self._now()
        elif self._phase in {Phase.FIRST_BYTE, Phase.NEXT_REQUEST}:
            self.wait_for(Phase.HEADERS)
        try:
            super().dataReceived(data)
        except ApiError as error:
            self.refuse(error)
        if self._phase is Phase.NEXT_REQUEST and (begun := self.clearLineBuffer()):
            # A part of the next request came with the end of this one.
            self.dataReceived(begun)

    def upgrade(self, upgraded: Upgraded) -> None:
        """Hand all that comes from now on to `upgraded`.

        What comes together with the request, behind it, is handed on when this returns.
        """
        self.upgraded = upgraded

    def rawDataReceived(self, data: bytes) -> None:
        """Bytes came that belong to no head."""
        if self.upgraded is None:
            super().rawDataReceived(data)
        else:
            self.upgraded.data_received(data)

    def allContentReceived(self) -> None:
        """The request is complete."""
        self.wait_for(Phase.NOTHING)
        super().allContentReceived()

    def requestDone(self, request: Any) -> None:
        """A request is answered; the next one may come, or have come already."""
        self.wait_for(Phase.NEXT_REQUEST if self.persistent else Phase.NOTHING)
        super().requestDone(request)

    def refuse(self, error: ApiError) -> None:
        """End the connection, and tell the client why unless a reply has begun."""
        self.wait_for(Phase.REFUSED)
        if any(request.startedWriting for request in self.requests):
            self.loseConnection()
            return
        body = orjson.dumps(error.body()) + b"\n"
        self.transport.write(
            b"HTTP/1.1 %d %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
            b"Connection: close\r\n\r\n%b"
            % (error.status, HTTPStatus(error.status).phrase.encode(), len(body), body)
        )
        if any(request.upload for request in self.requests):
            # The reply of the upload is on its way, and must not follow this one.
            self.loseConnection()

    def _time_is_up(self) -> None:
        self._timer = None
        if self.is_unread and self._phase in {Phase.UPLOAD, Phase.NEXT_REQUEST, Phase.MESSAGE}:
            # The client has not read the last reply; until then only the reading check applies.
            self._since = self._now()
        left = self._time_left()
        if left > 0:
            self._timer = self.callLater(left, self._time_is_up)
        elif self._phase is Phase.BODY:
            self.refuse(
                ApiError(
                    408,
                    "The request body did not arrive in time. Send it faster, or raise "
                    "--client-timeout.",
                    code="request_timeout",
                )
            )
        elif self._phase is Phase.MESSAGE and self.upgraded is not None:
            self.upgraded.time_is_up()
        else:
            self.loseConnection()

    def _time_left(self) -> float:
        """Seconds until the deadline of this phase."""
        whole = self.site.client_timeout + self._received / BYTES_A_SECOND
        limits = {
            Phase.UPLOAD: UPLOAD_IDLE,
            Phase.NEXT_REQUEST: KEPT_IDLE,
            Phase.REFUSED: LINGER,
            Phase.CLOSING: LINGER,
            Phase.BODY: whole,
            Phase.MESSAGE: whole,
        }
        limit = float(limits.get(self._phase, self.site.client_timeout))
        return self._since + limit - self._now()

    @property
    def is_unread(self) -> bool:
        """Whether there is more than the client reads."""
        return self._reading_check.running

    def pauseProducing(self) -> None:
        """The client reads slower than the bridge writes, or not at all."""
        super().pauseProducing()
        self._watch_reading()
        if self.upgraded is not None:
            # What it sends would only be answered.
            self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """The client has read everything."""
        self._stop_watching()
        super().resumeProducing()
        if self.upgraded is not None:
            self.transport.resumeProducing()

    def loseConnection(self) -> None:
        """End the connection when the client has read everything that was written."""
        self._stop_timer()
        super().loseConnection()
        if self.transport.connected:
            self._watch_reading()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The client is gone."""
        self._stop_timer()
        self._stop_watching()
        super().connectionLost(reason)
        self.site.channel_closed(self)

    def _watch_reading(self) -> None:
        """Cut the client off when it has read nothing for STALL seconds."""
        if not self.is_unread:
            self._unsent, self._last_read = unsent_bytes(self.transport), self._now()
            self._reading_check.start(STALL_CHECK, now=False)

    def _check_reading(self) -> None:
        unsent = unsent_bytes(self.transport)
        if unsent < self._unsent:
            self._unsent, self._last_read = unsent, self._now()
        if self._now() - self._last_read >= STALL:
            self.transport.abortConnection()

    def _stop_watching(self) -> None:
        if self.is_unread:
            self._reading_check.stop()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _now(self) -> float:
        return float(self.site.reactor.seconds())
