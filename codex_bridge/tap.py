"""The module that twistd loads for `twistd codex-bridge`: `Options` and `makeService`."""

from __future__ import annotations

from twisted.application.service import IService

from codex_bridge.log import choose_observer
from codex_bridge.options import Options
from codex_bridge.service import make_service
from codex_bridge.start_checks import check_before_start

__all__ = ["Options", "makeService"]


def makeService(options: Options) -> IService:
    """Make the service that parsed `options` describe. twistd and codex-bridge.tac call it once.

    Ends the process with the reason and exit code 1 if the port is taken, no model server answers,
    or the log file cannot be written. The terminal is still attached at this point.
    """
    settings = check_before_start(options.settings, options.is_upstream_given)
    service = make_service(settings)
    service.log_observer = choose_observer(settings, options.parent)
    return service
