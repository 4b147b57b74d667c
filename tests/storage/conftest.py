"""Closes the stores that a test leaves open."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.storage import stores


@pytest.fixture(autouse=True)
def closing_stores() -> Iterator[None]:
    yield
    while stores.OPEN:
        stores.got(stores.OPEN.pop().close())
