"""Clients that read slowly, or not at all: what is held for them, and for how long."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted

from codex_bridge.twisted_private import unsent_bytes
from codex_bridge.web import channel
from codex_bridge.web.channel import BridgeChannel
from tests.upstream_bytes import varied
from tests.web.scene import Scene
from tests.web.test_robustness import ASK, EVENT, HEAD, chunk

HELD = 256 * 1024
"""Bytes of an answer that wait at most for a client that does not read."""


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How much of an answer was waiting, each time that the client was too slow for it."""
    seen: list[int] = []
    pause = BridgeChannel.pauseProducing

    def pausing(self: BridgeChannel) -> None:
        seen.append(unsent_bytes(self.transport))
        pause(self)

    monkeypatch.setattr(BridgeChannel, "pauseProducing", pausing)
    return seen


async def unread(scene: Scene, *lines: bytes, ask: Any = None) -> tuple[Any, Any]:
    """A request whose client does not read, and the upstream's side of it."""
    client = await scene.client(*lines)
    if ask:
        client.post(ask)
    client.transport.pauseProducing()
    wire = await scene.upstream()
    await wire.until(b"\r\n\r\n")
    return client, wire


@pytest.mark.parametrize(
    "piece",
    [EVENT % b"word", chunk(EVENT % varied(60_000).encode()), b""],
    ids=["small", "large", "bytes"],
)
@pytest_twisted.ensureDeferred
async def test_what_is_held_for_a_client_that_does_not_read_is_bounded(
    scene: Scene, held: list[int], piece: bytes
) -> None:
    if piece:
        _, wire = await unread(scene, ask=ASK)
        if not piece.startswith(b"ea"):
            # As many events as one read of a socket can bring, with words that differ: an answer
            # that repeats itself is ended.
            words = varied(60_000 // len(piece) * 8)
            events = [EVENT % words[n : n + 8].encode() for n in range(0, len(words), 8)]
            piece = chunk(b"".join(events))
    else:
        _, wire = await unread(scene, b"GET /api/blobs/1 HTTP/1.1")
        piece = chunk(b"x" * 60_000)
    wire.say(HEAD)
    await scene.flood(wire.transport, piece, 50_000_000)
    assert held
    assert max(held) < HELD


@pytest.mark.parametrize("passes_through", [False, True])
@pytest_twisted.ensureDeferred
async def test_a_model_is_freed_when_its_client_stops_reading(
    scene: Scene, passes_through: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "STALL", 0.0)
    monkeypatch.setattr(channel, "STALL_CHECK", 0.01)
    lines = [b"GET /api/blobs/1 HTTP/1.1"] if passes_through else []
    _, wire = await unread(scene, *lines, ask=None if lines else ASK)
    wire.say(HEAD + chunk(EVENT % (b"x" * 60_000)) * 300)
    await wire.lost
