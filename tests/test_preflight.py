"""What would make the service useless is told before it starts."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from codex_bridge.preflight import port_trouble, preflight, upstream_trouble
from codex_bridge.settings import Settings


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port that somebody listens on and never answers at."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server.getsockname()[1]


@pytest.fixture
def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        return server.getsockname()[1]


def test_a_free_port_is_no_trouble(free_port: int) -> None:
    assert port_trouble("127.0.0.1", free_port) is None
    assert port_trouble("127.0.0.1", 0) is None


def test_a_taken_port_is_told_with_both_ways_out(taken_port: int) -> None:
    trouble = port_trouble("127.0.0.1", taken_port) or ""
    assert f"port {taken_port} on 127.0.0.1 is taken" in trouble
    assert "OLLAMA_HOST" in trouble
    assert "--port" in trouble


def test_an_address_of_another_machine_is_told() -> None:
    assert "--interface" in (port_trouble("192.0.2.1", 0) or "")


def test_a_name_that_is_no_address_is_told() -> None:
    assert "--interface" in (port_trouble("no.such.host.invalid", 0) or "")


def test_nobody_listening_upstream_is_told(free_port: int) -> None:
    trouble = upstream_trouble(f"http://127.0.0.1:{free_port}") or ""
    assert f"http://127.0.0.1:{free_port}" in trouble
    assert "refused" in trouble


def test_an_unknown_host_upstream_is_told() -> None:
    assert "no.such.host.invalid" in (upstream_trouble("http://no.such.host.invalid:1") or "")


def test_preflight_ends_the_process_with_one_line(free_port: int) -> None:
    with pytest.raises(SystemExit) as caught:
        preflight(Settings(port=0, ollama_url=f"http://127.0.0.1:{free_port}"))
    assert isinstance(caught.value.code, str)
    assert caught.value.code.startswith("codex-bridge: Ollama does not answer at")
    assert "\n" not in caught.value.code
