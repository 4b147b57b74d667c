"""Requests that no decent client sends: each is answered or refused, and none is a bug.

An error in the log fails a test, see `logged` in tests/conftest.py.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from itertools import islice

import pytest
import pytest_twisted
from twisted.internet.defer import DeferredList

from tests import harness
from tests.conftest import Start
from tests.hostile import head, mixed, vectors

STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
PADDING = b"\r\n" * 200
SHARE = 8
"""One of so many vectors is tried in each run; `python -m bench torture` tries all."""


async def statuses(setup: harness.Setup, requests: Iterable[bytes]) -> list[tuple[bytes, int]]:
    """What each request got; 0 if the connection was closed without an answer."""
    answers = []
    for raw in requests:
        client = await setup.connect()
        # A request that lacks bytes would wait for them.
        client.send(raw + PADDING)
        # Not every request asks for the end of its connection, and not every one is answered.
        either = [client.until(b"HTTP/1.1 "), client.lost]
        await DeferredList(either, fireOnOneCallback=True)
        await client.close()
        found = STATUS.match(client.received)
        answers.append((raw, int(found[1]) if found else 0))
    return answers


KNOWN = {
    "a header that is no UTF-8": (head(b"/v1/responses", (b"User-Agent", b"caf\xe9")), 200),
    "an id that is no UTF-8": (head(b"/v1/responses", (b"session_id", b"\xff")), 200),
    "a line end in the path": (head(b"/api/tags%0a", method=b"GET"), 404),
    "two line ends in the path": (head(b"/x%0d%0ay", method=b"GET"), 404),
    "a host with empty labels": (head(b"/__health", (b"Host", b"localhost.."), method=b"GET"), 403),
    "a host that is no UTF-8": (head(b"/__health", (b"Host", b"\xff"), method=b"GET"), 400),
    "a path that is no UTF-8": (head(b"/%ff", method=b"GET"), 400),
}


@pytest.mark.parametrize(("raw", "status"), KNOWN.values(), ids=KNOWN)
@pytest_twisted.ensureDeferred
async def test_an_odd_request_gets_its_status(start: Start, raw: bytes, status: int) -> None:
    setup = await start()
    assert await statuses(setup, [raw]) == [(raw, status)]


@pytest_twisted.ensureDeferred
async def test_no_request_is_a_bug(start: Start) -> None:
    setup = await start()
    some = random.sample(list(vectors()), len(list(vectors())) // SHARE)
    answers = await statuses(setup, [*some, *islice(mixed(random.randrange(2**32)), 150)])
    assert [raw for raw, status in answers if status >= 500] == []
    # And a decent request is answered as always.
    assert (await setup.ask()).response["status"] == "completed"
