"""A client's event stream: its head, its events at the client's pace, a sign of life in between."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.interfaces import IPushProducer, IReactorTime
from zope.interface import implementer

from codex_bridge.engines.answer import ChatAnswer
from codex_bridge.idle import Silence
from codex_bridge.responses.events import STREAM_TYPE, frame
from codex_bridge.vocabulary import Json
from codex_bridge.web.site import BridgeRequest


@implementer(IPushProducer)
class EventStream:
    """Writes the events of one exchange to its client.

    A client that reads slowly slows the answer down that is being followed.
    """

    def __init__(
        self,
        request: BridgeRequest,
        clock: IReactorTime,
        heartbeat: float,
        beat: Callable[[], Sequence[Json]],
    ) -> None:
        """`beat` makes the events to send where nothing was sent for `heartbeat` seconds."""
        self.is_open = False
        self._request = request
        self._beat = beat
        self._silence = Silence(clock, heartbeat, self._break_silence)
        self._answer: ChatAnswer | None = None
        self._is_paused = False

    def open(self, events: Sequence[Json]) -> None:
        """Send the head and the first events."""
        request = self._request
        self.is_open = True
        request.setHeader(b"content-type", STREAM_TYPE)
        request.setHeader(b"cache-control", b"no-cache")
        request.setHeader(b"x-accel-buffering", b"no")
        self.write(events)
        if request.is_connected:
            request.registerProducer(self, True)
        self._silence.start()

    def write(self, events: Sequence[Json]) -> None:
        """Send `events` in one piece; nothing before the stream is open or when it is closed."""
        if self.is_open and events and self._request.is_connected:
            self._silence.heard()
            self._request.write(b"".join(map(frame, events)))

    def follow(self, answer: ChatAnswer) -> None:
        """`answer` is what the events come from now: it waits when the client does."""
        self._answer = answer
        if self._is_paused:
            answer.pause()

    def close(self) -> None:
        """No more events."""
        self._silence.stop()
        if self._request.is_connected and self._request.producer is not None:
            self._request.unregisterProducer()

    def pauseProducing(self) -> None:
        self._is_paused = True
        # A client that does not read needs no sign of life.
        self._silence.stop()
        if self._answer:
            self._answer.pause()

    def resumeProducing(self) -> None:
        self._is_paused = False
        self._silence.start()
        if self._answer:
            self._answer.resume()

    def stopProducing(self) -> None:
        """The client is gone; the exchange is cancelled for that."""
        self._silence.stop()

    def _break_silence(self) -> None:
        self.write(self._beat())
