"""Plays the steps of an answer. The response headers are sent with the first bytes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from twisted.internet.task import deferLater

from tests.fake_ollama import wire
from tests.fake_ollama.facts import Rejected
from tests.fake_ollama.script import Answer, Die, Finish, Hold, Pause, Raw, Refuse, Step

Json = dict[str, Any]
BROKEN = "an error was encountered while running the model: unexpected EOF"


class Dialect(Protocol):
    """How a route encodes steps."""

    content_type: bytes
    """Content type of a stream."""

    def step(self, step: Step) -> Iterable[bytes]:
        """The records of a step that sends something."""
        ...

    def end(self, steps: Answer) -> bytes:
        """The records after the last step."""
        ...

    def broken(self, message: str) -> bytes:
        """The record of an error in mid-stream."""
        ...

    def whole(self, steps: Answer) -> bytes:
        """The one answer of `stream: false`."""
        ...


class OpenAIDialect:
    """/v1/chat/completions."""

    content_type = b"text/event-stream"

    def __init__(self, effective: Json, version: str) -> None:
        self._effective = effective
        self._chunks = wire.ChatStream(effective["model"], version)

    def step(self, step: Step) -> Iterable[bytes]:
        return self._chunks.step(step)

    def end(self, steps: Answer) -> bytes:
        """Finish reason, token counts and [DONE], which Ollama sends together."""
        finish = self._chunks.finish(wire.ending(steps).reason)
        if not (self._effective.get("stream_options") or {}).get("include_usage"):
            return finish + wire.DONE
        return finish + self._chunks.usage(self._usage(steps)) + wire.DONE

    def broken(self, message: str) -> bytes:
        """A chunk without the name of the model; the message is lost."""
        return self._chunks.empty_model()

    def whole(self, steps: Answer) -> bytes:
        return wire.whole_answer(self._effective["model"], steps, self._usage(steps))

    def _usage(self, steps: Answer) -> Json:
        return wire.token_counts(steps, self._effective["prompt_tokens"])


class Generation:
    """Plays the steps of an answer to a request; cancelling stops it at any step."""

    def __init__(self, reactor: Any, request: Any, dialect: Dialect) -> None:
        self._reactor = reactor
        self._request = request
        self._dialect = dialect
        self._began = False

    async def stream(self, steps: Answer) -> None:
        """Play the steps as a stream. Raises Rejected for a refusal before its first byte."""
        for step in steps:
            if isinstance(step, Die):
                await self._die(step)
                return
            if isinstance(step, Refuse) and self._began:
                self._write(self._dialect.broken(step.message))
                return
            if not await self._silent(step) and not self._speak(step):
                return
        self._end(steps)

    async def whole(self, steps: Answer) -> None:
        """Play the steps as one JSON answer. Raises Rejected for every failure."""
        for step in steps:
            if isinstance(step, Die) and step.how == "reset":
                await self._die(step)
                return
            if isinstance(step, Die):
                raise Rejected(500, BROKEN)
            await self._silent(step)
        self._request.setHeader(b"content-type", b"application/json")
        self._request.write(self._dialect.whole(steps))

    async def _silent(self, step: Step) -> bool:
        """Play a step that writes nothing; whether it was one."""
        if isinstance(step, Refuse):
            raise Rejected(step.status, step.message)
        if isinstance(step, Pause):
            await deferLater(self._reactor, step.seconds)
        elif isinstance(step, Hold):
            await step.until
        else:
            return isinstance(step, Finish)
        return True

    def _speak(self, step: Step) -> bool:
        """Write the records of a step; False if the answer broke off over it."""
        try:
            for record in [step.data] if isinstance(step, Raw) else self._dialect.step(step):
                self._write(record)
        except Rejected as rejected:
            self._break_off(rejected)
            return False
        return True

    def _end(self, steps: Answer) -> None:
        try:
            self._write(self._dialect.end(steps))
        except Rejected as rejected:
            self._break_off(rejected)

    def _break_off(self, rejected: Rejected) -> None:
        """Write an error on a stream that has begun; else raise it, so that it gets a status."""
        if not self._began:
            raise rejected
        self._write(self._dialect.broken(rejected.message))

    def _write(self, record: bytes) -> None:
        if not self._began:
            self._began = True
            self._request.setHeader(b"content-type", self._dialect.content_type)
        self._request.write(record)

    async def _die(self, step: Die) -> None:
        if step.how == "empty-model":
            self._write(self._dialect.broken(BROKEN))
        elif step.how == "reset":
            # Earlier writes are still in the transport, which needs two reactor turns to send them.
            await deferLater(self._reactor, 0)
            await deferLater(self._reactor, 0)
            self._request.transport.abortConnection()
        elif not self._began:
            kind = b"application/x-ndjson" if step.how == "ndjson" else self._dialect.content_type
            self._request.setHeader(b"content-type", kind)
