"""Fixtures of the engines' tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_twisted
from twisted.internet import reactor

from tests.wires import WireServer


@pytest_twisted.async_yield_fixture
async def server() -> AsyncIterator[WireServer]:
    wires = WireServer(reactor, shows_version=True)
    yield wires
    await wires.stop()
