"""Texts that clients keep for the bridge: encrypted and signed with a key that stays here.

The key is in a file, so that what was sealed can be opened after a restart.
"""

from __future__ import annotations

import base64
import os
import tempfile
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken
from twisted.logger import Logger

FILE = "codex-bridge/seal.key"
"""The key's file in the user's folder for state."""


class BrokenSeal(ValueError):
    """The text was sealed with another key, was changed, or was never sealed."""


def state_folder() -> Path:
    """Where programs of this user keep their state, by the XDG base directory specification.

    Raises RuntimeError where the user has no home.
    """
    named = Path(os.environ.get("XDG_STATE_HOME", ""))
    # The specification has relative paths ignored.
    return named if named.is_absolute() else Path.home() / ".local/state"


class Seal:
    """Seals texts, and opens what it, or another bridge with the same key, has sealed.

    The key is read, or made, when it is needed first. Where it cannot be kept, a line of the log
    says so, and what is sealed can be opened until this process ends.
    """

    def __init__(self, path: str | None, log: Logger) -> None:
        """`path` is the key's file; None: one in the user's folder for state."""
        self._path = path
        self._log = log

    def close(self, text: str) -> str:
        """`text`, sealed: letters, digits and a few signs."""
        return self._key.encrypt(text.encode()).decode()

    def open(self, sealed: str) -> str:
        """The text that was sealed. Raises BrokenSeal."""
        try:
            token = sealed.encode("ascii")
            # Base64 ignores some bits and signs. A sealed text has one form.
            if base64.urlsafe_b64encode(base64.urlsafe_b64decode(token)) != token:
                raise BrokenSeal
            return self._key.decrypt(token).decode()
        except (InvalidToken, ValueError) as error:
            raise BrokenSeal from error

    @cached_property
    def _key(self) -> Fernet:
        path: Path | None = None
        try:
            path = Path(self._path) if self._path else state_folder() / FILE
            return Fernet(_kept(path))
        except (OSError, RuntimeError, ValueError) as error:
            self._log.warn(
                "no key can be kept in {path}: {why}; conversations that are compacted now cannot "
                "go on when this process has ended",
                path=str(path or self._path or f"~/.local/state/{FILE}"),
                why=str(error),
            )
            return Fernet(Fernet.generate_key())


def _kept(path: Path) -> bytes:
    """The key in a file, which is made if there is none. Raises OSError."""
    with suppress(FileNotFoundError):
        return path.read_bytes().strip()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Nobody else can read it; and it gets its name when it is whole.
    descriptor, new = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(Fernet.generate_key() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            # Of several bridges that make one at the same time, the first one's key counts.
            os.link(new, path)
    finally:
        os.unlink(new)
    return path.read_bytes().strip()
