"""How request bodies arrive: bounded in memory for exchanges, as a stream for all else.

twisted.web keeps every body, in memory or in a temporary file, before a resource sees the
request. An exchange needs its body complete but bounded; a pass-through must not keep it.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

from twisted.internet.defer import Deferred
from twisted.web.http_headers import Headers
from twisted.web.resource import IResource
from twisted.web.server import Request, Site

from codex_bridge.errors import ApiError
from codex_bridge.twisted_private import end_chunks, request_line
from codex_bridge.web.channel import BridgeChannel, Phase
from codex_bridge.web.route import Route, route_of

DISCARD_FACTOR = 4
"""A refused body is read and dropped up to this multiple of the limit, so that the client can read
the refusal."""
Refuse = Callable[[Route, Headers], ApiError | None]
"""Route and headers -> why such a request is not served; None if it is."""


class Upload:
    """A request body that passes through: each chunk is handed on as it comes.

    The chunks that come before `deliver_to` are kept; the client is paused meanwhile.
    """

    def __init__(self, request: BridgeRequest, length: int | None) -> None:
        self.length = length
        """Bytes, None for a chunked body."""
        self.is_complete = False
        self._is_paused = False
        self._request = request
        self._early: list[bytes] = []
        self._on_data: Callable[[bytes], None] = self._keep
        self._on_end: Callable[[], None] = lambda: None

    def deliver_to(self, on_data: Callable[[bytes], None], on_end: Callable[[], None]) -> None:
        """Hand over the chunks that came so far, then each as it comes; `on_end` after the last."""
        self._on_data, self._on_end = on_data, on_end
        early, self._early = self._early, []
        for data in early:
            on_data(data)
        if self.is_complete:
            on_end()
        else:
            self.resume()

    def collect(self, limit: int) -> Deferred[bytes | None]:
        """The body, once it is whole; None as soon as it is known to exceed `limit` bytes.

        `deliver_to` hands it over from its beginning all the same.
        """
        collected: Deferred[bytes | None] = Deferred()
        size = sum(map(len, self._early))

        def look() -> None:
            is_too_large = max(self.length or 0, size) > limit
            if collected.called or not (is_too_large or self.is_complete):
                return
            self._on_data, self._on_end = self._keep, lambda: None
            collected.callback(None if is_too_large else b"".join(self._early))

        def keep(data: bytes) -> None:
            nonlocal size
            size += len(data)
            self._early.append(data)
            look()

        self._on_data, self._on_end = keep, look
        look()
        if not collected.called:
            self.resume()
        return collected

    def discard(self) -> None:
        """Read the rest and drop it, so that the client can finish sending."""
        self._early = []
        self.deliver_to(lambda _: None, lambda: None)

    def pause(self) -> None:
        """Stop reading from the client. It is the bridge that pauses: no deadline counts."""
        self._read(paused=True)

    def resume(self) -> None:
        """Read on."""
        self._read(paused=False)

    def data_received(self, data: bytes) -> None:
        """A chunk came."""
        self._on_data(data)

    def ended(self) -> None:
        """The last chunk came."""
        self.is_complete = True
        if self._is_paused and self._request.is_connected:
            # Twisted notices that the client has left only while it reads from the socket.
            self._request.transport.resumeProducing()
        self._on_end()

    def _read(self, *, paused: bool) -> None:
        request = self._request
        if self.is_complete or not request.is_connected:
            return
        self._is_paused = paused
        request.channel.wait_for(Phase.NOTHING if paused else request.body_phase)
        if paused:
            request.transport.pauseProducing()
        else:
            request.transport.resumeProducing()

    def _keep(self, data: bytes) -> None:
        self._early.append(data)
        self.pause()


class BridgeRequest(Request):
    """A request that is rendered as soon as its resource can work with it: see the module."""

    # An answer of Ollama without a content type goes out without one.
    defaultContentType = None
    content: BytesIO
    channel: Any
    """None when the client is gone."""
    transport: Any
    """The client's TCP transport."""

    route: Route
    upload: Upload | None = None
    """The body, where it is streamed."""
    too_large = False
    """Whether the body is over the limit; `content` is empty then."""
    refusal: ApiError | None = None
    """Why the request is not served; nothing of its body is kept then."""

    _body_size = 0
    """Bytes that came so far."""
    _finish_called = False

    def getRequestHostname(self) -> bytes:
        """The same name for every request: the router refuses a Host that is no name.

        Who may use the bridge, and under which name, is decided in access.py.
        """
        return b"localhost"

    @property
    def is_connected(self) -> bool:
        """Whether the client is still there and waits for (the rest of) this response."""
        return not self.finished and self.channel is not None

    @property
    def body_phase(self) -> Phase:
        """What the channel waits for while the body comes."""
        return Phase.BODY if self.route.is_exchange else Phase.UPLOAD

    def gotLength(self, length: int | None) -> None:
        """The head is in; the body has `length` bytes, or is chunked (None).

        A request whose body is streamed is rendered now; twisted.web would wait for its end.
        """
        self.content = BytesIO()
        site = self.channel.site
        method, target, version = request_line(self.channel)
        self.route = route_of(method, target)
        self.channel.wait_for(self.body_phase)
        self.refusal = site.refuse(self.route, self.requestHeaders)
        is_collected = self.route.is_exchange
        self.too_large = is_collected and length is not None and length > site.max_body_size
        if length == 0 or (is_collected and not self.too_large and self.refusal is None):
            return
        self.upload = Upload(self, length)
        super().requestReceived(method, self.route.target, version)
        if self.startedWriting:
            # The channel would send "100 Continue" after the reply.
            self.requestHeaders.removeHeader(b"expect")

    def handleContentChunk(self, data: bytes) -> None:
        """A piece of the body."""
        limit = self.channel.site.max_body_size
        self._body_size += len(data)
        if self.route.is_exchange and self._body_size > DISCARD_FACTOR * limit:
            self.transport.abortConnection()
        elif self.upload is not None:
            self.upload.data_received(data)
        elif self._body_size <= limit:
            self.content.write(data)
        elif not self.too_large:
            self.too_large = True
            self.content = BytesIO()

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """The body is in."""
        if self.upload is None:
            super().requestReceived(command, self.route.target, version)
            return
        self.upload.ended()
        if self._finish_called:
            super().finish()

    def finish(self) -> None:
        """End the response; take the next request once the client has sent the rest of this one."""
        if self.upload is None or self.upload.is_complete:
            super().finish()
            return
        self._finish_called = True
        if not self.startedWriting:
            self.write(b"")
        # A client that stops sending at an early reply waits for the end.
        end_chunks(self)
        self.upload.discard()


class BridgeSite(Site):
    """The HTTP server. It writes no access log: the code that serves a request logs it."""

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
            timeout=None,  # The channel has its own deadlines.
            reactor=reactor,
            # Parsing a form would need the complete body, and consume it.
            parsePOSTFormSubmission=False,
        )
        self.max_body_size = max_body_size
        self.client_timeout = client_timeout
        self.refuse = refuse
        self.channels: set[BridgeChannel] = set()
        self._all_closed: Deferred[None] | None = None

    def end_sockets(self) -> None:
        """Tell every WebSocket that the bridge is being stopped: an idle one is closed at once."""
        for channel in list(self.channels):
            if channel.upgraded is not None:
                channel.upgraded.going_away()

    def close_channels(self) -> Deferred[None]:
        """Close every connection once what was written is out; fires when all are gone."""
        self._all_closed = all_closed = Deferred[None]()
        for channel in list(self.channels):
            channel.loseConnection()
        self._fire_when_closed()
        return all_closed

    def abort_channels(self) -> None:
        """Close every connection that is left, whatever its client has not read."""
        for channel in list(self.channels):
            channel.forceAbortClient()

    def channel_closed(self, channel: BridgeChannel) -> None:
        """A connection ended."""
        self.channels.discard(channel)
        self._fire_when_closed()

    def log(self, request: Any) -> None:
        """Nothing: see the class."""

    def _fire_when_closed(self) -> None:
        if self._all_closed is not None and not self.channels and not self._all_closed.called:
            self._all_closed.callback(None)
