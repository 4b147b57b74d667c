"""Which Host headers are accepted, on which interfaces."""

from __future__ import annotations

import pytest
import pytest_twisted
from twisted.web.http_headers import Headers

from codex_bridge.settings import Settings
from codex_bridge.web.access import Access, host_allowed, host_name, is_loopback
from codex_bridge.web.route import route_of
from tests.conftest import Start
from tests.fake_ollama import Playlist, Say
from tests.harness import CODEX


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
        "[::1]",
        "[::1]:",
        "localhost:",
        "Box.Local.:80",
    ],
)
def test_names_of_this_machine_are_allowed(host: str) -> None:
    assert host_allowed(host)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:11434",
        "evil.example.",
        "localhost.evil.example",
        "localhost..",
        "8.8.8.8",
        "[2001:4860:4860::8888]",
        "[::1]evil.example",
        "[::1].evil.example:80",
        "local",
        "localhost@evil.example",
        "localhost evil.example",
    ],
)
def test_names_of_other_machines_are_not_allowed(host: str) -> None:
    assert not host_allowed(host)


@pytest.mark.parametrize(
    ("interface", "expected"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.7", False),
        ("nowhere.invalid", False),
    ],
)
def test_loopback_interfaces(interface: str, expected: bool) -> None:
    assert is_loopback(interface) is expected


def accepts(host: str, **settings: object) -> bool:
    """Whether a bridge with `settings` takes a request for `host`."""
    access = Access.of(Settings(**settings))  # type: ignore[arg-type]
    return access.refusal(route_of(b"GET", b"/"), Headers({"host": [host]})) is None


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("bridge.example.com", True),
        ("BRIDGE.example.com.:11434", True),
        ("[2001:db8::1]:11434", True),
        ("localhost", True),
        ("evil.example", False),
        ("x.bridge.example.com", False),
        ("bridge.example.com.evil.example", False),
    ],
)
@pytest.mark.parametrize("interface", ["127.0.0.1", "0.0.0.0"])
def test_named_hosts_are_allowed_besides_this_machines(
    interface: str, host: str, expected: bool
) -> None:
    allowed = ("bridge.example.com", "2001:db8::1")
    assert accepts(host, interface=interface, allow_host=allowed) is expected


def test_on_an_open_interface_every_host_is_allowed_until_some_are_named() -> None:
    assert accepts("any.example", interface="0.0.0.0")
    assert not accepts("any.example", interface="0.0.0.0", allow_host=("bridge",))
    assert accepts("any.example", allow_host=("*",))


@pytest.mark.parametrize(
    ("host", "name"),
    [("A.b.:80", "a.b"), ("[::1]:80", "::1"), ("::1", "::1"), ("", ""), (":80", "")],
)
def test_the_name_in_a_host_header(host: str, name: str) -> None:
    assert host_name(host) == name


@pytest.mark.parametrize("path", ["/", "/api/tags", "/__health", "/v1/models", "/v1/responses"])
@pytest_twisted.ensureDeferred
async def test_a_foreign_host_gets_nothing_on_any_route(start: Start, path: str) -> None:
    setup = await start(Playlist())
    reply = await setup.request("GET", path, headers={"Host": "evil.example:11434"})
    assert (reply.status, reply.json["error"]["code"]) == (403, "foreign_host")
    assert "--allow-host" in reply.json["error"]["message"]
    assert setup.fake.exchanges == []


@pytest_twisted.ensureDeferred
async def test_codex_is_told_once_that_its_host_is_foreign(start: Start) -> None:
    setup = await start(Playlist())
    reply = await setup.ask(headers=CODEX | {"Host": "evil.example"})
    assert reply.status == 200
    assert reply.response["error"]["code"] == "invalid_prompt"
    assert setup.fake.exchanges == []


@pytest_twisted.ensureDeferred
async def test_a_host_that_is_allowed_is_served(start: Start) -> None:
    setup = await start(Playlist([Say("ok")]), allow_host=("bridge.example.com",))
    reply = await setup.ask(headers={"Host": "bridge.example.com"})
    assert reply.response["status"] == "completed"
