"""GET /__health: is the bridge of use right now?"""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout

from codex_bridge import __version__
from codex_bridge.vocabulary import Json, UpstreamFailure
from codex_bridge.web.state import BridgeState

TIMEOUT = 1.5
"""Seconds that Ollama gets to answer; programs that monitor a service often wait only for 2."""


class Health:
    """The state of a bridge."""

    def __init__(self, state: BridgeState) -> None:
        self._state = state
        self._started = state.clock.seconds()

    async def check(self) -> tuple[int, Json]:
        """Status and body: 200 when a request would be served, else 503 with the reason."""
        state = self._state
        version, error = await self._ask_ollama()
        status = "ok" if error is None else "upstream unreachable"
        if state.drain.is_draining:
            status = "draining"
        body = {
            "status": status,
            "version": __version__,
            "uptime_seconds": round(state.clock.seconds() - self._started, 3),
            "upstream": {
                "url": state.upstream.url,
                "reachable": error is None,
                "version": version,
                "error": error,
            },
            "models": state.upstream.plans(),
            "exchanges": {"open": state.tally.open, "served": state.tally.served},
            "repairs": dict(state.tally.repairs),
        }
        return (200 if status == "ok" else 503), body

    async def _ask_ollama(self) -> tuple[str | None, str | None]:
        """Its version, and why it does not answer (None if it does)."""
        version = Deferred.fromCoroutine(self._state.upstream.version())
        version.addTimeout(TIMEOUT, self._state.clock)
        try:
            return await version, None
        except UpstreamFailure as failure:
            return None, failure.message
        except (DeferredTimeout, CancelledError):
            return None, f"no answer within {TIMEOUT} s"
