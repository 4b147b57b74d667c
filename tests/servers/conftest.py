"""A double of a server, and a bridge in front of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest_twisted
from twisted.internet import reactor

from tests import harness
from tests.harness import Setup
from tests.servers.double import Double, Kind, Said

Begin = Callable[..., Awaitable[tuple[Double, Setup]]]


@pytest_twisted.async_yield_fixture
async def begin() -> AsyncIterator[Begin]:
    """Start a double that says these answers, and a bridge that has recognised it."""
    running: list[Any] = []

    async def start(
        kind: Kind, *said: Said, clock: Any = reactor, **more: Any
    ) -> tuple[Double, Setup]:
        """`more` are attributes of the double."""
        double = Double(reactor, kind, *said)
        for name in more:
            setattr(double, name, more[name])
        running.append(double)
        setup = await harness.serve(clock, double.url)
        running.append(setup)
        await setup.service.identified
        return double, setup

    yield start
    for each in reversed(running):
        await each.stop()
