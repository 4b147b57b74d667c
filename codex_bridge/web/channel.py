"""One client's connection: how long each of its steps may take, and what ends it.

A client that is waited for has a deadline, so that no connection is held by saying next to
nothing. What a deadline is counted from:

- the opening of the connection, until the first byte;
- the first byte of a request, until its headers are whole;
- the end of the headers, until the body of an exchange is whole; a body that keeps coming
  gets more time for what has come;
- the last bytes, for a body that passes through, unless it is us who hold it back;
- the end of an answer, until the next request.

Nothing is counted while a request is being answered, but for a client that does not read.
"""

from __future__ import annotations

from enum import Enum, auto
from http import HTTPStatus
from typing import Any

import orjson
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from codex_bridge.errors import ApiError, invalid
from codex_bridge.web.framing import StrictChannel

BYTES_A_SECOND = 64 * 1024
"""A body gets one second more for each so many of its bytes."""
UPLOAD_IDLE = 60.0
"""Seconds that a body on its way through may stand still."""
KEPT_IDLE = 120.0
"""Seconds between two requests. Codex drops a connection after 90; if we did so first, a
request could be on its way just then, and be lost."""
STALL = 300.0
"""Seconds after which a client that reads nothing of its answer is cut off."""
STALL_CHECK = 30.0
"""Seconds between two looks at whether it reads."""
LINGER = 1.0
"""Seconds that a refused client may go on sending. To close a socket on data that nobody read
resets the connection, and takes the refusal with it."""
MAX_HEADERS_SIZE = 64 * 1024
"""Bytes. Codex puts JSON into header values; Twisted's default is 16 KiB."""


class Phase(Enum):
    """What the client is waited for."""

    NOTHING = auto()
    """A request is being answered, or we hold the client back."""
    FIRST_BYTE = auto()
    HEADERS = auto()
    BODY = auto()
    UPLOAD = auto()
    NEXT_REQUEST = auto()


IDLE_LIMITS = {Phase.UPLOAD: UPLOAD_IDLE, Phase.NEXT_REQUEST: KEPT_IDLE}
"""Counted from the last byte; the others from the beginning of the phase."""


class BridgeChannel(StrictChannel):
    """One client. Twisted's one idle timeout is off; `site.client_timeout` counts."""

    totalHeadersSize = MAX_HEADERS_SIZE
    MAX_LENGTH = MAX_HEADERS_SIZE

    site: Any
    transport: Any

    _phase = Phase.NOTHING
    _since = 0.0
    _received = 0
    _timer: IDelayedCall | None = None
    _stall_timer: IDelayedCall | None = None
    _unread = 0
    _read_at = 0.0

    def connectionMade(self) -> None:
        """Wait for the first byte."""
        super().connectionMade()
        self.site.channels.add(self)
        self.wait_for(Phase.FIRST_BYTE)

    def wait_for(self, phase: Phase) -> None:
        """From now on wait for this."""
        self._stop_timer()
        self._phase, self._since, self._received = phase, self._now(), 0
        if phase is not Phase.NOTHING:
            self._timer = self.callLater(self._deadline() - self._since, self._look_at_the_clock)

    def dataReceived(self, data: bytes) -> None:
        """Bytes came."""
        if self._is_over:
            return
        self._received += len(data)
        if self._phase is Phase.UPLOAD:
            self._since = self._now()
        elif self._phase in {Phase.FIRST_BYTE, Phase.NEXT_REQUEST}:
            self.wait_for(Phase.HEADERS)
        super().dataReceived(data)
        if self._phase is Phase.NEXT_REQUEST and self._buffer:
            # It came together with the end of the request before.
            self.wait_for(Phase.HEADERS)

    def lineReceived(self, line: bytes) -> None:
        """A line of the headers."""
        if self._is_over:
            return
        if self._receivedHeaderSize + len(line) > self.totalHeadersSize:
            self.lineLengthExceeded(line)
        else:
            super().lineReceived(line)

    def headerReceived(self, line: bytes) -> bool:
        """A header; False if it ends the connection."""
        if self._is_over:
            return False
        if self._receivedHeaderCount >= self.maxHeaders:
            self.lineLengthExceeded(line)
            return False
        return bool(super().headerReceived(line))

    def lineLengthExceeded(self, line: bytes) -> None:
        """The headers are too long, in one way or another."""
        self.refuse(
            ApiError(
                431,
                f"The headers are larger than the {self.totalHeadersSize} bytes, or more than "
                f"the {self.maxHeaders}, that codex-bridge accepts.",
                code="headers_too_large",
            )
        )

    def rawDataReceived(self, data: bytes) -> None:
        """A piece of a body."""
        if not self._is_over:
            super().rawDataReceived(data)

    def allContentReceived(self) -> None:
        """The request is whole."""
        if not self._is_over:
            self.wait_for(Phase.NOTHING)
        super().allContentReceived()

    def requestDone(self, request: Any) -> None:
        """It is answered; the next one may come, or have come already."""
        self.wait_for(Phase.NEXT_REQUEST if self.persistent else Phase.NOTHING)
        super().requestDone(request)

    def refuse(self, error: ApiError) -> None:
        """Say why this connection ends, unless an answer has begun, and end it."""
        self.wait_for(Phase.NOTHING)
        self._is_over = True
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
            # Its answer is on its way, and must not follow this one.
            self.loseConnection()
        else:
            self._timer = self.callLater(LINGER, self.loseConnection)

    def _respondToBadRequestAndDisconnect(self) -> None:
        if self._is_over:
            return
        self.refuse(invalid("This is not a valid HTTP request.", code="invalid_http"))

    def _look_at_the_clock(self) -> None:
        self._timer = None
        if self._waitingForTransport and self._phase in IDLE_LIMITS:
            # It still reads an answer, or does not; that is watched elsewhere.
            self._since = self._now()
        left = self._deadline() - self._now()
        if left > 0:
            self._timer = self.callLater(left, self._look_at_the_clock)
        elif self._phase is Phase.BODY:
            self.refuse(
                ApiError(
                    408,
                    "The request body did not arrive in time. Send it faster, or raise "
                    "--client-timeout.",
                    code="request_timeout",
                )
            )
        else:
            self.loseConnection()

    def _deadline(self) -> float:
        if limit := IDLE_LIMITS.get(self._phase):
            return self._since + limit
        more = self._received / BYTES_A_SECOND if self._phase is Phase.BODY else 0.0
        return self._since + float(self.site.client_timeout) + more

    def pauseProducing(self) -> None:
        """The client reads slower than we write, or not at all."""
        super().pauseProducing()
        self._watch()

    def resumeProducing(self) -> None:
        """It has read everything."""
        self._stop_watching()
        super().resumeProducing()

    def loseConnection(self) -> None:
        """End the connection when everything is written, which takes a client that reads."""
        self._stop_timer()
        super().loseConnection()
        if self.transport.connected:
            self._watch()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The client is gone."""
        self._stop_timer()
        self._stop_watching()
        super().connectionLost(reason)
        self.site.channel_closed(self)

    def _watch(self) -> None:
        """Cut the client off when it has read nothing for too long."""
        if self._stall_timer is None:
            self._unread, self._read_at = self._unsent(), self._now()
            self._stall_timer = self.callLater(STALL_CHECK, self._check_reading)

    def _check_reading(self) -> None:
        self._stall_timer = None
        unread = self._unsent()
        if unread < self._unread:
            self._unread, self._read_at = unread, self._now()
        if self._now() - self._read_at >= STALL:
            self.transport.abortConnection()
        else:
            self._stall_timer = self.callLater(STALL_CHECK, self._check_reading)

    def _unsent(self) -> int:
        """Bytes that the client has not taken. Twisted tells of none of its buffers."""
        transport = self.transport
        whole = len(getattr(transport, "dataBuffer", b"")) - getattr(transport, "offset", 0)
        return whole + int(getattr(transport, "_tempDataLen", 0))

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _stop_watching(self) -> None:
        if self._stall_timer is not None and self._stall_timer.active():
            self._stall_timer.cancel()
        self._stall_timer = None

    def _now(self) -> float:
        return float(self.site.reactor.seconds())
