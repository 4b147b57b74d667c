"""Signals to a bridge in a process of its own: it stops, or opens its log file again."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from tests.fake_ollama import FakeOllama, Hold, Playlist, Say
from tests.harness import RawClient, connect
from tests.processes import TIMEOUT, eventually, port_in, spawn

HALF = Say("Half", pieces=("Half",))


@asynccontextmanager
async def bridge(
    tmp_path: Path, *answer: Any, options: tuple[str, ...] = ()
) -> AsyncIterator[tuple[subprocess.Popen[str], int]]:
    """A bridge in a process of its own, whose model gives `answer`; the process and the port."""
    fake = FakeOllama(reactor, model=Playlist(answer))
    fake.listen()
    log = f"--logfile={tmp_path / 'log'}"
    arguments = ["-n", "--pidfile=", log, "codex-bridge", "-p", "0", "--upstream-url", fake.url]
    process = await deferToThread(spawn, "twistd", *arguments, *options, cwd=tmp_path)
    try:
        yield process, await deferToThread(eventually, lambda: _port(tmp_path / "log"))
    finally:
        process.kill()
        await deferToThread(process.communicate)
        await fake.stop()


def _port(log: Path) -> int:
    with log.open() as lines:
        return port_in(lines)


async def half_answered(port: int) -> RawClient:
    client = await connect(reactor, port)
    client.post({"model": "qwen3:14b", "input": "hi", "stream": True})
    await client.until(b'"delta":"Half"')
    return client


async def ended(process: subprocess.Popen[str]) -> int:
    await deferToThread(process.communicate, timeout=TIMEOUT)
    return process.returncode


@pytest_twisted.ensureDeferred
async def test_a_running_exchange_is_finished_before_the_bridge_ends(
    tmp_path: Path,
) -> None:
    more: Deferred[None] = Deferred()
    async with bridge(tmp_path, HALF, Hold(more), Say(" whole")) as (process, port):
        client = await half_answered(port)
        other = await connect(reactor, port)
        other.send(b"GET /api/version HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await other.until(b"0.33.0")
        process.send_signal(signal.SIGTERM)
        await deferToThread(eventually, lambda: _waits(tmp_path))
        # An open connection may still ask for the health, and learns that the bridge stops.
        other.send(b"GET /__health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"503 Service Unavailable" in await other.until(b'"status":"draining"')
        other.send(b"GET /api/version HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await other.until(b"server_stopping")
        more.callback(None)
        await client.until(b"response.completed")
        await client.lost
        assert await ended(process) == -signal.SIGTERM
    log = (tmp_path / "log").read_text()
    assert "Traceback" not in log
    assert "Server Shut Down." in log


def _waits(tmp_path: Path) -> None:
    assert "1 replies to end" in (tmp_path / "log").read_text()


@pytest_twisted.ensureDeferred
async def test_an_exchange_that_exceeds_the_drain_limit_fails_with_an_event(tmp_path: Path) -> None:
    endless = Hold(Deferred())
    async with bridge(tmp_path, HALF, endless, options=("--drain", "0")) as (process, port):
        client = await half_answered(port)
        process.send_signal(signal.SIGTERM)
        assert b"is being stopped" in await client.until(b"response.failed")
        assert await ended(process) == -signal.SIGTERM


@pytest_twisted.ensureDeferred
async def test_a_second_signal_ends_running_exchanges_at_once(tmp_path: Path) -> None:
    endless = Hold(Deferred())
    async with bridge(tmp_path, HALF, endless, options=("--drain", "3600")) as (process, port):
        client = await half_answered(port)
        process.send_signal(signal.SIGTERM)
        await deferToThread(eventually, lambda: _waits(tmp_path))
        process.send_signal(signal.SIGTERM)
        await client.until(b"response.failed")
        assert await ended(process) == -signal.SIGTERM
    assert "Traceback" not in (tmp_path / "log").read_text()


@pytest_twisted.ensureDeferred
async def test_sighup_makes_a_new_log_file_where_the_old_one_was_moved(tmp_path: Path) -> None:
    log, moved = tmp_path / "log", tmp_path / "moved"
    async with bridge(tmp_path) as (process, _):
        log.rename(moved)
        process.send_signal(signal.SIGHUP)
        await deferToThread(eventually, log.read_text)
        process.send_signal(signal.SIGTERM)
        assert await ended(process) == -signal.SIGTERM
    assert "Server Shut Down." in log.read_text()
    assert "Server Shut Down." not in moved.read_text()
