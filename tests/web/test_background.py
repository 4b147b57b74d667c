"""Responses that are made in the background, and read later."""

from __future__ import annotations

from pathlib import Path

import pytest_twisted
from twisted.internet.defer import Deferred

from tests.conftest import Start
from tests.fake_ollama import Hold, Playlist, Refuse, Say
from tests.harness import Answer, Json, Setup
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
