"""The fake Ollama as an HTTP server. It records requests and runs one generation per model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson
from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred, DeferredLock
from twisted.logger import Logger
from twisted.python.failure import Failure

from tests.fake_ollama import grammar, lines, native, sides, wire
from tests.fake_ollama.facts import ModelFacts, Rejected, find
from tests.fake_ollama.generation import Dialect, Generation, OpenAIDialect
from tests.fake_ollama.generic_parser import parsed
from tests.fake_ollama.raw_words import raw_words
from tests.fake_ollama.rules import check_chat
from tests.fake_ollama.script import Answer, Finish, Model, demo_model
from tests.fake_ollama.site import ChannelSite, Root, ServedRequest, host_allowed

Json = dict[str, Any]
CHAT = b"/v1/chat/completions"
NATIVE_CHAT = b"/api/chat"
GENERATE = b"/api/generate"
NATIVE: dict[bytes, lines.Route] = {NATIVE_CHAT: "chat", GENERATE: "generate"}
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
log = Logger()


@define(eq=False)
class Recorded:
    """One request as it arrived, and how it ended."""

    method: str
    uri: bytes
    headers: dict[bytes, list[bytes]]
    body: bytes
    length: int
    """Bytes of the body; the body of a blob is only counted."""
    effective: Json | None = None
    """What reached the model, for a chat that was accepted."""
    answered: bool = False
    """Whether the answer ended as scripted, which may be by breaking off."""
    hung_up: bool = False
    """Whether the client closed before the answer ended."""
    _gone: list[Deferred[None]] = field(factory=list)

    @property
    def json(self) -> Any:
        """The body as JSON; None if it is not JSON."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None

    @property
    def is_rendering(self) -> bool:
        """Whether it only asks for the prompt which would be made of it."""
        return b'"_debug_render_only":true' in self.body

    @property
    def is_raw(self) -> bool:
        """Whether it asks for the model's own words behind a prompt that it has itself."""
        return self.uri == GENERATE and b'"raw":true' in self.body and not self.is_rendering

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

    `listen` starts it, `stop` ends it. `exchanges` holds every request that arrived. `models` has
    the models by name, `loaded` the context in tokens of each model in memory: at first of all.
    `loads` holds every load after that as (name, context). A script that fails, or gives an
    answer that a grammar does not allow, is logged as an error, which fails the test.
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
        """`version`: of Ollama, 0.13.4 or later. `default_context`: tokens that it allocates
        where neither a request nor a Modelfile asks for a context. `loaded`: whether all models
        are in memory at first.
        """
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
        return [seen for seen in self.turns if seen.uri == NATIVE_CHAT]

    @property
    def raw_turns(self) -> list[Recorded]:
        """The requests for the model's own words."""
        return [seen for seen in self.turns if seen.is_raw]

    @property
    def turns(self) -> list[Recorded]:
        """The requests for an answer in a conversation, in order."""
        posts = [seen for seen in self.exchanges if seen.method == "POST" and not seen.is_rendering]
        return [seen for seen in posts if seen.uri in {CHAT, NATIVE_CHAT} or seen.is_raw]

    @property
    def renderings(self) -> list[Recorded]:
        """The requests that only ask for the prompt which would be made of them."""
        return [seen for seen in self.exchanges if seen.is_rendering]

    def listen(self, port: int = 0, interface: str = "127.0.0.1") -> Any:
        """Start; the IListeningPort. Raises CannotListenError for a taken port."""
        site = ChannelSite(Root(self._start), requestFactory=ServedRequest, reactor=self._reactor)
        self._listening = self._reactor.listenTCP(port, site, interface=interface)
        # Ollama accepts every Host header when it listens on other than a loopback address.
        self._checks_host = interface in LOOPBACK
        self.port = self._listening.getHost().port
        self.url = f"http://{f'[{interface}]' if ':' in interface else interface}:{self.port}"
        return self._listening

    def stop(self) -> Deferred[None]:
        """Stop listening, cancel the answers, close all connections; fires when all are closed."""
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
        """Record a request and begin to answer it."""
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
            # Free the model first: who waits for `client_left` may ask it again at once.
            running.cancel()
            if not recorded.answered and self._listening is not None:
                recorded.client_left()

        gone.addErrback(left)
        running.addErrback(lambda failure: self._failed(failure, request))
        running.addCallback(lambda _: self._running.discard(running))

    def _failed(self, failure: Failure, request: Any) -> None:
        """Log a mistake in the script and reset the connection, as no Ollama would answer."""
        if failure.check(CancelledError):
            return
        reason = str(failure.value).replace("{", "{{").replace("}", "}}")
        log.failure(f"fake ollama: the script failed: {reason}", failure)
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
                recorded.body,
                route,
                self.models,
                self.version,
                self.default_context,
                [seen.effective for seen in self.renderings if seen.effective is not None],
            )
            recorded.effective = effective
        finally:
            if recorded in self.turns:
                self._tell(recorded)
        facts = find(effective["model"], self.models)
        dialect = lines.NativeDialect(effective, route, late_calls=facts.template == "jinja")
        if recorded.is_rendering:
            self._load(facts.name, effective["num_ctx"])
            request.setHeader(b"content-type", b"application/json; charset=utf-8")
            request.write(dialect.rendering())
            return
        steps = native.loading(effective)
        await self._generate(request, effective, steps, dialect)

    def _tell(self, recorded: Recorded) -> None:
        """Fire the Deferreds of `chat_seen`."""
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            watcher.callback(recorded)

    async def _generate(
        self, request: Any, effective: Json, steps: Answer | None, dialect: Dialect
    ) -> None:
        """Wait for the model, then play `steps`; where they are None, what the model answers."""
        facts = find(effective["model"], self.models)
        name = facts.name
        lock = await self._locked(name)
        try:
            if steps != [Finish("unload")]:
                effective["loaded_now"] = self._load(name, effective["num_ctx"])
            played = self._answer(effective, facts) if steps is None else steps
            generation = Generation(self._reactor, request, dialect)
            play = generation.stream if effective.get("stream") else generation.whole
            await play(played)
        finally:
            if native.unloads(effective):
                self.loaded.pop(name, None)
            lock.release()

    def _answer(self, effective: Json, facts: ModelFacts) -> Answer:
        """What the model answers, as far as the parsers of calls and thoughts let it through."""
        steps = self._model(effective)
        is_raw = effective.get("raw") is True
        if is_raw:
            # Of a raw answer only a template's tags for thoughts are read, if thinking is on.
            apart = facts.template == "go" and bool(effective["think"])
            steps = raw_words(steps, facts, thoughts_apart=apart)
        if mistake := grammar.impossible(steps, effective, facts):
            raise AssertionError(mistake)
        if is_raw or not facts.swallows:
            return steps
        declared = [tool["function"]["name"] for tool in effective["tools"]]
        return parsed(steps, facts, declared, effective["prompt_tokens"])

    async def _locked(self, name: str) -> DeferredLock:
        """Acquire the lock of a model: it runs one generation at a time."""
        lock = self._locks.setdefault(name, DeferredLock())
        await lock.acquire()
        return lock

    def _load(self, name: str, context: int) -> bool:
        """Load a model unless it is in memory with this context; whether that was needed."""
        is_needed = self.loaded.get(name) != context
        if is_needed:
            self.loaded[name] = context
            self.loads.append((name, context))
        return is_needed

    async def _load_before_refusal(self, rejected: Rejected) -> None:
        """Load the model for a refusal by its own server."""
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
