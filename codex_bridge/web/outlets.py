"""Where the events of a reply go: to the client of an HTTP request, as server-sent events."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IPushProducer

from codex_bridge.errors import ApiError
from codex_bridge.responses.events import STREAM_TYPE, frame
from codex_bridge.vocabulary import Json
from codex_bridge.web.json_replies import send_error
from codex_bridge.web.site import BridgeRequest


class Outlet(Protocol):
    """Takes the events of one reply."""

    mode: str
    """In words for the log."""

    @property
    def is_connected(self) -> bool:
        """Whether anybody still takes events."""

    def begin(self) -> None:
        """The stream begins; events follow."""

    def write(self, events: list[Json]) -> None:
        """Send `events` at once, in one piece."""

    def refuse(self, error: ApiError) -> bytes:
        """Tell of a failure in place of a stream; return what is left to write."""

    def register(self, producer: IPushProducer) -> None:
        """Pause and resume `producer` as fast as the events are read."""

    def unregister(self) -> None:
        """The producer has ended, if there was one."""


class EventStream:
    """Server-sent events, as the body of an HTTP response."""

    mode = "streamed"

    def __init__(self, http: BridgeRequest) -> None:
        self._http = http

    @property
    def is_connected(self) -> bool:
        return self._http.is_connected

    def begin(self) -> None:
        http = self._http
        http.setHeader(b"content-type", STREAM_TYPE)
        http.setHeader(b"cache-control", b"no-cache")
        http.setHeader(b"x-accel-buffering", b"no")

    def write(self, events: list[Json]) -> None:
        self._http.write(b"".join(map(frame, events)))

    def refuse(self, error: ApiError) -> bytes:
        return send_error(self._http, error)

    def register(self, producer: IPushProducer) -> None:
        self._http.registerProducer(producer, True)

    def unregister(self) -> None:
        if self._http.is_connected and self._http.producer is not None:
            self._http.unregisterProducer()
