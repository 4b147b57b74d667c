"""A version of the Codex CLI for each test, and how it is run beside the reactor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.threads import deferToThread

from tests.codex.program import VERSIONS, Codex, Run, install
from tests.harness import Setup


@pytest.fixture(params=VERSIONS)
def codex(request: pytest.FixtureRequest, tmp_path: Path) -> Codex:
    home, folder = tmp_path / "home", tmp_path / "project"
    home.mkdir()
    folder.mkdir()
    return Codex(request.param, install(request.param), home, folder)


async def run(codex: Codex, setup: Setup, *arguments: str, **options: Any) -> Run:
    done: Run = await deferToThread(codex.exec, setup.url, *arguments, **options)
    return done
