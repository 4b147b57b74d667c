"""What signals mean beyond the first SIGTERM, which is the reactor's own business."""

from __future__ import annotations

import signal
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
