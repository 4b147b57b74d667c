"""Which context a model gets, by which dialect, and whether a prompt fits into it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

from attrs import evolve, frozen
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from codex_bridge.engines.lock import Turns
from codex_bridge.engines.models import MAX_MODELS, ModelTable
from codex_bridge.engines.prompt_guard import Bounds, Counts
from codex_bridge.engines.prompt_size import Prompt
from codex_bridge.vocabulary import FailureKind, ModelInfo, UpstreamFailure, UsageDelta

Api = Literal["chat", "ollama"]
ENOUGH = 16384
"""Tokens: Codex's own instructions and tools, and as much again to work with."""
DEFAULT_NUM_CTX = 32768
ANSWER_SHARE = 16
"""The part of the context (one in so many) that a prompt has to leave for the answer."""
COUNTS_ALL_SINCE = (0, 30)
"""Ollama's version; older ones leave out of the count what they have in their cache."""
REFUSES_SINCE = (0, 12, 6)
"""Ollama's version; older ones cut an overlong prompt whatever they are told."""
PROBE_PAUSE = 30.0
"""Seconds between two loads of a model to see what it gets, for the same reason."""
REFUSAL_PAUSE = 5.0
"""The same where a prompt did not fit. Nobody repeats such a one but after giving the model more,
and where nothing has changed, Ollama does nothing."""
TOO_LITTLE = "a prompt did not fit"


@frozen
class ContextPolicy:
    """What the user wants of contexts; see the settings of the same names."""

    api: str = "auto"
    """auto, chat or ollama."""
    num_ctx: int | None = None
    keep_alive: str | None = None
    guard: bool = True


@frozen
class Plan:
    """How a model is asked."""

    api: Api
    context: int | None
    """Tokens that the prompt and its answer may take; None where nobody knows."""
    reason: str
    """Why, in words for the log."""
    num_ctx: int | None = None
    """Context to ask for with every request; None leaves it to Ollama."""
    is_certain: bool = True
    """Whether Ollama told `context`, or it is a guess by its version."""


def plan(policy: ContextPolicy, info: ModelInfo, default: int | None) -> Plan:
    """How to ask a model, given what Ollama allocates by default, if that is known."""
    if not info.is_ollamas and policy.api != "ollama":
        return Plan("chat", None, "the server tells nothing of it")
    if info.is_remote:
        api: Api = "ollama" if policy.api == "ollama" else "chat"
        return Plan(api, info.trained_context, "it runs in the cloud")
    own = info.own_context or default
    if policy.api == "chat":
        context = _most(info, own or guess(info))
        return Plan("chat", context, "--upstream-api chat", is_certain=bool(own))
    wanted = _most(info, policy.num_ctx or DEFAULT_NUM_CTX)
    if policy.num_ctx:
        return Plan("ollama", wanted, "--num-ctx", wanted)
    if own is None:
        return Plan("ollama", wanted, "nobody knows what Ollama allocates", wanted)
    own = _most(info, own)
    if own < min(ENOUGH, wanted):
        return Plan("ollama", wanted, f"by itself Ollama allocates {own}", wanted)
    reason = f"{'its Modelfile' if info.own_context else 'Ollama'} gives it enough"
    if policy.api == "ollama" or policy.keep_alive is not None:
        return Plan("ollama", own, reason, own)
    return Plan("chat", own, reason)


def _most(info: ModelInfo, tokens: int) -> int:
    return min(tokens, info.trained_context or tokens)


def guess(info: ModelInfo) -> int:
    """The least that this version of Ollama allocates by default."""
    return 2048 if (info.server_version or (1,)) < (0, 6, 7) else 4096


@frozen
class _Probe:
    """A load that was made to see what the model gets."""

    time: float
    reason: str


class Contexts:
    """The plan for each model, and what was learned on the way.

    What Ollama allocates where nothing is said is seen by a load that says nothing, for each
    model: another client may have asked for what a model is found loaded with, and one that
    hardly fits into memory gets less than others.
    """

    def __init__(
        self,
        policy: ContextPolicy,
        models: ModelTable,
        load: Callable[[str], Awaitable[bool]],
        log: Logger,
        clock: IReactorTime,
    ) -> None:
        """`load` has a model loaded as a request would that says nothing; whether it could."""
        self.policy = policy
        self.plans: dict[str, Plan] = {}
        self.counts = Counts()
        self._models = models
        self._load = load
        self._log = log
        self._clock = clock
        self._seen: dict[str, int | None] = {}
        """What Ollama allocated for a model where nothing was said."""
        self._default: int | None = None
        """The same for the last such model: an estimate for others."""
        self._doubted: set[str] = set()
        self._probes: dict[str, _Probe] = {}
        self._probing: dict[str, Turns] = {}
        self._warned: set[str] = set()

    @property
    def remedy(self) -> str:
        """What gives a model more context, or less."""
        if self.policy.api == "chat":
            return "codex-bridge prepare, or OLLAMA_CONTEXT_LENGTH for Ollama"
        return "--num-ctx"

    async def plan_for(self, info: ModelInfo) -> Plan:
        """How to ask the model now. Where only a load can tell, this waits for it."""
        info = await self._settled(info)
        made = self._plan(info)
        if info.is_ollamas and not info.is_described:
            return made
        if self.plans.get(info.name) != made:
            if len(self.plans) >= MAX_MODELS:
                self.plans.clear()
            self.plans[info.name] = made
            self._log.info(
                "{model}: asked through {api}, context {context} ({reason})",
                model=info.name,
                api="/api/chat" if made.api == "ollama" else "/v1/chat/completions",
                context=f"{made.context} tokens" if made.context else "unknown",
                reason=made.reason,
            )
        return made

    async def reconsidered(self, info: ModelInfo) -> Plan:
        """The plan when a prompt did not fit: the model may have been given more since."""
        info = await self._models.renewed(info.name)
        return await self.plan_for(await self._settled(info, is_too_little=True))

    def expected(self, info: ModelInfo) -> Plan:
        """The plan as far as it can be told without a load: for a client that plans with it."""
        made = plan(self.policy, info, self._seen.get(info.name) or self._default)
        if made.is_certain or not info.is_ollamas:
            return made
        # The least that Ollama may give would make Codex sum up all the time.
        return evolve(made, context=_most(info, DEFAULT_NUM_CTX))

    def doubt(self, name: str | None = None) -> None:
        """The model, or the whole of Ollama, may be another one by now: look before it is used."""
        self._doubted |= {name} if name else set(self._seen)
        self._models.doubt(name)

    def _plan(self, info: ModelInfo) -> Plan:
        return plan(self.policy, info, self._seen.get(info.name))

    async def _settled(self, info: ModelInfo, *, is_too_little: bool = False) -> ModelInfo:
        """`info` when it is seen what the model gets: one load tells, which is needed anyway."""
        if self._why_probe(info, is_too_little) is None:
            return info
        if len(self._probing) >= MAX_MODELS:
            self._probing = {name: turns for name, turns in self._probing.items() if turns.locked}
        probing = self._probing.setdefault(info.name, Turns())
        waits = probing.locked
        await probing.acquire()
        try:
            if waits:
                # Another exchange may have found it out.
                info = await self._models.info(info.name)
            reason = self._why_probe(info, is_too_little)
            if reason is not None:
                info = await self._probe(info, reason)
        finally:
            probing.release()
        return info

    def _why_probe(self, info: ModelInfo, is_too_little: bool) -> str | None:
        """Why the model has to be loaded as it comes, to see what it gets; None: no need."""
        policy, name = self.policy, info.name
        wants_default = policy.api == "chat" or (policy.api == "auto" and policy.num_ctx is None)
        if not (wants_default and info.is_ollamas and info.is_described):
            return None
        if info.own_context or info.is_remote:
            return None
        made, found = self._plan(info), info.allocated_context
        relies_on_it = made.api == "chat" and made.is_certain
        if name not in self._seen:
            reason = "it is new"
        elif relies_on_it and is_too_little:
            reason = TOO_LITTLE
        elif found is not None and found == (made.num_ctx or self._seen[name]):
            self._doubted.discard(name)
            return None
        elif relies_on_it or name in self._doubted:
            reason = f"it was loaded with {found}"
        else:
            return None
        return reason if self._may_probe(name, reason) else None

    def _may_probe(self, name: str, reason: str) -> bool:
        """Two clients with different wishes must not make it load for ever."""
        last = self._probes.get(name)
        if last is None or last.reason != reason:
            return True
        pause = REFUSAL_PAUSE if reason == TOO_LITTLE else PROBE_PAUSE
        return self._clock.seconds() - last.time >= pause

    async def _probe(self, info: ModelInfo, reason: str) -> ModelInfo:
        if len(self._probes) >= MAX_MODELS:
            self._probes.clear()
        self._probes[info.name] = _Probe(self._clock.seconds(), reason)
        if await self._load(info.name):
            info = await self._models.renewed(info.name)
            self._learn_default(info)
        return info

    def _learn_default(self, info: ModelInfo) -> None:
        allocated = info.allocated_context
        self._doubted.discard(info.name)
        # Not told this time, perhaps: no reason to change what a session relies on.
        self._seen[info.name] = allocated or self._seen.get(info.name)
        if allocated and allocated != info.trained_context:
            self._default = allocated

    def fitting(self, info: ModelInfo, made: Plan, prompt: Prompt) -> Plan:
        """The plan for this very prompt: `made`, or a surer one.

        Raises UpstreamFailure for a prompt that does not fit, with some room for the answer.
        """
        context = made.context
        if not self.policy.guard or context is None or not made.is_certain:
            return made
        last = self.counts.before(info.name, prompt)
        tokens = self.counts.bounds(info.name, prompt)
        room = context - context // ANSWER_SHARE
        if tokens.least > room:
            raise _too_long(tokens, context)
        if made.api == "ollama" or info.is_remote:
            return made
        if self.policy.api == "auto" and (info.server_version or ()) >= REFUSES_SINCE:
            # Ollama itself knows, and says so in its own dialect. Whoever changes the dialect
            # in the middle changes the prompt, where there are pictures: so there is no way back.
            in_doubt = tokens.most > context or (last is not None and last.api == "ollama")
            return evolve(made, api="ollama", num_ctx=context) if in_doubt else made
        if tokens.likely > room:
            raise _too_long(tokens, context)
        return made

    def learn(self, info: ModelInfo, made: Plan, prompt: Prompt, usage: UsageDelta) -> None:
        """Take a lesson from the tokens that the server counted for a prompt."""
        counted = usage.input_tokens
        if counted <= 0 or (info.server_version or (0,)) < COUNTS_ALL_SINCE:
            return
        if self.counts.is_cut(info.name, prompt, counted):
            self._warn_of_cut(info, counted, self.counts.bounds(info.name, prompt).likely)
            self.doubt(info.name)
        else:
            self.counts.learn(info.name, prompt, counted, made.api)

    def _warn_of_cut(self, info: ModelInfo, counted: int, expected: int) -> None:
        if info.name in self._warned:
            return
        self._warned.add(info.name)
        self._log.warn(
            "{model} counted {counted} tokens for a prompt of about {expected}: it seems that "
            "Ollama cut it. Give it more context: leave --upstream-api at auto, or set "
            "OLLAMA_CONTEXT_LENGTH=32768 for Ollama",
            model=info.name,
            counted=counted,
            expected=expected,
        )


def _too_long(tokens: Bounds, context: int) -> UpstreamFailure:
    text = f"about {tokens.likely} tokens, and the context has {context}"
    return UpstreamFailure(FailureKind.TOO_LONG, text)
