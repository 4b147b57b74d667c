"""--share-context: which requests of other programs get Codex's context, and which do not."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater

from codex_bridge.web.channel import Phase
from codex_bridge.web.site import Upload
from tests.conftest import Start
from tests.fake_ollama import FakeOllama, ModelFacts, Playlist, Say
from tests.harness import Setup
from tests.web.scene import Scene

NAME = "qwen3:14b"
MESSAGES = [{"role": "user", "content": "hi"}]
PLAIN = b'{ "model": "qwen3:14b", "messages": [{"role":"user","content":"hi"}] }'
CHUNKED = b"Transfer-Encoding: chunked"


async def begun(start: Start, **settings: Any) -> Setup:
    """A bridge that Codex has asked for the model, with a context of 32768."""
    answers = Playlist(*(9 * [[Say("ok")]]))
    models = [ModelFacts(num_ctx=None), ModelFacts("other:1b", num_ctx=None)]
    fake = FakeOllama(reactor, model=answers, models=models)
    setup = await start(fake=fake, **settings)
    await setup.ask()
    return setup


@pytest.mark.parametrize("path", ["/api/chat", "/api/chat?x=1", "/api/generate"])
@pytest.mark.parametrize("name", [NAME, "Qwen3:14B"])
@pytest.mark.parametrize(
    "given", [{}, {"options": None}, {"options": {}}, {"options": {"seed": 1, "num_ctx": None}}]
)
@pytest_twisted.ensureDeferred
async def test_a_request_that_names_no_context_gets_that_of_codex(
    start: Start, path: str, name: str, given: Any
) -> None:
    setup = await begun(start, share_context=True)
    asked = {"model": name, "messages": MESSAGES, "prompt": "hi", "keep_alive": "5m"} | given
    assert (await setup.request("POST", path, asked)).status == 200
    seen = setup.fake.exchanges[-1].json
    assert seen["options"] == (given.get("options") or {}) | {"num_ctx": 32768}
    assert seen | {"options": 0} == asked | {"options": 0}


@pytest_twisted.ensureDeferred
async def test_a_chunked_body_is_whole_and_the_connection_goes_on(start: Start) -> None:
    setup = await begun(start, share_context=True)
    client = await setup.connect()
    for _ in range(2):
        client.received = b""
        client.send(b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\n" + CHUNKED + b"\r\n\r\n")
        for part in (PLAIN[:20], PLAIN[20:], b""):
            client.send(b"%x\r\n%b\r\n" % (len(part), part))
            await deferLater(reactor, 0)
        await client.until(b"0\r\n\r\n")
    for seen in setup.fake.native_chats[1:]:
        assert seen.json == orjson.loads(PLAIN) | {"options": {"num_ctx": 32768}}
    assert len(setup.fake.native_chats) == 3


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/chat", b'{"model": "qwen3:14b", "options": {"num_ctx": 8192}}'),
        ("/api/chat", b'{"model": "other:1b", "messages": []}'),
        ("/api/chat", b'{"model": "nope:1b"}'),
        ("/api/chat", b'{"model": 1}'),
        ("/api/chat", b'{"model": "qwen3:14b", "options": []}'),
        ("/api/chat", b'{"model": "qwen3:14b", '),
        ("/api/chat", b'["qwen3:14b"]'),
        ("/api/chat", b""),
        ("/api/show", b'{ "model": "qwen3:14b" }'),
        ("/v1/chat/completions", PLAIN),
    ],
)
@pytest_twisted.ensureDeferred
async def test_every_other_request_stays_byte_for_byte(
    start: Start, path: str, body: bytes
) -> None:
    setup = await begun(start, share_context=True)
    await setup.request("POST", path, body)
    assert setup.fake.exchanges[-1].body == body


@pytest_twisted.ensureDeferred
async def test_without_the_option_nothing_is_shared(start: Start) -> None:
    setup = await begun(start)
    await setup.request("POST", "/api/chat", PLAIN)
    assert setup.fake.exchanges[-1].body == PLAIN


@pytest.mark.parametrize("length", [b"Content-Length: 2048", CHUNKED])
@pytest_twisted.ensureDeferred
async def test_a_body_over_the_limit_is_streamed_as_it_is(length: bytes) -> None:
    scene = Scene(is_ollama=True, share_context=True, max_body_size=1024)
    try:
        client = await scene.client(b"POST /api/chat HTTP/1.1", length)
        # A length tells from the beginning that it will be too much.
        first, second = b"x", b"y" * 2047
        if length is CHUNKED:
            first = b"401\r\n" + b"x" * 1025 + b"\r\n"
            second = b"3ff\r\n" + b"y" * 1023 + b"\r\n0\r\n\r\n"
        client.send(first)
        wire = await scene.upstream()
        assert length in await wire.until(first)
        client.send(second)
        await wire.until(first + second)
        wire.say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await client.until(b"\r\n\r\nok")
    finally:
        await scene.stop()


class Client:
    """The client of a request, and the request, as an `Upload` knows them."""

    is_connected = True
    body_phase = Phase.UPLOAD

    def __init__(self) -> None:
        self.is_paused = False
        self.channel = self.transport = self

    def wait_for(self, phase: Phase) -> None: ...

    def pauseProducing(self) -> None:
        self.is_paused = True

    def resumeProducing(self) -> None:
        self.is_paused = False


def test_what_comes_before_ollama_takes_the_body_is_kept_and_the_client_has_to_wait() -> None:
    client: Any = Client()
    upload = Upload(client, None)
    collected: list[bytes | None] = []
    upload.collect(10).addCallback(collected.append)
    upload.data_received(b"x" * 10)
    assert (collected, client.is_paused) == ([], False)
    upload.data_received(b"x")
    assert collected == [None]
    upload.data_received(b"y")
    assert client.is_paused
    sent: list[bytes] = []
    upload.deliver_to(sent.append, lambda: sent.append(b"."))
    upload.data_received(b"z")
    upload.ended()
    assert b"".join(sent) == b"x" * 11 + b"yz."


@pytest_twisted.ensureDeferred
async def test_a_client_that_leaves_before_its_body_is_whole_is_not_heard_of_by_ollama() -> None:
    scene = Scene(is_ollama=True, share_context=True)
    try:
        await scene.service.identified
        before = list(scene.wires.wires)
        client = await scene.client(b"POST /api/chat HTTP/1.1", b"Content-Length: 99")
        client.send(b'{"model": ')
        await scene.setup.request("GET", "/__nothing")
        await client.close()
        await scene.setup.request("GET", "/__nothing")
        assert scene.wires.wires == before
    finally:
        await scene.stop()


@pytest_twisted.ensureDeferred
async def test_a_client_that_asks_before_it_sends_is_told_to_go_on() -> None:
    scene = Scene(is_ollama=True, share_context=True)
    try:
        client = await scene.client(
            b"POST /api/chat HTTP/1.1", b"Expect: 100-continue", b"Content-Length: 4"
        )
        await client.until(b"100 Continue")
        client.send(b"body")
        wire = await scene.upstream()
        await wire.until(b"body")
    finally:
        await scene.stop()
