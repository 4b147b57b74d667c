"""An upstream that is nothing but sockets: the test sees and says every byte."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.protocol import Factory, Protocol


class Wire(Protocol):
    """One connection that was made to the upstream."""

    def __init__(self, arrived: Callable[[Wire, bytes], None]) -> None:
        self._arrived = arrived
        self._spoke = False
        self.received = b""
        self.keep_last: int | None = None
        self.lost: Deferred[None] = Deferred()
        self._waiting: list[tuple[bytes, Deferred[bytes]]] = []

    def dataReceived(self, data: bytes) -> None:
        if data and not self._spoke:
            self._spoke = True
            self._arrived(self, data)
        self.received += data
        if self.keep_last is not None:
            self.received = self.received[-self.keep_last :]
        for entry in list(self._waiting):
            if entry[0] in self.received:
                self._waiting.remove(entry)
                entry[1].callback(self.received)

    def connectionLost(self, reason: Any) -> None:
        self.lost.callback(None)

    def until(self, mark: bytes) -> Deferred[bytes]:
        waiting: Deferred[bytes] = Deferred()
        self._waiting.append((mark, waiting))
        self.dataReceived(b"")
        return waiting

    def say(self, data: bytes) -> None:
        self.transport.write(data)


OLLAMA = b'HTTP/1.1 200 OK\r\nContent-Length: 20\r\nConnection: close\r\n\r\n{"version":"0.33.0"}'
NOT_OLLAMA = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class WireServer:
    """Accepts connections and hands them to the test, with the first bytes that they bring.

    Unless `shows_version`, it says itself that it is not Ollama to whoever asks for a version, and
    that it has no list of models to the question that follows, so that nothing more is asked
    before an exchange. It also says itself that it shows no prompts.
    """

    def __init__(
        self, reactor: Any, *, shows_version: bool = False, is_ollama: bool = False
    ) -> None:
        """`is_ollama`: it says itself that it is an Ollama, in place of that it is none."""
        self.is_ollama = is_ollama
        self.shows_version = shows_version
        self.wires: list[Wire] = []
        self._arrivals: list[Wire] = []
        self._wanted: list[Deferred[Wire]] = []
        self._is_asked_who_it_is = False
        factory = Factory()
        factory.buildProtocol = lambda _: Wire(self._arrived)  # type: ignore[method-assign]
        factory.noisy = False
        self._port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.url = f"http://127.0.0.1:{self._port.getHost().port}"

    def next_connection(self) -> Deferred[Wire]:
        """The next connection that is made."""
        wanted: Deferred[Wire] = Deferred()
        if self._arrivals:
            wanted.callback(self._arrivals.pop(0))
        else:
            self._wanted.append(wanted)
        return wanted

    async def stop(self) -> None:
        """Close everything."""
        for wire in self.wires:
            wire.transport.abortConnection()
            if not wire.lost.called:
                await wire.lost
        await maybeDeferred(self._port.stopListening)

    def _arrived(self, wire: Wire, data: bytes) -> None:
        self.wires.append(wire)
        asks_version = data.startswith(b"GET /api/version") and not self.shows_version
        asks_list = self._is_asked_who_it_is and data.startswith(b"GET /v1/models HTTP/1.1")
        if asks_version or asks_list or data.startswith(b"POST /apply-template"):
            is_ollama = asks_version and self.is_ollama
            self._is_asked_who_it_is = asks_version and not is_ollama
            wire.say(OLLAMA if is_ollama else NOT_OLLAMA)
        elif self._wanted:
            self._wanted.pop(0).callback(wire)
        else:
            self._arrivals.append(wire)
