"""Lists of models: of several upstreams, with the aliases, and with what Codex reads.

A list of one upstream passes through byte for byte, unless it has to have one of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from twisted.internet.defer import Deferred, DeferredSemaphore, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from codex_bridge.clients.catalog import alias_entry, catalog
from codex_bridge.engines.ollama import canonical
from codex_bridge.engines.openai_chat import listed_models
from codex_bridge.engines.parsing import objects_in
from codex_bridge.engines.upstream import Upstream
from codex_bridge.engines.upstreams import Upstreams
from codex_bridge.errors import ApiError, from_upstream
from codex_bridge.text import printable
from codex_bridge.vocabulary import Json, ModelInfo, UpstreamFailure
from codex_bridge.web.json_replies import send_error, send_json
from codex_bridge.web.native import LISTS, listed
from codex_bridge.web.passthrough import PATIENCE, held
from codex_bridge.web.site import BridgeRequest

KEYS = {
    "/v1/models": ("data", "id"),
    "/api/tags": ("models", "name"),
    "/api/ps": ("models", "name"),
}
"""Path of a list -> the key of its entries, and the key of the name in an entry."""
AT_ONCE = 4
"""Models that are asked about at the same time; each takes three small requests."""


def asks_for_catalog(request: BridgeRequest) -> bool:
    """Whether this is Codex, which names its version and reads more than a list."""
    has_version = b"client_version" in (request.args or {})
    return _asks_for_list(request) and has_version and path_of(request) == "/v1/models"


def path_of(request: BridgeRequest) -> str:
    """Where the upstream has the list; /models is short for /v1/models."""
    path = request.path.decode(errors="replace")
    return "/v1/models" if path == "/models" else path


def _asks_for_list(request: BridgeRequest) -> bool:
    return request.method == b"GET" and request.upload is None


class ModelList:
    """The models of the upstreams, in the forms that clients read."""

    def __init__(
        self,
        upstreams: Upstreams,
        clock: IReactorTime,
        log: Logger,
        aliases: Mapping[str, str] = {},
    ) -> None:
        """`aliases`: other names of models -> the models."""
        self._upstreams = upstreams
        self._clock = clock
        self._log = log
        self._aliases = aliases

    def answers(self, request: BridgeRequest) -> bool:
        """Whether this answers a request for a list; else the upstream's answer passes through."""
        has_aliases = bool(self._aliases) and path_of(request) == "/v1/models"
        is_made_here = self._upstreams.are_several or has_aliases
        return asks_for_catalog(request) or (is_made_here and _asks_for_list(request))

    async def handle(self, request: BridgeRequest) -> bytes:
        """The reply: the upstreams' own answers as one; for Codex `models` is added to it."""
        started = self._clock.seconds()
        outcome = "client gone"
        for_codex = asks_for_catalog(request)
        try:
            body = await (self._for_codex() if for_codex else self._plain(path_of(request)))
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

    async def _plain(self, path: str) -> Json:
        return self._with_aliases(await self._merged(path, PATIENCE), path)

    async def _for_codex(self) -> Json:
        path = "/v1/models"
        listed = await self._merged(path, 0.0)
        models = await self._entries([model["id"] for model in listed_models(listed)])
        return self._with_aliases(listed, path) | {"models": models}

    def _with_aliases(self, listed: Json, path: str) -> Json:
        aliases = self._aliases if path == "/v1/models" else {}
        models = listed_models(listed)
        others = [model | {"id": alias} for alias, model in _meant(aliases, models, "id").items()]
        return listed | {"data": [*models, *others]} if others else listed

    async def _merged(self, path: str, patience: float) -> Json:
        """What the upstreams list. `patience`: seconds for an upstream that restarts."""
        first = self._upstreams.first
        try:
            ask_all = partial(self._upstreams.ask_all, partial(self._ask_for_list, path))
            answers = await held(ask_all, self._clock, patience)
        except UpstreamFailure as failure:
            raise from_upstream(failure, "", first.words) from failure
        if not answers:
            raise ApiError(
                502, f"What answers at {first.url} has no list of models.", code="no_models"
            )
        return merged(answers, *KEYS[path])

    async def _ask_for_list(self, path: str, upstream: Upstream) -> Json | None:
        patience = self._upstreams.patience
        if path in LISTS:
            made = Deferred.fromCoroutine(_made(path, upstream))
            if answer := await upstream.budget().within(patience, made):
                return answer
        return await upstream.ask("GET", path, needs_access=True, patience=patience)

    async def _entries(self, names: list[str]) -> list[Json]:
        semaphore = DeferredSemaphore(AT_ONCE)
        asking = [semaphore.run(self._ask, name) for name in names]
        infos: list[tuple[ModelInfo, Upstream]]
        infos = await gatherResults(asking, consumeErrors=True)
        entries = catalog((info, upstream.expected_context(info)) for info, upstream in infos)
        others = _meant(self._aliases, entries, "slug").items()
        return entries + [
            alias_entry(entry, alias, place)
            for place, (alias, entry) in enumerate(others, len(entries) + 1)
        ]

    def _ask(self, name: str) -> Deferred[tuple[ModelInfo, Upstream]]:
        return Deferred.fromCoroutine(self._info(name))

    async def _info(self, name: str) -> tuple[ModelInfo, Upstream]:
        upstream = await self._upstreams.for_model(name)
        try:
            return await upstream.info(name), upstream
        except UpstreamFailure:
            # A model that Ollama tells nothing about must not hide the others.
            return ModelInfo(name), upstream


async def _made(path: str, upstream: Upstream) -> Json | None:
    """A list for an upstream that does not have its own; None: it has."""
    return None if (await upstream.recognised()).is_ollama else await listed(upstream, path)


def merged(answers: list[Json], key: str, name: str) -> Json:
    """Several answers as one. `key` has the entries of each, `name` the name in an entry.

    A model that several upstreams have is listed once, as the first of them tells it.
    """
    if len(answers) == 1:
        return answers[0]
    entries: dict[str, Json] = {}
    for entry in (entry for answer in answers for entry in objects_in(answer.get(key))):
        entries.setdefault(str(entry.get(name)), entry)
    others = {key: value for key, value in answers[0].items() if not isinstance(value, list)}
    return others | {key: list(entries.values())}


def _meant(aliases: Mapping[str, str], models: list[Json], key: str) -> dict[str, Json]:
    """Alias -> the entry of its model, which has the name under `key`.

    An alias of a model that is not there is left out: to choose it would only be a failure.
    """
    by_name = {canonical(model[key]): model for model in models}
    return {
        alias: by_name[canonical(model)]
        for alias, model in aliases.items()
        if canonical(model) in by_name
    }
