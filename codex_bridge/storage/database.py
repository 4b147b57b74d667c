"""The SQLite database: how it is opened, and how it fails. Blocking.

Nothing that was committed is lost when the process dies (write-ahead log). When the machine loses
its power, the last commits may be lost, but the file stays whole (`synchronous = NORMAL`).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from itertools import count
from pathlib import Path
from stat import S_ISREG
from typing import TypeVar

T = TypeVar("T")
APPLICATION_ID = 0x43425253
"""Tells our files from those of other programs; SQLite keeps it in the header of the file."""
VERSION = 1
"""Of SCHEMA. A file of another version is set aside."""
PARTS = ("", "-wal", "-shm", "-journal")
"""What the names of the files of one database end in."""
FULL = "the disk is full"
LARGEST_LOG = 8 << 20
"""Bytes of the write-ahead log that stay on disk when its content has gone into the file."""

# An item is kept once for each owner, however many responses have it. Responses do not list their
# items: each names a place, which is one item after another place, its parent. So a conversation
# that goes on adds only what is new, and one that is sent again adds nothing.
SCHEMA = """
CREATE TABLE items (
    key INTEGER PRIMARY KEY,
    owner TEXT NOT NULL,
    id TEXT NOT NULL,
    digest BLOB NOT NULL,  -- of the owner, and of the item without its id
    body BLOB NOT NULL     -- JSON
);
CREATE UNIQUE INDEX items_by_id ON items (owner, id, digest);
CREATE INDEX items_by_digest ON items (digest);
CREATE TABLE places (
    key INTEGER PRIMARY KEY,
    parent INTEGER NOT NULL,  -- a place with a smaller key; 0 where a conversation begins
    item INTEGER NOT NULL
);
CREATE UNIQUE INDEX places_by_parent ON places (parent, item);
CREATE INDEX places_by_item ON places (item);
CREATE TABLE responses (
    key INTEGER PRIMARY KEY,
    owner TEXT NOT NULL,
    id TEXT NOT NULL,
    saved REAL NOT NULL,       -- Unix time
    input INTEGER NOT NULL,    -- place of the last input item
    output INTEGER NOT NULL,   -- place of the last output item, or the same place
    body BLOB NOT NULL,        -- JSON, without the output
    UNIQUE (owner, id)
);
CREATE INDEX responses_by_time ON responses (saved);
CREATE INDEX responses_by_output ON responses (output);
"""


class StorageError(Exception):
    """Something could not be stored or read; the text is a sentence for the user."""


class Damaged(Exception):
    """The file does not hold what this version of codex-bridge writes."""


class Database:
    """One database, which this process alone uses.

    `path` is its file; None keeps it in memory. `warn` takes a sentence for the log.
    """

    def __init__(self, path: str | None, warn: Callable[[str], None]) -> None:
        # SQLite names its other files after the file that a symbolic link leads to.
        self._path = None if path is None else os.path.realpath(path)
        self._warn = warn
        self._connection: sqlite3.Connection | None = None

    def open(self) -> None:
        """Open it; begin a new one where there is none, or a damaged one, which is set aside.

        Raises StorageError where that cannot be.
        """
        self.run(lambda _: None)

    def run(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """What `job` returns: it runs in a transaction, which is lasting when this returns.

        Nothing of it lasts where it raises. If the database turns out to be damaged, `job` runs
        once more, in a new one. Raises StorageError.
        """
        try:
            try:
                return self._transaction(job)
            except (Damaged, sqlite3.DatabaseError) as error:
                if self._path is None or not _is_damage(error):
                    raise
                self._set_aside(self._path, error)
                return self._transaction(job)
        except (sqlite3.Error, OSError, MemoryError, Damaged) as error:
            raise StorageError(self._sentence(error)) from error

    def close(self) -> None:
        """Close it, which lets another process have the file."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _transaction(self, job: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._connection or self._connect()
        connection.execute("BEGIN IMMEDIATE")
        try:
            result = job(connection)
            connection.execute("COMMIT")
        except BaseException:
            # SQLite itself has ended the transaction after some errors.
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return result

    def _connect(self) -> sqlite3.Connection:
        if self._path is not None:
            _prepare(self._path)
        # It is opened by the thread that starts the service, and used by one other.
        connection = self._connection = sqlite3.connect(
            self._path or ":memory:", timeout=0, isolation_level=None, check_same_thread=False
        )
        try:
            self._set_up(connection)
        except BaseException:
            self.close()
            raise
        return connection

    def _set_up(self, connection: sqlite3.Connection) -> None:
        # The first transaction takes the lock, and keeps it.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        is_new = not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        if not is_new:
            self._check(connection)
        if self._path is not None and os.name == "posix":
            # The write-ahead log gets the same mode.
            os.chmod(self._path, 0o600)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA journal_size_limit = {LARGEST_LOG}")
        if self._path is not None:
            # What is deleted is overwritten.
            connection.execute("PRAGMA secure_delete = ON")
        if is_new:
            connection.executescript(
                f"BEGIN IMMEDIATE; PRAGMA application_id = {APPLICATION_ID};"
                f"PRAGMA user_version = {VERSION}; {SCHEMA} COMMIT"
            )

    def _check(self, connection: sqlite3.Connection) -> None:
        if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            raise StorageError(f"{self._name} is a database of another program; give another path")
        if connection.execute("PRAGMA user_version").fetchone()[0] != VERSION:
            raise Damaged("it was written by another version of codex-bridge")

    def _set_aside(self, path: str, error: Exception) -> None:
        self.close()
        aside = next(name for n in count(1) if not os.path.lexists(name := f"{path}.aside-{n}"))
        for part in PARTS:
            if os.path.lexists(path + part):
                os.rename(path + part, aside + part)
        self._warn(
            f"The responses stored in {path} cannot be read ({error}). The file was renamed to "
            f"{aside}, and a new one begun."
        )

    @property
    def _name(self) -> str:
        return self._path or "the store in memory"

    def _sentence(self, error: BaseException) -> str:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            return f"{self._name} is in use by another process; stop it, or give another path"
        if code == sqlite3.SQLITE_FULL:
            return f"{self._name} cannot grow: {FULL}"
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        return f"{self._name} cannot be used: {reason}"


def _prepare(path: str) -> None:
    """See that `path` is a file; make it if there is none. Raises OSError and StorageError."""
    file = Path(path)
    if file.exists() and not S_ISREG(file.stat().st_mode):
        raise StorageError(f"{path} is not a file; give the path of one")
    if not file.parent.is_dir():
        raise StorageError(f"{path} cannot be made: there is no folder {file.parent}")
    # SQLite would make it readable for everybody. Closing a file later would release its locks.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def _is_damage(error: Exception) -> bool:
    if isinstance(error, sqlite3.DatabaseError):
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        return code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
    return True
