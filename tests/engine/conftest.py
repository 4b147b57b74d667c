"""A bridge in front of the real engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest_twisted
from twisted.internet import reactor

from tests import harness

Bridge = Callable[[str], Awaitable[harness.Setup]]


@pytest_twisted.async_yield_fixture
async def bridge_to() -> AsyncIterator[Bridge]:
    """Start a bridge in front of what is at a URL; stopped at the end."""
    running: list[harness.Setup] = []

    async def start(url: str) -> harness.Setup:
        running.append(await harness.serve(reactor, url))
        return running[-1]

    yield start
    for setup in running:
        await setup.stop()
