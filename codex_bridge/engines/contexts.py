"""Decides when a model has to be loaded to learn which context Ollama gives it by default."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from codex_bridge.engines.engine import Plan
from codex_bridge.engines.models import Model, ModelTable
from codex_bridge.vocabulary import ModelInfo

LOAD_PAUSE = 30.0
"""Seconds between two loads of a model that have the same cause and only show its context."""
REFUSAL_PAUSE = 5.0
"""Seconds between two such loads after a prompt did not fit."""
TOO_LITTLE = "a prompt did not fit"


class Contexts:
    """The plan for each model.

    To learn which context Ollama allocates by default, a model is loaded without asking for one.
    If it is loaded already, its context does not tell: another client may have asked for that. Nor
    do other models tell: one that hardly fits into memory gets less context than they do.
    """

    def __init__(
        self,
        models: ModelTable,
        load: Callable[[str, bytes], Awaitable[bool]],
        log: Logger,
        clock: IReactorTime,
    ) -> None:
        """`load` takes the engine's load request; it tells whether the model was loaded."""
        self._models = models
        self._load = load
        self._log = log
        self._clock = clock
        self._estimate: int | None = None
        """What Ollama last allocated by default: an estimate for models that were not loaded."""

    async def plan_for(self, info: ModelInfo) -> Plan:
        """How to ask the model now. Where only a load can tell, this waits for it."""
        return self._logged(await self._settled(info, is_too_little=False))

    async def has_more(self, info: ModelInfo, refused: int | None) -> bool:
        """Whether the model gets more context than the `refused` tokens, which were too few.

        May load the model to find out, at most once in REFUSAL_PAUSE. Raises UpstreamFailure.
        """
        info = await self._models.renewed(info.name)
        plan = self._logged(await self._settled(info, is_too_little=True))
        return refused is not None and plan.context is not None and plan.context > refused

    def expected(self, info: ModelInfo) -> int | None:
        """Tokens of context as far as they can be told without a load; None: unknown."""
        default = self._models.get(info.name).default_context or None
        return self._models.engine.expected_context(info, default, self._estimate)

    def _plan(self, info: ModelInfo, model: Model) -> Plan:
        return self._models.engine.plan(info, model.default_context or None)

    def _logged(self, info: ModelInfo) -> Plan:
        """The plan; a new one is logged."""
        model = self._models.get(info.name)
        plan = self._plan(info, model)
        if model.plan != plan and not info.is_missing:
            model.plan = plan
            self._log.info(
                "{model}: asked through {path}, context {context} ({reason})",
                model=model.name,
                path=self._models.engine.path,
                context=f"{plan.context} tokens" if plan.context else "unknown",
                reason=plan.reason,
            )
        return plan

    async def _settled(self, info: ModelInfo, *, is_too_little: bool) -> ModelInfo:
        """`info`, once it is known which context the model gets by default.

        Where necessary this loads the model, which its request would do anyway.
        """
        model = self._models.get(info.name)
        info = model.info or info
        request = self._models.engine.load_request(info)
        if request is None:
            return info
        if model.loading.locked or self._why_load(info, model, is_too_little):
            await model.loading.acquire()
            try:
                # Another exchange may have found it out meanwhile.
                info = model.info or info
                if reason := self._why_load(info, model, is_too_little):
                    info = await self._load_to_see(info, model, reason, *request)
            finally:
                model.loading.release()
        if self._is_as_planned(info, model):
            model.is_default_doubted = False
        return info

    def _is_as_planned(self, info: ModelInfo, model: Model) -> bool:
        """Whether the model is loaded with the context that the bridge asks for."""
        planned = self._plan(info, model).num_ctx or model.default_context
        return info.allocated_context is not None and info.allocated_context == planned

    def _why_load(self, info: ModelInfo, model: Model, is_too_little: bool) -> str:
        """Why the model has to be loaded to see what it gets; "": no need."""
        is_default = self._plan(info, model).is_default
        if model.default_context is None:
            reason = "it is new"
        elif is_default and is_too_little:
            reason = TOO_LITTLE
        elif (is_default or model.is_default_doubted) and not self._is_as_planned(info, model):
            reason = f"it was loaded with {info.allocated_context}"
        else:
            return ""
        last, when = model.last_load or ("", 0.0)
        pause = REFUSAL_PAUSE if reason == TOO_LITTLE else LOAD_PAUSE
        # Two clients with different wishes must not make it load for ever.
        is_too_soon = last == reason and self._clock.seconds() - when < pause
        return "" if is_too_soon else reason

    async def _load_to_see(
        self, info: ModelInfo, model: Model, reason: str, path: str, body: bytes
    ) -> ModelInfo:
        """What is known of the model after a load by the request with this path and body."""
        is_loaded = await self._load(path, body)
        # Not before: a load that a client cancelled by hanging up has shown nothing.
        model.last_load = (reason, self._clock.seconds())
        if not is_loaded:
            return info
        info = await self._models.renewed(info.name)
        allocated = info.allocated_context
        model.is_default_doubted = False
        # If Ollama does not report a context this time, keep the one that a session relies on.
        model.default_context = allocated or model.default_context or 0
        if allocated and allocated != info.trained_context:
            self._estimate = allocated
        return info
