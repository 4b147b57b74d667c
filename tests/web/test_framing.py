"""Requests that two programs could cut at different places: none of them hides a second one."""

from __future__ import annotations

import pytest
import pytest_twisted

from tests.harness import RawClient
from tests.web.scene import Scene

HIDDEN = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
EMPTY = b"0\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked"

# what is ambiguous -> the headers of a POST, and what stands where its body should be
AMBIGUOUS_HEADS = {
    "length and chunks": ([b"Content-Length: 5", CHUNKED], EMPTY),
    "chunks and length": ([CHUNKED, b"Content-Length: 5"], EMPTY),
    "two lengths": ([b"Content-Length: 0", b"Content-Length: 44"], b""),
    "one length twice": ([b"Content-Length: 0", b"Content-Length: 0"], b""),
    "a list of lengths": ([b"Content-Length: 0, 44"], b""),
    "a sign": ([b"Content-Length: +0"], b""),
    "an underscore": ([b"Content-Length: 4_4"], b""),
    "a hexadecimal length": ([b"Content-Length: 0x0"], b""),
    "an empty length": ([b"Content-Length:"], b""),
    "thousands of digits": ([b"Content-Length: " + b"0" * 5000], b""),
    "no coding": ([b"Transfer-Encoding: identity"], b""),
    "two codings": ([b"Transfer-Encoding: identity", CHUNKED], EMPTY),
    "chunked twice": ([CHUNKED, CHUNKED], EMPTY),
    "a coding that is unknown here": ([b"Transfer-Encoding: gzip, chunked"], EMPTY),
    "chunked before another": ([b"Transfer-Encoding: chunked, identity"], EMPTY),
    "a vertical tab": ([b"Transfer-Encoding: \x0bchunked"], EMPTY),
    "a space before the colon": ([b"Transfer-Encoding : chunked"], EMPTY),
    "a folded coding": ([b"Transfer-Encoding:", b" chunked"], EMPTY),
    "a folded header": ([b"X-Some: 1", b"\tContent-Length: 44"], b""),
    "a bare LF": ([b"X-Some: 1\nContent-Length: 44"], b""),
    "a bare CR": ([b"X-Some: 1\rContent-Length: 44"], b""),
    "a NUL": ([b"X-Some: \x00"], b""),
    "no colon": ([b"Content-Length"], b""),
    "no name": ([b": 44"], b""),
    "two hosts": ([b"Host: evil.example"], b""),
}
BAD_CHUNKS = {
    "hexadecimal prefix": b"0x0\r\n\r\n",
    "sign": b"-1\r\n\r\n",
    "underscore": b"1_0\r\n\r\n",
    "no size": b"\r\n\r\n",
    "space": b"0 \r\n\r\n",
    "size beyond sense": b"f" * 5000 + b"\r\n\r\n",
    "more than announced": b"1\r\nxyz" + EMPTY,
    "bare LF": b"1\nx\n0\n\n",
    "LF in an extension": b"1;\nx\r\n" + EMPTY,
    "NUL in an extension": b"1;a=\x00\r\nx\r\n" + EMPTY,
}
BAD_FIRST_LINES = {
    "HTTP/0.9": b"GET /api/blobs/1",
    "HTTP/1.2": b"GET /api/blobs/1 HTTP/1.2",
    "HTTP/2": b"PRI * HTTP/2.0",
    "a space in the target": b"GET /api tags HTTP/1.1",
    "two spaces": b"GET  /api/blobs/1 HTTP/1.1",
    "a tab": b"GET\t/api/blobs/1 HTTP/1.1",
    "a space before": b" GET /api/blobs/1 HTTP/1.1",
    "a bare LF": b"GET /api/blobs/1 HTTP/1.1\nX-Some: 1",
    "no method": b" /api/blobs/1 HTTP/1.1",
}


@pytest.fixture(autouse=True)
def no_lingering(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that is refused is closed as soon as that can be read."""
    monkeypatch.setattr("codex_bridge.web.channel.LINGER", 0.01)


async def refused(scene: Scene, client: RawClient) -> None:
    """The connection ends with a 400, and nothing of what was hidden goes anywhere."""
    await client.lost
    assert client.received.startswith(b"HTTP/1.1 400 ")
    assert client.received.count(b"HTTP/1.1") == 1
    await nothing_was_smuggled(scene)


async def nothing_was_smuggled(scene: Scene) -> None:
    """A request that is sent now arrives, and none that was hidden arrived before it."""
    await scene.client(b"GET /after HTTP/1.1")
    received = b""
    while not received.startswith(b"GET /after "):
        wire = await scene.upstream()
        received = await wire.until(b"\r\n\r\n")
    assert not any(b"smuggled" in each.received for each in scene.wires.wires)


@pytest.mark.parametrize(("headers", "body"), AMBIGUOUS_HEADS.values(), ids=AMBIGUOUS_HEADS.keys())
@pytest.mark.parametrize("path", [b"/api/chat", b"/v1/responses"])
@pytest_twisted.ensureDeferred
async def test_an_ambiguous_head_ends_the_connection(
    scene: Scene, path: bytes, headers: list[bytes], body: bytes
) -> None:
    client = await scene.client()
    head = [b"POST " + path + b" HTTP/1.1", b"Host: localhost", *headers, b"", b""]
    client.send(b"\r\n".join(head) + body + HIDDEN)
    await refused(scene, client)


@pytest.mark.parametrize("body", BAD_CHUNKS.values(), ids=BAD_CHUNKS.keys())
@pytest.mark.parametrize("path", [b"/api/chat", b"/v1/responses"])
@pytest_twisted.ensureDeferred
async def test_a_bad_chunk_ends_the_connection(scene: Scene, path: bytes, body: bytes) -> None:
    client = await scene.client(b"POST " + path + b" HTTP/1.1", CHUNKED)
    client.send(body + HIDDEN)
    await refused(scene, client)


@pytest.mark.parametrize("line", BAD_FIRST_LINES.values(), ids=BAD_FIRST_LINES.keys())
@pytest_twisted.ensureDeferred
async def test_a_bad_request_line_ends_the_connection(scene: Scene, line: bytes) -> None:
    client = await scene.client(line)
    client.send(HIDDEN)
    await refused(scene, client)


@pytest_twisted.ensureDeferred
async def test_a_request_for_nobody_is_refused(scene: Scene) -> None:
    client = await scene.client()
    client.send(b"GET /api/blobs/1 HTTP/1.1\r\n\r\n" + HIDDEN)
    await refused(scene, client)


@pytest.mark.parametrize("chunks", [CHUNKED, b"Transfer-Encoding: identity"])
@pytest_twisted.ensureDeferred
async def test_old_http_has_no_codings(scene: Scene, chunks: bytes) -> None:
    client = await scene.client(b"POST /api/chat HTTP/1.0", chunks)
    client.send(EMPTY + HIDDEN)
    await refused(scene, client)


@pytest_twisted.ensureDeferred
async def test_old_http_is_served_without_a_host_and_once_a_connection(scene: Scene) -> None:
    client = await scene.client()
    client.send(b"GET /api/blobs/1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + HIDDEN)
    wire = await scene.upstream()
    assert (await wire.until(b"\r\n\r\n")).startswith(b"GET /api/blobs/1 HTTP/1.1\r\n")
    wire.say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    await client.lost
    assert client.received.endswith(b"\r\n\r\nok")
    await nothing_was_smuggled(scene)


@pytest_twisted.ensureDeferred
async def test_a_chunk_that_turns_bad_on_the_way_cuts_both_connections(scene: Scene) -> None:
    client = await scene.client(b"POST /api/blobs/x HTTP/1.1", CHUNKED)
    client.send(b"5\r\nfirst\r\n")
    wire = await scene.upstream()
    await wire.until(b"5\r\nfirst\r\n")
    client.send(b"zz\r\n" + HIDDEN)
    await wire.lost
    assert not wire.received.endswith(EMPTY), "half an upload looks like a whole one"
    await refused(scene, client)


@pytest_twisted.ensureDeferred
async def test_a_bad_chunk_puts_nothing_behind_an_answer_that_came_early(scene: Scene) -> None:
    client = await scene.client(b"POST /api/blobs/x HTTP/1.1", CHUNKED)
    client.send(b"5\r\nfirst\r\n")
    wire = await scene.upstream()
    await wire.until(b"first")
    wire.say(b"HTTP/1.1 413 No\r\nContent-Length: 6\r\n\r\nno way")
    await client.until(b"no way")
    client.send(b"zz\r\n" + HIDDEN)
    await client.lost
    assert client.received.endswith(b"no way")
    await nothing_was_smuggled(scene)


@pytest_twisted.ensureDeferred
async def test_extensions_and_trailers_of_chunks_stay_behind(scene: Scene) -> None:
    client = await scene.client(b"POST /api/blobs/x HTTP/1.1", CHUNKED, b"Trailer: X-Late")
    client.send(b"5;a=b\r\nfirst\r\n0\r\nX-Late: 1\r\n\r\n")
    wire = await scene.upstream()
    received = await wire.until(EMPTY)
    assert received.endswith(b"\r\n\r\n5\r\nfirst\r\n0\r\n\r\n")
    assert b"X-Late" not in received
