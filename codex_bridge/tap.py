"""What `twistd codex-bridge` loads: the options, and the service made of them."""

from __future__ import annotations

from twisted.application.service import IService

from codex_bridge.log import choose_observer
from codex_bridge.options import Options
from codex_bridge.preflight import preflight
from codex_bridge.service import make_service

__all__ = ["Options", "makeService"]


def makeService(options: Options) -> IService:
    """Check what would make the service useless, then make it. Called once, by twistd.

    Ends the process with one line and exit code 1 where the port is taken or Ollama does
    not answer: at this point the caller's terminal is still there to read it.
    """
    preflight(options.settings)
    service = make_service(options.settings)
    service.log_observer = choose_observer(options.settings, options.parent)
    return service
