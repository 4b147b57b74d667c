"""A request leads nowhere but to Ollama, and carries nothing there or back that it should not."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.logger import formatEvent

from tests.conftest import LogBook, Start
from tests.fake_ollama import Call, Playlist, Refuse, Say
from tests.harness import CODEX
from tests.web.scene import Scene
from tests.wires import WireServer

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest_twisted.ensureDeferred
async def test_connect_leads_nowhere(scene: Scene) -> None:
    before = list(scene.wires.wires)
    client = await scene.client(b"CONNECT evil.example:443 HTTP/1.1")
    assert (await client.until(b"no_proxy")).startswith(b"HTTP/1.1 400 ")
    assert scene.wires.wires == before


@pytest.mark.parametrize(
    ("line", "arrives"),
    [
        (b"OPTIONS * HTTP/1.1", b"OPTIONS / HTTP/1.1"),
        (b"GET //evil.example/x HTTP/1.1", b"GET //evil.example/x HTTP/1.1"),
        (b"GET http://evil.example HTTP/1.1", b"GET / HTTP/1.1"),
        (b"GET http://evil.example/x?y HTTP/1.1", b"GET /x?y HTTP/1.1"),
        (b"GET http://a@evil.example:80/x HTTP/1.1", b"GET /x HTTP/1.1"),
        (b"GET file:///etc/passwd HTTP/1.1", b"GET /etc/passwd HTTP/1.1"),
        (b"GET evil.example:443 HTTP/1.1", b"GET / HTTP/1.1"),
        (b"GET @evil.example/ HTTP/1.1", b"GET / HTTP/1.1"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_every_target_is_a_path_of_ollamas(scene: Scene, line: bytes, arrives: bytes) -> None:
    await scene.client(line)
    wire = await scene.upstream()
    received = await wire.until(b"\r\n\r\n")
    assert received.split(b"\r\n")[0] == arrives


@pytest.mark.parametrize("line", [b"GET / HTTP/1.1", b"GET http://localhost/ HTTP/1.1"])
@pytest_twisted.ensureDeferred
async def test_the_host_that_ollama_sees_is_its_own(scene: Scene, line: bytes) -> None:
    await scene.client(line, b"Connection: close, Host", b"X-Forwarded-Host: evil.example")
    wire = await scene.upstream()
    received = await wire.until(b"\r\n\r\n")
    hosts = [each for each in received.split(b"\r\n") if each.lower().startswith(b"host:")]
    assert hosts == [b"Host: " + scene.upstream_url.removeprefix("http://").encode()]


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\rX-Evil: 1\r\n",
        b"HTTP/1.1 200 OK\r\nX-Some: 1\rX-Evil: 1\r\n",
        b"HTTP/1.1 200 OK\r\nX-Some: 1\r\n X-Evil: 1\r\n",
        b"HTTP/1.1 200 O\x1b[2JK\r\nX-Some: \x00\x1b[2J\x7f\r\n",
    ],
)
@pytest_twisted.ensureDeferred
async def test_ollamas_headers_bring_no_line_and_no_control_character(
    scene: Scene, head: bytes
) -> None:
    client = await scene.client(b"GET /x HTTP/1.1")
    wire = await scene.upstream()
    await wire.until(b"\r\n\r\n")
    wire.say(head + b"Content-Length: 2\r\n\r\nok")
    received = await client.until(b"\r\n\r\nok")
    lines = received.partition(b"\r\n\r\n")[0].split(b"\r\n")
    assert not any(line.startswith(b"X-Evil") for line in lines)
    assert not [byte for line in lines for byte in line if byte < 32 or byte == 127]


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nX Some: 1\r\nContent-Length: 2\r\n",
        b"HTTP/1.1 200 OK\r\nnonsense\r\nContent-Length: 2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n",
    ],
)
@pytest_twisted.ensureDeferred
async def test_an_answer_that_is_no_http_is_502(scene: Scene, head: bytes) -> None:
    client = await scene.client(b"GET /x HTTP/1.1")
    wire = await scene.upstream()
    await wire.until(b"\r\n\r\n")
    wire.say(head + b"\r\nok")
    assert (await client.until(b"}}\n")).startswith(b"HTTP/1.1 502 ")


@pytest_twisted.ensureDeferred
async def test_what_ollama_says_behind_its_answer_is_dropped(scene: Scene) -> None:
    client = await scene.client(b"GET /x HTTP/1.1")
    wire = await scene.upstream()
    await wire.until(b"\r\n\r\n")
    wire.say(OK + b"HTTP/1.1 200 OK\r\nX-Evil: 1\r\nContent-Length: 4\r\n\r\nevil")
    await client.until(b"\r\n\r\nok")
    client.send(b"GET /y HTTP/1.1\r\nHost: localhost\r\n\r\n")
    other = await scene.upstream()
    await other.until(b"\r\n\r\n")
    other.say(OK)
    await client.close()
    assert b"vil" not in client.received


def picture(url: str) -> list[Any]:
    """A picture in every place where an item may have one."""
    shown = {"type": "input_image", "image_url": url}
    called = {"type": "function_call", "call_id": "c1", "name": "exec_command", "arguments": "{}"}
    return [
        {
            "type": "message",
            "role": "user",
            "content": [shown, {"type": "input_text", "text": "?"}],
        },
        called,
        {"type": "function_call_output", "call_id": "c1", "output": [shown]},
    ]


def file(url: str) -> list[Any]:
    return [
        {"type": "message", "role": "user", "content": [{"type": "input_file", "file_url": url}]}
    ]


@pytest.mark.parametrize("headers", [{}, CODEX], ids=["sdk", "codex"])
@pytest.mark.parametrize("made", [picture, file])
@pytest.mark.parametrize(
    "url", ["{here}/a.png", "HTTP://{address}/a.png", "//{address}/a.png", "file:///etc/passwd"]
)
@pytest_twisted.ensureDeferred
async def test_no_url_of_a_request_is_fetched_or_handed_on(
    start: Start, url: str, made: Any, headers: dict[str, str]
) -> None:
    elsewhere = WireServer(reactor, shows_version=True)
    setup = await start(Playlist([Say("ok")]))
    address = elsewhere.url.removeprefix("http://")
    given = url.format(here=elsewhere.url, address=address)
    await setup.ask({"input": made(given)}, headers)
    sent = b"".join(seen.body for seen in setup.fake.exchanges)
    await elsewhere.stop()
    assert elsewhere.wires == []
    assert given.encode() not in sent


EVIL = "m\r\n2026 forged\x1b[2J\x9b2J\u202e\u2066\u2028"


@pytest.mark.parametrize("settings", [{}, {"debug": True}], ids=["", "debug"])
@pytest_twisted.ensureDeferred
async def test_no_text_of_others_forges_a_log_line(
    start: Start, logged: LogBook, settings: dict[str, Any]
) -> None:
    called = Call(EVIL, "{}")
    setup = await start(Playlist([called], [Refuse(500, EVIL)]), **settings)
    tool = {"type": "function", "name": EVIL, "parameters": {}}
    await setup.ask({"tools": [tool]})
    await setup.ask()
    await setup.ask({"model": EVIL})
    await setup.request("GET", "/api/tags%0d%0a%1b", headers={"Host": "local\x1b[2J\x9b"})
    for event in logged.events:
        lines = formatEvent(event).split("\n") if "body" in event else [formatEvent(event)]
        assert [line for line in lines if not line.isprintable()] == []
