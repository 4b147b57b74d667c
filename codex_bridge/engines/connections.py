"""How connections to the upstream are made and kept."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from attrs import Factory, define, frozen
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
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IBodyProducer, IResponse
from zope.interface import implementer

from codex_bridge.engines.budget import SECONDS, Phase
from codex_bridge.engines.tls import ClientTLS
from codex_bridge.twisted_private import (
    OversizedHeadError,
    head_reader,
    is_between_requests,
    keep_only_http_1_1,
    send_with_target,
)

KEEP_ALIVE = 50
"""Seconds that an idle connection is kept; less than servers commonly do."""
MAX_IDLE = 64
"""Idle connections kept; Twisted's default of 2 would reconnect under any parallel use."""
PROBES = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
"""Seconds until the first probe of an idle connection, seconds between two, and their number: a
machine that lost its power is noticed after two minutes."""
PROBES_AFTER_SLEEP = {"TCP_KEEPIDLE": 1, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 5}
"""The same for the connections that are open when the machine wakes up: those that are dead are
noticed after eleven seconds."""
MAX_HEAD = 256 * 1024
"""Bytes of a response's head, with all interim responses before it."""
_TARGET = re.compile(rb"[\x21-\x7e]+")


def make_pool(reactor: Any, *, persistent: bool) -> HTTPConnectionPool:
    """A pool of idle connections that leaves retrying to its user."""
    pool = HTTPConnectionPool(reactor, persistent)
    pool.maxPersistentPerHost = MAX_IDLE
    pool.cachedConnectionTimeout = KEEP_ALIVE
    pool.retryAutomatically = False
    return pool


def make_agent(reactor: Any, server: Server, pool: HTTPConnectionPool) -> Agent:
    """An agent whose every request goes to `server`."""
    agent: Agent = Agent.usingEndpointFactory(reactor, server, pool)
    return agent


def make_endpoint(reactor: Any, url: str) -> IStreamClientEndpoint:
    """The endpoint of a base URL, to be made once and used for every request."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    secure = parts.scheme == "https"
    endpoint = _tcp_endpoint(reactor, host, parts.port or (443 if secure else 80))
    return wrapClientTLS(ClientTLS(host), endpoint) if secure else endpoint


def without_ipv6(url: str) -> str:
    """A base URL without an IPv6 address, which treq cannot read.

    The endpoint alone decides where a connection goes; the URL's host is for the Host header.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    return url.replace(f"[{host}]", "localhost", 1) if ":" in host else url


def _tcp_endpoint(reactor: Any, host: str, port: int) -> IStreamClientEndpoint:
    if host == "localhost":
        return _Localhost(
            TCP4ClientEndpoint(reactor, "127.0.0.1", port, SECONDS[Phase.CONNECT]),
            TCP6ClientEndpoint(reactor, "::1", port, SECONDS[Phase.CONNECT]),
        )
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return HostnameEndpoint(reactor, host, port, SECONDS[Phase.CONNECT])
    make = TCP4ClientEndpoint if address.version == 4 else TCP6ClientEndpoint
    return make(reactor, host, port, SECONDS[Phase.CONNECT])


class RawAgent:
    """Sends requests whose target stays byte for byte what it is."""

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
        target = self._base.path.rstrip(b"/") + target
        return send_with_target(
            self._agent, self._server, self._base, method, target, headers, body
        )


@implementer(IStreamClientEndpoint)
@frozen
class _Localhost:
    """127.0.0.1, and ::1 where that fails.

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
            # Most servers listen on IPv4: its failure says more than that of IPv6.
            return self.second.connect(protocolFactory).addErrback(lambda _: failure)

        return connected.addErrback(refused)


@implementer(IAgentEndpointFactory, IStreamClientEndpoint)
@define(eq=False)
class Server:
    """The one server that an agent's requests go to; counts the connections made to it.

    `on_idle_close` is called when the server closes a connection between two requests, as it does
    when it ends.
    """

    endpoint: IStreamClientEndpoint
    on_idle_close: Callable[[], None] = lambda: None
    connections: int = 0
    _open: set[_Connection] = Factory(set)

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        return self

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        self.connections += 1
        connected = self.endpoint.connect(_ConnectionFactory(protocolFactory, self))
        return connected.addCallbacks(self._made, _cancelled)

    def forget(self, connection: _Connection) -> None:
        """The connection is closed."""
        self._open.discard(connection)

    def probe(self) -> None:
        """Have the kernel find out soon which of the open connections are dead."""
        for connection in self._open:
            _set_probes(connection.transport, PROBES_AFTER_SLEEP)

    def _made(self, connection: _Connection) -> IProtocol:
        """Have the kernel notice when the other machine is gone; return the agent's protocol."""
        self._open.add(connection)
        _set_probes(connection.transport, PROBES)
        protocol: IProtocol = connection.wrappedProtocol
        keep_only_http_1_1(protocol)
        return protocol


class _Connection(ProtocolWrapper):
    """A connection to the upstream, around the HTTP11ClientProtocol that speaks over it."""

    def __init__(self, factory: Any, wrapped: Any) -> None:
        super().__init__(factory, wrapped)
        self._head_size = 0
        """Bytes of the head that is being read, with those of interim responses before it."""

    def dataReceived(self, data: bytes) -> None:
        before = head_reader(self.wrappedProtocol)
        super().dataReceived(data)
        # The next request may have been sent meanwhile.
        if before is None or head_reader(self.wrappedProtocol) is not before:
            self._head_size = 0
            return
        self._head_size += len(data)
        if self._head_size > MAX_HEAD:
            self.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        is_ours = getattr(self.transport, "disconnecting", False)
        is_idle = is_between_requests(self.wrappedProtocol)
        if is_ours and self._head_size:
            # It was closed above; or by Twisted, because of a line that is too long.
            reason = Failure(OversizedHeadError())
        super().connectionLost(reason)
        self.factory.server.forget(self)
        if is_idle and not is_ours:
            self.factory.server.on_idle_close()


class _ConnectionFactory(WrappingFactory[_Connection]):
    protocol = _Connection
    noisy = False

    def __init__(self, factory: Any, server: Server) -> None:
        super().__init__(factory)
        factory.noisy = False  # It would write two log lines per connection.
        self.server = server


def _set_probes(transport: Any, probes: dict[str, int]) -> None:
    """Have the kernel probe a connection, as PROBES says it, while nothing is sent over it."""
    handle = transport.getHandle()
    if not isinstance(handle, socket.socket):
        # TLS is a transport around that of the socket.
        handle = transport.transport.getHandle()
    # Some systems refuse this for a connection that is dead already.
    with suppress(OSError):
        transport.setTcpKeepAlive(True)
        for name, value in probes.items():
            if hasattr(socket, name):
                handle.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _cancelled(failure: Failure) -> Failure:
    """A CancelledError in place of Twisted's own, which looks like a server out of reach."""
    return Failure(CancelledError()) if failure.check(ConnectingCancelledError) else failure
