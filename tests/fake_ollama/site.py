"""HTTP for the fake: requests that keep their bodies, and a site that can close connections."""

from __future__ import annotations

import hashlib
import ipaddress
import socket
from collections.abc import Callable
from io import BytesIO
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site


class ServedRequest(Request):
    """Keeps its body in memory; the body of a blob is only counted and hashed."""

    defaultContentType = None
    content: BytesIO
    received = 0
    digest: Any = None

    def gotLength(self, length: int | None) -> None:
        self.content = BytesIO()
        channel: Any = self.channel
        if channel._path.startswith(b"/api/blobs/"):
            self.digest = hashlib.sha256()

    def handleContentChunk(self, data: bytes) -> None:
        self.received += len(data)
        if self.digest is None:
            self.content.write(data)
        else:
            self.digest.update(data)


class Channel(HTTPChannel):
    """A connection that its site knows."""

    def connectionMade(self) -> None:
        super().connectionMade()
        self.site.channels.add(self)  # type: ignore[attr-defined]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self.site.channel_lost(self)  # type: ignore[attr-defined]


class ChannelSite(Site):
    """A site that knows its connections, so that all of them can be closed."""

    protocol = Channel  # type: ignore[assignment]
    noisy = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, parsePOSTFormSubmission=False, **kwargs)
        self.channels: set[Any] = set()
        self._emptied: list[Deferred[None]] = []

    def channel_lost(self, channel: Any) -> None:
        """A connection is gone."""
        self.channels.discard(channel)
        if not self.channels:
            waiting, self._emptied = self._emptied, []
            for emptied in waiting:
                emptied.callback(None)

    def abort_all(self) -> Deferred[None]:
        """Close every connection at once; fires when all are gone."""
        emptied: Deferred[None] = Deferred()
        if not self.channels:
            emptied.callback(None)
            return emptied
        self._emptied.append(emptied)
        for channel in list(self.channels):
            channel.transport.abortConnection()
        return emptied

    def log(self, request: Any) -> None:
        """Write no access log."""


class Root(Resource):
    """Hands every request to `start`."""

    isLeaf = True

    def __init__(self, start: Callable[[Any], None]) -> None:
        super().__init__()
        self._start = start

    def render(self, request: Any) -> int:
        request.responseHeaders.removeHeader(b"server")
        self._start(request)
        return NOT_DONE_YET


def host_allowed(name: str) -> bool:
    """Whether Ollama, listening on a loopback address, accepts this name in a Host header."""
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        known = {"", "localhost", socket.gethostname().lower()}
        return name.lower() in known or name.endswith((".localhost", ".local", ".internal"))
    return address.is_loopback or address.is_private
