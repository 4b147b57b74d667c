"""The file of a store: who may have it, what it survives, and why it cannot be used."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from codex_bridge.storage.database import Database, StorageError
from tests.conftest import LogBook
from tests.processes import ROOT
from tests.storage.stores import got, response, said, started, user

AS_ROOT = pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
CHILD = """
import os, sys
from twisted.internet import reactor
from twisted.logger import Logger
from codex_bridge.storage.store import ResponseStore
from tests.storage.stores import response, said, user

store = ResponseStore(sys.argv[1], max_age=1e9, max_bytes=1 << 30, log=Logger(), reactor=reactor)
store.start()

def saved(result, n):
    os.write(1, b"%d\\n" % n)

def save():
    for n in range(int(sys.argv[2])):
        answer = said(f"answer {n} " * 500, f"msg_{n}")
        store.save("me", response(f"resp_{n}", answer), [user("q")]).addCallback(saved, n)

reactor.callWhenRunning(save)
reactor.run()
"""


@contextmanager
def other_process(path: Path, saves: int) -> Iterator[subprocess.Popen[str]]:
    """A process that saves that many responses, and prints the number of each that is safe."""
    command = [sys.executable, "-c", CHILD, str(path), str(saves)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True) as child:
        try:
            yield child
        finally:
            child.kill()


def lines(child: subprocess.Popen[str], count: int) -> list[str]:
    assert child.stdout is not None
    return [child.stdout.readline().strip() for _ in range(count)]


def warnings(logged: LogBook) -> list[str]:
    return [str(event["sentence"]) for event in logged.events if "sentence" in event]


def test_what_was_saved_is_there_when_the_store_is_started_again(tmp_path: Path) -> None:
    store = started(tmp_path / "store")
    got(store.save("me", response("resp_1", said("4", "msg_1")), [user("2+2?")]))
    got(store.close())
    again = started(tmp_path / "store")
    assert got(again.response("me", "resp_1")) == response("resp_1", said("4", "msg_1"))
    got(again.save("me", response("resp_2"), [user("2+2?")]))
    assert got(again.stats()).items == 2
    got(again.close())
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


@pytest.mark.parametrize("saves", [1, 200])
def test_nothing_that_was_acknowledged_is_lost_by_kill_9(
    tmp_path: Path, logged: LogBook, saves: int
) -> None:
    path = tmp_path / "store"
    with other_process(path, saves) as child:
        told = lines(child, max(1, saves // 2))
        os.kill(child.pid, signal.SIGKILL)
        assert child.stdout is not None
        told += child.stdout.read().split()
    store = started(path)
    for n in told:
        answer = said(f"answer {n} " * 500, f"msg_{n}")
        assert got(store.response("me", f"resp_{n}")) == response(f"resp_{n}", answer)
    assert len(got(store.context("me", "resp_0")) or []) == 2
    assert warnings(logged) == []
    got(store.close())


def test_two_processes_never_have_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with other_process(path, 1) as child:
        lines(child, 1)
        with pytest.raises(StorageError) as caught:
            started(path)
        assert str(caught.value) == (
            f"{path} is in use by another process; stop it, or give another path"
        )
    store = started(path)
    assert got(store.response("me", "resp_0")) is not None
    got(store.close())


def test_a_store_that_has_saved_nothing_has_its_file_for_itself_too(tmp_path: Path) -> None:
    path = tmp_path / "store"
    got(started(path).close())
    store = started(path)
    code = (
        "import sqlite3,sys; sqlite3.connect(sys.argv[1], timeout=0).execute('SELECT * FROM items')"
    )
    other = subprocess.run([sys.executable, "-c", code, path], capture_output=True, check=False)
    assert b"database is locked" in other.stderr
    got(store.close())


def test_only_the_user_may_read_the_file(tmp_path: Path) -> None:
    new, old = tmp_path / "new", tmp_path / "old"
    old.touch(0o644)
    for path in (new, old):
        store = started(path)
        got(store.save("me", response("resp_1"), [user("secret")]))
        assert {each.stat().st_mode & 0o777 for each in tmp_path.glob(f"{path.name}*")} == {0o600}
        got(store.close())


def test_what_is_deleted_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "store"
    store = started(path)
    got(store.save("me", response("resp_1"), [user("a secret")]))
    got(store.delete("me", "resp_1"))
    got(store.close())
    assert b"a secret" not in path.read_bytes()


def test_a_damaged_file_is_set_aside_whole_and_a_new_one_begun(
    tmp_path: Path, logged: LogBook
) -> None:
    path = tmp_path / "store"
    for n in (1, 2):
        damaged = b"no database %d " % n * 1000
        path.write_bytes(damaged)
        (tmp_path / "store-wal").write_bytes(b"no log")
        (tmp_path / "store-shm").write_bytes(b"shm %d" % n)
        store = started(path)
        assert got(store.response("me", "resp_1")) is None
        got(store.save("me", response("resp_1"), []))
        got(store.close())
        aside = f"{path}.aside-{n}"
        assert Path(aside).read_bytes() == damaged
        assert Path(f"{aside}-shm").read_bytes() == b"shm %d" % n
        assert warnings(logged)[n - 1 :] == [
            f"The responses stored in {path} cannot be read (file is not a database). The file was "
            f"renamed to {aside}, and a new one begun."
        ]


def pages_zeroed(path: Path) -> None:
    """Leave the first page, which the start reads, and nothing else."""
    content = path.read_bytes()
    path.write_bytes(content[:4096] + bytes(len(content) - 4096))


def item_lost(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("DELETE FROM items")
        db.commit()


def text_lost(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE items SET body = CAST('{' AS BLOB)")
        db.commit()


@pytest.mark.parametrize("damage", [pages_zeroed, item_lost, text_lost])
def test_damage_that_is_found_while_the_bridge_runs_costs_what_was_stored_and_no_more(
    tmp_path: Path, logged: LogBook, damage: Callable[[Path], None]
) -> None:
    path = tmp_path / "store"
    store = started(path)
    got(store.save("me", response("resp_1", said("x" * 9000, "msg_1")), [user("2+2?")]))
    got(store.close())
    damage(path)
    again = started(path)
    assert got(again.context("me", "resp_1")) is None
    got(again.save("me", response("resp_2", said("4", "msg_2")), []))
    assert got(again.response("me", "resp_2")) == response("resp_2", said("4", "msg_2"))
    (warning,) = warnings(logged)
    assert f"renamed to {path}.aside-1, and a new one begun" in warning
    got(again.close())


def test_the_file_of_another_version_is_set_aside(tmp_path: Path, logged: LogBook) -> None:
    path = tmp_path / "store"
    store = started(path)
    got(store.save("me", response("resp_1"), []))
    got(store.close())
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
    again = started(path)
    assert got(again.response("me", "resp_1")) is None
    got(again.close())
    (warning,) = warnings(logged)
    assert "(it was written by another version of codex-bridge)" in warning
    with closing(sqlite3.connect(f"{path}.aside-1")) as db:
        assert db.execute("SELECT id FROM responses").fetchall() == [("resp_1",)]


def test_the_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "history"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE pages (url)")
    path.chmod(0o644)
    before = path.read_bytes()
    with pytest.raises(StorageError, match="is a database of another program"):
        started(path)
    assert path.read_bytes() == before
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_an_empty_file_becomes_a_store(tmp_path: Path, logged: LogBook) -> None:
    path = tmp_path / "store"
    path.touch()
    store = started(path)
    got(store.save("me", response("resp_1"), []))
    got(store.close())
    assert warnings(logged) == []


def test_a_symbolic_link_leads_to_the_file(tmp_path: Path) -> None:
    link, file = tmp_path / "link", tmp_path / "folder" / "store"
    file.parent.mkdir()
    link.symlink_to(file)
    store = started(link)
    got(store.save("me", response("resp_1"), []))
    assert sorted(path.name for path in file.parent.iterdir()) == ["store", "store-wal"]
    got(store.close())


def no_folder(tmp_path: Path) -> tuple[Path, str]:
    return tmp_path / "no" / "x", f"cannot be made: there is no folder {tmp_path / 'no'}"


def a_folder(tmp_path: Path) -> tuple[Path, str]:
    return tmp_path, "is not a file; give the path of one"


def a_device(_: Path) -> tuple[Path, str]:
    return Path("/dev/full"), "is not a file; give the path of one"


def no_rights(tmp_path: Path) -> tuple[Path, str]:
    tmp_path.chmod(0o500)
    return tmp_path / "x", "cannot be used: Permission denied"


def a_long_name(tmp_path: Path) -> tuple[Path, str]:
    return tmp_path / ("x" * 300), "cannot be used: File name too long"


@pytest.mark.parametrize(
    "place", [no_folder, a_folder, a_device, pytest.param(no_rights, marks=AS_ROOT), a_long_name]
)
def test_a_path_that_cannot_be_used_is_told_at_the_start(
    tmp_path: Path, place: Callable[[Path], tuple[Path, str]]
) -> None:
    path, reason = place(tmp_path)
    with pytest.raises(StorageError) as caught:
        started(path)
    assert str(caught.value) == f"{path} {reason}"


def test_a_full_disk_is_told_and_nothing_half_stays(tmp_path: Path) -> None:
    database = Database(str(tmp_path / "store"), pytest.fail)
    database.open()
    database.run(lambda db: db.execute("PRAGMA max_page_count = 20").fetchall())

    def fill(db: sqlite3.Connection) -> None:
        for n in range(100):
            db.execute("INSERT INTO items VALUES (?, '', ?, '', zeroblob(10000))", (n, n))

    with pytest.raises(StorageError, match="store cannot grow: the disk is full"):
        database.run(fill)
    assert database.run(lambda db: db.execute("SELECT count(*) FROM items").fetchone()) == (0,)
    database.close()


def test_a_response_that_the_disk_refuses_fails_alone(tmp_path: Path) -> None:
    store = started(tmp_path / "store")
    got(store.save("me", response("resp_1", said("4", "msg_1")), []))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, limits[1]))
    try:
        with pytest.raises(StorageError, match="store cannot be used: disk I/O error"):
            got(store.save("me", response("resp_2", said("x" * 1_000_000, "msg_2")), []))
        assert got(store.response("me", "resp_1")) is not None
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert got(store.response("me", "resp_2")) is None
    got(store.save("me", response("resp_3", said("x" * 1_000_000, "msg_3")), []))
    assert got(store.response("me", "resp_3")) is not None
    got(store.close())
