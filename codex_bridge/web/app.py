"""The resource tree, route by route. What is not ours goes on to Ollama."""

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

from codex_bridge.engines.upstream import Upstream
from codex_bridge.errors import ApiError, internal, invalid, stopping
from codex_bridge.ids import IdSource
from codex_bridge.settings import Settings
from codex_bridge.text import printable
from codex_bridge.web.access import KEY_HEADERS, Guard
from codex_bridge.web.answers import send_error, send_json
from codex_bridge.web.drain import Drain
from codex_bridge.web.exchange import serve
from codex_bridge.web.health import Health
from codex_bridge.web.model_list import ModelList, asks_for_catalog
from codex_bridge.web.origins import answer_preflight, is_preflight, share
from codex_bridge.web.passthrough import PassThrough
from codex_bridge.web.site import EXCHANGE_PATHS, BridgeRequest
from codex_bridge.web.state import BridgeState

Answer = TypeVar("Answer")


class _AnyPath(BaseConverter):
    """Matches what is left of a path, empty segments and all."""

    regex = ".*?"
    part_isolating = False
    weight = 1000


def _router() -> Klein:
    router = Klein()
    # A redirect that tidies the path would not be byte for byte.
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
        upstream: Upstream,
        clock: Any,
        log: Logger,
        new_id: IdSource,
    ) -> None:
        self.guard = Guard.of(settings)
        self.drain = Drain()
        self.log = log
        self._new_id = new_id
        self._context = BridgeState(settings, upstream, clock, log, new_id, self.drain)
        self._health = Health(self._context)
        self._models = ModelList(upstream, clock, log)
        with_key = settings.api_key is not None
        self._passthrough = PassThrough(
            upstream, clock, log, KEY_HEADERS if with_key else frozenset()
        )

    def resource(self) -> IResource:
        """The root of the tree."""
        return _Root(self)

    @router.route("/v1/responses")
    @router.route("/responses")
    def responses(self, request: BridgeRequest) -> Deferred[bytes]:
        """The exchange."""
        share(request)
        if is_preflight(request.method, request.requestHeaders):
            return succeed(answer_preflight(request))
        if request.method != b"POST":
            request.setHeader(b"allow", b"POST")
            raise ApiError(405, "Only POST is supported here.", code="method_not_allowed")
        return serve(request, self._context)

    @router.route("/v1/responses/<any_path:rest>")
    @router.route("/responses/<any_path:rest>")
    def stored_responses(self, request: BridgeRequest, rest: str) -> bytes:
        """Nothing: stored responses and their compaction are not kept here."""
        raise ApiError(404, "codex-bridge stores no responses.", code="not_found")

    @router.route("/v1/models")
    @router.route("/models")
    def models(self, request: BridgeRequest) -> Deferred[bytes | None]:
        """Ollama's list; with more in it for a client that tells its `client_version`."""
        if asks_for_catalog(request):
            self._admit_page(request)
            return self._served(request, self._models.handle(request))
        return self._served(request, self._passthrough.handle(request))

    @router.route("/__health", methods=["GET"])
    async def health(self, request: BridgeRequest) -> bytes:
        """The state of the bridge and of Ollama behind it."""
        self._admit_page(request)
        return send_json(request, *await self._health.check())

    def _admit_page(self, request: BridgeRequest) -> None:
        """Go on if the page that asks, if it is one, may use the bridge. Raises ApiError."""
        if trouble := self.guard.origins.trouble(request.requestHeaders):
            raise trouble
        share(request)

    @router.route("/__<any_path:rest>")
    def unknown(self, request: BridgeRequest, rest: str) -> bytes:
        """Nothing: names with two underscores are the bridge's own."""
        raise ApiError(404, "codex-bridge has no such page; try /__health.", code="not_found")

    @router.route("/<any_path:rest>")
    def pass_through(self, request: BridgeRequest, rest: str = "") -> Deferred[bytes | None]:
        """Everything else is Ollama's."""
        return self._served(request, self._passthrough.handle(request))

    def _served(
        self, request: BridgeRequest, answering: Coroutine[Any, Any, Answer]
    ) -> Deferred[Answer]:
        """The answer to one who is not too late; ends with the bridge at the latest."""
        try:
            self.drain.admit()
        except ApiError:
            answering.close()
            raise
        running = Deferred.fromCoroutine(answering)

        def told(failure: Failure) -> Failure:
            gone = request.is_connected and failure.check(CancelledError)
            return Failure(stopping()) if gone else failure

        def abandon() -> None:
            if request.startedWriting:
                # The only honest end of half a body; that its client is gone cancels the rest.
                request.connection.abortConnection()
            else:
                running.cancel()

        running.addErrback(told)
        return self.drain.serve(running, abandon)

    @router.handle_errors(ApiError)  # type: ignore[arg-type]
    def api_error(self, request: BridgeRequest, failure: Failure) -> bytes:
        """A failure in the words of the API."""
        return send_error(request, failure.value)  # type: ignore[arg-type]

    @router.handle_errors(Exception)  # type: ignore[arg-type]
    def bug(self, request: BridgeRequest, failure: Failure) -> bytes | Failure:
        """Anything else is a bug: say so in JSON, and where to look."""
        if failure.check(CancelledError) or request.startedWriting:
            return failure
        incident = self._new_id("err")
        self.log.failure("{incident} failed inside", failure, incident=incident)
        return send_error(request, internal(incident))


class _Root(Resource):
    """What is settled before routing."""

    isLeaf = True

    def __init__(self, app: BridgeApp) -> None:
        super().__init__()
        self._routes = app.router.resource()
        self._log = app.log

    def render(self, request: BridgeRequest) -> Any:
        """Route `request`, unless it cannot be read or is refused."""
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
            "{method} {path} of {peer} refused: {status}, {message}",
            method=printable(request.method),
            path=printable(request.path),
            peer=request.getClientAddress().host,
            status=refusal.status,
            message=refusal.message,
        )
        if _is_told_by_exchange(request, refusal):
            return self._routes.render(request)
        return send_error(request, refusal)


def _is_told_by_exchange(request: BridgeRequest, refusal: ApiError) -> bool:
    """Whether an exchange tells the refusal, in the words of its client.

    It is a browser that sends an Origin: it understands the status, whatever else it claims.
    """
    is_exchange = request.method == b"POST" and request.path in EXCHANGE_PATHS
    return is_exchange and refusal.code != "foreign_origin"
