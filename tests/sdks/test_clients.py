"""Real clients hold a conversation of two turns through a bridge; the model sees what was meant."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.logger import formatEvent

from codex_bridge.responses import request
from codex_bridge.web import intake
from tests.conftest import LogBook, Start
from tests.fake_ollama import FakeOllama
from tests.sdks.conversation import (
    ANSWERS,
    FACTS,
    MODELS,
    PARSED,
    meant,
    script,
    seen,
)
from tests.sdks.run import command, hold, task
from tests.sdks.table import CLIENTS, PAGE, Client, Way, page

EXTRAS = {
    "parsed": [PARSED, PARSED],
    "counted": True,
    "compacted": ANSWERS[1],
    "stored": {"same": True, "items": ["The weather?"], "gone": True},
    "background": {"text": ANSWERS[0], "events": True, "cancelled": "completed"},
}
"""What a client gets that also asks for an answer by a schema, for the number of a prompt's tokens,
for a summary to go on from, for a stored response, or for one in the background."""


@pytest.fixture
def posted(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The bodies that come to the bridge over HTTP."""
    bodies: list[bytes] = []

    def parse(body: bytes) -> Any:
        bodies.append(body)
        return request.parse(body)

    monkeypatch.setattr(intake, "parse", parse)
    return bodies


def all_ways() -> list[Any]:
    return [
        pytest.param(
            client,
            way,
            id=f"{client.name}, {way.name}",
            marks=[pytest.mark.xfail(strict=True, reason=way.broken)] if way.broken else [],
        )
        for client in CLIENTS
        for way in client.ways
    ]


@pytest.mark.sdks
@pytest.mark.timeout(700)
@pytest.mark.parametrize(("client", "way"), all_ways())
@pytest_twisted.ensureDeferred
async def test_the_model_sees_what_the_client_meant(
    start: Start,
    tmp_path: Path,
    logged: LogBook,
    posted: list[bytes],
    client: Client,
    way: Way,
) -> None:
    run, path = await deferToThread(command, client, tmp_path)
    fake = FakeOllama(reactor, model=script(client.call), models=FACTS)
    setup = await start(fake=fake)
    models = {"stream": MODELS["stream"]} if client.program else MODELS
    asked = task(setup.url, way.name, models)
    got = await deferToThread(hold, run, tmp_path, asked, path)
    for name, model in models.items():
        told = seen(fake, model, embedded=bool(client.program))
        assert told == meant(client.call, way.reasoning), name
        assert got.pop(name) == list(ANSWERS), name
    assert got == {name: EXTRAS[name] for name in got}
    over = [event for event in logged.events if "streamed over WebSocket" in formatEvent(event)]
    assert len(over) == (len(fake.turns) if way.words == "WebSocket" else 0)
    for name, sent in (("previous_response_id", b'_id": ?"resp_'), ("item_reference", b"item_ref")):
        is_sent = any(re.search(sent, body) for body in posted)
        assert is_sent == (f"`{name}`" in way.words), name


def test_the_page_has_the_table_that_these_tests_hold_to() -> None:
    assert PAGE.read_text() == page(), "run `python -m tests.sdks.table`"


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_the_page_says_how_to_point_each_client_at_the_bridge(client: Client) -> None:
    heading = client.name.removesuffix(" 6").removesuffix(" 7")
    assert f"\n### {heading}\n" in PAGE.read_text()
