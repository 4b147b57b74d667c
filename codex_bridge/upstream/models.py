"""What Ollama tells of its models: asked for once, kept for a while, renewed beside the work."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

from attrs import define, evolve
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from codex_bridge.vocabulary import Json, ModelInfo, UpstreamFailure

FRESH = 30.0
"""Seconds after which an entry that is used is asked for again."""
MAX_MODELS = 64
"""Entries kept; the oldest goes first."""
Ask = Callable[[str, str, Json | None], Awaitable[Json | None]]
"""(method, path, body) -> the JSON object answered, None if refused. Raises UpstreamFailure."""
OLDEST = (0,)
"""Of an Ollama that gives its version no number."""
PARAMETER = re.compile(r"^(\w+)[ \t]+(.+?)[ \t]*$", re.MULTILINE)


@define
class _Entry:
    """One model, and since when it is known."""

    info: ModelInfo
    since: float


class ModelTable:
    """The models of one server.

    The first question about a model waits for the answer. Later ones get what is known at
    once; where that is old, it is renewed behind them. Questions at the same time share one
    answer.
    """

    def __init__(self, ask: Ask, clock: IReactorTime) -> None:
        self._ask = ask
        self._clock = clock
        self._entries: dict[str, _Entry] = {}
        self._asking: dict[str, list[Deferred[ModelInfo]]] = {}

    async def info(self, name: str) -> ModelInfo:
        """What is known of the model `name`; of one that nobody knows, just its name."""
        entry = self._entries.get(name)
        if entry is None:
            return await self._shared(name)
        if self._clock.seconds() - entry.since >= FRESH and name not in self._asking:
            self._shared(name)
        return entry.info

    async def renewed(self, name: str) -> ModelInfo:
        """The same, asked for now."""
        return await self._shared(name)

    def forget(self, name: str) -> None:
        """The model is gone, or another one by now: ask again before it is used."""
        self._entries.pop(name, None)

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
            info = await self._asked(name)
        except UpstreamFailure:
            # The exchange itself will tell it better.
            return ModelInfo(name)
        if info.is_ollamas and not info.is_described:
            # Missing, or too busy to say: not for long, one hopes.
            self.forget(name)
            return info
        self._entries.pop(name, None)
        self._entries[name] = _Entry(info, self._clock.seconds())
        while len(self._entries) > MAX_MODELS:
            del self._entries[next(iter(self._entries))]
        return info

    async def _asked(self, name: str) -> ModelInfo:
        """What the server tells now."""
        version = await self._ask("GET", "/api/version", None)
        if version is None:
            return ModelInfo(name)
        shown = await self._ask("POST", "/api/show", {"model": name})
        running = await self._ask("GET", "/api/ps", None) if shown else None
        return evolve(
            shown_info(name, shown or {}),
            server_version=version_number(version.get("version")) or OLDEST,
            **running_facts(name, running or {}),
        )


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
