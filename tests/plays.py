"""An upstream that does one thing after another, each in answer to one chat request."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

from twisted.internet.defer import maybeDeferred
from twisted.internet.protocol import Factory, Protocol

from tests.wires import NOT_OLLAMA

Move = bytes | Literal["close", "reset", "hang"]
Play = Sequence[Move]
"""What is said to one request, and how it ends; "hang" says nothing more."""
LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


class Stage:
    """Answers the n-th chat request with the n-th play; the last one is played for ever."""

    def __init__(self, reactor: Any, *plays: Play, speechless: bool = False) -> None:
        """A `speechless` one plays as soon as somebody connects."""
        self.requests = 0
        self.connections = 0
        self.speechless = speechless
        self.open: set[_Actor] = set()
        self._plays = plays
        self._reactor = reactor
        factory = Factory()
        factory.buildProtocol = lambda _: _Actor(self)  # type: ignore[method-assign]
        factory.noisy = False
        self._port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.url = f"http://127.0.0.1:{self._port.getHost().port}"

    def next_play(self) -> Play:
        self.requests += 1
        return self._plays[min(self.requests, len(self._plays)) - 1]

    def reset_soon(self, actor: _Actor) -> None:
        """Reset a connection. What was said before is still in it; two turns let it out."""
        later = self._reactor.callLater
        later(0, lambda: later(0, actor.transport.abortConnection))

    async def stop_listening(self) -> None:
        await maybeDeferred(self._port.stopListening)

    async def stop(self) -> None:
        await self.stop_listening()
        for actor in list(self.open):
            actor.transport.abortConnection()


class _Actor(Protocol):
    """One connection to the stage."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._heard = b""

    def connectionMade(self) -> None:
        self._stage.open.add(self)
        self._stage.connections += 1
        if self._stage.speechless:
            self._act(self._stage.next_play())

    def connectionLost(self, reason: Any) -> None:
        self._stage.open.discard(self)

    def dataReceived(self, data: bytes) -> None:
        self._heard += data
        head, end, body = self._heard.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if not end or len(body) < (int(length[1]) if length else 0):
            return
        self._heard = b""
        if b"/chat/completions" in head.split(b"\r\n")[0]:
            self._act(self._stage.next_play())
        else:
            self.transport.write(NOT_OLLAMA)

    def _act(self, play: Play) -> None:
        for move in play:
            if isinstance(move, bytes):
                self.transport.write(move)
            elif move == "close":
                self.transport.loseConnection()
            elif move == "reset":
                self._stage.reset_soon(self)
