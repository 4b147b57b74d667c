"""The fake Ollama as an HTTP server: what it records, and one generation at a time per model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson
from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred, DeferredLock
from twisted.logger import Logger
from twisted.python.failure import Failure

from tests.fake_ollama import lines, native, sides, wire
from tests.fake_ollama.facts import ModelFacts, Rejected, find
from tests.fake_ollama.generation import Dialect, Generation, OpenAIDialect
from tests.fake_ollama.rules import check_chat
from tests.fake_ollama.script import Answer, Finish, Model, demo_model
from tests.fake_ollama.site import ChannelSite, Root, ServedRequest, host_allowed

Json = dict[str, Any]
CHAT = b"/v1/chat/completions"
NATIVE_CHAT = b"/api/chat"
NATIVE: dict[bytes, lines.Route] = {NATIVE_CHAT: "chat", b"/api/generate": "generate"}
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
log = Logger()


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
    answered: bool = False
    """The answer ended as it was meant to, if only by breaking off as scripted."""
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

    `listen` starts it, `stop` ends it. `exchanges` holds every request it got, `models` the
    models it has by name, `loaded` those in memory with their contexts: at first all of them.
    `loads` holds every load since, as (name, context).
    """

    def __init__(
        self,
        reactor: Any,
        model: Model = demo_model,
        version: str = "0.33.0",
        models: Iterable[ModelFacts] = (ModelFacts(),),
        default_context: int = 4096,
        loaded: bool = True,
    ) -> None:
        """`default_context` in tokens is what the server allocates where nobody says more."""
        self.version = version
        self.default_context = default_context
        self.models = {facts.name: facts for facts in models}
        self.loaded = (
            {name: facts.context(None, default_context) for name, facts in self.models.items()}
            if loaded
            else {}
        )
        self.loads: list[tuple[str, int]] = []
        self.blobs: set[str] = set()
        self.exchanges: list[Recorded] = []
        self.port = 0
        self.url = ""
        self._reactor = reactor
        self._model = model
        self._listening: Any = None
        self._checks_host = True
        self._running: set[Deferred[None]] = set()
        self._locks: dict[str, DeferredLock] = {}
        self._watchers: list[Deferred[Recorded]] = []

    @property
    def chats(self) -> list[Recorded]:
        """The requests to POST /v1/chat/completions."""
        return [seen for seen in self.exchanges if seen.uri == CHAT and seen.method == "POST"]

    @property
    def native_chats(self) -> list[Recorded]:
        """The requests to POST /api/chat."""
        return [seen for seen in self.turns if seen.uri != CHAT]

    @property
    def turns(self) -> list[Recorded]:
        """The requests to either."""
        uris = {CHAT, NATIVE_CHAT}
        return [seen for seen in self.exchanges if seen.uri in uris and seen.method == "POST"]

    def listen(self, port: int = 0, interface: str = "127.0.0.1") -> Any:
        """Start; the IListeningPort. Raises CannotListenError for a taken port."""
        site = ChannelSite(Root(self._start), requestFactory=ServedRequest, reactor=self._reactor)
        self._listening = self._reactor.listenTCP(port, site, interface=interface)
        # As Ollama, which trusts every name once it listens to the outside.
        self._checks_host = interface in LOOPBACK
        self.port = self._listening.getHost().port
        self.url = f"http://{f'[{interface}]' if ':' in interface else interface}:{self.port}"
        return self._listening

    def stop(self) -> Deferred[None]:
        """Stop listening, end what is going on, close every connection; fires when all is gone."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._listening is None:
            return
        listening, self._listening = self._listening, None
        await listening.stopListening()
        for running in list(self._running):
            running.cancel()
        await listening.factory.abort_all()

    def chat_seen(self) -> Deferred[Recorded]:
        """Fires with the next chat request that arrives, accepted or not."""
        watcher: Deferred[Recorded] = Deferred()
        self._watchers.append(watcher)
        return watcher

    def _start(self, request: Any) -> None:
        """Answer a request; its end, good or bad, is taken care of."""
        recorded = Recorded(
            request.method.decode("ascii", "replace"),
            request.uri,
            {name: list(values) for name, values in request.requestHeaders.getAllRawHeaders()},
            request.content.getvalue(),
            request.received,
        )
        self.exchanges.append(recorded)
        gone = request.notifyFinish()
        running = Deferred.fromCoroutine(self._respond(request, recorded))
        self._running.add(running)

        def left(_: Failure) -> None:
            # First of all free the model: whoever is told may ask for the next answer at once.
            running.cancel()
            if not recorded.answered and self._listening is not None:
                recorded.client_left()

        gone.addErrback(left)
        running.addErrback(lambda failure: self._failed(failure, request))
        running.addCallback(lambda _: self._running.discard(running))

    def _failed(self, failure: Failure, request: Any) -> None:
        """It was stopped, or the script has a mistake, which must not look like Ollama's own."""
        if failure.check(CancelledError):
            return
        log.failure("fake ollama: the script failed", failure)
        if request.channel is not None:
            request.channel.forceAbortClient()

    async def _respond(self, request: Any, recorded: Recorded) -> None:
        name = request.getRequestHostname().decode("ascii", "replace")
        post = request.method == b"POST"
        try:
            if self._checks_host and not host_allowed(name):
                request.setResponseCode(403)
                request.setHeader(b"content-length", b"0")
            elif post and request.path == CHAT:
                await self._chat(request, recorded)
            elif post and request.path in NATIVE:
                await self._native(request, recorded, NATIVE[request.path])
            else:
                sides.answer(request, recorded.body, self)
        except Rejected as rejected:
            await self._load_before_refusal(rejected)
            self._refuse(request, rejected)
        recorded.answered = True
        if request.channel is not None:
            request.finish()

    async def _chat(self, request: Any, recorded: Recorded) -> None:
        try:
            effective = check_chat(recorded.body, self.models, self.version, self.default_context)
            recorded.effective = effective
        finally:
            self._tell(recorded)
        steps: Answer | None = None if effective["messages"] else [Finish("load")]
        dialect = OpenAIDialect(effective, self.version)
        await self._generate(request, effective, steps, dialect)

    async def _native(self, request: Any, recorded: Recorded, route: lines.Route) -> None:
        try:
            effective = native.read(
                recorded.body, route, self.models, self.version, self.default_context
            )
            recorded.effective = effective
        finally:
            if route == "chat":
                self._tell(recorded)
        facts = find(effective["model"], self.models)
        dialect = lines.NativeDialect(
            effective, route, self.version, late_calls=facts.template == "jinja"
        )
        steps = native.loading(effective)
        await self._generate(request, effective, steps, dialect)

    def _tell(self, recorded: Recorded) -> None:
        """Tell whoever waits for a chat request that one is there."""
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            watcher.callback(recorded)

    async def _generate(
        self, request: Any, effective: Json, steps: Answer | None, dialect: Dialect
    ) -> None:
        """Wait for the model, then play `steps`, or what the model answers where None."""
        name = find(effective["model"], self.models).name
        lock = await self._locked(name)
        try:
            if steps != [Finish("unload")]:
                self._load(name, effective["num_ctx"])
            played = self._model(effective) if steps is None else steps
            generation = Generation(self._reactor, request, dialect)
            play = generation.stream if effective.get("stream") else generation.whole
            await play(played)
        finally:
            if native.unloads(effective):
                self.loaded.pop(name, None)
            lock.release()

    async def _locked(self, name: str) -> DeferredLock:
        """The lock of a model, once nothing else runs on it."""
        lock = self._locks.setdefault(name, DeferredLock())
        await lock.acquire()
        return lock

    def _load(self, name: str, context: int) -> None:
        """Have a model in memory with this context."""
        if self.loaded.get(name) != context:
            self.loaded[name] = context
            self.loads.append((name, context))

    async def _load_before_refusal(self, rejected: Rejected) -> None:
        """What a loaded model refuses has loaded it, too."""
        if rejected.loaded is not None:
            lock = await self._locked(rejected.loaded[0])
            self._load(*rejected.loaded)
            lock.release()

    def _refuse(self, request: Any, rejected: Rejected) -> None:
        if request.path.startswith(b"/v1/"):
            body = wire.error_body(rejected.status, rejected.message, self.version)
        else:
            body = wire.go_json({"error": rejected.message})
        charset = b"; charset=utf-8" if rejected.early or request.path[:4] != b"/v1/" else b""
        request.setResponseCode(rejected.status)
        request.setHeader(b"content-type", b"application/json" + charset)
        request.setHeader(b"content-length", str(len(body)).encode())
        request.write(body)
