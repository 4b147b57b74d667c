"""Changes files in a folder, and can restore what they held before the first change."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import define, field

from codex_bridge.cli.command_line import CommandError

FOLDER = "codex-bridge-backup"
MANIFEST = "manifest.json"
PRIVATE = 0o600
"""Mode of new files: Codex's folder may hold secrets."""
Contents = Mapping[str, bytes | None]
"""By file name; None: there is no such file."""
Normalize = Callable[[bytes], bytes]
"""Leaves out of a file's contents what another program changes by itself."""


@define
class Record:
    """What is known of a file that was changed."""

    mode: int | None
    """Its mode before the first change; None: it did not exist."""
    written: list[str] = field(factory=list)
    """Digests of what was written to it, exact and normalized."""


class Folder:
    """A folder, what its files were before the first change, and what was written since."""

    def __init__(self, path: Path, normalize: Normalize = bytes) -> None:
        """Raises CommandError if an earlier backup cannot be read."""
        self.path = path
        self.backup = path / FOLDER
        self._normalize = normalize
        self._made_folder = not path.exists()
        self._records: dict[str, Record] = {}
        manifest = self.backup / MANIFEST
        if manifest.exists():
            try:
                content: Any = json.loads(manifest.read_bytes())
                self._made_folder = bool(content["made_folder"])
                self._records = {name: Record(**each) for name, each in content["files"].items()}
            except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
                message = f"{manifest} cannot be read ({error}); nothing was changed"
                raise CommandError(message) from None

    @property
    def is_changed(self) -> bool:
        """Whether there is something to undo."""
        return bool(self._records)

    def read(self, name: str) -> bytes | None:
        """What a file holds now. Raises OSError."""
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            return None

    def original(self, name: str) -> bytes | None:
        """What a file held before the first change. Raises OSError."""
        record = self._records.get(name)
        if record is None:
            return self.read(name)
        return None if record.mode is None else (self.backup / name).read_bytes()

    def base(self, name: str) -> bytes | None:
        """What a change starts from: the original, or the file as somebody else changed it."""
        return self.read(name) if self.is_changed_since(name) else self.original(name)

    def is_changed_since(self, name: str) -> bool:
        """Whether a file is neither as `write` left it nor as it was before the first change.

        A file that was never changed has no record and counts as changed.
        """
        now, record = self.read(name), self._records.get(name)
        return record is None or (now != self.original(name) and digest(now) not in record.written)

    def changed_by_others(self) -> list[str]:
        """The files whose normalized contents are neither the original nor what was written."""
        return [name for name in self._records if self._is_foreign(name)]

    def _is_foreign(self, name: str) -> bool:
        known = {self._digest(self.original(name)), *self._records[name].written}
        return self._digest(self.read(name)) not in known

    def _digest(self, data: bytes | None) -> str:
        return digest(None if data is None else self._normalize(data))

    def write(self, wanted: Contents) -> list[str]:
        """Give files new contents; return the names of those that changed. Raises OSError.

        Everything that undoing needs is on the disk before the first file is touched.
        """
        changed = [name for name, data in wanted.items() if data != self.read(name)]
        if not changed:
            return []
        self.backup.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in changed:
            # A file that somebody else changed gets no digest, so that undoing asks first.
            if name not in self._records or not self._is_foreign(name):
                self._record(name).written += [digest(wanted[name]), self._digest(wanted[name])]
        files = {
            name: {"mode": record.mode, "written": record.written}
            for name, record in self._records.items()
        }
        manifest = {"made_folder": self._made_folder, "files": files}
        replace(self.backup / MANIFEST, json.dumps(manifest, indent=2).encode() + b"\n", PRIVATE)
        for name in changed:
            self._put(name, wanted[name], _mode(self.path / name))
        return changed

    def _record(self, name: str) -> Record:
        """The record of a file, which is backed up if it has none yet."""
        if name not in self._records:
            data = self.read(name)
            self._records[name] = Record(None if data is None else _mode(self.path / name))
            if data is not None:
                replace(self.backup / name, data, PRIVATE)
        return self._records[name]

    def undo(self) -> list[str]:
        """Put everything back; return the names of the files that changed. Raises OSError."""
        wanted = self.first_state()
        changed = [name for name, data in wanted.items() if data != self.read(name)]
        for name in changed:
            self._put(name, wanted[name], self._records[name].mode)
        shutil.rmtree(self.backup)
        self._records = {}
        if self._made_folder:
            # It stays if Codex has put files there since.
            with suppress(OSError):
                self.path.rmdir()
        return changed

    def first_state(self) -> Contents:
        """What undoing would write. Raises OSError."""
        return {name: self.original(name) for name in self._records}

    def _put(self, name: str, data: bytes | None, mode: int | None) -> None:
        path = self.path / name
        if data is not None:
            replace(path, data, PRIVATE if mode is None else mode)
        else:
            # A symbolic link stays; the file that it leads to goes.
            path.resolve().unlink(missing_ok=True)


def digest(data: bytes | None) -> str:
    """A name for the contents of a file, or for its absence."""
    return "absent" if data is None else hashlib.sha256(data).hexdigest()


def _mode(path: Path) -> int | None:
    with suppress(FileNotFoundError):
        return path.stat().st_mode & 0o7777
    return None


def replace(path: Path, data: bytes, mode: int) -> None:
    """Write a file, or the one that a link leads to, whole or not at all. Raises OSError."""
    target = path.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, mode)
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
