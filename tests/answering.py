"""A server whose every answer a test decides by the request's path, over TCP or TLS."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.protocol import Factory, Protocol

LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


def answer(status: str, body: bytes = b"", *headers: str) -> bytes:
    """An HTTP answer with a length."""
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


class AnsweringServer:
    """Gives `answers(path)` to each request, or closes the connection if that is empty."""

    def __init__(self, reactor: Any, answers: Callable[[str], bytes]) -> None:
        self.answers = answers
        self.says_bad_request = True
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        """Those of the requests, in the order of `heads`."""
        self.closes = False
        """Whether each answer ends with its connection, as in HTTP/1.0."""
        self.open: set[_Connection] = set()
        factory = Factory()
        factory.buildProtocol = lambda _: _Connection(self)  # type: ignore[method-assign]
        factory.noisy = False
        self._port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.port = self._port.getHost().port
        self.url = f"http://127.0.0.1:{self.port}"

    def header(self, name: bytes) -> list[bytes | None]:
        """The values of a header in the requests; None for one that does not have it."""
        found = [re.search(rb"(?i)\r\n%b: ([^\r]*)" % name, head) for head in self.heads]
        return [match[1] if match else None for match in found]

    async def stop(self) -> None:
        await maybeDeferred(self._port.stopListening)
        for connection in list(self.open):
            connection.transport.abortConnection()


class _Connection(Protocol):
    def __init__(self, server: AnsweringServer) -> None:
        self._server = server
        self._heard = b""
        self.lost: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self._server.open.add(self)

    def connectionLost(self, reason: Any) -> None:
        self._server.open.discard(self)
        self.lost.callback(None)

    def dataReceived(self, data: bytes) -> None:
        self._heard += data
        if self._heard.startswith(b"\x16\x03"):
            # The beginning of a TLS handshake. Ollama answers this to all that is no HTTP.
            if self._server.says_bad_request:
                self.transport.write(answer("400 Bad Request"))
            self.transport.loseConnection()
            return
        head, end, body = self._heard.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if not end or len(body) < (int(length[1]) if length else 0):
            return
        self._heard = b""
        self._server.heads.append(head + b"\r\n")
        self._server.bodies.append(body)
        said = self._server.answers(head.split(b" ")[1].decode())
        self.transport.write(said)
        if self._server.closes or not said:
            self.transport.loseConnection()
