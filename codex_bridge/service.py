"""The composition root: the only place where the rooms are wired together."""

from __future__ import annotations

from typing import Any

from twisted.application.internet import TCPServer
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, Logger

from codex_bridge import __version__
from codex_bridge.ids import random_id
from codex_bridge.logs import make_logger
from codex_bridge.settings import Settings
from codex_bridge.upstream.client import Upstream
from codex_bridge.upstream.contexts import ContextPolicy
from codex_bridge.web.app import BridgeApp
from codex_bridge.web.site import BridgeSite


class BridgeService(MultiService):
    """One running bridge: listens while started, closes its upstream connections when stopped."""

    log_observer: ILogObserver | None = None
    """Set before the service joins an Application, this becomes the process's log observer."""

    def __init__(
        self, settings: Settings, server: TCPServer, upstream: Upstream, log: Logger
    ) -> None:
        super().__init__()
        self._settings = settings
        self._server = server
        self._upstream = upstream
        self._log = log
        server.setServiceParent(self)

    def setServiceParent(self, parent: Any) -> None:
        """Join `parent`; bring the log observer along where the parent is an Application."""
        if self.log_observer is not None:
            parent.setComponent(ILogObserver, self.log_observer)
        super().setServiceParent(parent)

    @property
    def listening_port(self) -> Any:
        """The open port; with --port 0 the only way to learn its number."""
        return self._server._port

    def startService(self) -> None:
        """Listen, and say where."""
        super().startService()
        host = self._settings.interface
        self._log.info(
            "codex-bridge {version} listens on http://{host}:{port}, Ollama is at {url}",
            version=__version__,
            host=f"[{host}]" if ":" in host else host,
            port=self.listening_port.getHost().port,
            url=self._settings.ollama_url,
        )

    async def _stop(self) -> None:
        stopped = super().stopService()
        if isinstance(stopped, Deferred):
            await stopped
        await self._upstream.close()

    def stopService(self) -> Deferred[None]:
        """Stop listening, then close the pooled upstream connections."""
        return Deferred.fromCoroutine(self._stop())


def make_service(settings: Settings, reactor: Any = None) -> BridgeService:
    """Wire a bridge that does what `settings` say. Nothing is opened before it starts."""
    if reactor is None:
        from twisted.internet import reactor
    log = make_logger(settings)
    policy = ContextPolicy(
        settings.upstream_api, settings.num_ctx, settings.keep_alive, settings.context_guard
    )
    upstream = Upstream(reactor, settings.ollama_url, policy, log)
    app = BridgeApp(settings, upstream, reactor, log, random_id)
    site = BridgeSite(app.resource(), settings.max_body_size, settings.client_timeout, reactor)
    # TCPServer raises when the port is taken; an endpoint service would only log it.
    server = TCPServer(settings.port, site, interface=settings.interface, reactor=reactor)
    return BridgeService(settings, server, upstream, log)
