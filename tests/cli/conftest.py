"""A bridge, a Codex and an environment for doctor to examine."""

from __future__ import annotations

import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from twisted.internet.threads import deferToThread

from tests.cli.command import Done, run
from tests.cli.doctor_models import scripted
from tests.conftest import Start
from tests.fake_ollama import Model
from tests.harness import Setup

Json = dict[str, Any]


class Report(Done):
    """The result of doctor."""

    @property
    def json(self) -> Json:
        return orjson.loads(self.out)

    def check(self, name: str) -> tuple[str, str, str | None]:
        """Status, detail and remedy of the one check called `name`."""
        (found,) = [each for each in self.json["checks"] if each["name"] == name]
        return found["status"], found["detail"], found["remedy"]

    @property
    def failures(self) -> list[str]:
        return [each["name"] for each in self.json["checks"] if each["status"] == "failed"]

    def outcome(self, trial: str) -> str:
        (found,) = [each for each in self.json["probe"]["trials"] if each["name"] == trial]
        return str(found["outcome"])


Doctor = Callable[..., Awaitable[Report]]


@pytest.fixture
def codex(tmp_path: Path) -> Path:
    """A program that prints a version, as Codex does."""
    program = tmp_path / "codex"
    program.write_text("#!/bin/sh\necho codex-cli 0.169.0\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty CODEX_HOME, in an environment without proxies and other settings of Codex."""
    for name in list(os.environ):
        if name.upper().endswith("_PROXY") or name.startswith("CODEX_"):
            monkeypatch.delenv(name)
    folder = tmp_path / "codex-home"
    folder.mkdir()
    monkeypatch.setenv("CODEX_HOME", str(folder))
    return folder


@pytest.fixture
def doctor(codex: Path, home: Path) -> Doctor:
    async def examine(url: str, *arguments: str, json: bool = True) -> Report:
        shape = ["--json"] if json else []
        options = ["--bridge-url", url, "--codex", str(codex), *shape]
        done: Done = await deferToThread(run, "doctor", *arguments, *options)
        return Report(done.code, done.out, done.err)

    return examine


def provider(setup: Setup, *lines: str, window: int | None = 32768) -> str:
    """A configuration of Codex that points at the bridge."""
    top = f"model_context_window = {window}\n" if window else ""
    return (
        f'model_provider = "bridge"\n{top}[model_providers.bridge]\nname = "codex-bridge"\n'
        f'base_url = "{setup.url}/v1"\n' + "".join(f"{line}\n" for line in lines)
    )


@pytest.fixture
def well(start: Start, home: Path) -> Callable[..., Awaitable[Setup]]:
    """Start a bridge that Codex is configured for."""

    async def run(model: Model | None = None, **more: Any) -> Setup:
        setup = await start(model or scripted(), **more)
        (home / "config.toml").write_text(provider(setup))
        return setup

    return run


Well = Callable[..., Awaitable[Setup]]
