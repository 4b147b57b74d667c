"""What signals mean beyond the first SIGTERM, which is the reactor's own business."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

STOPPING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def second_signal(reactor: Any, act: Callable[[], None]) -> Iterator[None]:
    """While it lasts, SIGINT and SIGTERM call `act` from the reactor.

    By themselves they would only make Twisted complain that the reactor is already stopping.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    earlier = {
        number: signal.signal(number, lambda *_: reactor.callFromThread(act)) for number in STOPPING
    }
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def on_rotate(rotate: Callable[[], None] | None) -> None:
    """SIGUSR1 rotates the log, as twistd's users know it; unhandled, it ends the process."""
    if hasattr(signal, "SIGUSR1"):
        signal.signal(signal.SIGUSR1, _soon(rotate) if rotate else signal.SIG_IGN)


def on_hangup(reopen: Callable[[], None] | None) -> None:
    """SIGHUP reopens the log file; without one it ends what a terminal that closed leaves behind.

    Unhandled, it would end every process at once, and leave its pid file. Under nohup it stays
    ignored.
    """
    if not hasattr(signal, "SIGHUP") or signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return
    stop = _stop if sys.stdout and sys.stdout.isatty() else None
    act = reopen or stop
    signal.signal(signal.SIGHUP, _soon(act) if act else signal.SIG_IGN)


def _soon(act: Callable[[], None]) -> Callable[..., None]:
    """A signal handler that has the reactor call `act`."""

    def handler(*_: Any) -> None:
        from twisted.internet import reactor

        reactor.callFromThread(act)  # type: ignore[attr-defined]

    return handler


def _stop() -> None:
    from twisted.internet import reactor

    reactor.stop()
