"""A bridge in front of the real engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest_twisted
from twisted.internet import reactor

from tests import harness

Bridge = Callable[..., Awaitable[harness.Setup]]


@pytest_twisted.async_yield_fixture
async def bridge_to() -> AsyncIterator[Bridge]:
    """Start a bridge, with settings, in front of what is at a URL; stopped at the end."""
    running: list[harness.Setup] = []

    async def start(url: str, **settings: Any) -> harness.Setup:
        running.append(await harness.serve(reactor, url, **settings))
        return running[-1]

    yield start
    for setup in running:
        await setup.stop()
