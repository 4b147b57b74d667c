"""The database has a thread of its own: nothing blocks the reactor, and the order is kept."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.logger import Logger

from codex_bridge.storage.database import StorageError
from codex_bridge.storage.store import ResponseStore
from tests.storage.stores import response, said, user


class Threads:
    """The time, and which threads asked for it: those on which the store works."""

    def __init__(self) -> None:
        self.seen: set[threading.Thread] = set()
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self) -> float:
        assert self.gate.wait(20)
        self.seen.add(threading.current_thread())
        return 1_700_000_000.0


def started(path: Path | None, threads: Threads) -> ResponseStore:
    store = ResponseStore(
        None if path is None else str(path),
        max_age=1e6,
        max_bytes=1 << 28,
        log=Logger(namespace="codex_bridge"),
        reactor=reactor,
        now=threads,
    )
    store.start()
    return store


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("is_in_memory", [True, False])
async def test_all_calls_run_on_one_thread_that_is_not_the_reactors(
    tmp_path: Path, is_in_memory: bool
) -> None:
    threads = Threads()
    store = started(None if is_in_memory else tmp_path / "store", threads)
    await gatherResults([store.save("me", response(f"resp_{n}"), []) for n in range(20)])
    assert (await store.stats()).responses == 20
    assert await store.delete("me", "resp_1") is True
    await store.close()
    (thread,) = threads.seen
    assert thread is not threading.current_thread()
    # It ends with the store, and does not keep a process alive that ends without closing it.
    assert not thread.is_alive()
    assert thread.daemon


@pytest_twisted.ensureDeferred
async def test_calls_are_answered_in_the_order_in_which_they_were_made() -> None:
    threads, order = Threads(), []
    store = started(None, threads)
    threads.gate.clear()
    asked: list[Deferred[Any]] = []
    for n in range(50):
        asked += [
            store.save("me", response("resp_1", said(f"{n}", f"msg_{n}")), [user("q")]),
            store.response("me", "resp_1"),
            store.delete("me", "resp_1"),
            store.context("me", "resp_1"),
        ]
    for number, each in enumerate(asked):
        each.addCallback(lambda result, number: order.append(number) or result, number)
    assert order == []
    threads.gate.set()
    results = await gatherResults(asked)
    assert order == list(range(200))
    assert [each["output"] for each in results[1::4]] == [
        [said(f"{n}", f"msg_{n}")] for n in range(50)
    ]
    assert results[2::4] == [True] * 50
    assert results[3::4] == [None] * 50
    await store.close()


@pytest_twisted.ensureDeferred
async def test_closing_waits_for_what_was_asked_before(tmp_path: Path) -> None:
    threads = Threads()
    store = started(tmp_path / "store", threads)
    threads.gate.clear()
    saved = [store.save("me", response(f"resp_{n}"), []) for n in range(30)]
    closed = store.close()
    with pytest.raises(StorageError, match="closed"):
        await store.save("me", response("resp_late"), [])
    assert not closed.called
    threads.gate.set()
    await closed
    assert all(each.called for each in saved)
    again = started(tmp_path / "store", threads)
    assert (await again.stats()).responses == 30
    await again.close()


@pytest_twisted.ensureDeferred
async def test_a_save_that_nobody_waits_for_any_more_is_still_done() -> None:
    threads = Threads()
    store = started(None, threads)
    threads.gate.clear()
    saved = store.save("me", response("resp_1"), [])
    saved.cancel()
    threads.gate.set()
    with pytest.raises(CancelledError):
        await saved
    assert await store.response("me", "resp_1") is not None
    await store.close()


@pytest_twisted.ensureDeferred
async def test_a_store_that_could_not_start_has_no_thread(tmp_path: Path) -> None:
    before = threading.active_count()
    with pytest.raises(StorageError):
        started(tmp_path, Threads())
    assert threading.active_count() == before
