"""Every route that is not ours: byte for byte, both ways streamed."""

from __future__ import annotations

import hashlib

import orjson
import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.web.http_headers import Headers

from codex_bridge.web.passthrough import end_to_end
from tests.conftest import Start
from tests.fake_ollama import Hold, Playlist, Say
from tests.web.scene import Scene

UPSTREAM_IS_OLLAMA = True


@pytest.mark.parametrize(
    "line",
    [
        b"GET / HTTP/1.1",
        b"GET /api/tags?x=1&y=%20a HTTP/1.1",
        b"DELETE /api/delete HTTP/1.1",
        b"PROPFIND /some/where HTTP/1.1",
        b"OPTIONS /api/chat HTTP/1.1",
        b"GET //two//slashes/ HTTP/1.1",
        b"GET /empty/query? HTTP/1.1",
        b"GET /a#b HTTP/1.1",
        b"GET /%2e%2e/%2F/x;y=1 HTTP/1.1",
        b"GET /v1/models/ HTTP/1.1",
        b"GET /v1/responses2 HTTP/1.1",
        b"HEAD /api/tags HTTP/1.1",
    ],
)
@pytest_twisted.ensureDeferred
async def test_method_path_and_query_arrive_as_they_are(scene: Scene, line: bytes) -> None:
    await scene.client(line)
    wire = await scene.upstream()
    received = await wire.until(b"\r\n\r\n")
    assert received.split(b"\r\n")[0] == line


@pytest_twisted.ensureDeferred
async def test_a_path_in_the_upstream_url_stands_before_every_other(scene: Scene) -> None:
    from codex_bridge.engines.upstream import Upstream

    behind_a_proxy = Upstream(reactor, scene.upstream_url + "/ollama")
    answer = Deferred.fromCoroutine(behind_a_proxy.forward(b"GET", b"/api/tags", Headers(), None))
    wire = await scene.upstream()
    received = await wire.until(b"\r\n\r\n")
    assert received.startswith(b"GET /ollama/api/tags HTTP/1.1\r\n")
    wire.say(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert (await answer).code == 204


@pytest_twisted.ensureDeferred
async def test_a_target_that_http_does_not_allow_is_400(scene: Scene) -> None:
    client = await scene.client(b"GET /caf\xc3\xa9 HTTP/1.1")
    assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "target", [b"http://evil.example/api/tags", b"https://evil.example:99/api/tags"]
)
@pytest_twisted.ensureDeferred
async def test_a_proxy_request_leads_nowhere_but_to_ollama(scene: Scene, target: bytes) -> None:
    await scene.client(b"GET " + target + b" HTTP/1.1")
    wire = await scene.upstream()
    received = await wire.until(b"\r\n\r\n")
    assert received.startswith(b"GET /api/tags HTTP/1.1\r\n")
    assert b"evil" not in received


@pytest_twisted.ensureDeferred
async def test_request_headers_of_the_connection_stay_behind(scene: Scene) -> None:
    await scene.client(
        b"GET / HTTP/1.1",
        b"X-Kept: 1",
        b"Origin: http://localhost",
        b"Accept-Encoding: br",
        b"Connection: keep-alive, X-Named",
        b"X-Named: secret",
        b"Keep-Alive: timeout=5",
        b"Proxy-Authorization: Basic x",
        b"TE: trailers",
        b"Upgrade: h2c",
    )
    wire = await scene.upstream()
    head = (await wire.until(b"\r\n\r\n")).lower()
    for kept in (b"x-kept: 1", b"origin: http://localhost", b"accept-encoding: br"):
        assert kept in head
    for dropped in (b"x-named", b"keep-alive", b"proxy-auth", b"te: ", b"upgrade", b"gzip"):
        assert dropped not in head


@pytest_twisted.ensureDeferred
async def test_status_headers_and_body_of_the_answer_are_kept(scene: Scene) -> None:
    client = await scene.client(b"GET /x HTTP/1.1")
    wire = await scene.upstream()
    await wire.until(b"\r\n\r\n")
    wire.say(
        b"HTTP/1.1 418 Short And Stout\r\nX-Kept: 1\r\nX-Kept: 2\r\nContent-Encoding: gzip\r\n"
        b"Connection: close\r\nKeep-Alive: timeout=5\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x00\xff"
    )
    received = await client.until(b"\x1f\x8b\x00\xff")
    head, body = received.split(b"\r\n\r\n", 1)
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 418 Short And Stout"
    assert [line for line in lines if line.startswith(b"X-")] == [b"X-Kept: 1", b"X-Kept: 2"]
    assert b"Content-Encoding: gzip" in lines
    assert b"Content-Length: 4" in lines
    unwanted = (b"Server:", b"Content-Type:", b"Keep-Alive:", b"Connection:")
    assert not any(line.startswith(unwanted) for line in lines)
    assert body == b"\x1f\x8b\x00\xff"


@pytest_twisted.ensureDeferred
async def test_an_answer_is_passed_on_chunk_by_chunk(scene: Scene) -> None:
    client = await scene.client(b"POST /api/generate HTTP/1.1", b"Content-Length: 0")
    wire = await scene.upstream()
    await wire.until(b"\r\n\r\n")
    wire.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
    await client.until(b"first")
    wire.say(b"6\r\nsecond\r\n0\r\n\r\n")
    await client.until(b"6\r\nsecond\r\n0\r\n\r\n")


@pytest_twisted.ensureDeferred
async def test_an_upstream_that_dies_mid_answer_cuts_the_client_off(scene: Scene) -> None:
    """A clean end would make half a model look like a whole one."""
    client = await scene.client(b"GET /x HTTP/1.1")
    wire = await scene.upstream()
    await wire.until(b"\r\n\r\n")
    wire.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
    await client.until(b"first")
    wire.transport.abortConnection()
    await client.lost
    assert not client.received.endswith(b"0\r\n\r\n")


WHOLE_POST = [b"POST /api/chat HTTP/1.1", b"Content-Length: 4"]
BEGUN = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfirst"


@pytest.mark.parametrize("answer", [b"", BEGUN], ids=["no answer yet", "mid answer"])
@pytest.mark.parametrize("lines", [[b"GET /x HTTP/1.1"], WHOLE_POST], ids=["GET", "whole POST"])
@pytest_twisted.ensureDeferred
async def test_a_client_that_leaves_closes_the_upstream_connection(
    scene: Scene, lines: list[bytes], answer: bytes
) -> None:
    client = await scene.client(*lines)
    if lines is WHOLE_POST:
        client.send(b"body")
    wire = await scene.upstream()
    await wire.until(b"body" if lines is WHOLE_POST else b"\r\n\r\n")
    if answer:
        wire.say(answer)
        await client.until(b"first")
    await client.close()
    await wire.lost


@pytest.mark.parametrize("code", [b"204 No Content", b"304 Not Modified"])
@pytest_twisted.ensureDeferred
async def test_an_answer_that_has_no_body_gets_no_length(scene: Scene, code: bytes) -> None:
    client = await scene.client(b"GET /x HTTP/1.1")
    wire = await scene.upstream()
    await wire.until(b"\r\n\r\n")
    wire.say(b"HTTP/1.1 " + code + b"\r\nETag: x\r\n\r\n")
    received = await client.until(b"\r\n\r\n")
    assert b"ETag: x" in received
    assert b"Content-Length" not in received
    assert b"Transfer-Encoding" not in received


@pytest_twisted.ensureDeferred
async def test_a_download_waits_for_a_slow_client(scene: Scene) -> None:
    client = await scene.client(b"GET /x HTTP/1.1")
    client.transport.pauseProducing()
    wire = await scene.upstream()
    await wire.until(b"\r\n\r\n")
    wire.say(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n")
    assert await scene.flood(wire.transport, b"x" * 50_000, 50_000_000) < 25_000_000
    client.keep_last = 100
    client.transport.resumeProducing()
    await scene.flooded


@pytest_twisted.ensureDeferred
async def test_an_upstream_that_is_down_is_502_with_its_url(start: Start) -> None:
    setup = await start()
    await setup.fake.stop()
    reply = await setup.request("GET", "/api/ps")
    assert reply.status == 502
    assert setup.fake.url in reply.json["error"]["message"]


@pytest_twisted.ensureDeferred
async def test_an_unknown_route_is_answered_by_ollama(start: Start) -> None:
    setup = await start()
    reply = await setup.request("GET", "/nothing/here")
    assert (reply.status, reply.body) == (404, b"404 page not found")
    assert (reply.header("content-type") or "").startswith("text/plain")


@pytest_twisted.ensureDeferred
async def test_the_startup_sequence_of_codex_works(start: Start) -> None:
    setup = await start()
    models = await setup.request("GET", "/v1/models")
    version = await setup.request("GET", "/api/version")
    tags = await setup.request("GET", "/api/tags")
    pull = await setup.request("POST", "/api/pull", {"model": "new:1b", "stream": True})
    assert models.status == 200
    assert version.json == {"version": "0.33.0"}
    assert tags.json["models"][0]["name"] == "qwen3:14b"
    assert orjson.loads(pull.body.splitlines()[-1]) == {"status": "success"}


@pytest_twisted.ensureDeferred
async def test_a_blob_upload_arrives_whole(start: Start) -> None:
    setup = await start()
    blob = bytes(range(256)) * 8192
    digest = hashlib.sha256(blob).hexdigest()
    reply = await setup.request("POST", f"/api/blobs/sha256:{digest}", blob)
    assert reply.status == 201


@pytest_twisted.ensureDeferred
async def test_chat_completions_pass_through_as_a_stream(start: Start) -> None:
    more: Deferred[None] = Deferred()
    setup = await start(Playlist([Say("Hello", pieces=("Hello",)), Hold(more), Say("!")]))
    client = await setup.connect()
    body = {"model": "qwen3:14b", "messages": [{"role": "user", "content": "x"}], "stream": True}
    client.post(body, "/v1/chat/completions")
    await client.until(b'"Hello"')
    more.callback(None)
    await client.until(b"data: [DONE]")


@given(st.dictionaries(st.sampled_from([b"x-a", b"te", b"connection", b"host"]), st.just(b"x-a")))
def test_no_connection_header_gets_through(raw: dict[bytes, bytes]) -> None:
    kept = end_to_end(Headers({name: [value] for name, value in raw.items()}))
    names = {name.lower() for name, _ in kept.getAllRawHeaders()}
    assert names <= {b"x-a", b"host"}
    assert (b"x-a" in names) == (b"x-a" in raw and b"connection" not in raw)
