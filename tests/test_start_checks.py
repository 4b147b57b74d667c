"""Before it starts, the bridge checks its port and its Ollama."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from codex_bridge.settings import Settings
from codex_bridge.start_checks import check_before_start, port_trouble, upstream_trouble

HERE = "http://localhost:11500"


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port on which a server listens and never answers."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server.getsockname()[1]


@pytest.fixture
def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        return server.getsockname()[1]


def test_a_free_port_is_fine(free_port: int) -> None:
    assert port_trouble("127.0.0.1", free_port, HERE) is None
    assert port_trouble("127.0.0.1", 0, HERE) is None


@pytest.mark.parametrize(
    ("upstream", "remedy"),
    [
        (HERE, "move it (OLLAMA_HOST=127.0.0.1:11500 ollama serve)"),
        ("http://[::1]:11500", "move it (OLLAMA_HOST=[::1]:11500 ollama serve)"),
        # The bridge looks for Ollama on another machine.
        ("http://gpu:11434", "stop it"),
    ],
)
def test_a_taken_port_is_reported_with_both_remedies(
    taken_port: int, upstream: str, remedy: str
) -> None:
    assert port_trouble("127.0.0.1", taken_port, upstream) == (
        f"port {taken_port} on 127.0.0.1 is taken. If that is Ollama, {remedy}; else give "
        f"another --port"
    )


def test_an_address_of_another_machine_is_reported() -> None:
    assert "--interface" in (port_trouble("192.0.2.1", 0, HERE) or "")


def test_a_name_in_place_of_an_address_is_reported() -> None:
    assert "--interface" in (port_trouble("no.such.host.invalid", 0, HERE) or "")


def test_an_ollama_that_does_not_run_is_reported(free_port: int) -> None:
    trouble = upstream_trouble(f"http://127.0.0.1:{free_port}") or ""
    assert f"http://127.0.0.1:{free_port}" in trouble
    assert f"(OLLAMA_HOST=127.0.0.1:{free_port} ollama serve)" in trouble
    assert "refused" in trouble


def test_an_unknown_host_of_ollama_is_reported() -> None:
    assert "no.such.host.invalid" in (upstream_trouble("http://no.such.host.invalid:1") or "")


def test_preflight_ends_the_process_with_one_line(free_port: int) -> None:
    with pytest.raises(SystemExit) as caught:
        check_before_start(Settings(port=0, upstream_url=f"http://127.0.0.1:{free_port}"))
    assert isinstance(caught.value.code, str)
    assert caught.value.code.startswith("codex-bridge: Ollama does not answer at")
    assert "\n" not in caught.value.code
