"""`codex-bridge configure` as it is typed, in this process."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

from attrs import frozen

from codex_bridge.cli import main


@frozen
class Done:
    """What a command left on the screen."""

    code: Any
    out: str
    err: str


def call(home: Path, *arguments: str) -> Done:
    """`codex-bridge configure` in this process."""
    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(["configure", "--codex-home", str(home), *arguments])
        except SystemExit as end:
            # A text as exit code is what Python prints before it ends with 1.
            code = end.code
            if isinstance(code, str):
                err.write(f"{code}\n")
                code = 1
    return Done(code, out.getvalue(), err.getvalue())


def state(home: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    files = [each for each in home.rglob("*") if each.is_file()]
    return {str(each.relative_to(home)): each.read_bytes() for each in files}
