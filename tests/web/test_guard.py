"""Whose Host header is accepted."""

from __future__ import annotations

import pytest

from codex_bridge.web.answers import printable
from codex_bridge.web.guard import host_allowed, is_loopback


@pytest.mark.parametrize(
    "host",
    [
        "",
        "localhost",
        "localhost:11434",
        "LOCALHOST.",
        "127.0.0.1:11434",
        "127.8.9.1",
        "[::1]:11434",
        "::1",
        "0.0.0.0:11434",
        "192.168.1.7:11434",
        "box.local",
        "x.localhost:1",
        "host.docker.internal:11434",
    ],
)
def test_names_of_this_machine_are_allowed(host: str) -> None:
    assert host_allowed(host)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:11434", "localhost.evil.example", "8.8.8.8", "local"]
)
def test_names_of_others_are_not(host: str) -> None:
    assert not host_allowed(host)


@pytest.mark.parametrize(
    ("interface", "expected"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False)],
)
def test_loopback_interfaces(interface: str, expected: bool) -> None:
    assert is_loopback(interface) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"/api/tags", "/api/tags"),
        (b"/\x1b[2J\r\n", "/\\x1b[2J\\r\\n"),
        (b"\xff", "\\xff"),
        ("", "-"),
        (None, "-"),
        ("x" * 200, "x" * 100 + "…"),
    ],
)
def test_what_a_client_sends_cannot_forge_log_lines(
    text: bytes | str | None, expected: str
) -> None:
    assert printable(text) == expected
