"""GET /v1/models?client_version=…: Ollama's list, and the metadata of each model for Codex."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, DeferredSemaphore, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from codex_bridge.clients.catalog import catalog
from codex_bridge.engines.upstream import Upstream
from codex_bridge.errors import ApiError, from_upstream
from codex_bridge.text import printable
from codex_bridge.vocabulary import Json, ModelInfo, UpstreamFailure
from codex_bridge.web.json_replies import send_error, send_json
from codex_bridge.web.site import BridgeRequest

AT_ONCE = 4
"""Models that are asked about at the same time; each takes three small requests."""


def asks_for_catalog(request: BridgeRequest) -> bool:
    """Whether this is Codex, which names its version and reads more than a list."""
    has_version = b"client_version" in (request.args or {})
    return request.method == b"GET" and has_version and request.upload is None


class ModelList:
    """The models of an upstream in the form that Codex reads."""

    def __init__(self, upstream: Upstream, clock: IReactorTime, log: Logger) -> None:
        self._upstream = upstream
        self._clock = clock
        self._log = log

    async def handle(self, request: BridgeRequest) -> bytes:
        """The reply: Ollama's own answer with `models` added to it."""
        started = self._clock.seconds()
        outcome = "client gone"
        try:
            body = await self._body()
            outcome = f"200, {len(body['models'])} models for Codex"
            return send_json(request, 200, body)
        except ApiError as error:
            outcome = f"{error.status}, {error.message}"
            return send_error(request, error)
        finally:
            self._log.info(
                "GET {path} {outcome}, {duration:.3f} s",
                path=printable(request.path),
                outcome=outcome,
                duration=self._clock.seconds() - started,
            )

    async def _body(self) -> Json:
        try:
            listed = await self._upstream.ask("GET", "/v1/models", needs_access=True)
        except UpstreamFailure as failure:
            raise from_upstream(failure, "", self._upstream.words) from failure
        if listed is None:
            url = self._upstream.url
            raise ApiError(502, f"What answers at {url} has no list of models.", code="no_models")
        return listed | {"models": await self._entries(_names(listed))}

    async def _entries(self, names: list[str]) -> list[Json]:
        semaphore = DeferredSemaphore(AT_ONCE)
        asking = [semaphore.run(self._ask, name) for name in names]
        infos: list[ModelInfo] = await gatherResults(asking, consumeErrors=True)
        return catalog((info, self._upstream.expected_context(info)) for info in infos)

    def _ask(self, name: str) -> Deferred[ModelInfo]:
        return Deferred.fromCoroutine(self._info(name))

    async def _info(self, name: str) -> ModelInfo:
        try:
            return await self._upstream.info(name)
        except UpstreamFailure:
            # A model that Ollama tells nothing about must not hide the others.
            return ModelInfo(name)


def _names(listed: Json) -> list[str]:
    data: Any = listed.get("data")
    models = [model for model in data if isinstance(model, dict)] if isinstance(data, list) else []
    return [model["id"] for model in models if isinstance(model.get("id"), str)]
