"""How connections to the upstream are made and kept."""

from __future__ import annotations

import ipaddress
from typing import Any
from urllib.parse import urlsplit

from attrs import define, frozen
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    wrapClientTLS,
)
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.ssl import optionsForClientTLS
from twisted.web.client import URI, Agent, HTTPConnectionPool
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

CONNECT_TIMEOUT = 10.0
"""Seconds."""
KEEP_ALIVE = 50
"""Seconds that an idle connection is kept; less than servers commonly do."""
MAX_IDLE = 64
"""Idle connections kept; Twisted's default of 2 would reconnect under any parallel use."""


class _QuietFactory(HTTPConnectionPool._factory):  # type: ignore[misc,valid-type]
    noisy = False  # else two log lines per connection


def make_pool(reactor: Any, *, persistent: bool) -> HTTPConnectionPool:
    """A pool of idle connections that leaves retrying to its user."""
    pool = HTTPConnectionPool(reactor, persistent)
    pool._factory = _QuietFactory
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
        return connected
