"""One WebSocket (RFC 6455): its opening handshake, and its frames over the client's connection.

What a client sends is bounded: a message is refused while it arrives, compressed or not, as soon
as it is larger than the limit. The frames are read and written by wsproto. Compressed messages
(RFC 7692) are read; the bridge sends its own uncompressed, which that RFC allows: most of them are
small, and most clients are on the same machine.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.web.http_headers import Headers
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, TextMessage
from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, Opcode, RsvBits
from wsproto.utilities import generate_accept_token

from codex_bridge.errors import ApiError, invalid
from codex_bridge.idle import IdleTimer
from codex_bridge.web.channel import STALL, BridgeChannel, Phase
from codex_bridge.web.site import BridgeRequest

VERSION = b"13"
DEFLATE = "permessage-deflate"
FLUSHED = b"\x00\x00\xff\xff"
"""The end of a compressed message, which is left out on the wire (RFC 7692, 7.2.1)."""


def asks_for_websocket(headers: Headers) -> bool:
    """Whether a request with these headers wants its connection to become a WebSocket.

    A proxy that knows no WebSocket drops the header Upgrade, and leaves the key.
    """
    return headers.hasHeader(b"sec-websocket-key") or b"websocket" in _tokens(headers, b"upgrade")


def no_websocket(why: str) -> ApiError:
    """What a client is told where no WebSocket is served.

    Codex goes on with HTTP at once; after other statuses it tries six times more.
    """
    return ApiError(426, why, code="websocket_unsupported")


def accept(http: BridgeRequest, limit: int) -> list[Extension]:
    """Answer the opening handshake of a GET; the client's connection is a WebSocket from then on.

    Returns the extensions that were agreed on; they inflate no message to more than `limit` bytes.
    Raises ApiError for what is no such handshake.
    """
    headers = http.requestHeaders
    is_upgrade = b"upgrade" in _tokens(headers, b"connection")
    is_upgrade = is_upgrade and b"websocket" in _tokens(headers, b"upgrade")
    if http.clientproto != b"HTTP/1.1" or not is_upgrade:
        raise no_websocket(
            "A WebSocket needs HTTP/1.1 and the headers Connection: Upgrade and Upgrade: "
            "websocket. A proxy in front of codex-bridge has to pass them on."
        )
    if headers.getRawHeaders(b"sec-websocket-version") != [VERSION]:
        http.setHeader(b"sec-websocket-version", VERSION)
        raise no_websocket("codex-bridge speaks version 13 of WebSocket alone.")
    keys = headers.getRawHeaders(b"sec-websocket-key", [])
    if len(keys) != 1 or not _is_key(keys[0]):
        raise invalid(
            "A WebSocket needs one header Sec-WebSocket-Key, with 16 bytes as base64.",
            code="bad_handshake",
        )
    reply = Headers(
        {
            b"upgrade": [b"websocket"],
            b"connection": [b"Upgrade"],
            b"sec-websocket-accept": [generate_accept_token(keys[0])],
        }
    )
    extensions: list[Extension] = []
    for offer in _split(headers, b"sec-websocket-extensions", b","):
        deflate = Deflate(limit)
        agreed = deflate.accept(offer)
        if agreed is not None:
            reply.setRawHeaders(b"sec-websocket-extensions", [agreed.encode()])
            extensions.append(deflate)
            break
    http.startedWriting = 1
    http.channel.writeHeaders(b"HTTP/1.1", b"101", b"Switching Protocols", reply)
    return extensions


def _split(headers: Headers, name: bytes, separator: bytes) -> list[str]:
    values = separator.join(headers.getRawHeaders(name, []))
    return [each.strip().decode("latin-1") for each in values.split(separator)]


def _tokens(headers: Headers, name: bytes) -> set[bytes]:
    return {each.lower().encode("latin-1") for each in _split(headers, name, b",")}


def _is_key(key: bytes) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except binascii.Error:
        return False


class Deflate(Extension):
    """Reads compressed messages; inflates what one read brings to `limit` bytes at most."""

    name = DEFLATE

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._inflater: Any = None
        """A message may refer to the bytes of those before it."""
        self._is_control = False
        """Whether the frame that arrives belongs to no message."""
        self._is_compressed = False
        """Whether the message that arrives is."""

    def enabled(self) -> bool:
        """Always: it is made for a connection whose client can compress."""
        return True

    def offer(self) -> bool:
        """A server offers nothing."""
        return False

    def accept(self, offer: str) -> str | None:
        """The answer to an offer of a client; None if it is declined."""
        name, *parameters = (each.strip() for each in offer.split(";"))
        if name.lower() != DEFLATE:
            return None
        agreed = [DEFLATE]
        for parameter in parameters:
            key, _, value = parameter.lower().partition("=")
            bits = value.strip().strip('"')
            if key == "server_no_context_takeover" and not bits:
                agreed.append(key)
            elif key == "server_max_window_bits" and bits in _WINDOWS:
                agreed.append(f"{key}={bits}")
            elif bits not in _OF_CLIENT.get(key, ()):
                return None
        is_clear = len({each.partition("=")[0] for each in parameters}) == len(parameters)
        return "; ".join(agreed) if is_clear else None

    def frame_inbound_header(
        self, proto: Any, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> RsvBits:
        """A frame begins. Returns the reserved bits that it may have set."""
        self._is_control = opcode.iscontrol()
        begins = not self._is_control and opcode is not Opcode.CONTINUATION
        if begins:
            self._is_compressed = rsv.rsv1
        return RsvBits(begins, False, False)

    def frame_inbound_payload_data(self, proto: Any, data: bytes) -> bytes | CloseReason:
        """Bytes of a frame."""
        return self._inflated(data) if self._is_compressed and not self._is_control else data

    def frame_inbound_complete(self, proto: Any, fin: bool) -> bytes | CloseReason | None:
        """A frame is whole; `fin`: and so is its message."""
        if self._is_control or not self._is_compressed or not fin:
            return None
        rest = self._inflated(b"" if self._has_ended else FLUSHED)
        if self._has_ended:
            self._inflater = None
        return rest

    @property
    def _has_ended(self) -> bool:
        """Whether the client's compressor said that nothing follows; few ever do."""
        return self._inflater is not None and bool(self._inflater.eof)

    def _inflated(self, data: bytes) -> bytes | CloseReason:
        if self._inflater is None:
            self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            inflated: bytes = self._inflater.decompress(data, self._limit + 1)
        except zlib.error:
            return CloseReason.INVALID_FRAME_PAYLOAD_DATA
        return CloseReason.MESSAGE_TOO_BIG if len(inflated) > self._limit else inflated


_WINDOWS = frozenset(map(str, range(8, 16)))
_OF_CLIENT = {"client_no_context_takeover": {""}, "client_max_window_bits": {"", *_WINDOWS}}
"""What a client may say of itself, with values. The bridge can read whatever that allows."""


class Listener(Protocol):
    """What a WebSocket tells of."""

    def message(self, data: bytes) -> None:
        """A whole text message came."""

    def oversized(self) -> None:
        """A message was larger than the limit; the WebSocket is closed when this returns."""

    def going_away(self) -> None:
        """The bridge is being stopped: close the WebSocket as soon as no reply runs over it."""

    def closed(self) -> None:
        """No message follows, and none can be sent any more."""


class WebSocket:
    """The frames of one WebSocket whose handshake is done.

    Where nothing was sent for `ping_after` seconds, the client is pinged. One of which nothing
    came for STALL seconds after that is gone, though nobody told.
    """

    def __init__(
        self,
        channel: BridgeChannel,
        extensions: Sequence[Extension],
        limit: int,
        clock: IReactorTime,
        ping_after: float,
    ) -> None:
        """`limit`: bytes of a message."""
        self.channel = channel
        self._listener: Listener
        self._frames = Connection(ConnectionType.SERVER, list(extensions))
        self._limit = limit
        self._message: bytearray | None = None
        """What came of a message that is not whole yet."""
        self._is_deaf = False
        """Whether no frame is read any more."""
        self._clock = clock
        self._idle = IdleTimer(clock, ping_after, self._ping)
        """Runs for as long as messages can be sent."""
        self._pinged_at: float | None = None
        """When the client was pinged, from which nothing came since."""

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent."""
        return self._idle.is_running

    def start(self, listener: Listener) -> None:
        """Read frames from now on, and tell `listener`."""
        self._listener = listener
        self._idle.start()
        self.channel.upgrade(self)

    def send(self, messages: Iterable[bytes]) -> None:
        """Send each of `messages`, which are UTF-8, in one write; nothing if it is closed."""
        if self.is_open:
            self._write(TextMessage(data=each.decode()) for each in messages)

    def close(self, code: CloseReason, reason: str) -> None:
        """Send no more messages; the client is told why."""
        if self.is_open:
            self._write([CloseConnection(code=code, reason=reason)])
            self._end()
            self.channel.wait_for(Phase.CLOSING)

    def data_received(self, data: bytes) -> None:
        """Bytes came from the client."""
        self._pinged_at = None
        if self._is_deaf:
            return
        self._frames.receive_data(data)
        for event in self._frames.events():
            if isinstance(event, CloseConnection):
                self._is_deaf = True
                self._take_close(event)
                return
            if self.is_open:
                self._take(event)

    def time_is_up(self) -> None:
        """A message did not become whole in time."""
        self.close(CloseReason.POLICY_VIOLATION, "The message did not arrive in time.")

    def going_away(self) -> None:
        """The bridge is being stopped."""
        if self.is_open:
            self._listener.going_away()

    def connection_lost(self) -> None:
        """The client is gone."""
        self._is_deaf = True
        self._end()

    def _take(self, event: Event) -> None:
        if isinstance(event, Ping):
            self._write([event.response()])
        elif isinstance(event, BytesMessage):
            self.close(CloseReason.UNSUPPORTED_DATA, "Only text messages are read.")
        elif isinstance(event, TextMessage):
            self._take_piece(event)

    def _take_piece(self, piece: TextMessage) -> None:
        if self._message is None:
            self._message = bytearray()
            self.channel.wait_for(Phase.MESSAGE)
        self._message += piece.data.encode()
        if len(self._message) > self._limit:
            self._refuse_size()
        elif piece.message_finished:
            message, self._message = bytes(self._message), None
            self.channel.wait_for(Phase.NOTHING)
            self._listener.message(message)

    def _take_close(self, event: CloseConnection) -> None:
        """The client closes the WebSocket, or what it sends cannot be read."""
        if self._frames.state is ConnectionState.REMOTE_CLOSING:
            self._write([event.response()])
        elif self.is_open:
            if event.code == CloseReason.MESSAGE_TOO_BIG:
                self._refuse_size()
            self.close(CloseReason(event.code), event.reason or "")
            return
        self._end()
        self.channel.loseConnection()

    def _refuse_size(self) -> None:
        self._listener.oversized()
        self.close(CloseReason.MESSAGE_TOO_BIG, f"A message may have {self._limit} bytes.")

    def _write(self, events: Iterable[Event]) -> None:
        self._idle.touch()
        self.channel.write(b"".join(map(self._frames.send, events)))

    def _end(self) -> None:
        """Nothing is sent any more."""
        self._message = None
        if self.is_open:
            self._idle.stop()
            self._listener.closed()

    def _ping(self) -> None:
        if self.channel.is_unread:
            # The channel cuts a client off that does not read. Until then nothing is read of it.
            self._pinged_at = None
            return
        now = self._clock.seconds()
        if self._pinged_at is None:
            self._pinged_at = now
        elif now - self._pinged_at >= STALL:
            self.channel.transport.abortConnection()
            return
        self._write([Ping()])
