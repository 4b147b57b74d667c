"""Clients that are slow, or silent: how long each is waited for, and what it is told."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson
import pytest
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.server import NOT_DONE_YET

from codex_bridge.web.site import BridgeSite

# Seconds. They are not imported, so that a change in the code is noticed.
TIMEOUT = 30
UPLOAD_IDLE = 60
KEPT_IDLE = 120
STALL, STALL_CHECK = 300, 30
LINGER = 1
BYTES_A_SECOND = 65_536
"""At least so fast must a body come."""
HOST = b"Host: localhost\r\n"
EXCHANGE = b"POST /v1/responses HTTP/1.1\r\n" + HOST
UPLOAD = b"POST /api/blobs/x HTTP/1.1\r\n" + HOST + b"Content-Length: 10\r\n\r\n"
GET = b"GET /api/tags HTTP/1.1\r\n" + HOST + b"\r\n"


class Transport(StringTransport):
    """A transport whose client reads only when told to."""

    dataBuffer = b""
    offset = 0

    def write(self, data: bytes) -> None:
        super().write(data)
        self.dataBuffer += data

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self.write(b"".join(data))

    def resumeProducing(self) -> None:
        if not self.disconnecting:  # TCP ignores it then; StringTransport raises.
            super().resumeProducing()

    def read(self, size: int) -> None:
        self.dataBuffer = self.dataBuffer[size:]


class Connection:
    """A connection to a site under a clock, whose resource leaves every request waiting."""

    isLeaf = True

    def __init__(self, max_body_size: int = 1 << 30) -> None:
        self.clock = Clock()
        self.requests: list[Any] = []
        self.gone: list[Any] = []
        site = BridgeSite(self, max_body_size, TIMEOUT, self.clock)  # type: ignore[arg-type]
        self.channel = site.buildProtocol(None)
        self.transport = Transport()
        self.channel.makeConnection(self.transport)
        self.say = self.channel.dataReceived

    def getChildWithDefault(self, name: bytes, request: Any) -> Any:
        return self

    def render(self, request: Any) -> int:
        self.requests.append(request)
        request.notifyFinish().addErrback(self.gone.append)
        return NOT_DONE_YET

    @property
    def ends(self) -> bool:
        return self.transport.disconnecting

    @property
    def error(self) -> Any:
        """The error object that the client was told, with the status."""
        head, _, body = self.transport.value().partition(b"\r\n\r\n")
        assert b"\r\nConnection: close" in head
        assert b"\r\nContent-Length: %d" % len(body) in head
        return int(head.split()[1]), orjson.loads(body)["error"]["code"]

    def drip(self, data: bytes, pause: float) -> None:
        """Say `data` byte by byte, for as long as anybody listens."""
        for at in range(len(data)):
            if self.ends:
                return
            self.say(data[at : at + 1])
            self.clock.advance(pause)


@pytest.fixture
def connection() -> Connection:
    return Connection()


def test_a_client_that_says_nothing_is_cut_off(connection: Connection) -> None:
    connection.clock.advance(TIMEOUT - 1)
    assert not connection.ends
    connection.clock.advance(1)
    assert connection.ends
    assert connection.transport.value() == b""


def test_headers_have_a_deadline_that_dripping_does_not_move(connection: Connection) -> None:
    connection.clock.advance(TIMEOUT - 1)
    connection.drip(GET, 5)
    assert connection.clock.seconds() == TIMEOUT - 1 + TIMEOUT, "counted from the first byte"
    assert connection.requests == []


def test_the_body_of_an_exchange_has_a_deadline_of_its_own(connection: Connection) -> None:
    head = EXCHANGE + b"Content-Length: 1000\r\n\r\n"
    connection.say(head[:10])
    connection.clock.advance(TIMEOUT - 1)
    connection.say(head[10:])
    connection.clock.advance(TIMEOUT - 1)
    connection.say(b"x" * 999)
    assert connection.transport.value() == b""
    connection.clock.advance(2)
    assert connection.error == (408, "request_timeout")
    assert not connection.ends, "it may still be sending, and must be able to read this"
    connection.say(b"x")
    connection.clock.advance(LINGER)
    assert connection.ends
    assert connection.requests == []


@pytest.mark.parametrize("framing", [b"Content-Length: 10000000", b"Transfer-Encoding: chunked"])
def test_a_body_that_keeps_coming_gets_more_time(connection: Connection, framing: bytes) -> None:
    connection.say(EXCHANGE + framing + b"\r\n\r\n")
    piece = b"x" * BYTES_A_SECOND
    if framing.endswith(b"chunked"):
        piece = b"%x\r\n%b\r\n" % (len(piece), piece)
    for _ in range(4 * TIMEOUT):
        connection.say(piece)
        connection.clock.advance(1)
    assert connection.transport.value() == b""
    connection.clock.advance(TIMEOUT + 1)
    assert connection.error == (408, "request_timeout")


def test_a_refused_exchange_is_not_waited_for_longer_than_another() -> None:
    connection = Connection(max_body_size=1000)
    connection.say(EXCHANGE + b"Content-Length: 2000\r\n\r\n")
    connection.requests[0].write(b"too large")
    connection.requests[0].finish()
    written = connection.transport.value()
    connection.drip(b"x" * 100, 5)
    assert connection.ends
    assert connection.clock.seconds() <= TIMEOUT + 5
    assert connection.transport.value() == written


@pytest.mark.parametrize("length", [b"9999999", b"x"])
def test_a_body_that_is_dropped_is_dropped_for_so_long_only(length: bytes) -> None:
    connection = Connection(max_body_size=1000)
    chunked = b"Transfer-Encoding: chunked\r\n\r\n186a0\r\n"
    connection.say(EXCHANGE + (chunked if length == b"x" else b"Content-Length: 99999\r\n\r\n"))
    for _ in range(4):
        connection.say(b"x" * 1000)
        assert not connection.transport.disconnected
    connection.say(b"x")
    assert connection.transport.disconnected


def test_an_upload_that_stalls_is_cut_off(connection: Connection) -> None:
    connection.say(UPLOAD)
    connection.requests[0].upload.deliver_to(lambda _: None, lambda: None)
    for _ in range(3):
        connection.clock.advance(UPLOAD_IDLE - 1)
        connection.say(b"x")
    assert not connection.ends
    connection.clock.advance(UPLOAD_IDLE)
    assert connection.ends


def test_an_upload_that_we_hold_back_is_not_taken_for_a_stalled_one(
    connection: Connection,
) -> None:
    connection.say(UPLOAD + b"first")
    assert connection.transport.producerState == "paused"
    connection.clock.advance(UPLOAD_IDLE * 10)
    assert not connection.ends
    connection.requests[0].upload.deliver_to(lambda _: None, lambda: None)
    assert connection.transport.producerState == "producing"
    connection.clock.advance(UPLOAD_IDLE)
    assert connection.ends


def test_a_kept_connection_is_idle_again_after_an_upload_that_was_held_back(
    connection: Connection,
) -> None:
    connection.say(UPLOAD + b"first")
    connection.say(b"other")
    assert connection.transport.producerState == "producing", "a client that leaves is not seen"
    request = connection.requests[0]
    request.upload.deliver_to(lambda _: None, lambda: None)
    connection.clock.advance(KEPT_IDLE * 10)
    assert not connection.ends
    request.finish()
    connection.clock.advance(KEPT_IDLE)
    assert connection.ends


def test_nothing_is_counted_while_a_model_thinks(connection: Connection) -> None:
    connection.say(EXCHANGE + b"Content-Length: 2\r\n\r\n{}")
    connection.clock.advance(3600)
    assert not connection.ends
    assert len(connection.requests) == 1
    assert connection.clock.getDelayedCalls() == []


def test_a_kept_connection_outlives_the_clients_patience(connection: Connection) -> None:
    """Codex drops it after 90 s of silence; a request that meets our own end would be lost."""
    for n in range(3):
        connection.say(GET)
        connection.requests[n].finish()
        connection.clock.advance(KEPT_IDLE - 1)
        assert not connection.ends
    connection.clock.advance(1)
    assert connection.ends


@pytest.mark.parametrize("together", [True, False])
def test_the_next_request_on_a_connection_has_the_same_deadlines(
    connection: Connection, together: bool
) -> None:
    connection.say(GET + GET[:10] if together else GET)
    connection.requests[0].finish()
    if not together:
        connection.say(GET[:10])
    connection.clock.advance(TIMEOUT)
    assert connection.ends


def test_a_next_request_that_came_with_an_answered_one_has_its_deadline() -> None:
    connection = Connection()
    connection.render = lambda request: b"ok"  # type: ignore[assignment,method-assign]
    connection.say(GET + GET[:10])
    connection.clock.advance(TIMEOUT)
    assert connection.ends


@pytest.mark.parametrize(
    "headers",
    [
        b"X: " + b"x" * 70_000 + b"\r\n",
        b"X: " + b"x" * 70_000,
        b"".join(b"X%d: %b\r\n" % (n, b"x" * 1000) for n in range(70)),
        b"X: x\r\n" * 501 + b"\r\n",
    ],
    ids=["a long line", "a line without end", "many lines", "many short lines"],
)
def test_headers_beyond_the_limit_are_refused_in_words(
    connection: Connection, headers: bytes
) -> None:
    connection.say(b"GET /api/tags HTTP/1.1\r\n" + headers)
    connection.say(b"X: x\r\n\r\n" + GET)
    assert connection.error == (431, "headers_too_large")
    assert connection.requests == []
    connection.clock.advance(LINGER)
    assert connection.ends


def test_headers_up_to_the_limit_are_taken(connection: Connection) -> None:
    lines = b"".join(b"X%d: %b\r\n" % (n, b"x" * 10_000) for n in range(6))
    connection.say(GET[:-2] + lines + b"\r\n")
    assert len(connection.requests) == 1


def test_what_is_no_http_is_refused_in_words(connection: Connection) -> None:
    connection.say(b"\x16\x03\x01 hello\r\n\r\n")
    assert connection.error == (400, "invalid_http")


def test_a_broken_upload_is_ended_without_a_second_answer(connection: Connection) -> None:
    connection.say(UPLOAD.replace(b"Content-Length: 10", b"Transfer-Encoding: chunked"))
    connection.requests[0].upload.deliver_to(lambda _: None, lambda: None)
    connection.requests[0].write(b"early")
    written = connection.transport.value()
    connection.say(b"no chunk\r\n")
    assert connection.ends
    assert connection.transport.value() == written


def test_nothing_is_read_after_a_refusal_though_the_answer_still_ends(
    connection: Connection,
) -> None:
    connection.say(UPLOAD.replace(b"Content-Length: 10", b"Transfer-Encoding: chunked"))
    connection.say(b"no chunk\r\n")
    assert connection.ends, "the answer of the upload could follow the refusal"
    connection.requests[0].finish()
    connection.say(b"0\r\n\r\n" + GET)
    assert len(connection.requests) == 1


class Reader:
    """A connection with an answer that its client has not read."""

    def __init__(self, ask: bytes) -> None:
        self.connection = Connection()
        self.connection.say(ask)
        self.request = self.connection.requests[0]
        self.transport = self.connection.transport
        self.request.write(b"x" * 1_000_000)
        self.connection.channel.pauseProducing()  # as the transport does with a full buffer

    def wait(self, seconds: float) -> None:
        for _ in range(int(seconds / STALL_CHECK)):
            self.connection.clock.advance(STALL_CHECK)


ASKING = {
    "exchange": EXCHANGE + b"Content-Length: 2\r\n\r\n{}",
    "pass-through": GET,
    "upload": UPLOAD + b"0123456789",
}


@pytest.mark.parametrize("ask", ASKING.values(), ids=ASKING.keys())
def test_a_client_that_reads_nothing_is_cut_off(ask: bytes) -> None:
    reader = Reader(ask)
    reader.wait(STALL - STALL_CHECK)
    assert not reader.transport.disconnected
    reader.wait(STALL_CHECK)
    assert reader.transport.disconnected


@pytest.mark.parametrize("ask", ASKING.values(), ids=ASKING.keys())
@pytest.mark.parametrize("header", [b"", b"Connection: close\r\n"])
def test_a_client_that_does_not_read_the_end_is_cut_off(ask: bytes, header: bytes) -> None:
    reader = Reader(ask.replace(HOST, HOST + header))
    reader.request.finish()
    reader.wait(STALL)
    assert reader.transport.disconnected


@pytest.mark.parametrize("finished", [True, False])
def test_a_client_that_reads_slowly_is_not_cut_off(finished: bool) -> None:
    reader = Reader(GET)
    if finished:
        reader.request.finish()
    for _ in range(20):
        reader.wait(STALL - STALL_CHECK)
        reader.transport.read(1000)
    assert not reader.transport.disconnected
    assert not reader.connection.ends
    reader.connection.channel.resumeProducing()
    left = reader.connection.clock.getDelayedCalls()
    assert len(left) == (1 if finished else 0), "only the wait for the next request"


def test_a_connection_that_ended_leaves_no_timer_behind() -> None:
    reader = Reader(GET)
    reader.connection.channel.connectionLost(Failure(ConnectionDone()))
    assert reader.connection.clock.getDelayedCalls() == []
