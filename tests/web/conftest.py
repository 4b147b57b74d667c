"""Fixtures of the web tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_twisted

from tests.web.scene import Scene


@pytest_twisted.async_yield_fixture
async def scene(request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
    """A bridge between a raw client and a raw upstream, stopped at the end.

    A module whose UPSTREAM_IS_OLLAMA is true has an upstream that says so.
    """
    scene = Scene(is_ollama=getattr(request.module, "UPSTREAM_IS_OLLAMA", False))
    await scene.service.identified
    yield scene
    await scene.stop()
