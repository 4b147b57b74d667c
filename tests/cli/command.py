"""The `codex-bridge` command as it is typed, in this process."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from codex_bridge.cli import main


@frozen
class Done:
    """The exit code and the output of a command."""

    code: Any
    out: str
    err: str


def run(*arguments: str) -> Done:
    """`codex-bridge ...`; blocks."""
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as caught,
    ):
        main(arguments)
    return Done(caught.value.code, out.getvalue(), err.getvalue())


def call(home: Path, *arguments: str) -> Done:
    """`codex-bridge configure` for a folder."""
    return run("configure", "--codex-home", str(home), *arguments)


def state(home: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    files = [each for each in home.rglob("*") if each.is_file()]
    return {str(each.relative_to(home)): each.read_bytes() for each in files}
