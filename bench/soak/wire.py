"""HTTP for the clients of the soak: connections that can misbehave, and strict readers."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator, Iterable
from typing import Any

import orjson
from attrs import define, field

from bench.soak.lateness import Lateness
from tests.responses import grammar

Json = dict[str, Any]
PIECE = 16 * 1024
"""Bytes that a slow reader takes at once."""
LINES = {"Host": "localhost", "Content-Type": "application/json"}
GONE = (ConnectionError, asyncio.IncompleteReadError)


class Finding(Exception):
    """The bridge did something wrong."""


@define
class Reply:
    """One whole answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    def response(self) -> Json:
        """The final response of an exchange, from a stream, whose grammar is checked, or a body."""
        if self.headers.get("content-type", "").startswith("text/event-stream"):
            return grammar.read(grammar.parse_sse(self.body))
        answer: Json = orjson.loads(self.body)
        if self.status != 200:
            assert answer["error"]["message"], answer
            return {"status": f"http {self.status}"}
        return answer


@define
class Wire:
    """One connection to the bridge."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    late: Lateness
    patience: float
    """Seconds without a byte after which the bridge counts as hanging; more if we are late."""
    pace: float = 0.0
    """Seconds to wait before each piece that is read."""
    received: int = field(default=0)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def reply(self, *, bodiless: bool = False) -> Reply:
        """The next answer, read to its end. Raises Finding if nothing comes within `patience`."""
        status, headers = await self._head()
        if status == 100:
            status, headers = await self._head()
        pieces: list[bytes] = []
        if bodiless or status in {204, 304}:
            pass
        elif headers.get("transfer-encoding") == "chunked":
            while size := int(await self._line(), 16):
                pieces.append(await self._exactly(size))
                await self._line()
            await self._line()
        elif "content-length" in headers:
            pieces.append(await self._exactly(int(headers["content-length"])))
        else:
            raise Finding(f"an answer of no known length: {status} {headers}")
        return Reply(status, headers, b"".join(pieces))

    async def until_closed(self, seconds: float) -> bytes:
        """What comes until the bridge closes the connection, within `seconds`."""
        try:
            async with self.late.timeout(seconds):
                return await self.reader.read()
        except TimeoutError:
            raise Finding(f"not closed within {seconds:.0f} s") from None
        except ConnectionError:
            return b""

    async def some(self) -> bytes:
        """The next bytes; empty at the end."""
        async with self._patiently():
            return await self.reader.read(PIECE)

    def leave(self, rng: random.Random) -> None:
        """Close in a randomly chosen way."""
        sock = self.writer.get_extra_info("socket")
        if rng.random() < 0.5 and sock is not None:
            linger = b"\1\0\0\0\0\0\0\0"
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        if rng.random() < 0.5:
            self.writer.transport.abort()
        self.writer.close()

    async def _head(self) -> tuple[int, dict[str, str]]:
        _, status, *_ = (await self._line()).split(b" ")
        headers = {}
        while line := await self._line():
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        return int(status), headers

    async def _line(self) -> bytes:
        async with self._patiently():
            return (await self.reader.readuntil(b"\r\n"))[:-2]

    async def _exactly(self, size: int) -> bytes:
        pieces = []
        while size:
            if self.pace:
                await asyncio.sleep(self.pace)
            async with self._patiently():
                piece = await self.reader.read(min(size, PIECE if self.pace else size))
            if not piece:
                raise asyncio.IncompleteReadError(b"", size)
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    @contextlib.asynccontextmanager
    async def _patiently(self) -> AsyncIterator[None]:
        try:
            async with self.late.timeout(self.patience):
                yield
        except TimeoutError:
            raise Finding(f"hangs: no byte for {self.patience:.0f} s") from None


@contextlib.asynccontextmanager
async def wire(
    port: int,
    rng: random.Random,
    late: Lateness,
    patience: float,
    *,
    pace: float = 0.0,
    narrow: bool = False,
) -> AsyncIterator[Wire]:
    """A connection that is closed at the end; a `narrow` one has small buffers."""
    sock = socket.socket()
    sock.setblocking(False)
    if narrow:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    limit = 2048 if narrow else 2**16
    streams = await asyncio.open_connection(sock=sock, limit=limit)
    connection = Wire(*streams, late, patience, pace)
    try:
        yield connection
    finally:
        connection.leave(rng)


def encoded(method: str, path: str, body: bytes | None = None, **more: str) -> bytes:
    """A request; `more` are headers, an underscore for each hyphen."""
    named = LINES | {name.replace("_", "-"): value for name, value in more.items()}
    if body is not None:
        named["Content-Length"] = str(len(body))
    return head(method, path, named) + (body or b"")


def head(method: str, path: str, headers: Json) -> bytes:
    """Request line and headers."""
    lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items()), "", ""]
    return "\r\n".join(lines).encode()


def chunked(pieces: Iterable[bytes]) -> list[bytes]:
    """A body's pieces as the chunks of its transfer, the last one included."""
    return [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece] + [b"0\r\n\r\n"]
