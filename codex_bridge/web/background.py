"""Responses that are made in the background: without a client, for whoever asks for them later."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from attrs import define
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from codex_bridge.errors import ApiError
from codex_bridge.responses.events import frame
from codex_bridge.vocabulary import Json
from codex_bridge.web.memory import Memory
from codex_bridge.web.outlets import EventStream
from codex_bridge.web.site import BridgeRequest

KEPT = 600.0
"""Seconds for which the events of a response that has ended are kept, for clients that lost the
stream."""
MAX_KEPT = 16 * 1024 * 1024
"""Bytes of the events of all responses that have ended; beyond that, the first to end goes."""
HEARTBEAT = "response.in_progress"


class Recording:
    """An outlet that keeps the events, and sends them to each client that reads along."""

    mode = "in the background"
    is_connected = True

    def __init__(self) -> None:
        self.begun: Deferred[None] = Deferred()
        """Fires when the first events are there; fails with ApiError if there will be none."""
        self.response: Json = {}
        """The response object, as far as it has come."""
        self.has_ended = False
        self.size = 0
        """Bytes of the events."""
        self._frames: list[tuple[int, bytes]] = []
        """The sequence number of each event, and its bytes."""
        self._output: list[Json] = []
        self._readers: list[_Reader] = []

    def begin(self) -> None:
        """Events follow at once."""

    def write(self, events: list[Json]) -> None:
        frames = [(event["sequence_number"], frame(event)) for event in events]
        for event, numbered in zip(events, frames, strict=True):
            if event["type"] != HEARTBEAT or len(self._frames) < 2:
                self._frames.append(numbered)
                self.size += len(numbered[1])
            if event["type"] == "response.output_item.done":
                self._output.append(event["item"])
            self.response = event.get("response", self.response)
        for reader in self._readers:
            reader.send(events, frames)
        if not self.begun.called:
            self.begun.callback(None)

    def refuse(self, error: ApiError) -> bytes:
        self.begun.errback(Failure(error))
        return b""

    def register(self, producer: IPushProducer) -> None:
        """Nobody has to read what is recorded, so nobody slows it down."""

    def unregister(self) -> None:
        """See `register`."""

    def snapshot(self, **changes: Any) -> Json:
        """The response object with all items that are whole, and with `changes`."""
        return {**self.response, "output": list(self._output), **changes}

    def read(self, http: BridgeRequest, after: int = -1) -> Deferred[bytes]:
        """Send `http` the events behind the one with number `after`, then each as it comes."""
        EventStream(http).begin()
        http.write(b"".join(data for number, data in self._frames if number > after))
        if self.has_ended:
            return succeed(b"")
        reader = _Reader(http, after, self._readers.remove)
        self._readers.append(reader)
        return reader.done

    def end(self) -> None:
        """No event follows."""
        self.has_ended = True
        readers, self._readers = self._readers, []
        for reader in readers:
            reader.end()


@implementer(IPushProducer)
class _Reader:
    """A client that reads along."""

    def __init__(self, http: BridgeRequest, after: int, leave: Callable[[_Reader], None]) -> None:
        """It gets the events behind number `after`.

        `leave` is called when it hangs up; the response goes on without it.
        """
        self.done: Deferred[bytes] = Deferred(lambda _: leave(self))
        """Fires when no event follows."""
        self._http = http
        self._after = after
        self._is_paused = False
        if http.is_connected:
            http.registerProducer(self, True)

    def send(self, events: list[Json], frames: list[tuple[int, bytes]]) -> None:
        """Send `events`, whose numbers and bytes are `frames`."""
        # What heartbeats say is of no use to a client that does not read; other events are as
        # many as the response has.
        is_heartbeat = all(each["type"] == HEARTBEAT for each in events)
        if self._http.is_connected and not (is_heartbeat and self._is_paused):
            self._http.write(b"".join(data for number, data in frames if number > self._after))

    def end(self) -> None:
        """Let the response to the client end."""
        if self._http.is_connected:
            self._http.unregisterProducer()
        self.done.callback(b"")

    def pauseProducing(self) -> None:
        self._is_paused = True

    def resumeProducing(self) -> None:
        self._is_paused = False

    def stopProducing(self) -> None:
        """The client is gone, which cancels `done`."""


@define
class Job:
    """One response that is made in the background."""

    recording: Recording
    memory: Memory
    _exchange: Deferred[object] | None = None

    @property
    def is_running(self) -> bool:
        """Whether the response is still being made."""
        return bool(self.recording.response.get("status") == "in_progress")

    async def run(self, exchange: Coroutine[Any, Any, object], items: list[Json]) -> None:
        """Run `exchange`, and keep what came of it, unless the exchange has done so itself.

        `items` are the input items that it answers.
        """
        recording = self.recording
        self._exchange = Deferred.fromCoroutine(exchange)
        with suppress(CancelledError):
            await self._exchange
        if self.is_running:
            recording.response = recording.snapshot(status="cancelled")
        if recording.response["status"] in {"failed", "cancelled"}:
            stored = await self.memory.keep(items, recording.response)
            recording.response = recording.response | {"store": stored}

    def cancel(self) -> None:
        """End the exchange, unless it has ended; what came of it is kept."""
        if self._exchange is not None and self.is_running:
            self._exchange.cancel()


class Background:
    """The jobs of one bridge: those that are running, and those that ended not long ago."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._jobs: dict[tuple[str, str], Job] = {}
        """Owner and id of the response -> the job."""
        self._ended: dict[tuple[str, str], float] = {}
        """When each of them ended, in seconds of the clock; the first to end comes first."""

    def job(self, owner: str, response_id: str) -> Job | None:
        """The job of a response; None if there is none, or none any more."""
        self._forget_old()
        return self._jobs.get((owner, response_id))

    def add(self, owner: str, job: Job) -> None:
        """Remember `job`, whose recording has begun."""
        self._jobs[owner, job.recording.response["id"]] = job

    def end(self, owner: str, job: Job) -> None:
        """Nothing more comes of `job`."""
        job.recording.end()
        key = owner, job.recording.response.get("id", "")
        if key in self._jobs:
            self._ended[key] = self._clock.seconds()
        self._forget_old()

    def drop(self, owner: str, response_id: str) -> bool:
        """Its owner deletes the response. Whether there was a job."""
        self._ended.pop((owner, response_id), None)
        job = self._jobs.pop((owner, response_id), None)
        if job is not None:
            job.cancel()
        return job is not None

    def _forget_old(self) -> None:
        size = sum(self._jobs[key].recording.size for key in self._ended)
        for key, ended_at in list(self._ended.items()):
            if size <= MAX_KEPT and self._clock.seconds() - ended_at < KEPT:
                break
            size -= self._jobs[key].recording.size
            del self._jobs[key], self._ended[key]
