"""The private names of Twisted that codex-bridge needs, each behind one function or class.

Twisted may change a private name in any release. tests/test_twisted_private.py fails where it has
done so, and setup.cfg keeps releases out that nobody has run these tests against. No other module
uses a private name of Twisted; a test sees to that, too.
"""

from __future__ import annotations

import time
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.logger import (
    FilteringLogObserver,
    Logger,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogPublisher,
)
from twisted.web._newclient import HEADER, STATUS, HTTPClientParser, ParseError
from twisted.web.client import URI, Agent
from twisted.web.http import HTTPChannel
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer, IResponse


class ReportingChannel(HTTPChannel):
    """An HTTP server connection whose subclass decides how a bad request is answered.

    HTTPChannel answers it with an empty 400 and closes the connection.
    """

    def bad_request(self) -> None:
        """Called when HTTPChannel has found that what it reads is no valid HTTP request."""
        raise NotImplementedError

    def _respondToBadRequestAndDisconnect(self) -> None:
        self.bad_request()


def request_line(channel: Any) -> tuple[bytes, bytes, bytes]:
    """Method, target and version of the request whose headers or body `channel` is receiving.

    Twisted hands them to the request only when the body is complete.
    """
    return channel._command, channel._path, channel._version


def has_oversized_head(channel: Any) -> bool:
    """Whether a server channel has received more headers, or more bytes of them, than it accepts.

    The limits are the channel's `totalHeadersSize` (bytes) and `maxHeaders`.
    """
    too_long: bool = channel._receivedHeaderSize > channel.totalHeadersSize
    too_many: bool = channel._receivedHeaderCount > channel.maxHeaders
    return too_long or too_many


def unsent_bytes(transport: Any) -> int:
    """How many bytes `transport` (TCP) has been given to write and the socket has not yet taken.

    They are in two buffers; a transport without these buffers counts as having 0 unsent bytes.
    """
    first = len(getattr(transport, "dataBuffer", b"")) - getattr(transport, "offset", 0)
    return first + int(getattr(transport, "_tempDataLen", 0))


def is_between_requests(protocol: Any) -> bool:
    """Whether `protocol`, the HTTP11ClientProtocol of an Agent's connection, waits for a request.

    The class itself is private, in twisted.web._newclient.
    """
    return bool(protocol.state == "QUIESCENT")


def keep_only_http_1_1(protocol: Any) -> None:
    """Have `protocol`, as for `is_between_requests`, close its connection behind HTTP/1.0.

    Twisted would keep it, but the server closes it: the next request would be lost.
    """
    keep = protocol._quiescentCallback

    def answered(protocol: Any) -> None:
        if protocol._parser.response.version[1:] == (1, 0):
            protocol.transport.loseConnection()
        else:
            keep(protocol)

    protocol._quiescentCallback = answered


def head_reader(protocol: Any) -> object | None:
    """What reads the head of a response for `protocol`, as for `is_between_requests`.

    Each response has a reader of its own. None: no response is waited for, or its head is whole.
    """
    parser = protocol._parser
    return parser if parser is not None and parser.state in {STATUS, HEADER} else None


class OversizedHeadError(Exception):
    """The head of a response is larger than the limit."""


NO_HTTP = (ParseError, OversizedHeadError, ValueError, LookupError, AttributeError, TypeError)
"""What Twisted's parser of responses fails with if what it reads is none."""


def is_no_http(error: BaseException) -> bool:
    """Whether an Agent's request failed because what came back is no HTTP response."""
    return isinstance(error, NO_HTTP)


def mute_interim_responses() -> None:
    """Let Twisted's HTTP client write no log line for each 1xx: a server may send thousands."""
    warnings = LogLevelFilterPredicate(LogLevel.warn)
    observer = FilteringLogObserver(globalLogPublisher, [warnings])
    HTTPClientParser._log = Logger(HTTPClientParser.__module__, observer=observer)


def use_monotonic_clock(reactor: Any) -> None:
    """Let `reactor` measure time by a clock that nobody sets; it stands while the machine sleeps.

    By default it is the wall clock: when that jumps, every time limit ends at once, or late. Calls
    that are scheduled already would be lost, so this comes first.
    """
    reactor.seconds = time.monotonic


def end_chunks(request: Any) -> None:
    """End a chunked response whose `finish` has to wait.

    `Request.finish` would write the same, but also take the next request from the connection.
    """
    if request.chunked:
        request.channel.write(b"0\r\n\r\n")
        request.chunked = 0


def send_with_target(
    agent: Agent,
    endpoint: IStreamClientEndpoint,
    base: URI,
    method: bytes,
    target: bytes,
    headers: Headers,
    body: IBodyProducer | None,
) -> Deferred[IResponse]:
    """Send a request over `agent` to `endpoint`, with `target` byte for byte as it is.

    `Agent.request` takes a URL apart and puts it together again, and the result can differ: "//a"
    is sent as "////a" under newer Pythons, "/a?" as "/a". So this calls the internal method that
    `Agent.request` calls after it has done that; ProxyAgent calls the same method. `base` gives the
    Host header where `headers` have none.
    """
    key = (base.scheme, base.host, base.port)
    response: Deferred[IResponse] = agent._requestWithEndpoint(
        key, endpoint, method, base, headers, body, target
    )
    return response
