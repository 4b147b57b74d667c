"""Responses that clients may refer back to, kept for a time and up to a size.

SQLite blocks, so everything that is asked of it runs on one thread of its own, in the order in
which it was asked.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from functools import partial
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from codex_bridge.ids import IdSource, random_id
from codex_bridge.storage.database import Database, StorageError
from codex_bridge.storage.records import Records, Stats
from codex_bridge.vocabulary import Json

T = TypeVar("T")


def check_store(path: str, warn: Callable[[str], None]) -> None:
    """Open and close the file at `path`, which is made if need be; blocking.

    Raises StorageError where a store cannot use it. `warn` is told if a file was set aside.
    """
    database = Database(path, warn)
    database.open()
    database.close()


class ResponseStore:
    """The stored responses of all clients. An owner only sees what it saved itself.

    Each method asks for something at once, and returns a Deferred that fires when it is done:
    with StorageError where the database fails, or the store is not open. Cancelling it changes
    nothing of what is done.
    """

    def __init__(
        self,
        path: str | None,
        *,
        max_age: float,
        max_bytes: int,
        log: Logger,
        reactor: Any,
        now: Callable[[], float] = time.time,
        new_id: IdSource = random_id,
        pool: Any = None,
    ) -> None:
        """Keep responses in the file at `path`, or in memory for None.

        They are kept for `max_age` seconds of the calendar, which `now` tells, and as long as all
        of them take at most `max_bytes`; the oldest go first. `new_id` names items that come
        without an id. `pool` is a ThreadPool of one thread, by default a new one.
        """
        self._log = log
        self._database = Database(path, self._warn)
        self._max_age = max_age
        self._max_bytes = max_bytes
        self._now = now
        self._new_id = new_id
        self._reactor = reactor
        self._pool = pool or _one_thread()
        self._is_open = False

    def start(self) -> None:
        """Open the database, on the calling thread. Raises StorageError with the reason."""
        self._database.open()
        self._pool.start()
        self._is_open = True

    def close(self) -> Deferred[None]:
        """Close the database when all is done that was asked for before."""
        if not self._is_open:
            return succeed(None)
        self._is_open = False
        closed = self._on_thread(self._database.close)
        return closed.addBoth(lambda _: self._pool.stop())

    def save(self, owner: str, response: Json, input_items: list[Json]) -> Deferred[None]:
        """Keep a response object and the input items that it answers; both must not change.

        It replaces one of the same id. Items that have no id get one. When the Deferred fires, it
        is safe from the end of the process.
        """

        def save(records: Records) -> None:
            key = records.save(owner, response, input_items, self._now())
            while records.size > self._max_bytes:
                if not records.delete_oldest(spared=key):
                    raise StorageError(
                        f"the response is larger than all that may be stored, which is "
                        f"{self._max_bytes} bytes (--store-size)"
                    )

        return self._ask(save)

    def response(self, owner: str, response_id: str) -> Deferred[Json | None]:
        """The response object, as it was saved; None if it is not stored."""
        return self._ask(lambda records: records.response(owner, response_id))

    def context(self, owner: str, response_id: str) -> Deferred[list[Json] | None]:
        """The input and output items of a response, from which a next request continues."""
        return self._ask(lambda records: records.context(owner, response_id))

    def input_items(self, owner: str, response_id: str) -> Deferred[list[Json] | None]:
        """The input items of a response, each with an id."""
        return self._ask(lambda records: records.input_items(owner, response_id))

    def items(self, owner: str, ids: Collection[str]) -> Deferred[dict[str, Json]]:
        """Of the items with these ids those that are stored; of several the newest."""
        wanted = tuple(ids)
        return self._ask(lambda records: records.items(owner, wanted))

    def delete(self, owner: str, response_id: str) -> Deferred[bool]:
        """Forget a response, and the items that no other one has; False if it is not stored."""
        return self._ask(lambda records: records.delete(owner, response_id))

    def stats(self) -> Deferred[Stats]:
        """What is stored."""
        return self._ask(Records.stats)

    def _warn(self, sentence: str) -> None:
        self._log.warn("{sentence}", sentence=sentence)

    def _ask(self, question: Callable[[Records], T]) -> Deferred[T]:
        if not self._is_open:
            return fail(StorageError("the stored responses are closed"))

        def answer() -> T:
            return self._database.run(lambda db: self._answer(Records(db, self._new_id), question))

        return self._on_thread(answer)

    def _answer(self, records: Records, question: Callable[[Records], T]) -> T:
        records.delete_older(self._now() - self._max_age)
        return question(records)

    def _on_thread(self, act: Callable[[], T]) -> Deferred[T]:
        done: Deferred[T] = deferToThreadPool(self._reactor, self._pool, act)
        return done


def _one_thread() -> Any:
    pool: Any = ThreadPool(1, 1, "storage")
    # A process that ends without `close` does not wait for it.
    pool.threadFactory = partial(threading.Thread, daemon=True)
    return pool
