"""The composition root: the only module that makes the parts of a bridge and connects them."""

from __future__ import annotations

from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    gatherResults,
    maybeDeferred,
    succeed,
)
from twisted.logger import ILogObserver, Logger
from twisted.python.failure import Failure

from codex_bridge import __version__
from codex_bridge.engines.budget import Limits
from codex_bridge.engines.engine import ContextPolicy
from codex_bridge.engines.upstream import Upstream
from codex_bridge.engines.upstreams import Upstreams
from codex_bridge.ids import random_id
from codex_bridge.log import logger_of, make_logger
from codex_bridge.sealing import Seal
from codex_bridge.settings import Settings
from codex_bridge.signals import second_signal
from codex_bridge.sleep import SleepWatch
from codex_bridge.storage.store import ResponseStore
from codex_bridge.twisted_private import mute_interim_responses, use_monotonic_clock
from codex_bridge.values import MEMORY, OFF
from codex_bridge.vocabulary import UpstreamFailure
from codex_bridge.web.access import is_loopback
from codex_bridge.web.app import BridgeApp
from codex_bridge.web.site import BridgeSite

DAY = 86_400.0
"""Seconds."""
BACKLOG = 512
"""Connections that may wait to be accepted. Twisted's 50 are too few for a burst of sub-agents."""
LAST_WRITES = 1.0
"""Seconds that clients are given to read what was written last, before they are cut off."""


class BridgeService(Service):
    """One running bridge: listens while started, closes its upstream connections when stopped."""

    log_observer: ILogObserver | None = None
    """Becomes the log observer of the process if set before the service joins an Application."""
    listening_port: Any = None
    """The listening port of Twisted. With --port 0 its address alone tells the number."""

    def __init__(
        self,
        settings: Settings,
        app: BridgeApp,
        site: BridgeSite,
        upstreams: Upstreams,
        store: ResponseStore | None,
        log: Logger,
        reactor: Any,
    ) -> None:
        self._settings = settings
        self._drain = app.drain
        self.read_ahead = app.read_ahead
        self._site = site
        self._upstreams = upstreams
        self._store = store
        self._log = log
        self._reactor = reactor
        self._sleep = SleepWatch(reactor, self._wake)
        self.identified: Deferred[Any] = succeed(None)
        """Fires when each upstream has told what it is, or did not answer; asked at the start."""

    def setServiceParent(self, parent: Any) -> None:
        """Join `parent`, and give it `log_observer`. If that is set, it must be an Application."""
        if self.log_observer is not None:
            parent.setComponent(ILogObserver, self.log_observer)
        super().setServiceParent(parent)

    def privilegedStartService(self) -> None:
        """Listen while the process still has the rights to open a port below 1024."""
        super().privilegedStartService()
        self._listen()

    def startService(self) -> None:
        """Listen, and log where.

        Raises CannotListenError, for instance where the port is taken, and StorageError where the
        file of the stored responses cannot be used.
        """
        super().startService()
        if self._store is not None:
            self._store.start()
        self._listen()
        self._sleep.start()
        self.identified = gatherResults([self._identify(each) for each in self._upstreams])
        host = self._settings.interface
        self._log.info(
            "codex-bridge {version} listens on http://{host}:{port}, the upstream is at {url}"
            if not self._upstreams.are_several
            else "codex-bridge {version} listens on http://{host}:{port}, the upstreams are {url}",
            version=__version__,
            host=f"[{host}]" if ":" in host else host,
            port=self.listening_port.getHost().port,
            url=", ".join(
                f"{each.name} at {each.url}".removeprefix(" at ") for each in self._upstreams
            ),
        )
        if self._settings.api_key is None and not is_loopback(host):
            self._log.warn(
                "Everybody who reaches {host} can use, load and delete the models here: "
                "set CODEX_BRIDGE_API_KEY, or listen on 127.0.0.1",
                host=host,
            )

    def _identify(self, upstream: Upstream) -> Deferred[Any]:
        identified = Deferred.fromCoroutine(upstream.identify())
        # What does not answer now is asked again when it is needed.
        return identified.addErrback(Failure.trap, UpstreamFailure, CancelledError)

    def _listen(self) -> None:
        """Open the port, unless it is open.

        Twisted's StreamServerEndpointService is not used: it only logs that it cannot listen.
        """
        if self.listening_port is None:
            settings = self._settings
            self.listening_port = self._reactor.listenTCP(
                settings.port, self._site, BACKLOG, interface=settings.interface
            )

    def _wake(self, slept: float) -> None:
        self._log.info(
            "the machine slept for {slept:.0f} s; replies that are running: {running}",
            slept=slept,
            running=len(self._drain),
        )
        self._upstreams.wake()

    async def _stop(self) -> None:
        super().stopService()
        self._sleep.stop()
        self.identified.cancel()
        if self.listening_port is not None:
            await maybeDeferred(self.listening_port.stopListening)
            self.listening_port = None
        await self._finish_serving()
        await self._upstreams.close()
        if self._store is not None:
            await self._store.close()

    async def _finish_serving(self) -> None:
        """Wait for running replies up to the drain limit, then close all client connections."""
        emptied = self._drain.drain(self._reactor, self._settings.drain)
        self.read_ahead.stop()
        self._site.end_sockets()
        if len(self._drain):
            self._log.info(
                "stopping: waiting up to {seconds} s for {count} replies to end; a second signal "
                "ends them now",
                seconds=self._settings.drain,
                count=len(self._drain),
            )
            with second_signal(self._reactor, self._drain.cut_short):
                await emptied
        closed = self._site.close_channels()
        limit = self._reactor.callLater(LAST_WRITES, self._site.abort_channels)
        await closed
        if limit.active():
            limit.cancel()

    def stopService(self) -> Deferred[None]:
        """Stop listening, let running replies end, close every connection."""
        return Deferred.fromCoroutine(self._stop())


def make_service(settings: Settings, reactor: Any = None) -> BridgeService:
    """Make a bridge with `settings`. It opens no port and no connection before it is started."""
    if reactor is None:
        from twisted.internet import reactor

        use_monotonic_clock(reactor)
    mute_interim_responses()
    log = make_logger(settings)
    policy = ContextPolicy(
        settings.upstream_api, settings.num_ctx, settings.keep_alive, settings.context_guard
    )
    limits = Limits(silence=settings.upstream_timeout, answer_size=settings.max_answer_size)
    servers = settings.servers
    upstreams = Upstreams(
        [
            Upstream(reactor, url, policy, logger_of(log, name), limits, key, name)
            if len(servers) > 1
            else Upstream(reactor, url, policy, log, limits, key)
            for name, (url, key) in servers.items()
        ]
    )
    store = None
    if settings.store != OFF:
        store = ResponseStore(
            None if settings.store == MEMORY else settings.store,
            max_age=settings.store_age * DAY,
            max_bytes=settings.store_size,
            log=log,
            reactor=reactor,
        )
    seal = Seal(settings.seal_key, log)
    app = BridgeApp(settings, upstreams, reactor, log, random_id, seal, store)
    site = BridgeSite(
        app.resource(), settings.max_body_size, settings.client_timeout, reactor, app.access.refusal
    )
    return BridgeService(settings, app, site, upstreams, store, log, reactor)
