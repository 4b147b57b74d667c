"""GET /__health: is the bridge of use right now?"""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout

from codex_bridge import __version__
from codex_bridge.engines.engine import Engine
from codex_bridge.engines.upstream import Upstream
from codex_bridge.vocabulary import FailureKind, Json, UpstreamFailure
from codex_bridge.web.state import BridgeState

TIMEOUT = 1.5
"""Seconds that the upstream gets to answer; programs that watch a service often wait only for 2."""


class Health:
    """The state of a bridge."""

    def __init__(self, state: BridgeState) -> None:
        self._state = state
        self._started = state.clock.seconds()

    async def check(self) -> tuple[int, Json]:
        """Status and body: 200 when a request would be served, else 503 with the reason.

        Of several upstreams one has to answer.
        """
        state = self._state
        told = {each.name: Deferred.fromCoroutine(self._told(each)) for each in state.upstreams}
        upstreams = {name: await each for name, each in told.items()}
        is_reachable = any(each["reachable"] for each in upstreams.values())
        status = "ok" if is_reachable else "upstream unreachable"
        if state.drain.is_draining:
            status = "draining"
        body = {
            "status": status,
            "version": __version__,
            "uptime_seconds": round(state.clock.seconds() - self._started, 3),
            "upstream": upstreams[state.upstreams.first.name],
            "models": state.upstreams.plans(),
            "exchanges": {"open": state.tally.open, "served": state.tally.served},
            "repairs": dict(state.tally.repairs),
            "read_ahead": state.read_ahead.counts,
            "websocket": state.settings.websocket,
        }
        if state.upstreams.are_several:
            body["upstreams"] = upstreams
        return (200 if status == "ok" else 503), body

    async def _told(self, upstream: Upstream) -> Json:
        """What the reply tells of an upstream."""
        engine, error = await self._identify(upstream)
        return {
            "url": upstream.url,
            "reachable": error is None,
            "server": engine.server if engine else None,
            "version": engine.release or None if engine else None,
            "error": error,
        }

    async def _identify(self, upstream: Upstream) -> tuple[Engine | None, str | None]:
        """The engine for the upstream, and why that does not answer (None if it does)."""
        identified = Deferred.fromCoroutine(upstream.identify())
        identified.addTimeout(TIMEOUT, self._state.clock)
        try:
            return await identified, None
        except UpstreamFailure as failure:
            answers = failure.kind in {FailureKind.REFUSED, FailureKind.NO_KEY}
            return None, None if answers else failure.message
        except (DeferredTimeout, CancelledError):
            return None, f"no answer within {TIMEOUT} s"
