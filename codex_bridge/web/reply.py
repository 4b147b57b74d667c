"""What one client gets for its request: a stream of events with heartbeats, or one JSON object."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from zope.interface import implementer

from codex_bridge.clients.traits import ClientTraits
from codex_bridge.engines.answer import Answer
from codex_bridge.errors import ApiError
from codex_bridge.idle import IdleTimer
from codex_bridge.responses.writer import ResponseWriter
from codex_bridge.vocabulary import Json, UsageDelta
from codex_bridge.web.json_replies import send_error, send_json
from codex_bridge.web.outlets import Outlet
from codex_bridge.web.site import BridgeRequest


class Reply(Protocol):
    """What an exchange tells its client."""

    mode: str
    """In words for the log."""
    writer: ResponseWriter
    """Where the attempt that is under way writes to."""

    @property
    def body(self) -> bytes:
        """What is left to write when the exchange is over."""

    @property
    def has_delivered(self) -> bool:
        """Whether the client was given a part of an answer, which nobody can take back."""

    def open(self) -> None:
        """An answer begins."""

    def send(self) -> None:
        """Send what was written."""

    def follow(self, answer: Answer) -> None:
        """Read `answer` only as fast as the client reads the reply."""

    def begin_anew(self) -> None:
        """The attempt came to nothing; let the next one write."""

    def whole(self, usage: UsageDelta, *, now: int, is_incomplete: bool) -> Json:
        """The response object of a whole answer; `now` is the Unix time in seconds."""

    def complete(self, response: Json) -> None:
        """End with a whole answer: the object that `whole` made of it."""

    def fail(self, error: ApiError) -> None:
        """End with a failure, told as this client reads it."""

    def close(self) -> None:
        """Release timers and producers, however the exchange ended."""


@implementer(IPushProducer)
class EventReply:
    """A stream of events, with a heartbeat event whenever nothing else is sent.

    The stream begins with the answer, or after a grace period, so that an early refusal can
    still be an HTTP status. The client's transport pauses and resumes this producer, which hands
    that on to the answer it follows: a reply outlives the answers of several attempts.
    """

    def __init__(
        self,
        outlet: Outlet,
        writer: ResponseWriter,
        traits: ClientTraits,
        clock: IReactorTime,
        *,
        grace: float,
        heartbeat: float,
    ) -> None:
        """`grace` and `heartbeat` in seconds; see the settings of these names."""
        self.mode = outlet.mode
        self.writer = writer
        self.body = b""
        self._outlet = outlet
        self._traits = traits
        self._is_open = False
        self._is_paused = False
        self._answer: Answer | None = None
        self._idle = IdleTimer(clock, heartbeat, self._beat)
        self._grace: IDelayedCall = clock.callLater(grace, self.open)

    @property
    def has_delivered(self) -> bool:
        return self.writer.has_answered

    def open(self) -> None:
        """Send the head and the first events, if that was not done yet."""
        self._stop_grace()
        if self._is_open:
            return
        self._is_open = True
        self._outlet.begin()
        self.writer.start()
        self.send()
        if self._outlet.is_connected:
            self._outlet.register(self)
        self._idle.start()

    def send(self) -> None:
        events = self.writer.take()
        if events and self._outlet.is_connected:
            self._idle.touch()
            self._outlet.write(events)

    def follow(self, answer: Answer) -> None:
        self._answer = answer
        if self._is_paused:
            answer.pauseProducing()

    def begin_anew(self) -> None:
        """Reasoning that the client has seen stays, as an item of its own."""
        self.writer.end_item()
        self.send()

    def whole(self, usage: UsageDelta, *, now: int, is_incomplete: bool) -> Json:
        return self.writer.whole(usage, now=now, is_incomplete=is_incomplete)

    def complete(self, response: Json) -> None:
        self.writer.complete(response)
        self.send()

    def fail(self, error: ApiError) -> None:
        if self._is_open or self._traits.reads_in_stream(error):
            self.open()
            self.writer.fail(error, self._traits.failure_code(error))
            self.send()
        else:
            self.body = self._outlet.refuse(error)

    def close(self) -> None:
        self._stop_grace()
        self._idle.stop()
        if self._is_open:
            self._outlet.unregister()

    def pauseProducing(self) -> None:
        self._is_paused = True
        # A client that does not read needs no heartbeat.
        self._idle.stop()
        if self._answer:
            self._answer.pauseProducing()

    def resumeProducing(self) -> None:
        self._is_paused = False
        self._idle.start()
        if self._answer:
            self._answer.resumeProducing()

    def stopProducing(self) -> None:
        """The client is gone. The exchange is cancelled because of that, and stops the rest."""
        self._idle.stop()

    def _beat(self) -> None:
        self.writer.heartbeat()
        self.send()

    def _stop_grace(self) -> None:
        if self._grace.active():
            self._grace.cancel()


class Collector:
    """The part of a reply that keeps an answer until it is whole.

    An attempt that failed leaves no trace.
    """

    has_delivered = False

    def __init__(self, new_writer: Callable[[], ResponseWriter]) -> None:
        self._new_writer = new_writer
        self.begin_anew()

    def send(self) -> None:
        """Drop the events: the writer has all items at the end."""
        self.writer.take()

    def follow(self, answer: Answer) -> None:
        """The answer is collected at its own pace."""

    def begin_anew(self) -> None:
        self.writer = self._new_writer()
        self.writer.start()


class JsonReply(Collector):
    """One JSON object, sent when the answer is whole."""

    mode = "whole"

    def __init__(
        self,
        http: BridgeRequest,
        new_writer: Callable[[], ResponseWriter],
        told: Callable[[Json], Json] = lambda response: response,
    ) -> None:
        """`told` makes of the response object what the client gets."""
        super().__init__(new_writer)
        self.body = b""
        self._http = http
        self._told = told

    def open(self) -> None:
        """Nothing is sent before the end."""

    def whole(self, usage: UsageDelta, *, now: int, is_incomplete: bool) -> Json:
        return self.writer.whole(usage, now=now, is_incomplete=is_incomplete)

    def complete(self, response: Json) -> None:
        self.writer.complete(response)
        self.body = send_json(self._http, 200, self._told(response))

    def fail(self, error: ApiError) -> None:
        self.body = send_error(self._http, error)

    def close(self) -> None:
        """Nothing is held."""
