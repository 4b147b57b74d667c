"""Responses over a WebSocket: which turn goes on from which, and what its client is told."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from codex_bridge.errors import ApiError
from codex_bridge.web.intake import Intake
from codex_bridge.web.memory import NoMemory
from codex_bridge.web.session import SocketMemory, TurnOutlet
from tests import sockets
from tests.conftest import LogBook, Start
from tests.fake_ollama import Answer, Call, Die, Hold, Playlist, Refuse, Say, Think
from tests.harness import CODEX, REQUEST, Json, Setup
from tests.sockets import TEXT, SocketClient, frame
from tests.web.test_websocket import head as handshake

ASK: Json = {"model": "qwen3:14b", "input": "hi", "store": False}
LOOK: Json = REQUEST | {"store": False}
RESULT: Json = {"type": "function_call_output", "call_id": "call_look", "output": "a b c"}
LOOKS: Answer = [
    Think("I look."),
    Say("One moment."),
    Call("exec_command", {"cmd": "ls"}, "call_look"),
]


async def opened(
    start: Start, *answers: Any, headers: Json | None = None, **settings: Any
) -> tuple[Setup, SocketClient]:
    setup = await start(Playlist(*answers), **settings)
    return setup, await sockets.connect(setup, headers)


def user(text: str) -> Json:
    return {"type": "message", "role": "user", "content": text}


def text_of(response: Json) -> str:
    texts = [item["content"][0]["text"] for item in response["output"] if item["type"] == "message"]
    return "".join(texts)


def code_of(message: Json) -> Any:
    assert message["type"] == "error", message
    return message["error"]["code"]


def without_ids(events: list[Json]) -> str:
    text = orjson.dumps(events).decode()
    for n, each in enumerate(dict.fromkeys(re.findall(r"(?:resp|msg|rs|fc|call)_\w+", text))):
        text = text.replace(each, f"id {n}")
    return re.sub(r'"(created_at|completed_at)":\d+', "", text)


def log_lines(logged: LogBook) -> list[Any]:
    lines = [each for each in logged.events if "mode" in each and "exchange" in each]
    return [(each["mode"], each.get("outcome", "no answer is wanted yet")) for each in lines]


@pytest_twisted.ensureDeferred
async def test_the_events_are_those_of_a_stream_over_http(start: Start) -> None:
    setup, client = await opened(start, LOOKS, LOOKS)
    over_http = (await setup.ask(LOOK)).events
    client.create(LOOK)
    assert without_ids(await client.reply()) == without_ids(over_http)
    one, two = setup.fake.turns
    assert one.json == two.json


@pytest.mark.parametrize("wish", [{"stream": False}, {"stream": "no"}, {}])
@pytest_twisted.ensureDeferred
async def test_it_is_a_stream_whatever_the_client_says(start: Start, wish: Json) -> None:
    _, client = await opened(start, [Say("Hello.")])
    client.create(ASK, **wish)
    events = await client.reply()
    assert [event["type"] for event in events][:2] == ["response.created", "response.in_progress"]


@pytest_twisted.ensureDeferred
async def test_requests_are_answered_one_after_another(start: Start, logged: LogBook) -> None:
    go_on: Deferred[None] = Deferred()
    setup, client = await opened(start, [Hold(go_on), Say("One.")], [Say("Two.")], [Say("Three.")])
    for n in range(3):
        client.create(ASK, metadata={"n": str(n)})
    await setup.fake.chat_seen()
    await setup.request("GET", "/__nothing")
    assert len(setup.fake.turns) == 1
    go_on.callback(None)
    replies = [(await client.reply())[-1]["response"] for _ in range(3)]
    assert [text_of(each) for each in replies] == ["One.", "Two.", "Three."]
    assert [each["metadata"] for each in replies] == [{"n": "0"}, {"n": "1"}, {"n": "2"}]
    assert log_lines(logged) == 3 * [("streamed over WebSocket", "completed")]


@pytest_twisted.ensureDeferred
async def test_only_so_many_requests_may_wait(start: Start) -> None:
    go_on: Deferred[None] = Deferred()
    answers = [[Hold(go_on), Say("One.")], *[[Say("More.")]] * 16]
    _, client = await opened(start, *answers, grace=0.0)
    client.create(ASK)
    begun = [(await client.next())["type"] for _ in range(2)]
    assert begun == ["response.created", "response.in_progress"]
    for _ in range(20):
        client.create(ASK)
    messages = [await client.next() for _ in range(4)]
    assert [(m["status"], code_of(m)) for m in messages] == 4 * [(429, "rate_limit_exceeded")]
    go_on.callback(None)
    ends = [(await client.reply())[-1]["type"] for _ in range(17)]
    assert ends == 17 * ["response.completed"]


@pytest_twisted.ensureDeferred
async def test_only_so_many_bytes_may_wait(start: Start) -> None:
    go_on: Deferred[None] = Deferred()
    _, client = await opened(
        start, [Hold(go_on), Say("One.")], [Say("Two.")], max_body_size=10_000, grace=0.0
    )
    client.create(ASK)
    for _ in range(2):
        assert (await client.next())["type"] in {"response.created", "response.in_progress"}
    for _ in range(2):
        client.create(ASK, input="x" * 6000)
    assert code_of(await client.next()) == "rate_limit_exceeded"
    go_on.callback(None)
    assert [(await client.reply())[-1]["type"] for _ in range(2)] == 2 * ["response.completed"]


# What a turn goes on from.


@pytest_twisted.ensureDeferred
async def test_a_turn_goes_on_from_the_one_before_with_only_what_is_new(start: Start) -> None:
    setup, client = await opened(start, LOOKS, [Say("Three files.")], [Say("Yes.")])
    looking = await client.ask(LOOK)
    counted = await client.ask(LOOK, input=[RESULT], previous_response_id=looking["id"])
    last = await client.ask(LOOK, input=[user("Sure?")], previous_response_id=counted["id"])
    assert last["previous_response_id"] == counted["id"]
    messages = setup.fake.turns[2].json["messages"]
    assert [m["role"] for m in messages[1:]] == ["user", "assistant", "tool", "assistant", "user"]
    # The same bytes as of a client that sends all of it.
    items = [*LOOK["input"], *looking["output"], RESULT, *counted["output"], user("Sure?")]
    setup.fake.model = Playlist([Say("Yes.")])
    await setup.ask(LOOK | {"input": items})
    assert setup.fake.turns[3].body == setup.fake.turns[2].body


@pytest_twisted.ensureDeferred
async def test_two_turns_may_go_on_from_the_same_one(start: Start) -> None:
    setup, client = await opened(start, *[[Say(f"Answer {n}.")] for n in range(4)])
    first = await client.ask(ASK, input="first")
    await client.ask(ASK, input="second", previous_response_id=first["id"])
    await client.ask(ASK, input="other", previous_response_id=first["id"])
    texts = [m["content"] for m in setup.fake.turns[2].json["messages"]]
    assert texts[-3:] == ["first", "Answer 0.", "other"]


@pytest.mark.parametrize("headers", [{}, CODEX])
@pytest_twisted.ensureDeferred
async def test_an_unknown_response_is_told_and_the_socket_goes_on(
    start: Start, headers: Json
) -> None:
    setup, client = await opened(start, [Say("Hello.")], headers=headers)
    error = await client.ask(ASK, previous_response_id="resp_unknown")
    assert error["status"] == 400
    assert error["error"] == {
        "code": "previous_response_not_found",
        "type": "invalid_request_error",
        "param": "previous_response_id",
        "message": error["error"]["message"],
    }
    assert "resp_unknown" in error["error"]["message"]
    assert text_of(await client.ask(ASK)) == "Hello."
    assert len(setup.fake.turns) == 1


@pytest_twisted.ensureDeferred
async def test_another_socket_does_not_know_what_was_not_stored(start: Start) -> None:
    setup, client = await opened(start, [Say("Hello.")], [Say("Again.")])
    first = await client.ask(ASK)
    other = await sockets.connect(setup)
    assert code_of(await other.ask(ASK, previous_response_id=first["id"])) == (
        "previous_response_not_found"
    )
    assert text_of(await client.ask(ASK, previous_response_id=first["id"])) == "Again."


@pytest_twisted.ensureDeferred
async def test_another_socket_knows_what_was_stored(start: Start) -> None:
    setup, client = await opened(start, [Say("Hello.")], [Say("Again.")])
    first = await client.ask(ASK, store=True)
    assert first["store"] is True
    other = await sockets.connect(setup)
    again = await other.ask(ASK, previous_response_id=first["id"])
    assert (text_of(again), again["store"]) == ("Again.", False)
    contents = [m["content"] for m in setup.fake.turns[1].json["messages"]]
    assert contents[-3:] == ["hi", "Hello.", "hi"]


@pytest_twisted.ensureDeferred
async def test_a_bridge_that_stores_nothing_says_what_clients_understand(start: Start) -> None:
    _, client = await opened(start, [Say("Hello.")], store="off")
    first = await client.ask(ASK, store=True)
    assert first["store"] is False
    error = await client.ask(ASK, previous_response_id="resp_unknown")
    assert code_of(error) == "previous_response_not_found"


@pytest.mark.parametrize("headers", [{}, CODEX])
@pytest_twisted.ensureDeferred
async def test_a_result_without_its_call_fails_and_forgets_what_it_went_on_from(
    start: Start, headers: Json
) -> None:
    _, client = await opened(start, LOOKS, [Say("Afresh.")], headers=headers)
    looking = await client.ask(LOOK)
    wrong = RESULT | {"call_id": "call_other"}
    client.create(LOOK, input=[wrong], previous_response_id=looking["id"])
    last = (await client.reply())[-1]
    failure = last["response"]["error"] if headers else last["error"]
    assert "call_other" in failure["message"]
    error = await client.ask(LOOK, input=[RESULT], previous_response_id=looking["id"])
    assert code_of(error) == "previous_response_not_found"
    items = [*LOOK["input"], *looking["output"], RESULT]
    assert text_of(await client.ask(LOOK, input=items)) == "Afresh."


@pytest.mark.parametrize("failure", [Refuse(400, "no"), Die("reset")])
@pytest_twisted.ensureDeferred
async def test_a_turn_that_the_server_fails_forgets_what_it_went_on_from(
    start: Start, failure: Any
) -> None:
    _, client = await opened(start, [Say("Hello.")], *8 * [[Say("Half"), failure]])
    first = await client.ask(ASK)
    client.create(ASK, previous_response_id=first["id"])
    assert (await client.reply())[-1]["type"] in {"error", "response.failed"}
    error = await client.ask(ASK, previous_response_id=first["id"])
    assert code_of(error) == "previous_response_not_found"


@pytest_twisted.ensureDeferred
async def test_what_a_socket_remembers_is_bounded(start: Start) -> None:
    """By the bytes of one request; the oldest is forgotten first."""
    _, client = await opened(start, *4 * [[Say("Hello.")]], max_body_size=5000)
    responses = [await client.ask(ASK, input="x" * 2000) for _ in range(3)]
    assert code_of(await client.ask(ASK, previous_response_id=responses[0]["id"])) == (
        "previous_response_not_found"
    )
    again = await client.ask(ASK, previous_response_id=responses[2]["id"])
    assert again["status"] == "completed"


@pytest_twisted.ensureDeferred
async def test_a_conversation_that_grows_too_large_is_refused(start: Start) -> None:
    _, client = await opened(start, [Say("Hello.")], max_body_size=5000)
    first = await client.ask(ASK, input="x" * 3000)
    error = await client.ask(ASK, input="x" * 3000, previous_response_id=first["id"])
    assert code_of(error) == "request_too_large"


@pytest_twisted.ensureDeferred
async def test_items_of_the_socket_may_be_named(start: Start) -> None:
    setup, client = await opened(start, [Say("Blue.")], [Say("Yes.")])
    first = await client.ask(ASK)
    named = {"type": "item_reference", "id": first["output"][0]["id"]}
    await client.ask(ASK, input=[user("hi"), named, user("Sure?")])
    contents = [m["content"] for m in setup.fake.turns[1].json["messages"]]
    assert contents[-3:] == ["hi", "Blue.", "Sure?"]
    unknown = {"type": "item_reference", "id": "msg_unknown"}
    assert code_of(await client.ask(ASK, input=[unknown])) == "item_not_found"


@pytest.mark.parametrize("odd", [{"a": 1}, [], 7, ""])
@pytest_twisted.ensureDeferred
async def test_what_is_no_id_is_no_bug(start: Start, odd: Any) -> None:
    _, client = await opened(start, [Say("Hello.")], [Say("Again.")])
    assert code_of(await client.ask(ASK, previous_response_id=odd)) in {
        "invalid_type",
        "previous_response_not_found",
    }
    first = await client.ask(ASK, input=[user("hi") | {"id": odd}], stream_id=odd)
    again = await client.ask(ASK, previous_response_id=first["id"])
    assert text_of(again) == "Again."
    named = {"type": "item_reference", "id": "msg_unknown"}
    assert code_of(await client.ask(ASK, input=[named])) == "item_not_found"


# What is prepared.


@pytest_twisted.ensureDeferred
async def test_a_request_that_generates_nothing_can_be_gone_on_from(
    start: Start, logged: LogBook
) -> None:
    setup, client = await opened(start, [Say("Hello.")], read_ahead=False)
    developer = {"type": "message", "role": "developer", "content": "Be brief."}
    client.create(LOOK, input=[developer], generate=False)
    events = await client.reply()
    kinds = [event["type"] for event in events]
    assert kinds == ["response.created", "response.in_progress", "response.completed"]
    response = events[-1]["response"]
    assert (response["output"], response["usage"]["total_tokens"]) == ([], 0)
    assert setup.fake.turns == []
    await client.ask(LOOK, input=[user("hi")], previous_response_id=response["id"])
    (chat,) = setup.fake.turns
    assert "Be brief." in chat.json["messages"][0]["content"]
    assert chat.json["messages"][1]["content"] == "hi"
    assert log_lines(logged) == [
        ("streamed over WebSocket", "no answer is wanted yet"),
        ("streamed over WebSocket", "completed"),
    ]


@pytest_twisted.ensureDeferred
async def test_the_model_reads_ahead_what_is_prepared(start: Start) -> None:
    setup, client = await opened(start, [Say("Read.")], [Say("Hello.")])
    developer = {"type": "message", "role": "developer", "content": "Be brief. " * 500}
    response = await client.ask(LOOK, input=[developer], generate=False)
    read = await setup.fake.chat_seen()
    assert "Be brief." in read.json["messages"][0]["content"]
    await client.ask(LOOK, input=[user("hi")], previous_response_id=response["id"])
    turn = setup.fake.turns[-1].json
    assert turn["messages"][0] == read.json["messages"][0]
    assert turn["tools"] == read.json["tools"]


@pytest_twisted.ensureDeferred
async def test_what_cannot_be_prepared_is_refused(start: Start) -> None:
    _, client = await opened(start)
    assert code_of(await client.ask(ASK, input=7, generate=False)) == "invalid_type"


# Failures.


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("{nope", "invalid_json"),
        ("[]", "invalid_type"),
        ({"type": "response.cancel"}, "invalid_value"),
        ({"model": "qwen3:14b", "input": "hi"}, "invalid_value"),
        ({"type": "response.create", "input": "hi"}, "missing_required_parameter"),
        ({"type": "response.create", **ASK, "background": True}, "invalid_value"),
        ({"type": "response.create", **ASK, "temperature": "hot"}, "invalid_type"),
        ({"type": "response.create", **ASK, "model": "none:1b"}, "model_not_found"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_cannot_be_answered_is_told_and_the_socket_goes_on(
    start: Start, message: Any, code: str, logged: LogBook
) -> None:
    _, client = await opened(start, [Say("Hello.")])
    client.send(message)
    error = await client.next()
    assert code_of(error) == code
    assert error["status"] == (404 if code == "model_not_found" else 400)
    assert len(error["error"]["message"]) > 20
    assert text_of(await client.ask(ASK)) == "Hello."
    ((mode, outcome), _) = log_lines(logged)
    assert mode == "streamed over WebSocket"
    assert outcome.startswith("failed: ")


@pytest_twisted.ensureDeferred
async def test_codex_is_told_of_failures_by_events(start: Start) -> None:
    _, client = await opened(start, headers=CODEX)
    for more in ({"model": "none:1b"}, {"temperature": "hot"}):
        client.create(ASK | more)
        events = await client.reply()
        assert events[0]["type"] == "response.created"
        assert events[-1]["response"]["error"]["code"] == "invalid_prompt"


@pytest_twisted.ensureDeferred
async def test_each_event_names_the_lane_of_its_request(start: Start) -> None:
    _, client = await opened(start, [Say("Hello.")], [Say("Hello.")])
    client.create(ASK, stream_id="left")
    assert {event.get("stream_id") for event in await client.reply()} == {"left"}
    client.create(ASK)
    assert {event.get("stream_id") for event in await client.reply()} == {None}
    error = await client.ask(ASK, stream_id="right", previous_response_id="resp_unknown")
    assert error["stream_id"] == "right"


@pytest_twisted.ensureDeferred
async def test_long_silence_has_heartbeats(start: Start) -> None:
    go_on: Deferred[None] = Deferred()
    _, client = await opened(start, [Hold(go_on), Say("Hello.")], heartbeat=0.1, grace=0.0)
    client.create(ASK)
    kinds = [(await client.next())["type"] for _ in range(5)]
    assert kinds == ["response.created", *4 * ["response.in_progress"]]
    go_on.callback(None)
    assert (await client.reply())[-1]["type"] == "response.completed"


# The end.


def hang_up(client: SocketClient) -> None:
    client.transport.loseConnection()


def close(client: SocketClient) -> None:
    client.close()


def break_a_rule(client: SocketClient) -> None:
    client.send_bytes(b"\xff" * 20)


def send_too_much(client: SocketClient) -> None:
    client.send_bytes(frame(TEXT, b"x" * 70_000))


@pytest.mark.parametrize("end", [hang_up, close, break_a_rule, send_too_much])
@pytest_twisted.ensureDeferred
async def test_a_model_is_freed_when_its_client_leaves(
    start: Start, end: Any, logged: LogBook
) -> None:
    setup, client = await opened(
        start, [Say("Half"), Hold(Deferred())], [Say("Never.")], max_body_size=65_536
    )
    client.create(ASK)
    client.create(ASK)
    chat = await setup.fake.chat_seen()
    end(client)
    await chat.when_hung_up()
    await client.lost
    assert log_lines(logged) == [("streamed over WebSocket", "client gone")]
    assert len(setup.fake.turns) == 1
    assert setup.service._site.channels == set()


@pytest_twisted.ensureDeferred
async def test_an_idle_socket_is_closed_at_once_when_the_bridge_stops(start: Start) -> None:
    go_on: Deferred[None] = Deferred()
    setup, client = await opened(start, [Hold(go_on), Say("One.")], drain=60)
    idle = await sockets.connect(setup)
    client.create(ASK)
    client.create(ASK)
    await setup.fake.chat_seen()
    stopped = setup.service.stopService()
    await idle.lost
    assert idle.closed == (1001, "codex-bridge is being stopped.")
    assert client.closed is None
    go_on.callback(None)
    assert text_of((await client.reply())[-1]["response"]) == "One."
    await client.lost
    assert client.closed == (1001, "codex-bridge is being stopped.")
    assert client.events == []
    assert len(setup.fake.turns) == 1
    await stopped


@pytest_twisted.ensureDeferred
async def test_no_socket_is_opened_while_the_bridge_stops(start: Start) -> None:
    go_on: Deferred[None] = Deferred()
    setup, client = await opened(start, [Hold(go_on), Say("One.")], drain=60)
    kept = await setup.connect()
    client.create(ASK)
    await setup.fake.chat_seen()
    stopped = setup.service.stopService()
    kept.send(handshake())
    assert b" 503 " in await kept.until(b"is being stopped")
    go_on.callback(None)
    assert (await client.reply())[-1]["type"] == "response.completed"
    await stopped


@pytest_twisted.ensureDeferred
async def test_a_store_that_cannot_be_read_is_not_an_unknown_response() -> None:
    class Broken(NoMemory):
        async def context(self, response_id: str) -> Any:
            raise ApiError(503, "It cannot be read.")

    with pytest.raises(ApiError, match="cannot be read"):
        await SocketMemory(Broken(), 100).context("resp_1")


def test_a_turn_that_begins_while_nothing_is_read_waits() -> None:
    told: list[str] = []
    producer: Any = SimpleNamespace(pauseProducing=lambda: told.append("pause"))
    for is_unread in (False, True):
        channel = SimpleNamespace(is_unread=is_unread, registerProducer=lambda *_: None)
        socket: Any = SimpleNamespace(channel=channel)
        TurnOutlet(socket, SocketMemory(NoMemory(), 100), Intake(stream=True), None).register(
            producer
        )
        assert told == ["pause"] * is_unread


@pytest_twisted.ensureDeferred
async def test_a_turn_that_takes_too_long_is_cut_short_when_the_bridge_stops(start: Start) -> None:
    setup, client = await opened(start, [Say("Half"), Hold(Deferred())], drain=0)
    client.create(ASK)
    while (await client.next())["type"] != "response.output_text.delta":
        pass
    stopped = setup.service.stopService()
    last = (await client.reply())[-1]
    assert "is being stopped" in last["response"]["error"]["message"]
    await client.lost
    assert client.closed == (1001, "codex-bridge is being stopped.")
    await stopped
