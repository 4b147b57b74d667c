"""GET /v1/models: Ollama's list with the aliases; with `client_version` also what Codex reads.

Without aliases and `client_version` the list passes through, byte for byte.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from twisted.internet.defer import Deferred, DeferredSemaphore, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from codex_bridge.clients.catalog import alias_entry, catalog
from codex_bridge.engines.ollama import canonical
from codex_bridge.engines.openai_chat import listed_models
from codex_bridge.engines.upstream import Upstream
from codex_bridge.errors import ApiError, from_upstream
from codex_bridge.text import printable
from codex_bridge.vocabulary import Json, ModelInfo, UpstreamFailure
from codex_bridge.web.json_replies import send_error, send_json
from codex_bridge.web.passthrough import PATIENCE, held
from codex_bridge.web.site import BridgeRequest

AT_ONCE = 4
"""Models that are asked about at the same time; each takes three small requests."""


def asks_for_catalog(request: BridgeRequest) -> bool:
    """Whether this is Codex, which names its version and reads more than a list."""
    has_version = b"client_version" in (request.args or {})
    return request.method == b"GET" and has_version and request.upload is None


class ModelList:
    """The models of an upstream, in the forms that clients read."""

    def __init__(
        self,
        upstream: Upstream,
        clock: IReactorTime,
        log: Logger,
        aliases: Mapping[str, str] = {},
    ) -> None:
        """`aliases`: other names of models -> the models."""
        self._upstream = upstream
        self._clock = clock
        self._log = log
        self._aliases = aliases

    def answers(self, request: BridgeRequest) -> bool:
        """Whether this answers a request for a list; else the upstream's answer passes through."""
        is_plain = request.method == b"GET" and request.upload is None
        return asks_for_catalog(request) or (is_plain and bool(self._aliases))

    async def handle(self, request: BridgeRequest) -> bytes:
        """The reply: Ollama's own answer with the aliases; for Codex `models` is added to it."""
        started = self._clock.seconds()
        outcome = "client gone"
        for_codex = asks_for_catalog(request)
        try:
            body = await self._body(for_codex=for_codex)
            outcome = f"200, {len(body['models'])} models for Codex" if for_codex else "200"
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

    async def _body(self, *, for_codex: bool = True) -> Json:
        listed = await self._listed(0.0 if for_codex else PATIENCE)
        models = listed_models(listed)
        by_name = {canonical(model["id"]): model for model in models}
        # An alias of a model that is not there would only be a failure to choose.
        aliases = {
            alias: by_name[canonical(model)]["id"]
            for alias, model in self._aliases.items()
            if canonical(model) in by_name
        }
        if aliases:
            others = [by_name[canonical(aliases[alias])] | {"id": alias} for alias in aliases]
            listed = listed | {"data": [*models, *others]}
        if not for_codex:
            return listed
        return listed | {"models": await self._entries([model["id"] for model in models], aliases)}

    async def _listed(self, patience: float) -> Json:
        """What the upstream lists. `patience`: seconds for an upstream that restarts."""
        asking: Callable[[], Awaitable[Json | None]]
        asking = partial(self._upstream.ask, "GET", "/v1/models", needs_access=True)
        try:
            listed = await held(asking, self._clock, patience)
        except UpstreamFailure as failure:
            raise from_upstream(failure, "", self._upstream.words) from failure
        if listed is None:
            url = self._upstream.url
            raise ApiError(502, f"What answers at {url} has no list of models.", code="no_models")
        return listed

    async def _entries(self, names: list[str], aliases: Mapping[str, str]) -> list[Json]:
        semaphore = DeferredSemaphore(AT_ONCE)
        asking = [semaphore.run(self._ask, name) for name in names]
        infos: list[ModelInfo] = await gatherResults(asking, consumeErrors=True)
        entries = catalog((info, self._upstream.expected_context(info)) for info in infos)
        by_name = {entry["slug"]: entry for entry in entries}
        known = [alias for alias in aliases if aliases[alias] in by_name]
        return entries + [
            alias_entry(by_name[aliases[alias]], alias, place)
            for place, alias in enumerate(known, len(entries) + 1)
        ]

    def _ask(self, name: str) -> Deferred[ModelInfo]:
        return Deferred.fromCoroutine(self._info(name))

    async def _info(self, name: str) -> ModelInfo:
        try:
            return await self._upstream.info(name)
        except UpstreamFailure:
            # A model that Ollama tells nothing about must not hide the others.
            return ModelInfo(name)
