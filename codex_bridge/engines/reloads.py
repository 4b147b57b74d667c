"""Notices that other programs make Ollama load a model anew, again and again.

Ollama has a model in memory with one context. A program that uses it with another one, for instance
because it asks for none, makes Ollama load it anew, and so does the next request of the bridge.
"""

from __future__ import annotations

from attrs import frozen
from twisted.logger import Logger

from codex_bridge.engines.engine import Ask
from codex_bridge.engines.models import ModelTable
from codex_bridge.engines.ollama import running_facts
from codex_bridge.vocabulary import ModelInfo, UpstreamFailure

PATTERN = 3
"""Loads in the last requests that are told: fewer may be a user who tried something once."""
LOAD_SECONDS = 0.1
"""Least time that a load takes. The `load_duration` of Ollama is the time until the model is ready:
some milliseconds where it is in memory already, but 0.7 s with some models and versions, because
Ollama reads the head of the model's file. So it tells only that there may have been a load."""


@frozen
class Before:
    """What was seen before a request."""

    context: int | None
    """Tokens that the model was loaded with, where that is not what the bridge asks for."""
    total: int
    """Of `Reloads`, at that time."""


class ReloadWatch:
    """Counts the loads that other programs cause, and warns of them once for each model.

    A load by itself proves nothing: the model may be new, its `keep_alive` may have expired, or
    another model may have needed the memory. So after what may have been a load, /api/ps is asked
    before the next request: only another program can have left another context there.
    """

    def __init__(self, models: ModelTable, ask: Ask, log: Logger) -> None:
        self._models = models
        self._ask = ask
        self._log = log

    async def before(self, name: str) -> Before:
        """What is to be handed to `after` once the request is answered."""
        model = self._models.get(name)
        asked, context = model.plan and model.plan.num_ctx, None
        if asked and model.reloads.is_suspected:
            try:
                running = await self._ask("GET", "/api/ps", None) or {}
            except UpstreamFailure:
                # The request itself will tell.
                running = {}
            loaded = running_facts(name, running).get("allocated_context")
            context = None if loaded == asked else loaded
        return Before(context, model.reloads.total)

    def after(self, info: ModelInfo, before: Before, load_seconds: float) -> None:
        """The answer is whole, and Ollama told how long it took until the model was ready."""
        model = self._models.get(info.name)
        reloads = model.reloads
        reloads.is_suspected = load_seconds >= LOAD_SECONDS
        # Several requests at a time may have seen the same context, but cause one load.
        is_first = before.total == reloads.total
        is_reload = reloads.is_suspected and before.context is not None and is_first
        reloads.recent.append(is_reload)
        reloads.total += is_reload
        if is_reload and not reloads.is_logged and sum(reloads.recent) >= PATTERN:
            reloads.is_logged = True
            num_ctx = model.plan.num_ctx if model.plan else None
            self._log.warn(
                "{model}: Ollama loaded it anew {count} times in the last {requests} requests, "
                "because other programs use it with a context of {other} tokens, and Codex with "
                "{num_ctx}: {remedy}",
                model=model.name,
                count=sum(reloads.recent),
                requests=len(reloads.recent),
                other=before.context,
                num_ctx=num_ctx,
                remedy=remedy(info, num_ctx),
            )


def remedy(info: ModelInfo, num_ctx: int | None) -> str:
    """What makes other programs use a model with `num_ctx` tokens of context."""
    share = "start the bridge with --share-context, if they go through it"
    # The context of a Modelfile counts more than that variable.
    default = "" if info.own_context else f"set OLLAMA_CONTEXT_LENGTH={num_ctx} for Ollama, or "
    return f"{default}{share}; those that name a context in their requests have to name this one"
