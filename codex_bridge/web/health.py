"""GET /__health: is the bridge of use right now?"""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout

from codex_bridge import __version__
from codex_bridge.vocabulary import Json, UpstreamFailure
from codex_bridge.web.state import BridgeState

PATIENCE = 1.5
"""Seconds that Ollama has to answer; whoever asks for health must be told within 2."""


class Health:
    """What a bridge knows of its own state."""

    def __init__(self, context: BridgeState) -> None:
        self._upstream = context.upstream
        self._tally = context.tally
        self._drain = context.drain
        self._clock = context.clock
        self._started = context.clock.seconds()

    async def check(self) -> tuple[int, Json]:
        """Status and body: 200 when a request would be served, else 503 with the reason."""
        answers, version, trouble = await self._ask_ollama()
        status = "ok" if answers else "upstream unreachable"
        if self._drain.is_draining:
            status = "draining"
        body = {
            "status": status,
            "version": __version__,
            "uptime_seconds": round(self._clock.seconds() - self._started, 3),
            "upstream": {
                "url": self._upstream.url,
                "reachable": answers,
                "version": version,
                "error": trouble,
            },
            "models": {
                model: {"api": plan.api, "context": plan.context, "reason": plan.reason}
                for model, plan in self._upstream.contexts.plans.items()
            },
            "exchanges": {"open": self._tally.open, "served": self._tally.served},
            "repairs": dict(self._tally.repairs),
        }
        return (200 if status == "ok" else 503), body

    async def _ask_ollama(self) -> tuple[bool, str | None, str | None]:
        """Whether it answers, its version, and what went wrong."""
        asked = Deferred.fromCoroutine(self._upstream.version())
        asked.addTimeout(PATIENCE, self._clock)
        try:
            return True, await asked, None
        except UpstreamFailure as failure:
            return False, None, failure.message
        except (DeferredTimeout, CancelledError):
            return False, None, f"no answer within {PATIENCE} s"
