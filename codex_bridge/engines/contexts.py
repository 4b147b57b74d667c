"""When a model has to be loaded to see which context it gets; the engine's plan chooses by that."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from codex_bridge.engines.engine import DEFAULT_NUM_CTX, Plan
from codex_bridge.engines.models import Model, ModelTable
from codex_bridge.engines.ollama import capped
from codex_bridge.vocabulary import ModelInfo

PROBE_PAUSE = 30.0
"""Seconds between two loads of a model to see what it gets, for the same reason."""
REFUSAL_PAUSE = 5.0
"""The same where a prompt did not fit: it is repeated only when the model was given more."""
TOO_LITTLE = "a prompt did not fit"


class Contexts:
    """The plan for each model.

    What Ollama allocates where nothing is asked for is seen by a load that asks for nothing, for
    each model: another client may have asked for what a model is found loaded with, and a model
    that hardly fits into memory gets less than others.
    """

    def __init__(
        self,
        models: ModelTable,
        load: Callable[[str], Awaitable[bool]],
        log: Logger,
        clock: IReactorTime,
    ) -> None:
        """`load` has a model loaded as by a request that asks for nothing; whether it could."""
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

        Looks again, at most once in REFUSAL_PAUSE. Raises UpstreamFailure.
        """
        info = await self._models.renewed(info.name)
        plan = self._logged(await self._settled(info, is_too_little=True))
        return refused is not None and plan.context is not None and plan.context > refused

    def expected(self, info: ModelInfo) -> int | None:
        """Tokens of context as far as they can be told without a load; None: unknown."""
        default = self._models.get(info.name).default or self._estimate
        context = self._models.engine.plan(info, default).context
        if context is None and info.is_ollamas and not info.is_remote:
            # The least that Ollama may give would make Codex compact all the time.
            return capped(info, DEFAULT_NUM_CTX)
        return context

    def _plan(self, info: ModelInfo, model: Model) -> Plan:
        return self._models.engine.plan(info, model.default or None)

    def _logged(self, info: ModelInfo) -> Plan:
        """The plan; a new one is logged."""
        model = self._models.get(info.name)
        plan = self._plan(info, model)
        is_missing = info.is_ollamas and not info.is_described
        if model.plan != plan and not is_missing:
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
        """`info` when it is known what the model gets. A load tells, which is needed anyway."""
        model = self._models.get(info.name)
        info = model.info or info
        if not model.probing.locked and self._why_probe(info, model, is_too_little) is None:
            return info
        await model.probing.acquire()
        try:
            # Another exchange may have found it out meanwhile.
            info = model.info or info
            reason = self._why_probe(info, model, is_too_little)
            if reason is not None:
                info = await self._probe(info, model, reason)
        finally:
            model.probing.release()
        return info

    def _why_probe(self, info: ModelInfo, model: Model, is_too_little: bool) -> str | None:
        """Why the model has to be loaded to see what it gets; None: no need."""
        if not self._models.engine.needs_default(info):
            return None
        plan, found = self._plan(info, model), info.allocated_context
        if model.default is None:
            reason = "it is new"
        elif plan.is_default and is_too_little:
            reason = TOO_LITTLE
        elif found is not None and found == (plan.num_ctx or model.default):
            model.is_default_doubted = False
            return None
        elif plan.is_default or model.is_default_doubted:
            reason = f"it was loaded with {found}"
        else:
            return None
        last, when = model.probed or ("", 0.0)
        pause = REFUSAL_PAUSE if reason == TOO_LITTLE else PROBE_PAUSE
        # Two clients with different wishes must not make it load for ever.
        is_too_soon = last == reason and self._clock.seconds() - when < pause
        return None if is_too_soon else reason

    async def _probe(self, info: ModelInfo, model: Model, reason: str) -> ModelInfo:
        is_loaded = await self._load(info.name)
        # Not before: a load that a client cancelled by hanging up has shown nothing.
        model.probed = (reason, self._clock.seconds())
        if not is_loaded:
            return info
        info = await self._models.renewed(info.name)
        allocated = info.allocated_context
        model.is_default_doubted = False
        # Where it is not told this time, there is no reason to change what a session relies on.
        model.default = allocated or model.default or 0
        if allocated and allocated != info.trained_context:
            self._estimate = allocated
        return info
