"""GET /__health."""

from __future__ import annotations

from typing import Any

import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import Logger

from codex_bridge import __version__
from codex_bridge.engines.engine import Engine
from codex_bridge.engines.upstreams import Upstreams
from codex_bridge.ids import random_id
from codex_bridge.sealing import Seal
from codex_bridge.settings import Settings
from codex_bridge.web.health import Health
from codex_bridge.web.state import BridgeState
from tests.conftest import Start
from tests.fake_ollama import Playlist, Say
from tests.web.scene import Scene


@pytest_twisted.ensureDeferred
async def test_health_tells_versions_and_counts(start: Start) -> None:
    setup = await start(Playlist([Say("ok")]))
    await setup.ask()
    reply = await setup.request("GET", "/__health")
    assert reply.status == 200
    uptime = reply.json.pop("uptime_seconds")
    assert uptime >= 0
    assert reply.json == {
        "status": "ok",
        "version": __version__,
        "uptime_seconds": uptime,
        "upstream": {
            "url": setup.fake.url,
            "reachable": True,
            "server": "Ollama",
            "version": "0.33.0",
            "error": None,
        },
        "exchanges": {"open": 0, "served": 1},
        "models": {
            "qwen3:14b": {
                "api": "ollama",
                "context": 32768,
                "reason": "its Modelfile sets enough",
                "reloads": 0,
                "calls": "read by the server",
            }
        },
        "repairs": {},
        "read_ahead": {"done": 0, "cancelled": 0},
        "websocket": True,
    }


@pytest_twisted.ensureDeferred
async def test_health_is_503_when_ollama_is_down(start: Start) -> None:
    setup = await start()
    await setup.fake.stop()
    reply = await setup.request("GET", "/__health")
    assert reply.status == 503
    assert reply.json["upstream"]["reachable"] is False
    assert "refused" in reply.json["upstream"]["error"]


@pytest_twisted.ensureDeferred
async def test_an_upstream_that_has_no_version_is_reachable(scene: Scene) -> None:
    reply = await scene.setup.request("GET", "/__health")
    upstream = reply.json["upstream"]
    assert (reply.status, upstream["reachable"], upstream["version"]) == (200, True, None)


def test_health_does_not_wait_for_an_ollama_that_hangs() -> None:
    class Hanging:
        url, name = "http://localhost:11433", ""

        async def identify(self) -> Engine:
            return await Deferred[Engine]()

        def plans(self) -> Any:
            return {}

    clock = Clock()
    upstream: Any = Hanging()
    replies: list[Any] = []
    context = BridgeState(
        Settings(), Upstreams([upstream]), clock, Logger(), random_id, Seal(None, Logger())
    )
    asked = Deferred.fromCoroutine(Health(context).check())
    asked.addCallback(replies.append)
    clock.advance(1.4)
    assert replies == []
    clock.advance(0.2)
    ((status, body),) = replies
    assert status == 503
    assert "within 1.5 s" in body["upstream"]["error"]
