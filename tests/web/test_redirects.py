"""A redirect of the upstream is told and not followed: it could lead a key to another server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from codex_bridge.start_checks import upstream_trouble
from tests.answering import AnsweringServer, answer
from tests.harness import CODEX, serve

KEY = "sk-upstream-1234567890"
LOGIN = "https://login.example/?next=/"


@pytest_twisted.async_yield_fixture
async def target() -> AsyncIterator[AnsweringServer]:
    """A server to which a redirect leads; nothing may come there."""
    server = AnsweringServer(reactor, lambda path: answer("200 OK", b"{}"))
    yield server
    assert server.heads == []
    await server.stop()


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest_twisted.ensureDeferred
async def test_a_server_that_has_moved_is_told_with_its_new_url(
    target: AnsweringServer, code: int
) -> None:
    new = f"{target.url}/ollama"
    old = AnsweringServer(reactor, lambda path: answer(f"{code} X", b"", f"Location: {new}{path}"))
    setup = await serve(reactor, old.url, upstream_api_key=KEY)
    error = (await setup.ask(headers=CODEX)).response["error"]
    assert error["code"] == "invalid_prompt"
    listed = await setup.request("GET", "/v1/models?client_version=0.169.0")
    assert (listed.status, listed.json["error"]["code"]) == (502, "upstream_misconfigured")
    health = await setup.request("GET", "/__health")
    assert health.status == 503
    start = await deferToThread(upstream_trouble, old.url, KEY)
    for sentence, path in (
        (error["message"], "/v1/chat/completions"),
        (listed.json["error"]["message"], "/v1/models"),
        (health.json["upstream"]["error"], "/api/version"),
        (start or "", "/api/version"),
    ):
        assert f"redirects to {new}{path}; give {new} as --upstream-url" in sentence
    await setup.stop()
    await old.stop()


@pytest_twisted.ensureDeferred
async def test_a_redirect_sends_no_commands_to_the_terminal_of_the_start() -> None:
    moved = "Location: http://\x1b[2Jgpu/api/version"
    server = AnsweringServer(reactor, lambda path: answer("301 X", b"", moved))
    trouble = await deferToThread(upstream_trouble, server.url) or ""
    assert "redirects to http://" in trouble
    assert trouble.isprintable()
    await server.stop()


@pytest.mark.parametrize("location", ["http://[gpu/api/version", "\xff\x00"])
@pytest_twisted.ensureDeferred
async def test_a_redirect_that_is_no_url_is_told(location: str) -> None:
    server = AnsweringServer(reactor, lambda path: answer("301 X", b"", f"Location: {location}"))
    setup = await serve(reactor, server.url)
    reply = await setup.ask()
    assert (reply.status, reply.json["error"]["code"]) == (502, "upstream_misconfigured")
    await deferToThread(upstream_trouble, server.url)
    await setup.stop()
    await server.stop()


@pytest_twisted.ensureDeferred
async def test_a_redirect_to_another_page_is_told_in_an_exchange_alone() -> None:
    """Some servers lead whoever asks for a page that they do not have to a page for people."""
    server = AnsweringServer(reactor, lambda path: answer("302 X", b"", f"Location: {LOGIN}"))
    setup = await serve(reactor, server.url)
    message = (await setup.ask()).json["error"]["message"]
    assert message.endswith(f"redirects to {LOGIN}; codex-bridge follows no redirect.")
    assert (await setup.request("GET", "/__health")).status == 200
    assert await deferToThread(upstream_trouble, server.url) is None
    await setup.stop()
    await server.stop()


@pytest_twisted.ensureDeferred
async def test_questions_that_lead_elsewhere_do_not_keep_a_server_from_being_used() -> None:
    said = b'{"choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}]}'
    answers = {"/v1/chat/completions": answer("200 OK", said, "Content-Type: application/json")}
    away = answer("302 X", b"", "Location: /")
    server = AnsweringServer(reactor, lambda path: answers.get(path, away))
    setup = await serve(reactor, server.url)
    assert (await setup.ask()).response["status"] == "completed"
    await setup.stop()
    await server.stop()


@pytest_twisted.ensureDeferred
async def test_pass_through_hands_a_redirect_to_the_client_unchanged(
    target: AnsweringServer,
) -> None:
    said = answer("307 X", b"away", f"Location: {target.url}/v1/models")
    server = AnsweringServer(reactor, lambda path: said)
    setup = await serve(reactor, server.url, upstream_api_key=KEY)
    reply = await setup.request("GET", "/v1/models")
    assert (reply.status, reply.body) == (307, b"away")
    assert reply.header("location") == f"{target.url}/v1/models"
    assert KEY not in str(list(reply.headers.getAllRawHeaders()))
    await setup.stop()
    await server.stop()
