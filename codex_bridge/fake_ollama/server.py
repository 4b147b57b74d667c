"""The fake Ollama as an HTTP server: routes, and one generation at a time per model."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable
from io import BytesIO
from typing import Any

import orjson
from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred, DeferredLock
from twisted.internet.protocol import connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from codex_bridge.fake_ollama import sides, wire
from codex_bridge.fake_ollama.rules import ModelFacts, Rejected, check_chat, tokens
from codex_bridge.fake_ollama.script import (
    Answer,
    Die,
    Finish,
    Hold,
    Model,
    Pause,
    Raw,
    Refuse,
    Say,
    Step,
    Think,
    demo_model,
)

Json = dict[str, Any]


@define(eq=False)
class Recorded:
    """One request as it arrived, and what became of it."""

    method: str
    uri: bytes
    headers: dict[bytes, list[bytes]]
    body: bytes
    length: int
    """Bytes of body; those of a blob are counted, not kept."""
    effective: Json | None = None
    """What the model was really given, for an accepted chat."""
    hung_up: bool = False
    """The client closed before the answer ended."""
    _gone: list[Deferred[None]] = field(factory=list)

    @property
    def json(self) -> Any:
        """The body as JSON; None if it is none."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None

    def when_hung_up(self) -> Deferred[None]:
        """Fires when the client has closed before the answer ended."""
        gone: Deferred[None] = Deferred()
        if self.hung_up:
            gone.callback(None)
        else:
            self._gone.append(gone)
        return gone

    def client_left(self) -> None:
        """The connection closed while the answer was going on."""
        self.hung_up = True
        waiting, self._gone = self._gone, []
        for gone in waiting:
            gone.callback(None)


class FakeOllama:
    """A server as strict as Ollama in front of a scripted model.

    `listen` starts it, `stop` ends it. `exchanges` holds every request it got.
    """

    def __init__(
        self,
        reactor: Any,
        model: Model = demo_model,
        version: str = "0.33.0",
        models: Iterable[ModelFacts] = (ModelFacts(),),
    ) -> None:
        self.version = version
        self.models = {facts.name: facts for facts in models}
        self.exchanges: list[Recorded] = []
        self.port = 0
        self.url = ""
        self._reactor = reactor
        self._model = model
        self._port: Any = None
        self._running: set[Deferred[Any]] = set()
        self._locks: dict[str, DeferredLock] = {}
        self._watchers: list[Deferred[Recorded]] = []

    @property
    def chats(self) -> list[Recorded]:
        """The requests to /v1/chat/completions."""
        return [seen for seen in self.exchanges if seen.uri == b"/v1/chat/completions"]

    def listen(self, port: int = 0, interface: str = "127.0.0.1") -> None:
        """Start. Raises CannotListenError for a taken port."""
        site = _Site(_Root(self), requestFactory=_Request, reactor=self._reactor)
        self._port = self._reactor.listenTCP(port, site, interface=interface)
        self.port = self._port.getHost().port
        self.url = f"http://{interface}:{self.port}"

    async def stop(self) -> None:
        """Stop listening and end what is going on."""
        if self._port is not None:
            port, self._port = self._port, None
            await port.stopListening()
            for channel in list(port.factory.channels):
                channel.transport.abortConnection()
        for running in list(self._running):
            running.cancel()

    def chat_seen(self) -> Deferred[Recorded]:
        """Fires with the next chat request that is accepted."""
        watcher: Deferred[Recorded] = Deferred()
        self._watchers.append(watcher)
        return watcher

    def start(self, request: _Request) -> None:
        """Answer a request; its end, good or bad, is taken care of."""
        recorded = Recorded(
            request.method.decode(),
            request.uri,
            {name: list(values) for name, values in request.requestHeaders.getAllRawHeaders()},
            request.content.getvalue(),
            request.received,
        )
        self.exchanges.append(recorded)
        running = Deferred.fromCoroutine(self._respond(request, recorded))
        self._running.add(running)

        def left(_: Any) -> None:
            recorded.client_left()
            running.cancel()

        request.notifyFinish().addErrback(left)
        running.addErrback(lambda failure: failure.trap(CancelledError))
        running.addCallback(lambda _: self._running.discard(running))

    async def _respond(self, request: _Request, recorded: Recorded) -> None:
        if not _host_allowed(request.getRequestHostname().decode("ascii", "replace")):
            request.setResponseCode(403)
        elif request.path == b"/v1/chat/completions" and request.method == b"POST":
            await self._chat(request, recorded)
        else:
            sides.answer(request, recorded.body, self)
        if not request._disconnected:
            request.finish()

    async def _chat(self, request: _Request, recorded: Recorded) -> None:
        try:
            effective = check_chat(recorded.body, self.models, self.version)
        except Rejected as rejected:
            self._refuse(request, rejected.status, rejected.message)
            return
        recorded.effective = effective
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            watcher.callback(recorded)
        lock = self._locks.setdefault(effective["model"], DeferredLock())
        await lock.acquire()
        try:
            steps = self._model(effective)
            generation = _Generation(self._reactor, request, effective, self.version)
            await (generation.stream(steps) if effective.get("stream") else generation.whole(steps))
        except Rejected as rejected:
            self._refuse(request, rejected.status, rejected.message)
        finally:
            lock.release()

    def _refuse(self, request: _Request, status: int, message: str) -> None:
        request.setResponseCode(status)
        request.setHeader(b"content-type", b"application/json")
        request.write(wire.error_body(status, message, self.version))


class _Generation:
    """One answer on its way out. The head of the response goes with the first bytes."""

    def __init__(self, reactor: Any, request: _Request, effective: Json, version: str) -> None:
        self._reactor = reactor
        self._request = request
        self._effective = effective
        self._chunks = wire.ChatStream(effective["model"], version)
        self._written = 0

    async def stream(self, steps: Answer) -> None:
        """Play the steps as a stream."""
        self._request.setHeader(b"content-type", b"text/event-stream")
        reason = wire.implied_finish(steps)
        for step in steps:
            if isinstance(step, Finish):
                reason = step.reason
            elif isinstance(step, Die):
                self._die(step)
                return
            elif not await self._silent(step):
                self._play(step)
        last = [self._chunks.finish(Finish(reason))]
        if (self._effective.get("stream_options") or {}).get("include_usage"):
            last.append(self._chunks.usage(self._usage(steps)))
        self._request.write(b"".join([*last, wire.DONE]))

    async def whole(self, steps: Answer) -> None:
        """Play the steps as one JSON answer."""
        for step in steps:
            await self._silent(step)
            if isinstance(step, Die):
                raise Rejected(500, "an error was encountered while running the model")
        self._request.setHeader(b"content-type", b"application/json")
        self._request.write(wire.whole_answer(self._effective["model"], steps, self._usage(steps)))

    async def _silent(self, step: Step) -> bool:
        """Act out a step that writes nothing; whether it was one."""
        if isinstance(step, Refuse):
            raise Rejected(step.status, step.message)
        if isinstance(step, Pause):
            await deferLater(self._reactor, step.seconds)
        elif isinstance(step, Hold):
            await step.until
        else:
            return False
        return True

    def _play(self, step: Step) -> None:
        for chunk in [step.data] if isinstance(step, Raw) else self._chunks.step(step):
            self._request.write(chunk)

    def _die(self, step: Die) -> None:
        if step.how == "empty-model":
            self._request.write(self._chunks.empty_model())
        elif step.how == "ndjson":
            self._request.setHeader(b"content-type", b"application/x-ndjson")
        elif step.how == "reset":
            transport: Any = self._request.transport
            transport.abortConnection()

    def _usage(self, steps: Answer) -> Json:
        prompt = tokens(self._effective["messages"])
        pieces = (len(step.pieces) for step in steps if isinstance(step, Say | Think))
        completion = sum(pieces) + 1
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        }


class _Request(Request):
    """Keeps every body in memory but a blob's, which is only counted and hashed."""

    defaultContentType = None
    content: BytesIO
    received = 0
    digest: Any = None

    def gotLength(self, length: int | None) -> None:
        self.content = BytesIO()
        channel: Any = self.channel
        if channel._path.startswith(b"/api/blobs/"):
            self.digest = hashlib.sha256()

    def handleContentChunk(self, data: bytes) -> None:
        self.received += len(data)
        if self.digest is None:
            self.content.write(data)
        else:
            self.digest.update(data)


class _Channel(HTTPChannel):
    """A connection that its site can find again."""

    def connectionMade(self) -> None:
        super().connectionMade()
        self.site.channels.add(self)  # type: ignore[attr-defined]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.site.channels.discard(self)  # type: ignore[attr-defined]
        super().connectionLost(reason)


class _Site(Site):
    protocol = _Channel  # type: ignore[assignment]
    noisy = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, parsePOSTFormSubmission=False, **kwargs)
        self.channels: set[Any] = set()

    def log(self, request: Any) -> None:
        """Nothing."""


class _Root(Resource):
    isLeaf = True

    def __init__(self, fake: FakeOllama) -> None:
        super().__init__()
        self._fake = fake

    def render(self, request: Any) -> int:
        request.responseHeaders.removeHeader(b"server")
        self._fake.start(request)
        return NOT_DONE_YET


def _host_allowed(name: str) -> bool:
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return name in {"", "localhost"} or name.endswith((".localhost", ".local", ".internal"))
    return address.is_loopback or address.is_private
