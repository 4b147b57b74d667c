"""A strict WebSocket client for a bridge: it decides over every frame, and reads every one."""

from __future__ import annotations

import struct
from typing import Any

import orjson
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Ping,
    Pong,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)
from wsproto.extensions import PerMessageDeflate

from tests.harness import Json, Setup
from tests.responses import grammar

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 0x1, 0x2, 0x0, 0x8, 0x9, 0xA
ENDS = frozenset({"response.completed", "response.incomplete", "response.failed", "error"})


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, length: int | None = None
) -> bytes:
    """One masked frame; `length`: what it says that it has, if that is not so."""
    size = len(payload) if length is None else length
    head = bytes([(fin << 7) | (rsv << 4) | opcode])
    if size < 126:
        head += bytes([0x80 | size])
    elif size < 1 << 16:
        head += b"\xfe" + struct.pack("!H", size)
    else:
        head += b"\xff" + struct.pack("!Q", size)
    mask = b"mask"
    repeated = (mask * (len(payload) // 4 + 1))[: len(payload)]
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")
    return head + mask + masked.to_bytes(len(payload), "big")


class SocketClient(Protocol):
    """One WebSocket. Everything that comes is read as RFC 6455 says, or an assertion fails."""

    def __init__(self, *, deflate: bool = False, answers_pings: bool = True) -> None:
        self.events: list[Json] = []
        """The messages that nobody has asked for yet."""
        self.pings: list[bytes] = []
        self.pongs: list[bytes] = []
        self.closed: tuple[int, str | None] | None = None
        """Code and reason of the close frame that came."""
        self.lost: Deferred[None] = Deferred()
        self.accepted: Deferred[AcceptConnection | tuple[int, bytes]] = Deferred()
        """Fires with the answer to the handshake: how it was accepted, or status and body."""
        self.answers_pings = answers_pings
        self._extensions = [PerMessageDeflate()] if deflate else []
        self._wire = WSConnection(ConnectionType.CLIENT)
        self._refusal: tuple[int, bytes] | None = None
        self._text = ""
        self._waiting: list[Deferred[Json]] = []

    def open(self, path: str, headers: Json) -> None:
        """Send the handshake."""
        extra = [(name.encode(), str(value).encode()) for name, value in headers.items()]
        request = Request("localhost", path, self._extensions, extra)
        self.transport.write(self._wire.send(request))

    def send(self, message: Any) -> None:
        """Send a message: JSON, or a text as it is."""
        text = message if isinstance(message, str) else orjson.dumps(message).decode()
        self.transport.write(self._wire.send(TextMessage(text)))

    def send_bytes(self, data: bytes) -> None:
        self.transport.write(data)

    def create(self, body: Json, **more: Any) -> None:
        """Ask for a response."""
        self.send({"type": "response.create", **body, **more})

    def close(self, code: int = 1000) -> None:
        self.transport.write(self._wire.send(CloseConnection(code)))

    def next(self) -> Deferred[Json]:
        """The next message that comes, or has come."""
        waiting: Deferred[Json] = Deferred()
        self._waiting.append(waiting)
        self._tell()
        return waiting

    async def reply(self) -> list[Json]:
        """All messages up to the last one of a reply."""
        events = [await self.next()]
        while events[-1]["type"] not in ENDS:
            events.append(await self.next())
        return events

    async def ask(self, body: Json, **more: Any) -> Json:
        """Ask for a response; the response object of the last event, or the error message."""
        self.create(body, **more)
        events = await self.reply()
        return events[-1] if events[-1]["type"] == "error" else grammar.read(events)

    def dataReceived(self, data: bytes) -> None:
        self._wire.receive_data(data)
        for event in self._wire.events():
            self._take(event)

    def _take(self, event: Any) -> None:
        if isinstance(event, TextMessage):
            self._text += event.data
            if event.message_finished:
                self.events.append(orjson.loads(self._text))
                self._text = ""
                self._tell()
        elif isinstance(event, Ping):
            self.pings.append(bytes(event.payload))
            if self.answers_pings:
                self.transport.write(self._wire.send(event.response()))
        elif isinstance(event, Pong):
            self.pongs.append(bytes(event.payload))
        elif isinstance(event, CloseConnection):
            assert self.closed is None
            self.closed = (int(event.code), event.reason)
            if self._wire.state is ConnectionState.REMOTE_CLOSING:
                self.transport.write(self._wire.send(event.response()))
        else:
            self._take_answer(event)

    def _take_answer(self, event: Any) -> None:
        """A part of the answer to the handshake."""
        if isinstance(event, AcceptConnection):
            self.accepted.callback(event)
        elif isinstance(event, RejectConnection):
            self._refusal = (event.status_code, b"")
        else:
            assert isinstance(event, RejectData), event
            assert self._refusal is not None
            self._refusal = (self._refusal[0], self._refusal[1] + event.data)
            if event.body_finished:
                self.accepted.callback(self._refusal)

    def connectionLost(self, reason: Failure) -> None:
        self.lost.callback(None)
        if not self.accepted.called:
            self.accepted.errback(reason)

    def _tell(self) -> None:
        while self.events and self._waiting:
            self._waiting.pop(0).callback(self.events.pop(0))


async def dial(setup: Setup, path: str, headers: Json, **options: Any) -> SocketClient:
    """Connect to the bridge, and send the handshake; `accepted` has the answer."""
    endpoint = TCP4ClientEndpoint(setup.reactor, "127.0.0.1", setup.port)
    factory = Factory()
    factory.buildProtocol = lambda _: SocketClient(**options)  # type: ignore[method-assign]
    client: SocketClient = await endpoint.connect(factory)
    setup.connections.append(_Closing(client))  # type: ignore[arg-type]
    client.open(path, headers)
    return client


async def connect(
    setup: Setup, headers: Json | None = None, path: str = "/v1/responses", **options: Any
) -> SocketClient:
    """An open WebSocket to the bridge, closed at the end of the test."""
    client = await dial(setup, path, headers or {}, **options)
    accepted = await client.accepted
    assert isinstance(accepted, AcceptConnection), accepted
    return client


async def refused(
    setup: Setup, headers: Json | None = None, path: str = "/v1/responses"
) -> tuple[int, Json]:
    """Status and body of a refused handshake."""
    client = await dial(setup, path, headers or {})
    answer = await client.accepted
    assert isinstance(answer, tuple), answer
    return answer[0], orjson.loads(answer[1])


class _Closing:
    """Ends a client as `Setup` ends a raw one."""

    def __init__(self, client: SocketClient) -> None:
        self._client = client

    async def close(self) -> None:
        client = self._client
        if client.transport is not None and client.transport.connected:
            client.transport.abortConnection()
        if not client.lost.called:
            await client.lost
