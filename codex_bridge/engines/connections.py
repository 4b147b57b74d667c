"""How connections to the upstream are made and kept."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from attrs import define, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    wrapClientTLS,
)
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import connectionDone
from twisted.internet.ssl import optionsForClientTLS
from twisted.python.failure import Failure
from twisted.web._newclient import HTTP11ClientProtocol
from twisted.web.client import URI, Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IBodyProducer, IResponse
from zope.interface import implementer

CONNECT_TIMEOUT = 10.0
"""Seconds."""
KEEP_ALIVE = 50
"""Seconds that an idle connection is kept; less than servers commonly do."""
_TARGET = re.compile(rb"[\x21-\x7e]+")
MAX_IDLE = 64
"""Idle connections kept; Twisted's default of 2 would reconnect under any parallel use."""


PROBES = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
"""Seconds, seconds, and a number: a machine that lost its power is missed after two minutes."""


class _Kept(HTTP11ClientProtocol):
    """A connection that tells when the server closes it between two requests."""

    def __init__(self, quiescent: Callable[[Any], None], closed: Callable[[], None]) -> None:
        super().__init__(quiescent)
        self._closed = closed
        self._is_used = False

    def request(self, request: Any) -> Any:
        self._is_used = True
        return super().request(request)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        is_ours = getattr(self.transport, "disconnecting", False)
        is_idle = self._is_used and self.state == "QUIESCENT"
        super().connectionLost(reason)
        if is_idle and not is_ours:
            self._closed()


class _QuietFactory(HTTPConnectionPool._factory):  # type: ignore[misc,valid-type]
    noisy = False  # else two log lines per connection

    def __init__(self, closed: Callable[[], None], quiescent: Any, metadata: Any) -> None:
        super().__init__(quiescent, metadata)
        self._closed = closed

    def buildProtocol(self, addr: Any) -> _Kept:
        return _Kept(self._quiescentCallback, self._closed)


def make_pool(
    reactor: Any, *, persistent: bool, closed: Callable[[], None] = lambda: None
) -> HTTPConnectionPool:
    """A pool of idle connections that leaves retrying to its user.

    `closed` is called when the server closes one of them, as it does when it ends.
    """
    pool = HTTPConnectionPool(reactor, persistent)
    pool._factory = partial(_QuietFactory, closed)  # type: ignore[assignment]
    pool.maxPersistentPerHost = MAX_IDLE
    pool.cachedConnectionTimeout = KEEP_ALIVE
    pool.retryAutomatically = False
    return pool


def make_agent(reactor: Any, server: Server, pool: HTTPConnectionPool) -> Agent:
    """An agent whose every request goes to `server`."""
    agent: Agent = Agent.usingEndpointFactory(reactor, server, pool)
    return agent


def make_endpoint(reactor: Any, url: str) -> IStreamClientEndpoint:
    """The endpoint of a base URL, made once: name and TLS are settled here, not per request."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    secure = parts.scheme == "https"
    endpoint = _tcp_endpoint(reactor, host, parts.port or (443 if secure else 80))
    return wrapClientTLS(optionsForClientTLS(host), endpoint) if secure else endpoint


def without_ipv6(url: str) -> str:
    """A base URL as treq takes it, whose URLs know no IPv6 addresses.

    Where a connection goes is the endpoint's business; the name only becomes the Host header.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    return url.replace(f"[{host}]", "localhost", 1) if ":" in host else url


def _tcp_endpoint(reactor: Any, host: str, port: int) -> IStreamClientEndpoint:
    if host == "localhost":
        return _Localhost(
            TCP4ClientEndpoint(reactor, "127.0.0.1", port, CONNECT_TIMEOUT),
            TCP6ClientEndpoint(reactor, "::1", port, CONNECT_TIMEOUT),
        )
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return HostnameEndpoint(reactor, host, port, CONNECT_TIMEOUT)
    make = TCP4ClientEndpoint if address.version == 4 else TCP6ClientEndpoint
    return make(reactor, host, port, CONNECT_TIMEOUT)


class RawAgent:
    """Sends requests whose target stays byte for byte what it is.

    `Agent.request` takes a URL apart and puts it together again, and the two do not always
    meet: "//a" leaves as "////a" under newer Pythons, "/a?" as "/a".
    """

    def __init__(self, reactor: Any, server: Server, url: str) -> None:
        self._agent = make_agent(reactor, server, make_pool(reactor, persistent=False))
        self._server = server
        self._base = URI.fromBytes(url.encode())

    def request(
        self, method: bytes, target: bytes, headers: Headers, body: IBodyProducer | None
    ) -> Deferred[IResponse]:
        """Send one request over a connection of its own. Raises ValueError for a bad target."""
        if not _TARGET.fullmatch(target):
            raise ValueError(f"not a request target: {target!r}")
        base = self._base
        key = (base.scheme, base.host, base.port)
        path = base.path.rstrip(b"/") + target
        # The step of Agent.request behind the URL; ProxyAgent takes it in the same way.
        response: Deferred[IResponse] = self._agent._requestWithEndpoint(
            key, self._server, method, base, headers, body, path
        )
        return response


@implementer(IStreamClientEndpoint)
@frozen
class _Localhost:
    """127.0.0.1, else ::1.

    A HostnameEndpoint asks a resolver thread on every connect and waits 0.3 s before it
    tries the second address.
    """

    first: TCP4ClientEndpoint
    second: TCP6ClientEndpoint

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        connected: Deferred[IProtocol] = self.first.connect(protocolFactory)

        def refused(failure: Any) -> Any:
            if failure.check(ConnectingCancelledError):
                return failure
            # The first failure is the one to tell: most servers listen on IPv4.
            return self.second.connect(protocolFactory).addErrback(lambda _: failure)

        return connected.addErrback(refused)


@implementer(IAgentEndpointFactory, IStreamClientEndpoint)
@define
class Server:
    """The one server that an agent's requests go to; counts the connections made to it."""

    endpoint: IStreamClientEndpoint
    connections: int = 0

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        return self

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        self.connections += 1
        connected: Deferred[IProtocol] = self.endpoint.connect(protocolFactory)
        return connected.addCallbacks(_probed, _as_cancelled)


def _as_cancelled(failure: Failure) -> Failure:
    """A cancelled connect as such; else it reads like a server that cannot be reached."""
    return Failure(CancelledError()) if failure.check(ConnectingCancelledError) else failure


def _probed(protocol: Any) -> Any:
    """Have the kernel find out when the other machine is gone without a word."""
    protocol.transport.setTcpKeepAlive(True)
    handle = protocol.transport.getHandle()
    if isinstance(handle, socket.socket):
        for name, value in PROBES.items():
            if hasattr(socket, name):
                handle.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return protocol
