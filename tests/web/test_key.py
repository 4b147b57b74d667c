"""A request without the key gets nothing, and nobody else learns the key."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
import pytest_twisted
from twisted.logger import LogLevel, formatEvent

from codex_bridge.settings import Settings
from codex_bridge.web.access import Access
from tests.conftest import LogBook, Start
from tests.fake_ollama import Playlist, Say
from tests.harness import CODEX, REQUEST
from tests.web.scene import Scene

KEY = "sk-bridge-1234567890"
RIGHT = [
    {"Authorization": f"Bearer {KEY}"},
    {"Authorization": f"bearer  {KEY}"},
    {"x-api-key": KEY},
    {"x-api-key": KEY, "Authorization": "Bearer another"},
]
WRONG = [
    {},
    {"Authorization": "Bearer"},
    {"Authorization": f"Bearer {KEY}x"},
    {"Authorization": f"Bearer {KEY[:-1]}"},
    {"Authorization": f"Bearer {KEY.upper()}"},
    {"Authorization": f"Basic {KEY}"},
    {"Authorization": KEY},
    {"Authorization": "Bearer schlüssel"},
    {"x-api-key": ""},
    {"Cookie": f"x-api-key={KEY}"},
]
ROUTES = [
    ("GET", "/"),
    ("HEAD", "/"),
    ("GET", "/api/tags"),
    ("POST", "/api/chat"),
    ("DELETE", "/api/delete"),
    ("OPTIONS", "/api/chat"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models?client_version=0.169.0"),
    ("POST", "/v1/responses"),
    ("GET", "/v1/responses"),
    ("OPTIONS", "/v1/responses"),
    ("GET", "/v1/responses/resp_1"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/__health"),
    ("HEAD", "/__health"),
    ("GET", "/__health/"),
    ("GET", "/__healthy"),
    ("GET", "//__health"),
    ("GET", "/api/tags?/__health"),
]


@pytest_twisted.async_yield_fixture
async def locked() -> AsyncIterator[Scene]:
    """A bridge with a key."""
    scene = Scene(api_key=KEY)
    yield scene
    await scene.stop()


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest_twisted.ensureDeferred
async def test_every_route_but_health_wants_the_key(start: Start, method: str, path: str) -> None:
    setup = await start(Playlist(), api_key=KEY)
    body = b"{}" if method == "POST" else None
    reply = await setup.request(method, path, body)
    assert reply.status == 401
    assert reply.header("www-authenticate") == "Bearer"
    if method != "HEAD":
        assert reply.json["error"]["code"] == "invalid_api_key"
        assert reply.json["error"]["type"] == "invalid_request_error"
        assert "Authorization: Bearer" in reply.json["error"]["message"]
    assert setup.fake.exchanges == []


@pytest_twisted.ensureDeferred
async def test_health_wants_no_key(start: Start) -> None:
    setup = await start(Playlist(), api_key=KEY)
    assert (await setup.request("GET", "/__health?now")).json["status"] == "ok"


@pytest.mark.parametrize("headers", RIGHT)
@pytest_twisted.ensureDeferred
async def test_a_request_with_the_key_is_served(start: Start, headers: dict[str, str]) -> None:
    setup = await start(Playlist([Say("ok")]), api_key=KEY)
    assert (await setup.request("GET", "/api/tags", headers=headers)).status == 200
    assert (await setup.ask(headers=headers)).response["status"] == "completed"


@pytest.mark.parametrize("headers", WRONG)
@pytest_twisted.ensureDeferred
async def test_a_wrong_key_is_refused(start: Start, headers: dict[str, str]) -> None:
    setup = await start(Playlist(), api_key=KEY)
    assert (await setup.request("GET", "/api/tags", headers=headers)).status == 401
    assert (await setup.ask(headers=headers)).status == 401
    assert setup.fake.exchanges == []


@pytest.mark.parametrize("change", [{"stream": True}, {"stream": False}])
@pytest_twisted.ensureDeferred
async def test_codex_is_told_once_that_the_key_is_missing(
    start: Start, change: dict[str, Any]
) -> None:
    """A 401 it would repeat six times."""
    setup = await start(Playlist(), api_key=KEY)
    reply = await setup.ask(change, headers=CODEX)
    assert reply.status == 200
    assert reply.response["error"]["code"] == "invalid_prompt"
    assert "env_key" in reply.response["error"]["message"]
    assert setup.fake.exchanges == []


FRAMED = [b"Content-Length: 1000", b"Transfer-Encoding: chunked"]


@pytest.mark.parametrize("framed", FRAMED)
@pytest.mark.parametrize("path", [b"/v1/responses", b"/api/blobs/x"])
@pytest_twisted.ensureDeferred
async def test_nothing_is_read_of_a_body_that_comes_without_the_key(
    locked: Scene, path: bytes, framed: bytes
) -> None:
    client = await locked.client(
        b"POST " + path + b" HTTP/1.1", framed, b"Expect: 100-continue", b"Accept: */*"
    )
    received = await client.until(b"}}\n")
    assert received.startswith(b"HTTP/1.1 401 ")
    assert b"100 Continue" not in received


@pytest_twisted.ensureDeferred
async def test_a_body_that_comes_without_the_key_is_dropped_and_the_connection_lives(
    locked: Scene,
) -> None:
    client = await locked.client(b"POST /v1/responses HTTP/1.1", b"Content-Length: 5000000")
    assert b"invalid_api_key" in await client.until(b"}}\n")
    client.send(b"x" * 5_000_000 + b"GET /__none HTTP/1.1\r\nHost: localhost\r\n")
    client.send(b"X-Api-Key: " + KEY.encode() + b"\r\n\r\n")
    assert b"try /__health" in await client.until(b"try /__health")


@pytest.mark.parametrize("headers", RIGHT)
@pytest_twisted.ensureDeferred
async def test_ollama_never_sees_the_key(locked: Scene, headers: dict[str, str]) -> None:
    lines = [f"{name}: {value}".encode() for name, value in headers.items()]
    await locked.client(b"GET /api/blobs/1 HTTP/1.1", b"X-Kept: 1", *lines)
    wire = await locked.upstream()
    received = await wire.until(b"\r\n\r\n")
    assert b"X-Kept: 1" in received
    assert KEY.encode() not in received
    assert b"uthorization" not in received


@pytest_twisted.ensureDeferred
async def test_without_a_key_of_the_bridge_credentials_are_ollamas(scene: Scene) -> None:
    await scene.client(b"GET / HTTP/1.1", b"Authorization: Bearer x", b"X-Api-Key: y")
    wire = await scene.upstream()
    received = await wire.until(b"\r\n\r\n")
    assert b"\r\nAuthorization: Bearer x\r\n" in received
    assert b"\r\nX-Api-Key: y\r\n" in received


@pytest_twisted.ensureDeferred
async def test_the_key_is_never_logged(start: Start, logged: LogBook) -> None:
    setup = await start(Playlist([Say("ok")]), api_key=KEY, debug=True)
    for headers in [*RIGHT, {"Authorization": f"Basic {KEY}"}]:
        await setup.ask(headers=headers)
        await setup.ask(headers=headers | CODEX)
        await setup.request("GET", "/api/tags", headers=headers)
    lines = "\n".join(map(formatEvent, logged.events))
    assert "chat request" in lines
    assert KEY not in lines


def test_the_key_is_in_no_repr() -> None:
    settings = Settings(api_key=KEY)
    assert KEY not in repr(settings)
    assert KEY not in repr(Access.of(settings))


@pytest_twisted.ensureDeferred
async def test_a_refusal_is_logged_with_who_was_refused(start: Start, logged: LogBook) -> None:
    setup = await start(Playlist(), api_key=KEY)
    await setup.request("GET", "/api/tags")
    lines = [formatEvent(event) for event in logged.at(LogLevel.info)]
    assert [line for line in lines if line.startswith("GET /api/tags from 127.0.0.1 refused: 401")]


@pytest.mark.parametrize(
    ("settings", "warns"),
    [
        ({"interface": "0.0.0.0"}, True),
        ({"interface": "0.0.0.0", "api_key": KEY}, False),
        ({"interface": "127.0.0.1"}, False),
    ],
)
@pytest_twisted.ensureDeferred
async def test_an_open_interface_without_a_key_is_a_warning(
    start: Start, logged: LogBook, settings: dict[str, Any], warns: bool
) -> None:
    await start(Playlist(), **settings)
    warnings = [formatEvent(event) for event in logged.at(LogLevel.warn)]
    assert len(warnings) == warns
    assert all("CODEX_BRIDGE_API_KEY" in line for line in warnings)


@pytest_twisted.ensureDeferred
async def test_a_page_with_the_key_is_served_and_one_without_can_read_why_not(
    start: Start,
) -> None:
    setup = await start(Playlist([Say("ok")]), api_key=KEY)
    page = {"Origin": "http://localhost:3000"}
    reply = await setup.request("POST", "/v1/responses", orjson.dumps(REQUEST), page)
    assert reply.status == 401
    assert reply.header("access-control-allow-origin") == page["Origin"]
    assert (await setup.ask(headers=page | RIGHT[0])).response["status"] == "completed"
