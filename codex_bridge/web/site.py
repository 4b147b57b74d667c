"""How request bodies arrive: bounded in memory for exchanges, as a stream for all else.

twisted.web keeps every body, in memory or in a temporary file, before a resource sees the
request. An exchange needs its body whole but bounded; a pass-through must not keep it.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any
from urllib.parse import unquote_to_bytes

from twisted.internet.defer import Deferred
from twisted.web.http_headers import Headers
from twisted.web.resource import IResource
from twisted.web.server import Request, Site

from codex_bridge.errors import ApiError
from codex_bridge.web.channel import BridgeChannel, Phase

EXCHANGE_PATHS = frozenset({b"/v1/responses", b"/responses"})
"""Their bodies are collected, up to the limit."""
DISCARD_FACTOR = 4
"""How many times the limit is read and dropped so that the client can read the refusal."""
Refuse = Callable[[bytes, bytes, Headers], ApiError | None]
"""Method, target and headers -> why such a request is not served; None if it is."""


class Upload:
    """A request body on its way through: chunks are handed on as they come.

    The chunks that come before `deliver_to` are kept; the client is paused meanwhile.
    """

    def __init__(self, request: BridgeRequest, length: int | None) -> None:
        self.length = length
        """Bytes, None for a chunked body."""
        self.complete = False
        self._paused = False
        self._request = request
        self._early: list[bytes] = []
        self._on_data: Callable[[bytes], None] = self._keep
        self._on_end: Callable[[], None] = lambda: None

    def deliver_to(self, on_data: Callable[[bytes], None], on_end: Callable[[], None]) -> None:
        """Hand over what came so far, then every chunk as it comes; `on_end` behind the last."""
        self._on_data, self._on_end = on_data, on_end
        early, self._early = self._early, []
        for data in early:
            on_data(data)
        if self.complete:
            on_end()
        else:
            self.resume()

    def discard(self) -> None:
        """Nobody wants the rest: read on and drop it, so that the client finishes sending."""
        self._early = []
        self.deliver_to(lambda _: None, lambda: None)

    def pause(self) -> None:
        """Stop reading from the client. The pause is ours, so it must not count as idle."""
        if not self.complete and self._request.is_connected:
            self._paused = True
            self._request.channel.wait_for(Phase.NOTHING)
            self._request.connection.pauseProducing()

    def resume(self) -> None:
        """Read on."""
        if not self.complete and self._request.is_connected:
            self._paused = False
            self._request.channel.wait_for(self._request.awaited)
            self._request.connection.resumeProducing()

    def data_received(self, data: bytes) -> None:
        """A piece came."""
        self._on_data(data)

    def ended(self) -> None:
        """The last piece came."""
        self.complete = True
        if self._paused and self._request.is_connected:
            # Only a socket that is read tells that the client has left.
            self._request.connection.resumeProducing()
        self._on_end()

    def _keep(self, data: bytes) -> None:
        self._early.append(data)
        self.pause()


class BridgeRequest(Request):
    """A request whose resource is rendered as soon as it can work: see the module."""

    # What has no type goes out without one, as Ollama sent it.
    defaultContentType = None
    content: BytesIO
    channel: Any

    upload: Upload | None = None
    """The body, where it is streamed."""
    too_large = False
    """Set where the body is over the limit; `content` is empty then."""
    refusal: ApiError | None = None
    """Why it is not served; nothing of its body is kept then."""
    awaited = Phase.UPLOAD
    """What the channel waits for while the body comes."""

    _limit = 0
    _received = 0
    _finish_later = False

    @property
    def is_connected(self) -> bool:
        """Whether the client is still there and waits for (the rest of) this response."""
        return not self._disconnected and not self.finished

    @property
    def connection(self) -> Any:
        """The client's TCP transport."""
        return self.transport

    def gotLength(self, length: int | None) -> None:
        """The headers are in. Start on a streamed body now; twisted.web would wait for its end."""
        self.content = BytesIO()
        channel = self.channel
        is_exchange = exchange_path(channel._path) is not None
        self._limit = channel.site.max_body_size
        self.awaited = Phase.BODY if is_exchange else Phase.UPLOAD
        channel.wait_for(self.awaited)
        self.too_large = is_exchange and length is not None and length > self._limit
        self.refusal = channel.site.refuse(channel._command, channel._path, self.requestHeaders)
        if length == 0 or (is_exchange and not self.too_large and self.refusal is None):
            return
        self.upload = Upload(self, length)
        self._received_request(channel._command, channel._path, channel._version)
        if self.startedWriting:
            # The channel would send "100 Continue" behind the answer.
            self.requestHeaders.removeHeader(b"expect")

    def handleContentChunk(self, data: bytes) -> None:
        """A piece of the body."""
        self._received += len(data)
        if self.awaited is Phase.BODY and self._received > DISCARD_FACTOR * self._limit:
            self.connection.abortConnection()
        elif self.upload is not None:
            self.upload.data_received(data)
        elif self._received <= self._limit:
            self.content.write(data)
        elif not self.too_large:
            self.too_large = True
            self.content = BytesIO()

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """The body is in."""
        if self.upload is None:
            self._received_request(command, path, version)
            return
        self.upload.ended()
        if self._finish_later and not self._disconnected:
            super().finish()

    def _received_request(self, command: bytes, target: bytes, version: bytes) -> None:
        target = origin_form(target)
        if path := exchange_path(target):
            target = path + target[len(target.partition(b"?")[0]) :]
        super().requestReceived(command, target, version)

    def finish(self) -> None:
        """End the response; take the next request once the client has sent the rest of this one."""
        if self.upload is None or self.upload.complete:
            super().finish()
            return
        self._finish_later = True
        if not self.startedWriting:
            self.write(b"")
        if self.chunked:
            # A client that stops sending at an early answer waits for this.
            self.channel.write(b"0\r\n\r\n")
            self.chunked = 0
        self.upload.discard()


def origin_form(target: bytes) -> bytes:
    """Path and query of a request target; a proxy's absolute form leads nowhere but here."""
    if target.startswith(b"/"):
        return target
    _, separator, rest = target.partition(b"://")
    slash = rest.find(b"/")
    return rest[slash:] if separator and slash >= 0 else b"/"


def exchange_path(target: bytes) -> bytes | None:
    """Which of EXCHANGE_PATHS a request target means, however it is spelled; else None."""
    path = unquote_to_bytes(origin_form(target).partition(b"?")[0])
    plain = b"/" + b"/".join(filter(None, path.split(b"/")))
    return plain if plain in EXCHANGE_PATHS else None


class BridgeSite(Site):
    """The HTTP server: our requests, no access log (the rooms log what counts)."""

    protocol = BridgeChannel  # type: ignore[assignment]
    noisy = False

    def __init__(
        self,
        resource: IResource,
        max_body_size: int,
        client_timeout: float,
        reactor: Any,
        refuse: Refuse = lambda *_: None,
    ) -> None:
        super().__init__(
            resource,
            requestFactory=BridgeRequest,
            timeout=None,  # The channel has its own.
            reactor=reactor,
            # Parsing a form would need the whole body and eat it.
            parsePOSTFormSubmission=False,
        )
        self.max_body_size = max_body_size
        self.client_timeout = client_timeout
        self.refuse = refuse
        self.channels: set[BridgeChannel] = set()
        self._closed: Deferred[None] | None = None

    def close_channels(self) -> Deferred[None]:
        """Close every connection once what was written is out; fires when all are gone."""
        closed: Deferred[None] = Deferred()
        self._closed = closed
        for channel in list(self.channels):
            channel.loseConnection()
        if not self.channels:
            closed.callback(None)
        return closed

    def abort_channels(self) -> None:
        """Close those that do not let themselves be closed."""
        for channel in list(self.channels):
            channel.forceAbortClient()

    def channel_closed(self, channel: BridgeChannel) -> None:
        """A connection ended."""
        self.channels.discard(channel)
        if self._closed is not None and not self.channels and not self._closed.called:
            self._closed.callback(None)

    def log(self, request: Any) -> None:
        """Nothing: one line per exchange is written by the exchange."""
