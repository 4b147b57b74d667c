"""Which web pages may use the bridge."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from twisted.web.http_headers import Headers

from codex_bridge.web.origins import Origins
from tests.conftest import Start
from tests.fake_ollama import Playlist, Say
from tests.harness import CODEX, REQUEST, Answer
from tests.web.scene import Scene

UPSTREAM_IS_OLLAMA = True

PAGE = {"Origin": "http://localhost:3000"}
FOREIGN = {"Origin": "https://evil.example"}


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost",
        "https://localhost:3000",
        "HTTP://LOCALHOST:3000",
        "http://127.0.0.1:5173",
        "http://0.0.0.0",
        "http://[::1]:8080",
        "app://obsidian.md",
        "file://",
        "tauri://localhost",
        "vscode-webview://abc",
        "vscode-file://vscode-app",
        "chrome-extension://abcdef",
        "moz-extension://abcdef",
        "safari-web-extension://abcdef",
    ],
)
def test_pages_of_this_machine_are_allowed(origin: str) -> None:
    assert Origins().allows(origin)


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://localhost.evil.example",
        "http://localhost:80.evil.example",
        "http://localhost@evil.example",
        "http://evil.example/http://localhost",
        "http://127.0.0.2",
        "http://192.168.1.7",
        "http://127.0.0.1.evil.example",
        "ftp://localhost",
        "myapp://x",
        "null",
        "",
    ],
)
def test_other_pages_are_not_allowed(origin: str) -> None:
    assert not Origins().allows(origin)


@pytest.mark.parametrize(
    ("allowed", "origin", "expected"),
    [
        ("https://app.example.com", "https://app.example.com", True),
        ("https://app.example.com", "https://APP.example.com", True),
        ("https://app.example.com", "http://app.example.com", False),
        ("https://app.example.com", "https://app.example.com:8443", False),
        ("https://app.example.com", "https://app.example.com.evil.example", False),
        ("https://*.example.com", "https://a.example.com", True),
        ("https://*.example.com", "https://example.com.evil.example", False),
        ("https://*.example.com", "https://.example.co", False),
        ("http://box:*", "http://box:3000", True),
        ("*", "https://any.example", True),
        ("*", "null", True),
    ],
)
def test_origins_can_be_allowed(allowed: str, origin: str, expected: bool) -> None:
    assert Origins((allowed,)).allows(origin) is expected


def test_one_foreign_origin_among_several_is_enough_to_refuse() -> None:
    both = ["http://localhost", "https://evil.example"]
    assert Origins().refusal(Headers({"origin": both}))
    assert Origins().refusal(Headers({"origin": both[::-1]}))
    assert Origins().refusal(Headers()) is None


OWN = ["/v1/responses", "/responses", "/__health", "/v1/models?client_version=0.169.0"]


@pytest.mark.parametrize("method_and_path", [("GET", path) for path in OWN] + [("POST", OWN[0])])
@pytest.mark.parametrize("client", [{}, CODEX], ids=["", "as Codex"])
@pytest_twisted.ensureDeferred
async def test_a_foreign_page_gets_nothing_of_the_bridges_own(
    start: Start, method_and_path: tuple[str, str], client: dict[str, Any]
) -> None:
    setup = await start(Playlist())
    body = REQUEST if method_and_path[0] == "POST" else None
    reply = await setup.request(*method_and_path, body, FOREIGN | client)
    assert (reply.status, reply.json["error"]["code"]) == (403, "foreign_origin")
    assert reply.header("access-control-allow-origin") is None
    assert "--allow-origin" in reply.json["error"]["message"]
    assert setup.fake.exchanges == []


@pytest_twisted.ensureDeferred
async def test_a_body_of_a_foreign_page_is_not_waited_for(scene: Scene) -> None:
    client = await scene.client(
        b"POST /v1/responses HTTP/1.1", b"Origin: https://evil.example", b"Content-Length: 1000"
    )
    received = await client.until(b"foreign_origin")
    assert received.startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize("stream", [True, False])
@pytest_twisted.ensureDeferred
async def test_a_page_of_this_machine_may_read_its_answer(start: Start, stream: bool) -> None:
    setup = await start(Playlist([Say("ok")]))
    reply = await setup.request("POST", "/v1/responses", REQUEST | {"stream": stream}, PAGE)
    assert b'"completed"' in reply.body
    assert may_read(reply)


def may_read(reply: Answer) -> bool:
    allowed = reply.headers.getRawHeaders("access-control-allow-origin")
    return allowed == [PAGE["Origin"]] and "Origin" in (reply.header("vary") or "")


@pytest.mark.parametrize("path", OWN[2:])
@pytest_twisted.ensureDeferred
async def test_a_page_of_this_machine_may_read_health_and_models(start: Start, path: str) -> None:
    setup = await start(Playlist())
    assert may_read(await setup.request("GET", path, headers=PAGE))


@pytest_twisted.ensureDeferred
async def test_a_page_may_read_why_its_request_failed(start: Start) -> None:
    setup = await start(Playlist())
    reply = await setup.request("POST", "/v1/responses", b"no json", PAGE)
    assert reply.status == 400
    assert may_read(reply)


@pytest_twisted.ensureDeferred
async def test_programs_that_are_no_pages_get_no_such_headers(start: Start) -> None:
    setup = await start(Playlist([Say("ok")]))
    reply = await setup.ask()
    assert reply.header("access-control-allow-origin") is None
    assert reply.header("vary") is None


@pytest.mark.parametrize("settings", [{}, {"api_key": "secret"}], ids=["", "with a key"])
@pytest.mark.parametrize("path", ["/v1/responses", "/responses"])
@pytest_twisted.ensureDeferred
async def test_a_page_of_this_machine_is_told_what_it_may_send(
    start: Start, path: str, settings: dict[str, Any]
) -> None:
    setup = await start(Playlist(), **settings)
    asked = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,x-stainless-os",
    }
    reply = await setup.request("OPTIONS", path, headers=PAGE | asked)
    assert (reply.status, reply.body) == (204, b"")
    assert may_read(reply)
    assert "POST" in (reply.header("access-control-allow-methods") or "")
    allowed = reply.header("access-control-allow-headers")
    assert allowed == asked["Access-Control-Request-Headers"]
    assert setup.fake.exchanges == []


@pytest_twisted.ensureDeferred
async def test_a_foreign_page_may_send_nothing(start: Start) -> None:
    setup = await start(Playlist())
    reply = await setup.request("OPTIONS", "/v1/responses", headers=FOREIGN)
    assert (reply.status, reply.json["error"]["code"]) == (403, "foreign_origin")
    setup = await start(Playlist(), allow_origin=("https://evil.example",))
    assert (await setup.request("OPTIONS", "/v1/responses", headers=FOREIGN)).status == 204


@pytest_twisted.ensureDeferred
async def test_options_without_a_page_is_not_for_exchanges(start: Start) -> None:
    setup = await start(Playlist())
    assert (await setup.request("OPTIONS", "/v1/responses")).status == 405


@pytest.mark.parametrize("path", [b"/api/chat", b"/v1/models", b"/v1/chat/completions"])
@pytest_twisted.ensureDeferred
async def test_ollama_itself_judges_the_pages_that_want_it(scene: Scene, path: bytes) -> None:
    """It may have OLLAMA_ORIGINS set, of which the bridge knows nothing."""
    client = await scene.client(b"OPTIONS " + path + b" HTTP/1.1", b"Origin: https://evil.example")
    wire = await scene.upstream()
    assert b"\r\nOrigin: https://evil.example\r\n" in await wire.until(b"\r\n\r\n")
    wire.say(
        b"HTTP/1.1 204 No Content\r\nAccess-Control-Allow-Origin: https://evil.example\r\n\r\n"
    )
    received = await client.until(b"\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 204 ")
    assert received.lower().count(b"access-control-allow-origin") == 1
