"""Handlers of SIGUSR1, SIGHUP, and of a SIGINT or SIGTERM that comes while the bridge stops."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def second_signal(reactor: Any, act: Callable[[], None]) -> Iterator[None]:
    """A context manager: inside of it, SIGINT and SIGTERM make the reactor call `act`.

    Without it, a second signal would only make Twisted log that the reactor is already stopping.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    earlier = {
        number: signal.signal(number, lambda *_: reactor.callFromThread(act))
        for number in STOP_SIGNALS
    }
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def on_rotate(rotate: Callable[[], None] | None) -> None:
    """Let SIGUSR1 call `rotate`; with None ignore it. Its default action ends the process."""
    if hasattr(signal, "SIGUSR1"):
        signal.signal(signal.SIGUSR1, _handler_calling(rotate) if rotate else signal.SIG_IGN)


def on_hangup(reopen: Callable[[], None] | None) -> None:
    """Let SIGHUP call `reopen`, which opens the log file again.

    None means that there is no log file. Then a bridge that writes to a terminal stops when the
    terminal closes, and any other bridge ignores SIGHUP. The default action would kill the process,
    drop the running exchanges and leave the pid file. Where SIGHUP is ignored already (nohup), it
    stays ignored.
    """
    if not hasattr(signal, "SIGHUP") or signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return
    act = reopen or (_stop if sys.stdout and sys.stdout.isatty() else None)
    signal.signal(signal.SIGHUP, _handler_calling(act) if act else signal.SIG_IGN)


def _handler_calling(act: Callable[[], None]) -> Callable[..., None]:
    """Make a signal handler after which the reactor calls `act`."""

    def handler(*_: Any) -> None:
        from twisted.internet import reactor

        reactor.callFromThread(act)  # type: ignore[attr-defined]

    return handler


def _stop() -> None:
    from twisted.internet import reactor

    reactor.stop()
