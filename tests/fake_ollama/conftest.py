"""Makes the fakes of a test and stops them at its end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest_twisted
from twisted.internet import reactor

from tests.fake_ollama import FakeOllama, Playlist
from tests.fake_ollama.client import Make


@pytest_twisted.async_yield_fixture
async def make() -> AsyncIterator[Make]:
    running: list[FakeOllama] = []

    def make_fake(*answers: Any, **options: Any) -> FakeOllama:
        fake = FakeOllama(reactor, model=Playlist(*answers), **options)
        fake.listen()
        running.append(fake)
        return fake

    yield make_fake
    for fake in running:
        await fake.stop()
