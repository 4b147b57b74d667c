"""Upstreams that no decent server is: each costs seconds, and the client reads one sentence."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_twisted

from tests.clocked import ClockedReactor
from tests.harness import CODEX, RawClient
from tests.web.scene import Scene
from tests.wires import Wire

ASK = {"model": "qwen3:14b", "input": "hi", "stream": True}
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
TEXT = b'data: {"model":"m","choices":[{"delta":{"content":"Hi"}}]}\n\n'
STOP = b'data: {"model":"m","choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'


@pytest_twisted.async_yield_fixture
async def timed() -> AsyncIterator[tuple[Scene, ClockedReactor]]:
    """A bridge whose time only the test moves, before an upstream of nothing but bytes."""
    clocked = ClockedReactor()
    scene = Scene(clocked, grace=0)
    yield scene, clocked
    await scene.stop()


async def asked(scene: Scene) -> tuple[RawClient, Wire]:
    """An exchange of Codex whose chat request has arrived whole at the upstream."""
    client = await scene.client()
    client.post(ASK, headers=CODEX)
    wire = await scene.upstream()
    await wire.until(b"include_usage")
    return client, wire


@pytest_twisted.ensureDeferred
async def test_an_error_whose_body_does_not_end_is_told_in_seconds(
    timed: tuple[Scene, ClockedReactor],
) -> None:
    scene, time = timed
    client, wire = await asked(scene)
    wire.say(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 100\r\n\r\nno such grammar")
    await time.until_scheduled(
        lambda: any(call.getTime() == 5 for call in time.clock.getDelayedCalls())
    )
    time.clock.advance(5)
    received = await client.until(b"response.failed")
    assert b"no such grammar" in received
    await wire.lost


@pytest.mark.parametrize("head", [b"Hello!\r\n\r\n", b"HTTP/9 abc\r\n\r\n", b"\0\1\2\r\n"])
@pytest_twisted.ensureDeferred
async def test_what_is_no_http_is_told_in_a_sentence_and_not_asked_for_again(
    timed: tuple[Scene, ClockedReactor], head: bytes
) -> None:
    scene, _ = timed
    client, wire = await asked(scene)
    wire.say(head)
    wire.transport.loseConnection()
    received = await client.until(b"response.failed")
    assert b"its answer is no HTTP" in received
    for trace in (b"Error", b"object at", b"Failure", b"<class"):
        assert trace not in received


@pytest_twisted.ensureDeferred
async def test_a_line_without_an_end_is_not_kept() -> None:
    scene = Scene(max_answer_size=1_000_000)
    client, wire = await asked(scene)
    wire.say(STREAM + b"data: ")
    for _ in range(12):
        wire.say(b"x" * 100_000)
    received = await client.until(b"response.failed")
    assert b"more than 1,000,000 bytes" in received
    await wire.lost
    await scene.stop()


@pytest_twisted.ensureDeferred
async def test_a_stream_that_stays_open_behind_its_finish_reason_is_whole(
    timed: tuple[Scene, ClockedReactor],
) -> None:
    scene, time = timed
    client, wire = await asked(scene)
    wire.say(STREAM + TEXT + STOP)
    await client.until(b'"delta":"Hi"')
    await time.until_scheduled(
        lambda: any(call.getTime() == 3 for call in time.clock.getDelayedCalls())
    )
    time.clock.advance(3)
    await client.until(b"response.completed")
    time.clock.advance(1)
    await wire.lost
