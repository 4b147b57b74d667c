"""Responses that are made in the background: without a client, for whoever asks for them later."""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import suppress
from typing import Any

from attrs import Factory, define
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure

from codex_bridge.errors import ApiError
from codex_bridge.responses.events import frame
from codex_bridge.vocabulary import Json
from codex_bridge.web.memory import Memory
from codex_bridge.web.outlets import EventStream
from codex_bridge.web.site import BridgeRequest

MAX_ENDED = 32
"""Responses that have ended and whose events are still kept, for clients that lost the stream."""
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
        self._frames: list[tuple[int, bytes]] = []
        """The sequence number of each event, and its bytes."""
        self._output: list[Json] = []
        self._readers: dict[BridgeRequest, Deferred[bytes]] = {}

    def begin(self) -> None:
        """Events follow at once."""

    def write(self, events: list[Json]) -> None:
        frames = [(event["sequence_number"], frame(event)) for event in events]
        for event, numbered in zip(events, frames, strict=True):
            is_heartbeat = event["type"] == HEARTBEAT and len(self._frames) > 1
            if not is_heartbeat:
                self._frames.append(numbered)
            if event["type"] == "response.output_item.done":
                self._output.append(event["item"])
            self.response = event.get("response", self.response)
        for reader in self._readers:
            if reader.is_connected:
                reader.write(b"".join(data for _, data in frames))
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

        def leave(_: object) -> None:
            """The client hung up: it reads no more, and the response goes on."""
            del self._readers[http]

        reading: Deferred[bytes] = Deferred(leave)
        self._readers[http] = reading
        return reading

    def end(self) -> None:
        """No event follows."""
        self.has_ended = True
        readers, self._readers = self._readers, {}
        for reading in readers.values():
            reading.callback(b"")


@define
class Job:
    """One response that is made in the background."""

    recording: Recording
    memory: Memory
    working: Deferred[bytes] = Factory(Deferred)
    """Its exchange; cancelling it ends that."""

    async def run(self, exchange: Awaitable[object], items: list[Json]) -> None:
        """Wait for `exchange`, and keep what came of it, unless the exchange has done so itself.

        `items` are the input items that it answers.
        """
        recording = self.recording
        with suppress(CancelledError):
            await exchange
        if recording.response["status"] == "in_progress":
            recording.response = recording.snapshot(status="cancelled")
        if recording.response["status"] in {"failed", "cancelled"}:
            await self.memory.keep(items, recording.response)
        recording.end()


class Background:
    """The jobs of one bridge: those that are running, and those that ended last."""

    def __init__(self) -> None:
        self._jobs: dict[tuple[str, str], Job] = {}
        """Owner and id of the response -> the job."""

    def job(self, owner: str, response_id: str) -> Job | None:
        """The job of a response; None if there is none, or none any more."""
        return self._jobs.get((owner, response_id))

    def add(self, owner: str, job: Job) -> None:
        """Remember `job`, whose recording has begun; forget the one that ended first."""
        ended = [key for key, each in self._jobs.items() if each.recording.has_ended]
        for key in ended[: max(0, len(ended) - MAX_ENDED)]:
            del self._jobs[key]
        self._jobs[owner, job.recording.response["id"]] = job

    def drop(self, owner: str, response_id: str) -> bool:
        """Its owner deletes the response. Whether there was a job."""
        job = self._jobs.pop((owner, response_id), None)
        if job is not None:
            job.working.cancel()
        return job is not None
