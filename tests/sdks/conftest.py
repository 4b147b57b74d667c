"""Environments with the pinned clients; a test of one that cannot be had is skipped by name."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import pytest

from tests.sdks.install import CannotInstall, installed


@cache
def _environment(name: str) -> Path | CannotInstall:
    """The folder of an environment, or why there is none; a failed install is not repeated."""
    try:
        return installed(name)
    except CannotInstall as error:
        return error


def environment(name: str) -> Path:
    """The folder of an environment. Without the packages the test is skipped; in CI it fails."""
    found = _environment(name)
    if isinstance(found, Path):
        return found
    if os.environ.get("CI"):
        raise found
    pytest.skip(f"the clients of {name!r} cannot be installed: {found}")
