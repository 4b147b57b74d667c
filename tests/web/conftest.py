"""Fixtures of the web tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_twisted

from tests.web.scene import Scene


@pytest_twisted.async_yield_fixture
async def scene() -> AsyncIterator[Scene]:
    """A bridge between a raw client and a raw upstream, stopped at the end."""
    scene = Scene()
    await scene.service.identified
    yield scene
    await scene.stop()
