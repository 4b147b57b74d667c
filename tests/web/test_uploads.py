"""Request bodies on their way through: at whose pace, and what if one side ends early."""

from __future__ import annotations

import pytest
import pytest_twisted

from tests.web.scene import Scene


@pytest_twisted.ensureDeferred
async def test_an_upload_is_passed_on_before_it_is_complete(scene: Scene) -> None:
    client = await scene.client(b"POST /api/blobs/x HTTP/1.1", b"Content-Length: 11")
    client.send(b"first")
    wire = await scene.upstream()
    await wire.until(b"first")
    client.send(b"second")
    received = await wire.until(b"firstsecond")
    assert b"Content-Length: 11" in received
    wire.say(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
    await client.until(b"201 Created")


@pytest_twisted.ensureDeferred
async def test_an_upload_to_an_absolute_target_goes_to_its_path(scene: Scene) -> None:
    client = await scene.client(
        b"POST http://evil.example/api/blobs/x HTTP/1.1", b"Content-Length: 5"
    )
    client.send(b"first")
    wire = await scene.upstream()
    assert (await wire.until(b"first")).startswith(b"POST /api/blobs/x HTTP/1.1\r\n")


@pytest_twisted.ensureDeferred
async def test_a_chunked_upload_stays_chunked(scene: Scene) -> None:
    client = await scene.client(b"POST /api/blobs/x HTTP/1.1", b"Transfer-Encoding: chunked")
    client.send(b"5\r\nfirst\r\n")
    wire = await scene.upstream()
    await wire.until(b"5\r\nfirst\r\n")
    client.send(b"0\r\n\r\n")
    await wire.until(b"0\r\n\r\n")
    wire.say(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
    await client.until(b"201 Created")


@pytest_twisted.ensureDeferred
async def test_an_upload_waits_for_a_slow_upstream(scene: Scene) -> None:
    """Bytes in flight stay bounded: socket buffers, and one read of ours."""
    client = await scene.client(b"POST /api/blobs/x HTTP/1.1", b"Content-Length: 50000000")
    wire = await scene.upstream()
    await wire.until(b"\r\n\r\n")
    wire.transport.pauseProducing()
    assert await scene.flood(client.transport, b"x" * 50_000, 50_000_000) < 25_000_000
    wire.keep_last = 100
    wire.transport.resumeProducing()
    await scene.flooded


@pytest_twisted.ensureDeferred
async def test_a_refusal_before_the_upload_is_complete_reaches_the_client(scene: Scene) -> None:
    client = await scene.client(b"POST /api/blobs/x HTTP/1.1", b"Content-Length: 10")
    client.send(b"first")
    wire = await scene.upstream()
    await wire.until(b"first")
    wire.say(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
    await client.until(b"\r\n\r\nno")
    client.send(b"other" + b"GET /next HTTP/1.1\r\nHost: localhost\r\n\r\n")
    following = await scene.upstream()
    assert (await following.until(b"\r\n\r\n")).startswith(b"GET /next ")


@pytest_twisted.ensureDeferred
async def test_a_client_that_leaves_mid_upload_closes_the_upstream_connection(
    scene: Scene,
) -> None:
    client = await scene.client(b"POST /api/blobs/x HTTP/1.1", b"Content-Length: 10")
    client.send(b"first")
    wire = await scene.upstream()
    await wire.until(b"first")
    await client.close()
    await wire.lost


@pytest_twisted.ensureDeferred
async def test_a_client_that_stops_at_an_early_chunked_answer_gets_its_end(scene: Scene) -> None:
    client = await scene.client(b"POST /api/blobs/x HTTP/1.1", b"Content-Length: 1000")
    client.send(b"first")
    wire = await scene.upstream()
    await wire.until(b"first")
    wire.say(b"HTTP/1.1 413 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n")
    await client.until(b"2\r\nno\r\n0\r\n\r\n")


@pytest.mark.parametrize("path", [b"/v1/responses/resp_1/nothing", b"/__nothing"])
@pytest_twisted.ensureDeferred
async def test_nothing_follows_an_answer_that_came_before_the_body(
    scene: Scene, path: bytes
) -> None:
    """A "100 Continue" behind it would be taken for the next answer."""
    client = await scene.client(
        b"POST " + path + b" HTTP/1.1", b"Expect: 100-continue", b"Content-Length: 4"
    )
    await client.until(b"}}\n")
    client.send(b"bodyGET /__nothing HTTP/1.1\r\nHost: localhost\r\n\r\n")
    received = await client.until(b"try /__health")
    assert b"100 Continue" not in received


@pytest_twisted.ensureDeferred
async def test_a_client_that_asks_before_it_sends_too_much_is_told_at_once(scene: Scene) -> None:
    client = await scene.client(
        b"POST /v1/responses HTTP/1.1", b"Expect: 100-continue", b"Content-Length: 900000000"
    )
    received = await client.until(b"request_too_large")
    assert received.startswith(b"HTTP/1.1 413 ")


@pytest_twisted.ensureDeferred
async def test_a_client_that_asks_before_it_sends_is_told_to_go_on(scene: Scene) -> None:
    client = await scene.client(
        b"POST /api/blobs/x HTTP/1.1", b"Expect: 100-continue", b"Content-Length: 4"
    )
    await client.until(b"100 Continue")
    client.send(b"body")
    wire = await scene.upstream()
    assert b"Expect" not in await wire.until(b"body")
