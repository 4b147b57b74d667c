"""Which context a model gets, by which dialect, and whether a prompt fits into it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

from attrs import frozen
from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from codex_bridge.upstream.models import MAX_MODELS, ModelTable
from codex_bridge.upstream.prompt_size import (
    BYTES_PER_TOKEN,
    LEARNING_SIZE,
    PromptSize,
)
from codex_bridge.vocabulary import FailureKind, ModelInfo, UpstreamFailure, UsageDelta

Api = Literal["chat", "ollama"]
ENOUGH = 16384
"""Tokens: Codex's own instructions and tools, and as much again to work with."""
DEFAULT_NUM_CTX = 32768
ANSWER_SHARE = 16
"""The part of the context (one in so many) that a prompt has to leave for the answer."""
COUNTS_ALL_SINCE = (0, 30)
"""Ollama's version; older ones leave out of the count what they have in their cache."""


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
    own = info.own_context or default
    if policy.api == "chat":
        known = own or info.allocated_context
        context = _most(info, known or guess(info))
        return Plan("chat", context, "--upstream-api chat", is_certain=bool(known))
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


class Contexts:
    """The plan for each model, and what was learned on the way."""

    def __init__(
        self,
        policy: ContextPolicy,
        models: ModelTable,
        load: Callable[[str], Awaitable[None]],
        log: Logger,
    ) -> None:
        """`load` makes Ollama load a model as it would for a request that says nothing."""
        self.policy = policy
        self.plans: dict[str, Plan] = {}
        self._models = models
        self._load = load
        self._log = log
        self._default: int | None = None
        """What Ollama allocates where nothing is said; the same for all models."""
        self._seen: dict[str, int | None] = {}
        """What it allocated for a model where nothing was said."""
        self._probing = DeferredLock()
        self._bytes_per_token: dict[str, float] = {}
        self._warned: set[str] = set()

    async def plan_for(self, info: ModelInfo) -> Plan:
        """How to ask the model now. Where only a load can tell, this waits for it."""
        self._observe(info)
        if info.is_described and self._must_probe(info):
            info = await self._probe(info)
        made = self.expected(info)
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

    def expected(self, info: ModelInfo) -> Plan:
        """The plan as far as it can be told without asking."""
        return plan(self.policy, info, self._seen.get(info.name) or self._default)

    def forget(self) -> None:
        """Ollama was gone, or is another one by now: it may have another default."""
        self._default = None
        self._seen.clear()

    def _observe(self, info: ModelInfo) -> None:
        """See what the model is loaded with, as far as that says something of the default."""
        allocated, made = info.allocated_context, self.plans.get(info.name)
        if allocated is None or info.own_context:
            return
        if made is None and self._default is None and allocated < ENOUGH:
            # A larger one may also be what another client asked for.
            self._learn_default(info)
        elif made and made.api == "chat" and allocated < (made.context or 0):
            self.forget()

    def _learn_default(self, info: ModelInfo) -> None:
        allocated = info.allocated_context
        self._seen[info.name] = allocated
        if allocated != info.trained_context:
            self._default = allocated

    def _must_probe(self, info: ModelInfo) -> bool:
        policy = self.policy
        wants_default = policy.api == "chat" or (policy.api == "auto" and policy.num_ctx is None)
        is_open = info.own_context is None and self._default is None and info.name not in self._seen
        return info.is_ollamas and wants_default and is_open

    async def _probe(self, info: ModelInfo) -> ModelInfo:
        """Load the model as it comes, and see what it got. It is needed now anyway."""
        await self._probing.acquire()
        try:
            if self._must_probe(info):
                await self._load(info.name)
                info = await self._models.renewed(info.name)
                self._learn_default(info)
        finally:
            self._probing.release()
        return info

    def check(self, model: str, plan: Plan, size: PromptSize) -> None:
        """Raises UpstreamFailure for a prompt that does not fit, with some room for the answer."""
        if not self.policy.guard or plan.context is None or not plan.is_certain:
            return
        tokens = size.tokens(self._bytes_per_token.get(model, BYTES_PER_TOKEN))
        if tokens > plan.context - plan.context // ANSWER_SHARE:
            raise UpstreamFailure(
                FailureKind.TOO_LONG, f"about {tokens} tokens, and the context has {plan.context}"
            )

    def learn(self, info: ModelInfo, size: PromptSize, usage: UsageDelta) -> None:
        """Take a lesson from the tokens that the server counted for a prompt."""
        counted = usage.input_tokens
        if size.text < LEARNING_SIZE or counted <= 0:
            return
        if (info.server_version or (0,)) < COUNTS_ALL_SINCE:
            return
        known = self._bytes_per_token.get(info.name, BYTES_PER_TOKEN)
        if counted < size.text / (2 * known):
            self._warn_of_cut(info, size, counted)
        elif size.images == 0:
            self._bytes_per_token[info.name] = size.text / counted

    def _warn_of_cut(self, info: ModelInfo, size: PromptSize, counted: int) -> None:
        if info.name in self._warned:
            return
        self._warned.add(info.name)
        self._log.warn(
            "{model} counted {counted} tokens for a prompt of about {expected}: it seems that "
            "Ollama cut it. Give it more context: leave --upstream-api at auto, or set "
            "OLLAMA_CONTEXT_LENGTH=32768 for Ollama",
            model=info.name,
            counted=counted,
            expected=size.tokens(self._bytes_per_token.get(info.name, BYTES_PER_TOKEN)),
        )
