"""Which code answers which path. What is not the bridge's own is passed through to Ollama."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes

from klein import Klein
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource, Resource
from werkzeug.routing import BaseConverter

from codex_bridge.clients.traits import traits_of
from codex_bridge.engines.upstreams import Upstreams
from codex_bridge.errors import ApiError, internal, invalid, stopping
from codex_bridge.ids import IdSource
from codex_bridge.sealing import Seal
from codex_bridge.settings import Settings
from codex_bridge.storage.store import ResponseStore
from codex_bridge.text import printable
from codex_bridge.vocabulary import UpstreamFailure
from codex_bridge.web.accept import serve
from codex_bridge.web.access import KEY_HEADERS, Access
from codex_bridge.web.drain import Drain
from codex_bridge.web.health import Health
from codex_bridge.web.input_tokens import count_input_tokens
from codex_bridge.web.json_replies import send_error, send_json
from codex_bridge.web.model_list import ModelList
from codex_bridge.web.native import NativeRoutes, is_native
from codex_bridge.web.origins import is_preflight, let_page_read, reply_to_preflight
from codex_bridge.web.passthrough import AT_START, PATIENCE, PassThrough, held
from codex_bridge.web.session import serve_websocket
from codex_bridge.web.site import BridgeRequest
from codex_bridge.web.state import BridgeState
from codex_bridge.web.stored import StoredResponses
from codex_bridge.web.websocket import asks_for_websocket, no_websocket

T = TypeVar("T")


class _AnyPath(BaseConverter):
    """Matches the rest of a path, with empty segments and line ends in it, too."""

    regex = r"[\s\S]*?"
    part_isolating = False
    weight = 1000


def _router() -> Klein:
    router = Klein()
    # By default werkzeug redirects to a tidier path; a pass-through keeps the path as it is.
    router.url_map.merge_slashes = False
    router.url_map.strict_slashes = False
    router.url_map.converters = {**router.url_map.converters, "any_path": _AnyPath}
    return router


class BridgeApp:
    """The routes of one bridge."""

    router = _router()

    def __init__(
        self,
        settings: Settings,
        upstreams: Upstreams,
        clock: Any,
        log: Logger,
        new_id: IdSource,
        seal: Seal,
        store: ResponseStore | None = None,
    ) -> None:
        self.access = Access.of(settings)
        self.drain = Drain()
        self.log = log
        self._new_id = new_id
        self._state = BridgeState(
            settings, upstreams, clock, log, new_id, seal, self.drain, store=store
        )
        self.read_ahead = self._state.read_ahead
        self._health = Health(self._state)
        self._stored = StoredResponses(self._state)
        self._models = ModelList(upstreams, clock, log, dict(settings.alias))
        # The bridge's own key is not for Ollama, and Ollama's key is not the client's to choose.
        has_key = settings.api_key is not None or settings.upstream_api_key is not None
        withheld = KEY_HEADERS if has_key else frozenset()
        self._upstreams = upstreams
        self._clock = clock
        self._adds_key = settings.upstream_api_key is not None
        self._native = NativeRoutes(clock, log, settings.max_body_size)
        self._passthrough = PassThrough(
            upstreams,
            clock,
            log,
            withheld,
            reads_up_to=settings.max_body_size,
            shares=settings.share_context,
        )

    def resource(self) -> IResource:
        """The resource that every request is rendered by."""
        return _Root(self)

    @router.route("/v1/responses")
    @router.route("/responses")
    def responses(self, request: BridgeRequest) -> Deferred[bytes]:
        """An exchange."""
        return self._exchange(request)

    @router.route("/v1/responses/compact")
    @router.route("/responses/compact")
    def compact(self, request: BridgeRequest) -> Deferred[bytes]:
        """An exchange whose answer is a summary of the conversation."""
        return self._exchange(request, compacts=True)

    def _exchange(self, request: BridgeRequest, *, compacts: bool = False) -> Deferred[bytes]:
        let_page_read(request)
        if is_preflight(request.method, request.requestHeaders):
            return succeed(reply_to_preflight(request))
        if request.method == b"GET" and asks_for_websocket(request.requestHeaders):
            return serve_websocket(request, self._state)
        if request.method != b"POST":
            request.setHeader(b"allow", b"POST")
            raise ApiError(405, "Only POST is supported here.", code="method_not_allowed")
        return serve(request, self._state, compacts=compacts)

    @router.route("/v1/responses/input_tokens", methods=["POST"])
    @router.route("/responses/input_tokens", methods=["POST"])
    def input_tokens(self, request: BridgeRequest) -> Deferred[bytes]:
        """The number of tokens that a request's prompt has."""
        let_page_read(request)
        return self._run(request, count_input_tokens(request, self._state))

    @router.route("/v1/responses/<any_path:rest>")
    @router.route("/responses/<any_path:rest>")
    def stored_responses(self, request: BridgeRequest, rest: str) -> Deferred[bytes]:
        """A stored response, or one that is made in the background."""
        let_page_read(request)
        if is_preflight(request.method, request.requestHeaders):
            return succeed(reply_to_preflight(request))
        return self._run(request, self._stored.handle(request, rest))

    @router.route("/v1/models")
    @router.route("/models")
    @router.route("/api/tags")
    @router.route("/api/ps")
    def models(self, request: BridgeRequest) -> Deferred[bytes | None]:
        """A list of models. What does not have to be made here passes through."""
        if self._models.answers(request):
            self._admit_page(request)
            return self._run(request, self._models.handle(request))
        return self._run(request, self._handed_on(request))

    @router.route("/__health", methods=["GET"])
    async def health(self, request: BridgeRequest) -> bytes:
        """The state of the bridge and of the servers behind it."""
        self._admit_page(request)
        return send_json(request, *await self._health.check())

    def _admit_page(self, request: BridgeRequest) -> None:
        """Let a web page read the reply. Raises ApiError if it is not allowed to use the bridge."""
        if refusal := self.access.origins.refusal(request.requestHeaders):
            raise refusal
        let_page_read(request)

    @router.route("/__<any_path:rest>")
    def unknown(self, request: BridgeRequest, rest: str) -> bytes:
        """Always 404: names that begin with two underscores are the bridge's own."""
        raise ApiError(404, "codex-bridge has no such page; try /__health.", code="not_found")

    @router.route("/<any_path:rest>")
    def pass_through(self, request: BridgeRequest, rest: str = "") -> Deferred[bytes | None]:
        """Everything else is the upstream's; except Ollama's own routes, where that has none."""
        if asks_for_websocket(request.requestHeaders):
            raise no_websocket("codex-bridge serves WebSocket at /v1/responses alone.")
        return self._run(request, self._handed_on(request))

    @property
    def _judges_origins(self) -> bool:
        """Whether the bridge judges the Origin of what passes through. An Ollama does so itself.

        Other servers do not, and one that gets its key from the bridge would serve every web page.
        """
        return self._adds_key or not all(each.is_ollama for each in self._upstreams)

    async def _handed_on(self, request: BridgeRequest) -> bytes | None:
        """Ollama's own routes are passed through to an Ollama, and answered here for others."""
        if self._judges_origins and (
            refusal := self.access.origins.refusal(request.requestHeaders)
        ):
            return send_error(request, refusal)
        if not is_native(request):
            return await self._passthrough.handle(request)
        upstream = await self._passthrough.chosen(request)
        is_at_start = request.method == b"GET" and request.path in AT_START
        try:
            engine = await held(upstream.recognised, self._clock, PATIENCE if is_at_start else 0.0)
        except UpstreamFailure:
            # Passing it through gives the client the reason.
            return await self._passthrough.handle(request)
        if engine.is_ollama:
            return await self._passthrough.handle(request)
        self._admit_page(request)
        return await self._native.handle(request, upstream)

    def _run(self, request: BridgeRequest, reply: Coroutine[Any, Any, T]) -> Deferred[T]:
        """Run `reply`, and end it if the bridge is stopped. Raises ApiError once that has begun."""
        try:
            self.drain.admit()
        except ApiError:
            reply.close()
            raise
        self.read_ahead.watch(request.method, request.path, request.requestHeaders)
        running = Deferred.fromCoroutine(reply)

        def explain(failure: Failure) -> Failure:
            """Only the end of the bridge cancels a reply whose client is still there."""
            is_stopped = request.is_connected and failure.check(CancelledError)
            return Failure(stopping()) if is_stopped else failure

        def abandon() -> None:
            if request.startedWriting:
                # Any other end would make half a body look like a whole one. The end of the
                # connection cancels `running`.
                request.transport.abortConnection()
            else:
                running.cancel()

        running.addErrback(explain)
        return self.drain.serve(running, abandon)

    @router.handle_errors(ApiError)  # type: ignore[arg-type]
    def api_error(self, request: BridgeRequest, failure: Failure) -> bytes:
        """An error as the API words it."""
        return send_error(request, failure.value)  # type: ignore[arg-type]

    @router.handle_errors(Exception)  # type: ignore[arg-type]
    def bug(self, request: BridgeRequest, failure: Failure) -> bytes | Failure:
        """Anything else is a bug: an error with an id that the log has, too."""
        if failure.check(CancelledError) or request.startedWriting:
            return failure
        incident = self._new_id("err")
        self.log.failure("{incident}: a bug of codex-bridge", failure, incident=incident)
        return send_error(request, internal(incident))


class _Root(Resource):
    """Refuses a request, or routes it by its path."""

    isLeaf = True

    def __init__(self, app: BridgeApp) -> None:
        super().__init__()
        self._routes = app.router.resource()
        self._log = app.log

    def render(self, request: BridgeRequest) -> Any:
        """Start the reply to `request`."""
        try:
            (request.getHeader(b"host") or b"").decode()
            unquote_to_bytes(request.path).decode()
            request.method.decode()
        except UnicodeDecodeError:
            return send_error(request, invalid("The request line and Host must be UTF-8."))
        refusal = request.refusal
        if refusal is None:
            return self._routes.render(request)
        self._log.info(
            "{method} {path} from {peer} refused: {status}, {message}",
            method=printable(request.method),
            path=printable(request.path),
            peer=request.getClientAddress().host,
            status=refusal.status,
            message=refusal.message,
        )
        # An exchange words an error for its client. A browser, which alone sends an Origin,
        # understands the status, whatever client it claims to be.
        if request.route.is_exchange and refusal.code != "foreign_origin":
            if request.method == b"POST":
                return self._routes.render(request)
            headers = request.requestHeaders
            if asks_for_websocket(headers) and traits_of(headers).fails_in_stream:
                refusal = no_websocket(refusal.message)
        return send_error(request, refusal)
