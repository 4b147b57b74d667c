"""A bridge between a raw client and a raw upstream."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from codex_bridge.service import make_service
from codex_bridge.settings import Settings
from tests.harness import RawClient, Setup
from tests.wires import WireServer


class Scene:
    """A bridge between a raw client and a raw upstream."""

    def __init__(self, reactor: Any = reactor, *, is_ollama: bool = False, **settings: Any) -> None:
        self.wires = WireServer(reactor, is_ollama=is_ollama)
        self.upstream = self.wires.next_connection
        self.upstream_url = self.wires.url
        self.service = make_service(
            Settings(port=0, upstream_url=self.wires.url, drain=0, **settings), reactor
        )
        self.service.startService()
        port = self.service.listening_port.getHost().port
        self.setup = Setup(reactor, self.service, f"http://127.0.0.1:{port}", port)

    async def client(self, *lines: bytes) -> RawClient:
        client = await self.setup.connect()
        if lines:
            client.send(b"\r\n".join([*lines, b"Host: localhost", b"", b""]))
        return client

    async def stop(self) -> None:
        for connection in self.setup.connections:
            await connection.close()
        await self.service.stopService()
        await self.wires.stop()

    async def flood(self, transport: Any, piece: bytes, total: int) -> int:
        """Send `total` bytes in pieces for as long as `transport` takes them.

        Returns how many went out until it stalled; `flooded` fires when all are out.
        """
        pump = _Pump(transport, piece, total)
        self.flooded = pump.done
        transport.registerProducer(pump, True)
        pump.resumeProducing()
        idle = 0
        while idle < 20 and pump.sent < total:
            before = pump.sent
            # Many turns of the reactor, in which a leak would go on.
            await self.setup.request("GET", "/__nothing")
            idle = idle + 1 if pump.sent == before else 0
        return pump.sent


class _Pump:
    """A push producer of one piece, over and over."""

    def __init__(self, transport: Any, piece: bytes, total: int) -> None:
        self.sent = 0
        self.done: Deferred[None] = Deferred()
        self._transport = transport
        self._piece = piece
        self._total = total
        self._paused = False

    def resumeProducing(self) -> None:
        self._paused = False
        while not self._paused and self.sent < self._total:
            self.sent += len(self._piece)
            self._transport.write(self._piece)
        if self.sent >= self._total and not self.done.called:
            self._transport.unregisterProducer()
            self.done.callback(None)

    def pauseProducing(self) -> None:
        self._paused = True

    def stopProducing(self) -> None:
        self._paused = True
