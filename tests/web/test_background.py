"""Responses that are made in the background, and read later."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock

from codex_bridge.storage.database import StorageError
from codex_bridge.storage.store import ResponseStore
from codex_bridge.web.background import Background, Job, Recording
from codex_bridge.web.memory import NoMemory
from tests.conftest import Start
from tests.fake_ollama import Hold, Playlist, Refuse, Say
from tests.harness import CODEX, Answer, Json, Setup
from tests.responses import grammar

ASKED: Json = {"model": "qwen3:14b", "input": "hi", "background": True}


async def create(setup: Setup, change: Json | None = None, headers: Json | None = None) -> Answer:
    return await setup.request("POST", "/v1/responses", ASKED | (change or {}), headers)


async def ended(setup: Setup, response_id: str) -> Json:
    """The response once it is not in progress any more."""
    while True:
        response = (await setup.request("GET", f"/v1/responses/{response_id}")).json
        if response["status"] != "in_progress":
            return response


@pytest_twisted.ensureDeferred
async def test_a_response_is_made_without_its_client(start: Start) -> None:
    release: Deferred[None] = Deferred()
    setup = await start(Playlist([Say("Wor"), Hold(release), Say("king")]))
    begun = (await create(setup)).json
    assert (begun["status"], begun["background"], begun["output"]) == ("in_progress", True, [])
    release.callback(None)
    response = await ended(setup, begun["id"])
    assert response["status"] == "completed"
    assert grammar.text_of(response["output"][0]) == "Working"
    assert (response["store"], response["background"]) == (True, True)


@pytest_twisted.ensureDeferred
async def test_it_goes_on_when_the_reader_of_its_stream_hangs_up(start: Start) -> None:
    release: Deferred[None] = Deferred()
    setup = await start(Playlist([Say("Wor"), Hold(release), Say("king")]))
    client = await setup.connect()
    client.post(ASKED | {"stream": True})
    received = await client.until(b'"delta":"Wor"')
    response_id = received.split(b'"id":"', 1)[1].split(b'"')[0].decode()
    await client.close()
    resumed = setup.request("GET", f"/v1/responses/{response_id}?stream=true&starting_after=3")
    waiting = Deferred.fromCoroutine(resumed)
    release.callback(None)
    events = (await waiting).events
    assert [event["sequence_number"] for event in events[:2]] == [4, 5]
    assert "".join(each.get("delta", "") for each in events) == "Working"
    assert events[-1]["response"]["status"] == "completed"
    # And once more, when all has ended.
    again = await setup.request("GET", f"/v1/responses/{response_id}?stream=true")
    assert grammar.read(again.events)["status"] == "completed"


@pytest_twisted.ensureDeferred
async def test_a_cancelled_response_stops_the_model_and_keeps_what_came(start: Start) -> None:
    release: Deferred[None] = Deferred()
    setup = await start(Playlist([Say("Wor"), Hold(release), Say("king")]))
    begun = (await create(setup)).json
    turn = await setup.fake.chat_seen()
    path = f"/v1/responses/{begun['id']}"
    cancelled = (await setup.request("POST", f"{path}/cancel")).json
    assert cancelled["status"] == "cancelled"
    await turn.when_hung_up()
    assert (await setup.request("GET", path)).json["status"] == "cancelled"
    # A second time, it changes nothing.
    assert (await setup.request("POST", f"{path}/cancel")).json["status"] == "cancelled"


@pytest_twisted.ensureDeferred
async def test_only_what_is_made_in_the_background_can_be_cancelled(start: Start) -> None:
    setup = await start(Playlist([Say("One.")]))
    done = (await create(setup, {"background": False})).json
    reply = await setup.request("POST", f"/v1/responses/{done['id']}/cancel")
    assert reply.status == 400
    assert "background" in reply.json["error"]["message"]
    reply = await setup.request("GET", f"/v1/responses/{done['id']}?stream=true")
    assert (reply.status, reply.json["error"]["param"]) == (400, "stream")


@pytest_twisted.ensureDeferred
async def test_a_request_that_makes_no_sense_is_refused_at_once(start: Start) -> None:
    setup = await start(Playlist())
    for stream in (True, False):
        reply = await create(setup, {"input": 5, "stream": stream})
        assert (reply.status, reply.json["error"]["param"]) == (400, "input")


@pytest_twisted.ensureDeferred
async def test_a_failure_is_kept_as_the_response(start: Start) -> None:
    setup = await start(Playlist([Refuse(400, "the prompt is bad")]))
    begun = (await create(setup)).json
    response = await ended(setup, begun["id"])
    assert response["status"] == "failed"
    assert "the prompt is bad" in response["error"]["message"]


@pytest_twisted.ensureDeferred
async def test_another_client_does_not_see_it(start: Start) -> None:
    release: Deferred[None] = Deferred()
    setup = await start(Playlist([Say("Wor"), Hold(release), Say("king")]))
    begun = (await create(setup, headers={"Authorization": "Bearer mine"})).json
    path = f"/v1/responses/{begun['id']}"
    for method, which in (("GET", path), ("POST", f"{path}/cancel"), ("DELETE", path)):
        assert (await setup.request(method, which)).status == 404
    mine = {"Authorization": "Bearer mine"}
    assert (await setup.request("DELETE", path, headers=mine)).json["deleted"] is True
    assert (await setup.request("GET", path, headers=mine)).status == 404


@pytest_twisted.ensureDeferred
async def test_a_bridge_that_stops_keeps_what_became_of_it(start: Start, tmp_path: Path) -> None:
    path = str(tmp_path / "responses.db")
    held = Playlist([Say("Wor"), Hold(Deferred()), Say("king")])
    setup = await start(held, store=path, drain=0)
    begun = (await create(setup)).json
    await setup.fake.chat_seen()
    await setup.service.stopService()
    after = await start(Playlist(), store=path)
    response = (await after.request("GET", f"/v1/responses/{begun['id']}")).json
    assert response["status"] == "failed"
    assert "stop" in response["error"]["message"]


@pytest.mark.parametrize("change", [{"input": 5}, {"previous_response_id": "resp_none"}])
@pytest_twisted.ensureDeferred
async def test_a_request_that_codex_is_told_of_in_a_stream_ends_it(
    start: Start, change: Json
) -> None:
    setup = await start(Playlist())
    reply = await create(setup, change | {"stream": True}, CODEX)
    assert reply.status == 400 or reply.response["status"] == "failed"


@pytest_twisted.ensureDeferred
async def test_a_second_cancel_changes_nothing_and_the_readers_get_their_end(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = await start(Playlist([Say("Wor"), Hold(Deferred()), Say("king")]))
    saved: Deferred[None] = Deferred()
    monkeypatch.setattr(ResponseStore, "save", lambda *_: saved)
    client = await setup.connect()
    client.post(ASKED | {"stream": True}, headers={"Connection": "close"})
    received = await client.until(b'"delta":"Wor"')
    response_id = received.split(b'"id":"', 1)[1].split(b'"')[0].decode()
    path = f"/v1/responses/{response_id}"
    for _ in range(2):
        assert (await setup.request("POST", f"{path}/cancel")).json["status"] == "cancelled"
    assert not saved.called
    saved.callback(None)
    await client.lost
    assert (await setup.request("GET", path)).json["store"] is True


class Reading:
    """The HTTP request of a client that reads along."""

    is_connected = True

    def __init__(self) -> None:
        self.written = b""
        self.producer: Any = None

    def setHeader(self, name: bytes, value: bytes) -> None:
        pass

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def write(self, data: bytes) -> None:
        self.written += data

    @property
    def numbers(self) -> list[int]:
        return [int(each) for each in re.findall(rb'"sequence_number":(\d+)', self.written)]


def event(number: int, kind: str = "output_text.delta") -> Json:
    response = {"response": {"id": "resp_1", "status": "in_progress"}}
    return {"type": f"response.{kind}", "sequence_number": number} | response


def test_a_reader_gets_only_the_events_behind_the_one_that_it_names() -> None:
    recording = Recording()
    recording.write([event(0, "created"), event(1, "in_progress"), event(2)])
    behind, ahead = Reading(), Reading()
    recording.read(behind, 0)  # type: ignore[arg-type]
    recording.read(ahead, 4)  # type: ignore[arg-type]
    recording.write([event(3), event(4)])
    recording.write([event(5), event(6)])
    assert (behind.numbers, ahead.numbers) == ([1, 2, 3, 4, 5, 6], [5, 6])


def test_a_reader_that_does_not_read_gets_no_heartbeats() -> None:
    """Each has the whole response in it, and they come as long as the model thinks."""
    recording, reading = Recording(), Reading()
    recording.write([event(0, "created"), event(1, "in_progress")])
    recording.read(reading)  # type: ignore[arg-type]
    recording.write([event(2, "in_progress")])
    reading.producer.pauseProducing()
    recording.write([event(3, "in_progress")])
    recording.write([event(4)])
    reading.producer.resumeProducing()
    recording.write([event(5, "in_progress")])
    assert reading.numbers == [0, 1, 2, 4, 5]
    # Nor does a recording keep them.
    late = Reading()
    recording.read(late)  # type: ignore[arg-type]
    assert late.numbers == [0, 1, 4]


@pytest.mark.expects_errors
@pytest_twisted.ensureDeferred
async def test_a_failure_that_could_not_be_stored_says_so(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = await start(Playlist([Refuse(400, "no")]))
    monkeypatch.setattr(ResponseStore, "save", lambda *_: fail(StorageError("full")))
    begun = (await create(setup)).json
    response = await ended(setup, begun["id"])
    assert (response["status"], response["store"]) == ("failed", False)


@pytest_twisted.ensureDeferred
async def test_one_can_go_on_from_a_summary_that_failed(start: Start) -> None:
    setup = await start(Playlist([Refuse(400, "no")], [Say("Ok.")]))
    begun = (await create(setup, {"input": ["hi", {"type": "compaction_trigger"}]})).json
    assert (await ended(setup, begun["id"]))["status"] == "failed"
    on = {"background": False, "previous_response_id": begun["id"], "input": "go on"}
    assert (await create(setup, on)).status == 200


def ended_job(size: int, clock: Clock, background: Background, name: str) -> None:
    recording = Recording()
    job = Job(recording, NoMemory())
    response = {"id": name, "status": "completed"}
    recording.write(
        [
            {
                "type": "response.completed",
                "sequence_number": 0,
                "response": response,
                "x": "y" * size,
            }
        ]
    )
    background.add("", job)
    background.end("", job)


def test_the_events_of_what_has_ended_are_kept_for_a_while_and_up_to_a_size() -> None:
    clock = Clock()
    background = Background(clock)
    for name in ("a", "b", "c"):
        ended_job(6 << 20, clock, background, name)
        clock.advance(60)
    # 16 MiB in all: the first to end is gone.
    assert [name for name in "abc" if background.job("", name)] == ["b", "c"]
    clock.advance(599 - 60)
    assert [name for name in "abc" if background.job("", name)] == ["c"]
    clock.advance(60)
    assert [name for name in "abc" if background.job("", name)] == []
