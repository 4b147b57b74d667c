"""An upstream that does one thing after another, each in answer to one chat request."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from attrs import frozen
from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer

from tests.upstream_bytes import Dialect, Part
from tests.wires import NOT_OLLAMA

Said = bytes | Part


@frozen
class Repeat:
    """Says the same so many times, as fast as it is read; for ever without `times`."""

    said: Said
    times: int | None = None


@frozen
class Drip:
    """Says the same every so many seconds, for ever."""

    said: Said
    seconds: float


@frozen
class Bytewise:
    """Says each byte by itself, so that each is read by itself."""

    said: Said


Ending = Literal["close", "half-close", "reset", "hang"]
Move = Said | Repeat | Drip | Bytewise | Literal["pause"] | Ending
Play = Sequence[Move]
"""What is said to one request, and how it ends; "hang" says nothing more. After a "pause" what
follows comes with another read."""
LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
PAUSE = 0.001
"""Seconds."""


class Stage:
    """Answers the n-th chat request with the n-th play; the last one is played for ever."""

    def __init__(
        self,
        reactor: Any,
        *plays: Play,
        speechless: bool = False,
        clock: Any = None,
        port: int = 0,
    ) -> None:
        """A `speechless` one plays as soon as somebody connects. `clock` is for a Drip."""
        self.requests = 0
        self.connections = 0
        self.bytes = 0
        """How many were heard and said."""
        self.speechless = speechless
        self.open: set[_Actor] = set()
        self.clock = clock or reactor
        self._plays = plays
        self._reactor = reactor
        factory = Factory()
        factory.buildProtocol = lambda _: _Actor(self)  # type: ignore[method-assign]
        factory.noisy = False
        self._port = reactor.listenTCP(port, factory, interface="127.0.0.1")
        self.url = f"http://127.0.0.1:{self._port.getHost().port}"

    def next_play(self) -> Play:
        self.requests += 1
        return self._plays[min(self.requests, len(self._plays)) - 1]

    def answer(self, path: str, body: bytes) -> tuple[Play, Dialect]:
        """What is said to a request with this path and body."""
        is_chat = path.endswith("/chat/completions")
        return self.next_play() if is_chat else (NOT_OLLAMA,), "chat"

    def reset_soon(self, actor: _Actor) -> None:
        """Reset a connection. What was said before is still in it; two turns let it out."""
        later = self._reactor.callLater
        later(0, lambda: later(0, actor.transport.abortConnection))

    def go_on_soon(self, actor: _Actor) -> None:
        self._reactor.callLater(PAUSE, actor.go_on)

    async def stop_listening(self) -> None:
        await maybeDeferred(self._port.stopListening)

    async def stop(self) -> None:
        await self.stop_listening()
        for actor in list(self.open):
            actor.transport.abortConnection()


@implementer(IPushProducer)
class _Actor(Protocol):
    """One connection to the stage."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._heard = b""
        self._moves: Iterator[Move] = iter(())
        self._dialect: Dialect = "chat"
        self._repeat: tuple[bytes, int | None] | None = None
        """What is being said, and how often still."""
        self._is_paused = False
        self.goes_on_for_ever = False
        """Whether only the other side can end what is going on."""

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        self._stage.open.add(self)
        self._stage.connections += 1
        if self._stage.speechless:
            self._act(self._stage.next_play(), "chat")

    def connectionLost(self, reason: Any) -> None:
        self._moves, self._repeat = iter(()), None
        self._stage.open.discard(self)

    def dataReceived(self, data: bytes) -> None:
        self._stage.bytes += len(data)
        self._heard += data
        head, end, body = self._heard.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if not end or len(body) < (int(length[1]) if length else 0):
            return
        self._heard = b""
        path = head.split(b" ")[1].decode()
        self._act(*self._stage.answer(path, body))

    def _act(self, play: Play, dialect: Dialect) -> None:
        self._moves, self._dialect = iter(play), dialect
        self.go_on()

    def go_on(self) -> None:
        """Make the moves that are left, up to one that takes time."""
        for move in self._moves:
            if isinstance(move, bytes | Part):
                self._say(move)
            elif isinstance(move, Repeat):
                self._repeat = self._bytes(move.said), move.times
                self.goes_on_for_ever = move.times is None
                self.transport.registerProducer(self, True)
                self.resumeProducing()
                return
            elif isinstance(move, Drip):
                self.goes_on_for_ever = True
                self._drip(move)
                return
            elif isinstance(move, Bytewise):
                said = self._bytes(move.said)
                single: list[Move] = [b for each in said for b in (bytes([each]), "pause")]
                self._moves = iter([*single, *self._moves])
                self._stage.go_on_soon(self)
                return
            elif move == "pause":
                self._stage.go_on_soon(self)
                return
            elif move == "hang":
                self.goes_on_for_ever = True
            else:
                self._end(move)

    def resumeProducing(self) -> None:
        self._is_paused = False
        while self._repeat and not self._is_paused:
            said, left = self._repeat
            if left == 0:
                self._repeat = None
                self.transport.unregisterProducer()
                self.go_on()
                return
            self._repeat = said, None if left is None else left - 1
            self._say(said)

    def pauseProducing(self) -> None:
        self._is_paused = True

    def stopProducing(self) -> None:
        self._repeat = None

    def _drip(self, drip: Drip) -> None:
        if self in self._stage.open:
            self._say(drip.said)
            self._stage.clock.callLater(drip.seconds, self._drip, drip)

    def _say(self, said: Said) -> None:
        data = self._bytes(said)
        self._stage.bytes += len(data)
        self.transport.write(data)

    def _bytes(self, said: Said) -> bytes:
        return said.of(self._dialect) if isinstance(said, Part) else said

    def _end(self, ending: Ending) -> None:
        if ending == "close":
            self.transport.loseConnection()
        elif ending == "half-close":
            self.transport.loseWriteConnection()
        else:
            self._stage.reset_soon(self)
