"""Files of a folder changed so that the very first state can be had back, byte for byte."""

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

from codex_bridge.cli.trouble import Trouble

FOLDER = "codex-bridge-backup"
MANIFEST = "manifest.json"
PRIVATE = 0o600
"""Mode of new files: what stands in Codex's folder may be secret."""
Contents = dict[str, bytes | None]
"""By file name; None: there is no such file."""
Settle = Callable[[bytes], bytes]
"""Takes out of a file's contents what may change in them without anybody's doing."""


@define
class Kept:
    """What is known of a file that was changed."""

    mode: int | None
    """That it had before; None: it did not exist."""
    written: list[str] = field(factory=list)
    """Digests of what was written to it, exact and settled."""


class Folder:
    """A folder, what its files were before the first change, and what was written since."""

    def __init__(self, path: Path, settle: Settle = bytes) -> None:
        """Raises Trouble where an earlier backup cannot be read."""
        self.path = path
        self._settle = settle
        self.backup = path / FOLDER
        self._made = not path.exists()
        self._kept: dict[str, Kept] = {}
        manifest = self.backup / MANIFEST
        if manifest.exists():
            try:
                known: Any = json.loads(manifest.read_bytes())
                self._made = bool(known["made_folder"])
                self._kept = {name: Kept(**each) for name, each in known["files"].items()}
            except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
                raise Trouble(f"{manifest} cannot be read ({error}); nothing was changed") from None

    @property
    def is_changed(self) -> bool:
        """Whether there is something to undo."""
        return bool(self._kept)

    def read(self, name: str) -> bytes | None:
        """What stands in a file now. Raises OSError."""
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            return None

    def before(self, name: str) -> bytes | None:
        """What stood in it before the first change. Raises OSError."""
        kept = self._kept.get(name)
        if kept is None:
            return self.read(name)
        return None if kept.mode is None else (self.backup / name).read_bytes()

    def base(self, name: str) -> bytes | None:
        """What a change starts from: the first state, unless something changed in the file."""
        return self.read(name) if self.is_changed_since(name) else self.before(name)

    def is_changed_since(self, name: str) -> bool:
        """Whether a file is neither as it was written nor as it was before."""
        now, kept = self.read(name), self._kept.get(name)
        return kept is None or (now != self.before(name) and digest(now) not in kept.written)

    def changed_by_others(self) -> list[str]:
        """The files of which that is true even when they are settled."""
        return [name for name in self._kept if self._is_foreign(name)]

    def _is_foreign(self, name: str) -> bool:
        if not self.is_changed_since(name):
            return False
        now = self._settled(self.read(name))
        return now not in {self._settled(self.before(name)), *self._kept[name].written}

    def _settled(self, data: bytes | None) -> str:
        return digest(None if data is None else self._settle(data))

    def write(self, wanted: Mapping[str, bytes | None]) -> list[str]:
        """Give files new contents; the names of those that changed. Raises OSError.

        All that undoing takes is on the disk before the first file is touched.
        """
        changed = [name for name, data in wanted.items() if data != self.read(name)]
        if not changed:
            return []
        for name in changed:
            # A file that somebody else changed keeps no digest, so that undoing asks first.
            if name not in self._kept or not self._is_foreign(name):
                self._keep(name).written += [digest(wanted[name]), self._settled(wanted[name])]
        self._save()
        for name in changed:
            self._put(name, wanted[name], _mode(self.path / name))
        return changed

    def _keep(self, name: str) -> Kept:
        if name not in self._kept:
            data = self.read(name)
            self._kept[name] = Kept(None if data is None else _mode(self.path / name))
            if data is not None:
                self._make_backup()
                replace(self.backup / name, data, PRIVATE)
        return self._kept[name]

    def _make_backup(self) -> None:
        self.backup.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _save(self) -> None:
        self._make_backup()
        files = {
            name: {"mode": kept.mode, "written": kept.written} for name, kept in self._kept.items()
        }
        manifest = {"made_folder": self._made, "files": files}
        replace(self.backup / MANIFEST, json.dumps(manifest, indent=2).encode() + b"\n", PRIVATE)

    def undo(self) -> list[str]:
        """Put everything back; the names of the files that changed by it. Raises OSError."""
        wanted = self.first_state()
        changed = [name for name, data in wanted.items() if data != self.read(name)]
        for name in changed:
            self._put(name, wanted[name], self._kept[name].mode)
        shutil.rmtree(self.backup)
        self._kept = {}
        if self._made:
            # What Codex has put there since is Codex's.
            with suppress(OSError):
                self.path.rmdir()
        return changed

    def first_state(self) -> Contents:
        """What undoing would write. Raises OSError."""
        return {name: self.before(name) for name in self._kept}

    def _put(self, name: str, data: bytes | None, mode: int | None) -> None:
        path = self.path / name
        if data is not None:
            replace(path, data, PRIVATE if mode is None else mode)
        else:
            # Behind a link that led nowhere, there is nothing again.
            path.resolve().unlink(missing_ok=True)


def digest(data: bytes | None) -> str:
    """A name for the contents of a file, or for its absence."""
    return "absent" if data is None else hashlib.sha256(data).hexdigest()


def _mode(path: Path) -> int | None:
    with suppress(FileNotFoundError):
        return path.stat().st_mode & 0o7777
    return None


def replace(path: Path, data: bytes, mode: int) -> None:
    """Write a file, or what a link leads to, whole or not at all. Raises OSError."""
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
