"""The bridge started as users start it: by twistd, the console script and the control script."""

from __future__ import annotations

import os
import plistlib
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from codex_bridge import __version__
from tests import processes
from tests.fake_ollama import FakeOllama
from tests.processes import ROOT, eventually, health, port_in, run, running

FOREGROUND = ["--nodaemon", "--pidfile="]


@pytest_twisted.async_yield_fixture
async def ollama() -> AsyncIterator[FakeOllama]:
    fake = FakeOllama(reactor)
    fake.listen()
    yield fake
    await fake.stop()


def in_thread(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Wait for a process in a thread: the fake Ollama needs the reactor meanwhile."""
    return deferToThread(function, *arguments, **named)


def test_twistd_lists_the_plugin(tmp_path: Path) -> None:
    assert "codex-bridge" in run("twistd", "--help", cwd=tmp_path).stdout


def test_version_and_help(tmp_path: Path) -> None:
    version = run("twistd", "codex-bridge", "--version", cwd=tmp_path)
    assert (version.returncode, version.stdout) == (0, f"codex-bridge {__version__}\n")
    assert "--upstream-url=" in run("twistd", "codex-bridge", "--help", cwd=tmp_path).stdout
    assert run("codex-bridge", "--version", cwd=tmp_path).stdout == version.stdout


WAYS = {
    "twistd -n": (
        "twistd",
        [*FOREGROUND, "codex-bridge", "--port", "0"],
    ),
    "codex-bridge run": ("codex-bridge", ["run", "--port", "0"]),
    "the tac file": (
        "twistd",
        [*FOREGROUND, "--python", str(ROOT / "codex-bridge.tac")],
    ),
}


@pytest.mark.parametrize(("program", "arguments"), WAYS.values(), ids=WAYS.keys())
@pytest_twisted.ensureDeferred
async def test_it_serves_in_the_foreground_until_sigterm(
    ollama: FakeOllama, tmp_path: Path, program: str, arguments: list[str]
) -> None:
    def scene() -> tuple[Any, tuple[int, str]]:
        variables = {"CODEX_BRIDGE_UPSTREAM_URL": ollama.url, "CODEX_BRIDGE_PORT": "0"}
        with running(program, *arguments, cwd=tmp_path, **variables) as bridge:
            return health(bridge.port), bridge.stop()

    told, (code, output) = await in_thread(scene)
    assert told["upstream"] == {
        "url": ollama.url,
        "reachable": True,
        "server": "Ollama",
        "version": "0.33.0",
        "error": None,
    }
    assert code == -signal.SIGTERM
    assert "Traceback" not in output
    assert list(tmp_path.glob("*.pid")) == []


@pytest.mark.parametrize(("program", "arguments"), WAYS.values(), ids=WAYS.keys())
def test_a_variable_that_sets_nothing_ends_the_start_with_one_line(
    tmp_path: Path, program: str, arguments: list[str]
) -> None:
    done = run(program, *arguments, cwd=tmp_path, CODEX_BRIDGE_UPSTREM_URL="http://127.0.0.1:1")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "codex-bridge: CODEX_BRIDGE_UPSTREM_URL is no setting of codex-bridge; "
        "did you mean CODEX_BRIDGE_UPSTREAM_URL?\n"
    )


@pytest_twisted.ensureDeferred
async def test_it_serves_as_a_daemon_with_pid_and_log_file(
    ollama: FakeOllama, tmp_path: Path
) -> None:
    log, pidfile = tmp_path / "bridge.log", tmp_path / "bridge.pid"
    arguments = [f"--pidfile={pidfile}", f"--logfile={log}", "codex-bridge", "--port", "0"]
    started = await in_thread(run, "twistd", *arguments, "--upstream-url", ollama.url, cwd=tmp_path)
    assert (started.returncode, started.stdout, started.stderr) == (0, "", "")
    pid = int(pidfile.read_text())
    try:
        with log.open() as lines:
            port = port_in(lines)
        assert (await in_thread(health, port))["status"] == "ok"
    finally:
        os.kill(pid, signal.SIGTERM)
        await in_thread(eventually, lambda: _is_gone(pidfile))
    assert "Server Shut Down." in log.read_text()


def _is_gone(path: Path) -> None:
    assert not path.exists()


async def free_port() -> int:
    """A port that nobody listens on."""
    probe = FakeOllama(reactor)
    probe.listen()
    await probe.stop()
    return probe.port


@pytest_twisted.ensureDeferred
async def test_quiet_prints_nothing_at_all(ollama: FakeOllama, tmp_path: Path) -> None:
    port = await free_port()
    options = ["--quiet", f"--port={port}", "--upstream-url", ollama.url]

    def scene() -> tuple[int, str]:
        bridge = processes.spawn("twistd", *FOREGROUND, "codex-bridge", *options, cwd=tmp_path)
        eventually(lambda: health(port))
        return processes.Running(bridge, port).stop()

    assert await in_thread(scene) == (-signal.SIGTERM, "")


@pytest.mark.parametrize("ways", [FOREGROUND, ["--pidfile=x.pid", "--logfile=x.log"]])
@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--port", "{taken}"], "is taken"),
        (["--port", "0", "--upstream-url", "http://127.0.0.1:1"], "no model server answers"),
        (["--upstream-url", "nonsense"], "--upstream-url"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_start_that_fails_prints_one_line_and_exits_with_1(
    ollama: FakeOllama, tmp_path: Path, ways: list[str], options: list[str], says: str
) -> None:
    # Stands for any server on a taken port.
    other = FakeOllama(reactor)
    other.listen()
    given = [option.format(taken=other.port) for option in options]
    variables = {"CODEX_BRIDGE_UPSTREAM_URL": ollama.url}
    done = await in_thread(run, "twistd", *ways, "codex-bridge", *given, cwd=tmp_path, **variables)
    await other.stop()
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("codex-bridge: ")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest_twisted.ensureDeferred
async def test_the_control_script_starts_and_stops_a_daemon(
    ollama: FakeOllama, tmp_path: Path
) -> None:
    port = await free_port()
    variables = {
        "CODEX_BRIDGE_STATE_DIR": str(tmp_path / "a state"),
        "CODEX_BRIDGE_VENV": str(processes.BIN.parent),
    }

    def ctl(*arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            [str(ROOT / "deploy" / "codex-bridge-ctl.sh"), *arguments],
            env=processes.environment(**variables),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def scene() -> list[tuple[int, str]]:
        return [
            ctl("status"),
            ctl("start", f"--port={port}", "--upstream-url", ollama.url),
            ctl("status"),
            ctl("health"),
            ctl("restart"),
            ctl("logs"),
            ctl("stop"),
            ctl("status"),
        ]

    results = await in_thread(scene)
    assert [code for code, _ in results] == [3, 0, 0, 0, 0, 0, 0, 3], results
    assert f"http://127.0.0.1:{port}" in results[2][1]
    assert '"status":"ok"' in results[3][1]
    assert "listens on" in results[5][1]


def test_the_launchd_agent_is_a_valid_plist_that_stays_alive() -> None:
    agent = plistlib.loads((ROOT / "deploy" / "org.codex-bridge.plist").read_bytes())
    assert agent["KeepAlive"] is True
    assert agent["ProgramArguments"][-1] == "codex-bridge"
