"""An upstream that speaks TLS: whose certificate is trusted, and what is told of others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.logger import formatEvent

from codex_bridge.start_checks import upstream_trouble
from tests.answering import AnsweringServer, answer
from tests.certificates import Certificate, TLSReactor, authority, issued
from tests.conftest import LogBook, Start
from tests.fake_ollama import FakeOllama, Playlist, Say
from tests.harness import CODEX, Setup, serve
from tests.wires import WireServer

KEY = "sk-upstream-1234567890"
OURS = authority()
TO_TRUST_IT = "SSL_CERT_FILE where the bridge runs"


class TLSOllama(FakeOllama):
    """A fake Ollama behind TLS."""

    def __init__(self, certificate: Certificate, host: str = "127.0.0.1") -> None:
        self.reactor = TLSReactor(reactor, certificate)
        super().__init__(self.reactor, Playlist([Say("ok")]))
        self._host = host

    def listen(self, port: int = 0, interface: str = "127.0.0.1") -> object:
        listening = super().listen(port, interface)
        self.url = f"https://{self._host}:{self.port}"
        return listening


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust the authority of the tests."""
    monkeypatch.setenv("SSL_CERT_FILE", str(OURS.write_to(tmp_path / "ca.pem")))


async def told_everywhere(setup: Setup, url: str) -> list[str]:
    """The sentences of an exchange, of pass-through, of /__health and of the start."""
    exchange = (await setup.ask(headers=CODEX)).response["error"]
    assert exchange["code"] == "invalid_prompt"
    passed = await setup.request("GET", "/api/tags")
    assert (passed.status, passed.json["error"]["code"]) == (502, "upstream_misconfigured")
    health = await setup.request("GET", "/__health")
    assert (health.status, health.json["upstream"]["reachable"]) == (503, False)
    start = await deferToThread(upstream_trouble, url, KEY)
    return [
        exchange["message"],
        passed.json["error"]["message"],
        health.json["upstream"]["error"],
        start or "",
    ]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
@pytest_twisted.ensureDeferred
async def test_a_private_authority_is_trusted_by_a_variable(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, variable: str
) -> None:
    OURS.write_into(tmp_path)
    file = OURS.write_to(tmp_path / "ca.pem")
    monkeypatch.setenv(variable, str(file if variable == "SSL_CERT_FILE" else tmp_path))
    setup = await start(fake=TLSOllama(issued(issuer=OURS), host))
    assert await deferToThread(upstream_trouble, setup.fake.url) is None
    assert (await setup.ask()).response["status"] == "completed"
    assert (await setup.request("GET", "/api/tags")).status == 200
    assert (await setup.request("GET", "/__health")).json["upstream"]["version"] == "0.33.0"


@pytest.mark.parametrize(("host", "name"), [("127.0.0.1", None), ("localhost", b"localhost")])
@pytest_twisted.ensureDeferred
async def test_a_server_with_several_certificates_is_told_which_host_is_meant(
    start: Start, trusted: None, host: str, name: bytes | None
) -> None:
    ollama = TLSOllama(issued(issuer=OURS), host)
    setup = await start(fake=ollama)
    assert (await setup.request("GET", "/api/tags")).status == 200
    assert set(ollama.reactor.names) == {name}


BAD: dict[str, tuple[Callable[[], Certificate], str, str]] = {
    # what it is: (the certificate, the host in the URL, what is said of it)
    "self-signed": (issued, "127.0.0.1", "self-signed certificate; "),
    "of an unknown authority": (
        lambda: issued(issuer=authority()),
        "127.0.0.1",
        "its issuer is unknown to this machine; ",
    ),
    "of an unknown authority that it names": (
        lambda: issued(issuer=authority(), sends_issuer=True),
        "127.0.0.1",
        "self-signed certificate in its chain; ",
    ),
    "expired": (lambda: issued(issuer=OURS, days=(-9, -1)), "127.0.0.1", "it has expired"),
    "of the future": (lambda: issued(issuer=OURS, days=(1, 9)), "127.0.0.1", "not valid yet"),
    "for another address": (
        lambda: issued(["127.0.0.2", "localhost"], OURS),
        "127.0.0.1",
        "for other names than the address in --upstream-url",
    ),
    "for another host": (
        lambda: issued(["gpu.example", "127.0.0.1"], OURS),
        "localhost",
        "for other names than that in --upstream-url",
    ),
}


@pytest.mark.parametrize(("make", "host", "says"), BAD.values(), ids=BAD.keys())
@pytest_twisted.ensureDeferred
async def test_a_certificate_that_is_not_trusted_is_told_once_and_nothing_is_sent(
    start: Start,
    trusted: None,
    logged: LogBook,
    make: Callable[[], Certificate],
    host: str,
    says: str,
) -> None:
    setup = await start(fake=TLSOllama(make(), host), upstream_api_key=KEY)
    for sentence in await told_everywhere(setup, setup.fake.url):
        assert "its TLS certificate is not trusted: " in sentence
        assert says in sentence
        assert (TO_TRUST_IT in sentence) is says.endswith("; ")
    assert setup.fake.exchanges == []
    assert not any("is asked again" in formatEvent(event) for event in logged.events)


@pytest_twisted.ensureDeferred
async def test_without_the_variable_a_private_authority_is_unknown(start: Start) -> None:
    setup = await start(fake=TLSOllama(issued(issuer=OURS)))
    for sentence in await told_everywhere(setup, setup.fake.url):
        assert "its issuer is unknown to this machine; to trust it" in sentence
        assert TO_TRUST_IT in sentence
    assert setup.fake.exchanges == []


@pytest_twisted.ensureDeferred
async def test_a_certificate_without_names_is_not_trusted(start: Start, trusted: None) -> None:
    """It names the host only where browsers do not look any more."""
    setup = await start(fake=TLSOllama(issued((), OURS)))
    assert "for other names" in (await told_everywhere(setup, setup.fake.url))[0]
    assert setup.fake.exchanges == []


@pytest_twisted.ensureDeferred
async def test_https_to_a_server_without_tls_is_told() -> None:
    server = AnsweringServer(reactor, lambda path: answer("404 Not Found"))
    url = server.url.replace("http", "https")
    setup = await serve(reactor, url, upstream_api_key=KEY)
    for sentence in await told_everywhere(setup, url):
        assert "it speaks no TLS; let --upstream-url begin with http://" in sentence
    # The check before the start has looked, and has sent no key for that.
    assert len(server.heads) == 1
    assert server.header(b"authorization") == [None]
    await setup.stop()
    await server.stop()


@pytest_twisted.ensureDeferred
async def test_a_server_without_tls_that_closes_ends_the_start_with_the_reason() -> None:
    closing = AnsweringServer(reactor, lambda path: answer("404 Not Found"))
    closing.says_bad_request = False
    trouble = await deferToThread(upstream_trouble, closing.url.replace("http", "https"))
    assert "it speaks no TLS" in (trouble or "")
    await closing.stop()


@pytest_twisted.ensureDeferred
async def test_http_to_a_server_with_tls_ends_the_start(start: Start) -> None:
    setup = await start(fake=TLSOllama(issued()))
    url = setup.fake.url.replace("https", "http")
    trouble = await deferToThread(upstream_trouble, url)
    assert trouble is not None
    assert trouble.endswith("it speaks TLS; let --upstream-url begin with https://")
    assert setup.fake.exchanges == []


SAYS_SO = answer("400 Bad Request", b"Client sent an HTTP request to an HTTPS server.\n")


@pytest_twisted.ensureDeferred
async def test_a_server_that_asks_for_tls_is_told_in_an_exchange() -> None:
    server = AnsweringServer(reactor, lambda path: SAYS_SO)
    setup = await serve(reactor, server.url)
    error = (await setup.ask(headers=CODEX)).response["error"]
    assert "it speaks TLS; let --upstream-url begin with https://" in error["message"]
    # It is what any server may say: the start believes only a server that really speaks TLS.
    assert await deferToThread(upstream_trouble, server.url) is None
    await setup.stop()
    await server.stop()


@pytest_twisted.ensureDeferred
async def test_a_handshake_that_fails_for_another_reason_is_told_in_plain_words() -> None:
    wires = WireServer(reactor)
    setup = await serve(reactor, wires.url.replace("http", "https"))
    reply = Deferred.fromCoroutine(setup.request("GET", "/v1/models"))
    for _ in ("what it is", "/v1/models"):
        wire = await wires.next_connection()
        wire.say(b"\x15\x03\x03\x00\x02\x02\x28")
    error = (await reply).json["error"]
    assert error["code"] == "upstream_unreachable"
    assert "TLS failed, " in error["message"]
    assert "handshake failure" in error["message"]
    assert "[(" not in error["message"]
    await setup.stop()
    await wires.stop()


@pytest_twisted.ensureDeferred
async def test_a_proxy_that_forgets_tls_behind_it_is_told_in_its_own_words(trusted: None) -> None:
    """It speaks TLS itself, so another --upstream-url would not help."""
    server = AnsweringServer(TLSReactor(reactor, issued(issuer=OURS)), lambda path: SAYS_SO)
    setup = await serve(reactor, server.url.replace("http", "https"))
    message = (await setup.ask(headers=CODEX)).response["error"]["message"]
    assert "sent an HTTP request to an HTTPS server" in message
    assert "--upstream-url" not in message
    await setup.stop()
    await server.stop()
