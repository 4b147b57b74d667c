"""What Ollama tells of its models: asked for once, kept for a while, renewed beside the work."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

from attrs import define, evolve
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from codex_bridge.engines.connections import KEEP_ALIVE
from codex_bridge.vocabulary import FailureKind, Json, ModelInfo, UpstreamFailure

FRESH = 30.0
"""Seconds after which an entry that is used is asked for again, behind its use."""
STALE = float(KEEP_ALIVE)
"""Seconds after which it is asked for again before it is used. Until then a connection is kept,
whose end would tell that the server was started again."""
MAX_MODELS = 64
"""Entries kept; the oldest goes first."""
Ask = Callable[[str, str, Json | None], Awaitable[Json | None]]
"""(method, path, body) -> the JSON object answered, None if refused.

Raises UpstreamFailure: UNREACHABLE without an answer, another kind if the server is in trouble.
"""
OLDEST = (0,)
"""Of an Ollama that gives its version no number."""
PARAMETER = re.compile(r"^(\w+)[ \t]+(.+?)[ \t]*$", re.MULTILINE)


@define
class _Entry:
    """One model, and since when it is known."""

    info: ModelInfo
    since: float
    is_doubted: bool = False
    """Whether the server may be another one since."""


class ModelTable:
    """The models of one server.

    The first question about a model waits for the answer. Later ones get what is known at
    once; where that is old, it is renewed behind them, and where it is very old or doubted,
    before them. Questions at the same time share one answer.

    No answer is no fact: then what is known stays, and without that the question fails.
    """

    def __init__(self, ask: Ask, clock: IReactorTime) -> None:
        self._ask = ask
        self._clock = clock
        self._entries: dict[str, _Entry] = {}
        self._asking: dict[str, list[Deferred[ModelInfo]]] = {}

    async def info(self, name: str) -> ModelInfo:
        """What is known of the model `name`; of one that nobody knows, just its name.

        Raises UpstreamFailure where nothing is known and nobody answers.
        """
        entry = self._entries.get(name)
        if entry is None or entry.is_doubted or self._age(entry) >= STALE:
            return await self._shared(name)
        if self._age(entry) >= FRESH and name not in self._asking:
            self._shared(name).addErrback(lambda failure: failure.trap(UpstreamFailure))
        return entry.info

    async def renewed(self, name: str) -> ModelInfo:
        """The same, asked for now."""
        if name in self._asking:
            # Part of that answer may be from before whatever the caller wants to see.
            await self._shared(name).addErrback(lambda failure: failure.trap(UpstreamFailure))
        return await self._shared(name)

    def forget(self, name: str) -> None:
        """The model is gone, or another one by now: ask again before it is used."""
        self._entries.pop(name, None)

    def doubt(self, name: str | None = None) -> None:
        """The model, or the whole server, may be another one by now: ask before it is used."""
        for known, entry in self._entries.items():
            entry.is_doubted |= name in (None, known)

    def _age(self, entry: _Entry) -> float:
        return self._clock.seconds() - entry.since

    def _shared(self, name: str) -> Deferred[ModelInfo]:
        """The answer to the question that is on its way, or to a new one."""
        waiting: Deferred[ModelInfo] = Deferred()
        if name in self._asking:
            self._asking[name].append(waiting)
            return waiting
        self._asking[name] = [waiting]

        def tell(outcome: ModelInfo | Failure) -> None:
            for each in self._asking.pop(name):
                # A Deferred takes a Failure as the failure that it is.
                each.callback(outcome)

        Deferred.fromCoroutine(self._look_up(name)).addBoth(tell)
        return waiting

    async def _look_up(self, name: str) -> ModelInfo:
        try:
            version = await self._ask("GET", "/api/version", None)
        except UpstreamFailure as failure:
            return self._without_answer(name, failure)
        if version is None or not isinstance(version.get("version"), str):
            return self._keep(ModelInfo(name))
        number = version_number(version["version"]) or OLDEST
        try:
            shown = await self._ask("POST", "/api/show", {"model": name})
        except UpstreamFailure:
            return self._not_shown(name, number)
        info = evolve(shown_info(name, shown or {}), server_version=number)
        if not info.is_described:
            # Missing, or made anew just now: not for long, one hopes.
            self.forget(name)
            return info
        return self._keep(evolve(info, **running_facts(name, await self._running())))

    async def _running(self) -> Json:
        try:
            return await self._ask("GET", "/api/ps", None) or {}
        except UpstreamFailure:
            return {}

    def _without_answer(self, name: str, failure: UpstreamFailure) -> ModelInfo:
        entry = self._entries.get(name)
        if entry is not None and not entry.is_doubted:
            # Not every exchange shall wait for a server that is too busy to tell of itself.
            entry.since = self._clock.seconds()
            return entry.info
        if failure.kind is FailureKind.UNREACHABLE or (entry and entry.info.is_ollamas):
            raise failure
        # It answers, if not well: Ollama's own version never fails.
        return ModelInfo(name)

    def _not_shown(self, name: str, number: tuple[int, ...]) -> ModelInfo:
        """Ollama, which did not tell of the model this time."""
        entry = self._entries.get(name)
        if entry is None or not entry.info.is_ollamas:
            return ModelInfo(name, server_version=number)
        entry.info = evolve(entry.info, server_version=number)
        entry.since = self._clock.seconds()
        return entry.info

    def _keep(self, info: ModelInfo) -> ModelInfo:
        self._entries.pop(info.name, None)
        self._entries[info.name] = _Entry(info, self._clock.seconds())
        while len(self._entries) > MAX_MODELS:
            del self._entries[next(iter(self._entries))]
        return info


def shown_info(name: str, shown: Json) -> ModelInfo:
    """What an answer of /api/show says of a model."""
    parameters = dict(PARAMETER.findall(str(shown.get("parameters") or "")))
    model_info, details = _object(shown.get("model_info")), _object(shown.get("details"))
    architecture = model_info.get("general.architecture")
    capabilities = shown.get("capabilities")
    return ModelInfo(
        name=name,
        capabilities=frozenset(map(str, capabilities)) if isinstance(capabilities, list) else None,
        family=str(details.get("family") or architecture or ""),
        trained_context=_whole(model_info.get(f"{architecture}.context_length")),
        own_context=_whole(_number(parameters.get("num_ctx"))),
        remote=bool(shown.get("remote_model") or shown.get("remote_host")),
        temperature=_number(parameters.get("temperature")),
        top_p=_number(parameters.get("top_p")),
    )


def running_facts(name: str, running: Json) -> Json:
    """What an answer of /api/ps says of a model: its context, where it is loaded."""
    models = running.get("models")
    wanted = {name.lower(), f"{name.lower()}:latest"}
    for entry in models if isinstance(models, list) else []:
        if isinstance(entry, dict) and str(entry.get("name")).lower() in wanted:
            return {"allocated_context": _whole(entry.get("context_length"))}
    return {}


def version_number(text: Any) -> tuple[int, ...] | None:
    """ "0.33.0-rc2" -> (0, 33, 0); None for what is no version."""
    found = re.match(r"v?(\d+(?:\.\d+)+)", str(text or ""))
    return tuple(map(int, found[1].split("."))) if found else None


def _object(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _number(text: Any) -> float | None:
    try:
        return float(text)
    except (TypeError, ValueError):
        return None


def _whole(value: Any) -> int | None:
    """A positive number of tokens."""
    return int(value) if isinstance(value, int | float) and value >= 1 else None
