"""Fixtures of the web tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_twisted

from codex_bridge.upstream import retries
from tests.web.scene import Scene


@pytest_twisted.async_yield_fixture
async def scene() -> AsyncIterator[Scene]:
    """A bridge between a raw client and a raw upstream, stopped at the end."""
    scene = Scene()
    yield scene
    await scene.stop()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked again is asked at once; tests/upstream has the times."""
    at_once = {kind: (0.0,) * len(waits) for kind, waits in retries.WAITS.items()}
    monkeypatch.setattr(retries, "WAITS", at_once)
