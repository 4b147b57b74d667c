"""A bridge, a Codex and their surroundings, for doctor to look at."""

from __future__ import annotations

import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from attrs import frozen
from twisted.internet.threads import deferToThread

from codex_bridge.cli import main
from tests.cli.doctor_models import scripted
from tests.conftest import Start
from tests.fake_ollama import Model
from tests.harness import Setup

Json = dict[str, Any]


@frozen
class Report:
    """How doctor ended, and what it said."""

    code: int
    out: str
    err: str

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
    """A program that tells a version, as Codex does."""
    program = tmp_path / "codex"
    program.write_text("#!/bin/sh\necho codex-cli 0.169.0\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment of which nothing is known but an empty CODEX_HOME."""
    for name in list(os.environ):
        if name.upper().endswith("_PROXY") or name.startswith("CODEX_"):
            monkeypatch.delenv(name)
    made = tmp_path / "codex-home"
    made.mkdir()
    monkeypatch.setenv("CODEX_HOME", str(made))
    return made


@pytest.fixture
def doctor(codex: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> Doctor:
    async def run(url: str, *arguments: str, json: bool = True) -> Report:
        shape = ["--json"] if json else []
        given = ["doctor", *arguments, "--bridge-url", url, "--codex", str(codex), *shape]

        def blocking() -> int:
            with pytest.raises(SystemExit) as caught:
                main(given)
            return int(caught.value.code or 0)

        code: Any = await deferToThread(blocking)
        return Report(code, *capsys.readouterr())

    return run


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
