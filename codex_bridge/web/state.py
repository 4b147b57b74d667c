"""What the requests of one bridge share."""

from __future__ import annotations

from collections import Counter
from typing import Any

from attrs import Factory, define, frozen
from twisted.logger import Logger
from twisted.web.http_headers import Headers

from codex_bridge.engines.upstreams import Upstreams
from codex_bridge.ids import IdSource
from codex_bridge.sealing import Seal
from codex_bridge.settings import Settings
from codex_bridge.storage.store import ResponseStore
from codex_bridge.web.access import owner_of
from codex_bridge.web.background import Background
from codex_bridge.web.drain import Drain
from codex_bridge.web.memory import Memory, NoMemory, StoredMemory
from codex_bridge.web.prefixes import Prefixes
from codex_bridge.web.read_ahead import ReadAhead


@define
class Tally:
    """Exchanges since the start."""

    open: int = 0
    served: int = 0
    repairs: Counter[str] = Factory(Counter)
    """What was repaired in all of them -> how often."""


@frozen
class BridgeState:
    """What every request of one bridge is given."""

    settings: Settings
    upstreams: Upstreams
    clock: Any
    log: Logger
    new_id: IdSource
    seal: Seal
    """Seals the summaries of compacted conversations, which clients keep."""
    drain: Drain = Factory(Drain)
    tally: Tally = Factory(Tally)
    logged_once: set[str] = Factory(set)
    """Lines that are logged only once."""
    background: Background = Factory(lambda self: Background(self.clock), takes_self=True)
    store: ResponseStore | None = None
    """Where responses are stored; None: nowhere."""
    prefixes: Prefixes = Factory(Prefixes)
    """For --debug: where the prompts of one conversation differ."""
    read_ahead: ReadAhead = Factory(
        lambda self: ReadAhead(self.settings, self.upstreams, self.clock, self.log, self.drain),
        takes_self=True,
    )
    """Has models read before the user has typed."""

    def memory_of(self, headers: Headers) -> Memory:
        """What the client that sent `headers` may refer back to."""
        if self.store is None:
            return NoMemory()
        return StoredMemory(self.store, owner_of(headers), self.log)
