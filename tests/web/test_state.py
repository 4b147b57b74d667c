"""Clients that refer back: to a response by its id, or to an item of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, fail
from twisted.logger import LogLevel

from codex_bridge.storage.database import StorageError
from codex_bridge.storage.store import ResponseStore
from tests.conftest import LogBook, Start
from tests.fake_ollama import Call, Die, Playlist, Say, Think
from tests.harness import Answer, Json, Setup

TOOLS = [{"type": "function", "name": "weather", "parameters": {"type": "object"}}]
ASKED: Json = {"model": "qwen3:14b", "input": "hi"}
PAGE = {"Origin": "http://localhost:3000"}


async def create(setup: Setup, change: Json, headers: Json | None = None) -> Answer:
    return await setup.request("POST", "/v1/responses", ASKED | change, headers)


def told(setup: Setup, turn: int = -1) -> list[tuple[str, str]]:
    """What the model was told: role and text of each message, with the calls of an answer."""
    messages = setup.fake.turns[turn].json["messages"]
    return [
        (each["role"], each["content"] + "".join(_written(call) for call in _calls(each)))
        for each in messages
        if each["role"] != "system"
    ]


def _calls(message: Json) -> list[Json]:
    return message.get("tool_calls") or []


def _written(call: Json) -> str:
    function = call["function"]
    return f"{function['name']}({orjson.dumps(function['arguments']).decode()})"


@pytest_twisted.ensureDeferred
async def test_a_request_goes_on_from_the_response_that_it_names(start: Start) -> None:
    setup = await start(
        Playlist(
            [Think("Look."), Call("weather", {"city": "Rome"})], [Say("Sunny.")], [Say("Yes.")]
        )
    )
    first = (await create(setup, {"tools": TOOLS, "instructions": "Be brief."})).json
    call = next(item for item in first["output"] if item["type"] == "function_call")
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "22 degrees"}
    second = (
        await create(
            setup, {"tools": TOOLS, "input": [result], "previous_response_id": first["id"]}
        )
    ).json
    third = (await create(setup, {"input": "Sure?", "previous_response_id": second["id"]})).json
    assert third["previous_response_id"] == second["id"]
    assert told(setup) == [
        ("user", "hi"),
        ("assistant", 'weather({"city":"Rome"})'),
        ("tool", "22 degrees"),
        ("assistant", "Sunny."),
        ("user", "Sure?"),
    ]
    # Instructions hold for one request only, as in the API; reasoning goes along.
    assert all(
        each["role"] != "system" or "brief" not in each["content"]
        for each in setup.fake.turns[-1].json["messages"]
    )
    assert setup.fake.turns[-1].json["messages"][-4]["thinking"] == "Look."


@pytest_twisted.ensureDeferred
async def test_a_refusal_names_a_place_among_the_items_that_the_client_sent(start: Start) -> None:
    setup = await start(Playlist([Say("Hello.")]))
    first = (await create(setup, {})).json
    file = {"type": "input_file", "file_id": "file_1"}
    items = ["Look.", {"role": "user", "content": [file]}]
    told = await create(setup, {"input": items, "previous_response_id": first["id"]})
    error = told.json["error"]
    assert (told.status, error["param"]) == (400, "input[1].content[0]")


@pytest.mark.parametrize("stream", [True, False])
@pytest_twisted.ensureDeferred
async def test_the_same_conversation_gives_the_model_the_same_bytes(
    start: Start, stream: bool
) -> None:
    """Whether it is sent whole, or as what is new."""
    answers = [[Think("Hm."), Say("One.")], [Say("Two.")]]
    setup = await start(Playlist(*answers, *answers), directives=False)
    question = {"type": "message", "role": "user", "content": "And then?"}
    reply = await create(setup, {"stream": stream})
    first = reply.response if stream else reply.json
    await create(setup, {"input": [question], "previous_response_id": first["id"]})
    by_id = setup.fake.turns[-1].body
    user = {"type": "message", "role": "user", "content": "hi"}
    again = [user, *first["output"], question]
    setup.fake.exchanges.clear()
    await create(setup, {"input": again, "store": False})
    assert setup.fake.turns[-1].body == by_id


@pytest_twisted.ensureDeferred
async def test_item_references_become_the_items(start: Start) -> None:
    setup = await start(Playlist([Think("Hm."), Say("Blue.")], [Say("Ok.")]))
    first = (await create(setup, {"input": "Which colour?"})).json
    references = [{"type": "item_reference", "id": item["id"]} for item in first["output"]]
    del references[-1]["type"]  # The API lets it be left out.
    question = {"type": "message", "role": "user", "content": "Sure?"}
    user = {"type": "message", "role": "user", "content": "Which colour?"}
    await create(setup, {"input": [user, *references, question]})
    assert told(setup) == [("user", "Which colour?"), ("assistant", "Blue."), ("user", "Sure?")]
    assert setup.fake.turns[-1].json["messages"][-2]["thinking"] == "Hm."


@pytest.mark.parametrize(
    ("change", "status", "param", "code"),
    [
        (
            {"previous_response_id": "resp_none"},
            400,
            "previous_response_id",
            "previous_response_not_found",
        ),
        ({"previous_response_id": 5}, 400, "previous_response_id", "invalid_type"),
        (
            {"input": ["hi", {"type": "item_reference", "id": "msg_none"}]},
            404,
            "input[1]",
            "item_not_found",
        ),
        ({"input": [{"type": "item_reference"}]}, 400, "input[0].id", "invalid_value"),
        (
            {"input": ["hi", {"type": "item_reference", "id": 5}]},
            400,
            "input[1].id",
            "invalid_value",
        ),
        ({"background": True, "store": False}, 400, "background", "invalid_value"),
        ({"background": "yes"}, 400, "background", "invalid_type"),
        ({"conversation": "conv_1"}, 400, "conversation", "unsupported_parameter"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_is_not_known_is_refused_by_its_name(
    start: Start, change: Json, status: int, param: str, code: str
) -> None:
    setup = await start(Playlist())
    reply = await create(setup, change)
    assert reply.status == status
    assert (reply.json["error"]["param"], reply.json["error"]["code"]) == (param, code)
    assert setup.fake.turns == []


@pytest_twisted.ensureDeferred
async def test_a_result_without_a_call_is_refused_where_the_conversation_is_known(
    start: Start,
) -> None:
    setup = await start(Playlist([Say("One.")], [Say("Two.")]))
    first = (await create(setup, {})).json
    result = {"type": "function_call_output", "call_id": "call_x", "output": "22"}
    reply = await create(setup, {"input": [result], "previous_response_id": first["id"]})
    assert (reply.status, reply.json["error"]["param"]) == (400, "input[0]")
    assert "call_x" in reply.json["error"]["message"]
    # One that sends the whole conversation may have dropped the call: the model sees the result.
    assert (await create(setup, {"input": [result]})).status == 200
    assert "22" in told(setup)[0][1]


@pytest_twisted.ensureDeferred
async def test_what_was_not_to_be_stored_is_not(start: Start) -> None:
    setup = await start(Playlist([Say("One.")]))
    first = (await create(setup, {"store": False})).json
    assert first["store"] is False
    assert (await setup.request("GET", f"/v1/responses/{first['id']}")).status == 404
    reply = await create(setup, {"previous_response_id": first["id"]})
    assert reply.json["error"]["code"] == "previous_response_not_found"
    (item,) = first["output"]
    reference = {"type": "item_reference", "id": item["id"]}
    assert (await create(setup, {"input": [reference]})).status == 404


@pytest_twisted.ensureDeferred
async def test_a_bridge_that_stores_nothing_says_so(start: Start) -> None:
    setup = await start(Playlist([Say("One.")]), store="off")
    first = (await create(setup, {"store": True})).json
    assert first["store"] is False
    assert (await setup.request("GET", f"/v1/responses/{first['id']}")).status == 404
    for change in (
        {"previous_response_id": first["id"]},
        {"input": [{"type": "item_reference", "id": "msg_1"}]},
        {"background": True},
    ):
        reply = await create(setup, change)
        assert reply.status == 400
        assert "stores no" in reply.json["error"]["message"]


@pytest.mark.parametrize("stream", [True, False])
@pytest_twisted.ensureDeferred
async def test_a_stored_response_is_given_as_its_client_got_it(start: Start, stream: bool) -> None:
    setup = await start(Playlist([Think("Hm."), Say("Blue ✓")]))
    reply = await create(setup, {"stream": stream, "metadata": {"a": "b"}})
    response = reply.response if stream else reply.json
    assert response["store"] is True
    for path in ("/v1/responses/", "/responses/", "/v1//responses/"):
        got = await setup.request("GET", f"{path}{response['id']}")
        assert (got.status, got.json) == (200, response)


@pytest_twisted.ensureDeferred
async def test_a_deleted_response_is_gone(start: Start) -> None:
    setup = await start(Playlist([Say("One.")]))
    path = f"/v1/responses/{(await create(setup, {})).json['id']}"
    gone = await setup.request("DELETE", path)
    assert gone.json == {"id": path.rpartition("/")[2], "object": "response", "deleted": True}
    for method in ("GET", "DELETE"):
        assert (await setup.request(method, path)).status == 404


@pytest_twisted.ensureDeferred
async def test_input_items_are_listed_in_pages(start: Start) -> None:
    setup = await start(Playlist([Say("One.")], [Say("Two.")]))
    first = (await create(setup, {"input": "a"})).json
    second = (await create(setup, {"input": "b", "previous_response_id": first["id"]})).json
    path = f"/v1/responses/{second['id']}/input_items"
    listed = (await setup.request("GET", f"{path}?order=asc")).json
    assert [text_of(item) for item in listed["data"]] == ["a", "One.", "b"]
    ids = [item["id"] for item in listed["data"]]
    assert (listed["first_id"], listed["last_id"]) == (ids[0], ids[-1])
    assert listed["has_more"] is False
    newest = (await setup.request("GET", f"{path}?limit=2")).json
    assert ([item["id"] for item in newest["data"]], newest["has_more"]) == (ids[:0:-1], True)
    rest = (await setup.request("GET", f"{path}?after={ids[1]}")).json
    assert [item["id"] for item in rest["data"]] == ids[:1]
    for bad in ("limit=0", "limit=101", "limit=x", "order=up", "after=msg_none"):
        reply = await setup.request("GET", f"{path}?{bad}")
        assert (reply.status, reply.json["error"]["param"]) == (400, bad.partition("=")[0])


def text_of(item: Json) -> str:
    text: str = item["content"][0]["text"]
    return text


@pytest_twisted.ensureDeferred
async def test_messages_that_were_sent_as_text_are_listed_with_parts(start: Start) -> None:
    setup = await start(Playlist([Say("Three.")]))
    messages = [
        {"role": "developer", "content": "a"},
        {"role": "user", "content": "b"},
        {"role": "assistant", "content": "c"},
        {"role": "user", "content": [{"type": "input_text", "text": "d"}]},
    ]
    made = (await create(setup, {"input": messages})).json
    listed = await setup.request("GET", f"/v1/responses/{made['id']}/input_items?order=asc")
    parts = [item["content"] for item in listed.json["data"]]
    kinds = ["input_text", "input_text", "output_text", "input_text"]
    assert parts == [
        [{"type": kind, "text": text}] for kind, text in zip(kinds, "abcd", strict=True)
    ]


@pytest_twisted.ensureDeferred
async def test_what_one_client_stored_is_unknown_to_one_with_another_key(start: Start) -> None:
    setup = await start(Playlist([Say("One.")], [Say("Two.")]))
    mine, other = {"Authorization": "Bearer mine"}, {"x-api-key": "other"}
    first = (await create(setup, {}, mine)).json
    path = f"/v1/responses/{first['id']}"
    on = {"previous_response_id": first["id"]}
    reference = {"input": [{"type": "item_reference", "id": first["output"][0]["id"]}]}
    for headers in (other, {}):
        for method, which in (
            ("GET", path),
            ("GET", f"{path}/input_items"),
            ("DELETE", path),
            ("POST", f"{path}/cancel"),
        ):
            assert (await setup.request(method, which, headers=headers)).status == 404
        assert (await create(setup, on, headers)).status == 400
        assert (await create(setup, reference, headers)).status == 404
    assert (await setup.request("GET", path, headers={"x-api-key": "mine"})).status == 200
    assert (await create(setup, on, mine)).status == 200


@pytest_twisted.ensureDeferred
async def test_stored_responses_need_the_key_of_the_bridge(start: Start) -> None:
    setup = await start(Playlist([Say("One.")]), api_key="secret")
    first = (await create(setup, {}, {"Authorization": "Bearer secret"})).json
    path = f"/v1/responses/{first['id']}"
    for headers, status in (({}, 401), ({"Authorization": "Bearer secret"}, 200)):
        assert (await setup.request("GET", path, headers=headers)).status == status


@pytest_twisted.ensureDeferred
async def test_a_page_of_this_machine_may_read_stored_responses(start: Start) -> None:
    setup = await start(Playlist([Say("One.")]), api_key="secret")
    key = {"Authorization": "Bearer secret"}
    path = f"/v1/responses/{(await create(setup, {}, key)).json['id']}"
    asks = {"Access-Control-Request-Headers": "authorization"}
    preflight = await setup.request("OPTIONS", path, headers=PAGE | asks)
    assert preflight.status == 204
    allowed = preflight.header("access-control-allow-methods")
    assert {"GET", "DELETE"} <= set((allowed or "").split(", "))
    got = await setup.request("GET", path, headers=PAGE | key)
    assert got.header("access-control-allow-origin") == PAGE["Origin"]
    foreign = await setup.request("GET", path, headers={"Origin": "https://evil.example"} | key)
    assert foreign.status == 403


@pytest_twisted.ensureDeferred
async def test_a_file_outlives_the_bridge(start: Start, tmp_path: Path) -> None:
    path = str(tmp_path / "responses.db")
    before = await start(Playlist([Say("One.")]), store=path)
    first = (await create(before, {})).json
    await before.service.stopService()
    after = await start(Playlist([Say("Two.")]), store=path)
    await create(after, {"input": "more", "previous_response_id": first["id"]})
    assert told(after) == [("user", "hi"), ("assistant", "One."), ("user", "more")]


@pytest.mark.expects_errors
@pytest_twisted.ensureDeferred
async def test_a_response_that_could_not_be_stored_says_so(start: Start, logged: LogBook) -> None:
    setup = await start(Playlist([Say("One.")]), store_size=1 << 20)
    # The model is shown the beginning of a description, and the response repeats all of it.
    tools = [TOOLS[0] | {"description": "x" * 2_000_000}]
    response = (await create(setup, {"tools": tools})).json
    assert (response["status"], response["store"]) == ("completed", False)
    (event,) = logged.at(LogLevel.error)
    assert event["response"] == response["id"]


@pytest_twisted.ensureDeferred
async def test_a_conversation_may_not_grow_beyond_the_limit_of_one_request(start: Start) -> None:
    setup = await start(Playlist([Say("One.")], [Say("Two.")]), max_body_size=4000)
    first = (await create(setup, {"input": "x" * 2500})).json
    on = {"input": "y" * 2500, "previous_response_id": first["id"]}
    assert (await create(setup, on)).status == 413
    assert (await create(setup, on | {"input": "y"})).status == 200


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest_twisted.ensureDeferred
async def test_a_store_that_fails_says_why(
    start: Start, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = await start(Playlist())
    for name in ("response", "delete", "context"):
        monkeypatch.setattr(ResponseStore, name, lambda *_: fail(StorageError("the disk is gone")))
    reply = await setup.request(method, "/v1/responses/resp_1")
    assert (reply.status, reply.json["error"]["code"]) == (503, "storage_failed")
    assert "the disk is gone" in reply.json["error"]["message"]
    reply = await create(setup, {"previous_response_id": "resp_1"})
    assert (reply.status, reply.json["error"]["code"]) == (503, "storage_failed")


@pytest.mark.parametrize("slip", [["a"], {"a": 1}, 5])
@pytest_twisted.ensureDeferred
async def test_an_item_of_a_strange_form_is_no_bug(start: Start, slip: Any) -> None:
    setup = await start(Playlist([Say("One.")], [Say("Two.")], [Say("Three.")]))
    first = (await create(setup, {})).json
    items = [{"type": slip, "text": "strange"}, {"type": "function_call", "call_id": slip}]
    assert (await create(setup, {"input": items})).status == 200
    assert "strange" in str(told(setup))
    on = {"previous_response_id": first["id"]}
    assert (await create(setup, on | {"input": items})).status == 200
    result = {"type": "function_call_output", "call_id": slip, "output": "x"}
    assert (await create(setup, on | {"input": [result]})).status == 400


@pytest_twisted.ensureDeferred
async def test_an_item_counts_each_time_that_it_is_named(start: Start) -> None:
    setup = await start(Playlist([Say("One.")]), max_body_size=40_000)
    first = (await create(setup, {"input": [message("x" * 30_000)]})).json
    listed = (await setup.request("GET", f"/v1/responses/{first['id']}/input_items")).json["data"]
    reference = {"type": "item_reference", "id": listed[0]["id"]}
    reply = await create(setup, {"input": [reference, reference]})
    assert (reply.status, reply.json["error"]["code"]) == (413, "request_too_large")
    assert len(setup.fake.turns) == 1


def message(text: str) -> Json:
    return {"type": "message", "role": "user", "content": text}


@pytest_twisted.ensureDeferred
async def test_the_order_of_keys_is_kept(start: Start) -> None:
    """Other bytes would cost the model's prompt cache."""
    setup = await start(Playlist(*[[Say("Ok.")]] * 3), directives=False)
    one, other = ({"arguments": each} for each in ({"a": 1, "b": 2}, {"b": 2, "a": 1}))
    call = {"type": "tool_search_call", "call_id": "c"}
    await create(setup, {"input": [message("q"), call | one]})
    second = (await create(setup, {"input": [message("q"), call | other]})).json
    await create(setup, {"input": "x", "previous_response_id": second["id"]})
    whole, by_id = (each.json["messages"][1]["tool_calls"] for each in setup.fake.turns[-2:])
    assert orjson.dumps(by_id) == orjson.dumps(whole)


@pytest_twisted.ensureDeferred
async def test_a_key_that_is_sent_twice_is_one_key(start: Start) -> None:
    setup = await start(Playlist([Say("One.")]))
    once, twice = {"x-api-key": "k"}, {"x-api-key": "k", "Authorization": "Bearer k"}
    first = (await create(setup, {}, twice)).json
    assert (await setup.request("GET", f"/v1/responses/{first['id']}", headers=once)).status == 200


@pytest_twisted.ensureDeferred
async def test_a_stream_that_fails_is_not_said_to_be_stored(start: Start) -> None:
    setup = await start(Playlist(*[[Say("Wor"), Die("close")]] * 3))
    response = (await create(setup, {"stream": True})).events[-1]["response"]
    assert (response["status"], response["store"]) == ("failed", False)


@pytest_twisted.ensureDeferred
async def test_a_client_that_leaves_while_the_store_is_read_is_no_bug(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log of each test is looked through for errors."""
    setup = await start(Playlist())
    asked: list[Deferred[Any]] = []

    def never(*_: Any) -> Deferred[Any]:
        asked.append(Deferred())
        return asked[-1]

    monkeypatch.setattr(ResponseStore, "context", never)
    client = await setup.connect()
    client.post(ASKED | {"previous_response_id": "resp_1"})
    while not asked:
        await setup.request("GET", "/__health")
    await client.close()
    while not asked[0].called:
        await setup.request("GET", "/__health")
    assert setup.fake.turns == []
