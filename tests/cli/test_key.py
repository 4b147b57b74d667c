"""The commands of a bridge that has a key."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from tests.cli.command import call, state
from tests.cli.conftest import Doctor, Well
from tests.conftest import Start

KEY = "sk-bridge-1234567890"
VERSIONS = ["--codex-version=0.130.0", "--codex-version=0.169.0"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest_twisted.ensureDeferred
async def test_codex_gets_the_name_of_the_variable_and_not_the_key(
    start: Start, home: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    setup = await start(api_key=KEY)
    monkeypatch.setenv("CODEX_BRIDGE_API_KEY", KEY)
    done = await deferToThread(call, home, version, "--bridge-url", setup.url)
    assert done.code == 0, done.err
    written = state(home)
    file = "bridge.config.toml" if "bridge.config.toml" in written else "config.toml"
    values = tomllib.loads(written[file].decode())
    assert values["model_providers"]["bridge"]["env_key"] == "CODEX_BRIDGE_API_KEY"
    assert not [name for name, text in written.items() if KEY.encode() in text]
    assert KEY not in done.out + done.err


@pytest_twisted.ensureDeferred
async def test_without_a_key_codex_gets_no_variable(start: Start, home: Path) -> None:
    """Codex does not start if the variable that it is given is not set."""
    setup = await start()
    await deferToThread(call, home, VERSIONS[1], "--bridge-url", setup.url)
    assert b"env_key" not in state(home)["bridge.config.toml"]


@pytest_twisted.ensureDeferred
async def test_configure_without_the_key_says_what_is_missing(start: Start, home: Path) -> None:
    setup = await start(api_key=KEY)
    done = await deferToThread(call, home, VERSIONS[1], "--bridge-url", setup.url)
    assert (done.code, "asks for an API key" in done.err) == (1, True)
    assert state(home) == {}


@pytest_twisted.ensureDeferred
async def test_doctor_sends_the_key(
    doctor: Doctor, well: Well, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = await well(api_key=KEY)
    monkeypatch.setenv("CODEX_BRIDGE_API_KEY", KEY)
    done = await doctor(setup.url)
    assert done.failures == []
    assert done.json["verdict"] == "good"
    assert KEY not in done.out + done.err
