"""Reading ahead: a model reads instructions and tools before the user has typed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, formatEvent
from twisted.web.http_headers import Headers

from codex_bridge.responses.request import read
from codex_bridge.web.prefixes import conversation_of
from tests import harness
from tests.clocked import ClockedReactor
from tests.conftest import LogBook, Start
from tests.fake_ollama import FakeOllama, Hold, ModelFacts, Recorded, Refuse, Say
from tests.harness import CODEX, REQUEST, Json, RawClient, Setup

NAME = "qwen3:14b"
OTHER = "other:1b"
DEVELOPER = {"type": "message", "role": "developer", "content": "You may write files."}
FIRST = REQUEST["input"]
ENOUGH = 40
"""Requests, each of which turns the reactor several times."""


def model(*more: Any) -> Any:
    """A model that answers each request with the same step, behind `more` in the first one."""
    waiting = [[*more, Say("ok")]]
    return lambda _: waiting.pop() if waiting else [Say("ok")]


def begins_with(*items: Json, **change: Any) -> Json:
    return {"input": [*items, *FIRST]} | change


async def probe(setup: Setup, *paths: str, headers: str = "Accept: */*") -> RawClient:
    """Ask as Codex does at its start, with no headers but these."""
    client = await setup.connect()
    for n, path in enumerate(paths or ("/v1/models", "/api/version", "/api/tags"), 1):
        client.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n\r\n".encode())
        await client.until_count(b"HTTP/1.1 200", n)
    return client


async def settled(setup: Setup, is_so: Callable[[], bool] = lambda: False) -> bool:
    """Let the bridge do what it is about to, until something is so."""
    for _ in range(ENOUGH):
        if is_so():
            return True
        await setup.request("GET", "/__nothing")
    return is_so()


async def counts(setup: Setup) -> Any:
    return (await setup.request("GET", "/__health")).json["read_ahead"]


async def has_read(setup: Setup) -> list[Recorded]:
    """Every turn that the model has seen, once one more is over or nothing comes of it."""
    before = len(setup.fake.turns)
    await settled(setup, lambda: len(setup.fake.turns) > before)
    await settled(setup, lambda: all(turn.answered for turn in setup.fake.turns))
    return setup.fake.turns


def unload(setup: Setup) -> None:
    """The time of all models is over."""
    setup.fake.loaded.clear()


def lines(logged: LogBook) -> list[str]:
    return [str(formatEvent(event)) for event in logged.events]


def asked_for(turn: Recorded) -> Json:
    """A request without what may differ while the prompt begins in the same way."""
    body: Json = turn.json
    for key in ("stream", "max_tokens", "stream_options"):
        body.pop(key, None)
    body.get("options", {}).pop("num_predict", None)
    body["messages"] = body["messages"][0]
    return body


@pytest.mark.parametrize("api", ["ollama", "chat"])
@pytest_twisted.ensureDeferred
async def test_at_codexs_start_the_model_reads_what_the_last_first_turn_began_with(
    start: Start, logged: LogBook, api: str
) -> None:
    setup = await start(model(), upstream_api=api, keep_alive="10m")
    await setup.ask(begins_with(DEVELOPER), CODEX)
    unload(setup)
    await probe(setup)
    turn, ahead = await has_read(setup)
    assert asked_for(ahead) == asked_for(turn)
    system, user = ahead.json["messages"]
    assert "Be helpful." in system["content"]
    assert "You may write files." in system["content"]
    assert user == {"role": "user", "content": "."}
    limit = ahead.json["options"]["num_predict"] if api == "ollama" else ahead.json["max_tokens"]
    assert limit == 1
    assert await settled(setup, lambda: "read ahead: qwen3:14b, " in str(lines(logged)))
    assert await counts(setup) == {"done": 1, "cancelled": 0}
    health = (await setup.request("GET", "/__health")).json
    assert health["exchanges"] == {"open": 0, "served": 1}


@pytest_twisted.ensureDeferred
async def test_the_turn_is_the_same_bytes_with_and_without(start: Start) -> None:
    bodies = []
    for read_ahead in (True, False):
        setup = await start(model(), read_ahead=read_ahead)
        for _ in range(2):
            await setup.ask(begins_with(DEVELOPER), CODEX)
            unload(setup)
            await probe(setup)
            turns = await has_read(setup)
        await setup.ask(begins_with(DEVELOPER), CODEX)
        bodies.append(setup.fake.turns[-1].body)
        assert len(turns) == (4 if read_ahead else 2)
    assert bodies[0] == bodies[1]


@pytest_twisted.ensureDeferred
async def test_what_the_model_still_has_is_not_read_again(start: Start) -> None:
    """What followed it would be lost: another conversation, which may go on."""
    setup = await start(model())
    await setup.ask(headers=CODEX)
    setup.fake.exchanges.clear()
    await probe(setup)
    assert await has_read(setup) == []
    assert b"/api/ps" in {seen.uri for seen in setup.fake.exchanges}


OTHER_PROMPTS: dict[str, Callable[[Setup], Awaitable[Any]]] = {
    "an exchange": lambda setup: setup.ask({"instructions": "Something else."}),
    "pass-through": lambda setup: setup.request(
        "POST",
        "/api/chat",
        {"model": NAME, "messages": [{"role": "user", "content": "hi"}], "stream": False},
    ),
}


@pytest.mark.parametrize("what", OTHER_PROMPTS)
@pytest_twisted.ensureDeferred
async def test_what_another_prompt_pushed_out_is_read_again(start: Start, what: str) -> None:
    setup = await start(model())
    await setup.ask(headers=CODEX)
    await OTHER_PROMPTS[what](setup)
    await probe(setup)
    turns = await has_read(setup)
    assert len(turns) == 3
    assert asked_for(turns[-1]) == asked_for(turns[0])


@pytest_twisted.ensureDeferred
async def test_programs_that_ask_the_same_cause_one_reading_for_each_exchange(
    start: Start,
) -> None:
    setup = await start(model())
    await setup.ask(headers=CODEX)
    # While there is nothing to gain, it does not count.
    await probe(setup)
    await settled(setup)
    for _ in range(3):
        unload(setup)
        await probe(setup)
        await has_read(setup)
    assert len(setup.fake.turns) == 2
    await setup.ask()
    for _ in range(3):
        unload(setup)
        await probe(setup)
        await has_read(setup)
    assert len(setup.fake.turns) == 4


@pytest.mark.parametrize(
    ("paths", "headers"),
    [
        (("/api/tags",), "Accept: */*"),
        (("/v1/models", "/api/version"), "Accept: */*"),
        (("/api/tags", "/api/version"), "Accept: */*"),
        (("/api/version", "/api/tags"), "Accept: */*\r\nUser-Agent: monitor/1"),
        (("/api/version", "/api/tags"), "Accept: */*\r\nAccept-Encoding: gzip"),
        (("/api/version", "/api/ps"), "Accept: */*"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_is_not_codexs_start_begins_nothing(
    start: Start, paths: tuple[str, ...], headers: str
) -> None:
    setup = await start(model())
    await setup.ask(headers=CODEX)
    unload(setup)
    await probe(setup, *paths, headers=headers)
    assert len(await has_read(setup)) == 1


@pytest.mark.parametrize(("seconds", "turns"), [(9, 2), (11, 1)])
@pytest_twisted.ensureDeferred
async def test_the_questions_of_a_start_come_within_ten_seconds(
    reactor_under_test: Any, seconds: float, turns: int
) -> None:
    time = ClockedReactor()
    setup = await harness.start(time, FakeOllama(reactor_under_test, model=model()))
    try:
        await setup.ask(headers=CODEX)
        unload(setup)
        await probe(setup, "/api/version")
        time.clock.advance(seconds)
        await probe(setup, "/api/tags")
        assert len(await has_read(setup)) == turns
    finally:
        await setup.stop()


NOT_REMEMBERED: dict[str, tuple[Json, Json]] = {
    "of another client": ({}, {}),
    "of a sub-agent": ({}, CODEX | {"x-openai-subagent": "collab_spawn"}),
    "of a thread that another one began": ({}, CODEX | {"x-codex-parent-thread-id": "1"}),
    "without tools, as for a title or a summary": ({"tools": []}, CODEX),
    "in the midst of a conversation": (
        begins_with(*FIRST, {"type": "message", "role": "assistant", "content": "ok"}),
        CODEX,
    ),
}


@pytest.mark.parametrize("what", NOT_REMEMBERED)
@pytest_twisted.ensureDeferred
async def test_only_the_first_turn_of_codexs_own_conversation_is_remembered(
    start: Start, what: str
) -> None:
    setup = await start(model())
    change, headers = NOT_REMEMBERED[what]
    await setup.ask(change, headers)
    unload(setup)
    await probe(setup)
    assert len(await has_read(setup)) == 1


@pytest_twisted.ensureDeferred
async def test_an_answer_that_is_asked_for_ends_the_reading_at_once(
    start: Start, logged: LogBook
) -> None:
    never: Deferred[None] = Deferred()
    waiting = [[Say("ok")], [Hold(never)]]
    setup = await start(lambda _: waiting.pop(0) if waiting else [Say("ok")])
    await setup.ask(headers=CODEX)
    unload(setup)
    seen = setup.fake.chat_seen()
    await probe(setup)
    ahead = await seen
    # The fake answers one request to a model at a time, so this one waits until that is gone.
    answer = await setup.ask(headers=CODEX)
    assert answer.response["status"] == "completed"
    assert ahead.hung_up
    assert await counts(setup) == {"done": 0, "cancelled": 1}
    assert "read ahead: qwen3:14b, cancelled after" in str(lines(logged))
    # What it had read may be incomplete, but what the turn read is not.
    await probe(setup)
    assert len(await has_read(setup)) == 3


@pytest_twisted.ensureDeferred
async def test_what_was_read_in_part_is_read_again(start: Start, reactor_under_test: Any) -> None:
    never: Deferred[None] = Deferred()
    waiting = [[Say("ok")], [Hold(never)]]
    models = [ModelFacts(), ModelFacts(OTHER)]
    fake = FakeOllama(
        reactor_under_test, lambda _: waiting.pop(0) if waiting else [Say("ok")], models=models
    )
    setup = await start(fake=fake)
    await setup.ask(headers=CODEX)
    fake.loaded = {OTHER: 32768, NAME: 32768}
    seen = fake.chat_seen()
    announced = read(REQUEST | {"instructions": "New.", "input": []})
    reading = setup.service.read_ahead.begin(announced)
    await seen
    await setup.ask({"model": OTHER}, CODEX)
    await reading
    await setup.service.read_ahead.begin(announced)
    assert [turn.json["model"] for turn in fake.turns] == [NAME, NAME, OTHER, NAME]
    await setup.service.read_ahead.begin(announced)
    assert len(fake.turns) == 4


@pytest_twisted.ensureDeferred
async def test_a_request_that_passes_through_ends_the_reading(start: Start) -> None:
    never: Deferred[None] = Deferred()
    waiting = [[Say("ok")], [Hold(never)]]
    setup = await start(lambda _: waiting.pop(0) if waiting else [Say("ok")])
    await setup.ask(headers=CODEX)
    unload(setup)
    seen = setup.fake.chat_seen()
    await probe(setup)
    ahead = await seen
    await setup.request("POST", "/api/show", {"model": NAME})
    assert not ahead.hung_up
    await OTHER_PROMPTS["pass-through"](setup)
    assert ahead.hung_up


@pytest.mark.parametrize("path", ["/v1/responses", "/api/chat"])
@pytest_twisted.ensureDeferred
async def test_while_an_answer_runs_nothing_is_read(start: Start, path: str) -> None:
    until: Deferred[None] = Deferred()
    waiting = [[Say("ok")], [Hold(until), Say("ok")]]
    setup = await start(lambda _: waiting.pop(0) if waiting else [Say("ok")])
    await setup.ask(headers=CODEX)
    seen = setup.fake.chat_seen()
    chat = {"model": NAME, "messages": [{"role": "user", "content": "hi"}]}
    body = REQUEST | {"instructions": "Else."} if path == "/v1/responses" else chat
    running = Deferred.fromCoroutine(setup.request("POST", path, body))
    await seen
    unload(setup)
    await probe(setup)
    assert len(await has_read(setup)) == 2
    until.callback(None)
    assert (await running).status == 200


@pytest.mark.parametrize(
    ("loaded", "is_read"), [((), True), ((OTHER,), False), ((NAME, OTHER), True)]
)
@pytest_twisted.ensureDeferred
async def test_no_model_is_pushed_out_of_memory(
    start: Start, reactor_under_test: Any, loaded: tuple[str, ...], is_read: bool
) -> None:
    models = [ModelFacts(), ModelFacts(OTHER)]
    setup = await start(fake=FakeOllama(reactor_under_test, model=model(), models=models))
    await setup.ask(headers=CODEX)
    # Another conversation with the model, so that there is something to gain.
    await setup.ask({"instructions": "Else."})
    setup.fake.loaded = dict.fromkeys(loaded, 32768)
    await probe(setup)
    assert (len(await has_read(setup)) == 3) is is_read


@pytest_twisted.ensureDeferred
async def test_nothing_is_read_by_a_model_in_the_cloud(
    start: Start, reactor_under_test: Any
) -> None:
    models = [ModelFacts("qwen3:14b-cloud")]
    setup = await start(fake=FakeOllama(reactor_under_test, model=model(), models=models))
    await setup.ask({"model": "qwen3:14b-cloud"}, CODEX)
    unload(setup)
    await probe(setup)
    assert len(await has_read(setup)) == 1


@pytest.mark.parametrize("debug", [False, True])
@pytest_twisted.ensureDeferred
async def test_a_reading_that_fails_is_told_only_with_debug(
    start: Start, logged: LogBook, debug: bool
) -> None:
    waiting = [[Say("ok")], [Refuse(500, "the model runner has crashed")]]
    setup = await start(lambda _: waiting.pop(0) if waiting else [Say("ok")], debug=debug)
    await setup.ask(headers=CODEX)
    unload(setup)
    await probe(setup)
    assert len(await has_read(setup)) == 2
    await settled(setup)
    told = [event for event in logged.events if "crashed" in str(formatEvent(event))]
    assert [event["log_level"] for event in told] == [LogLevel.debug] * debug
    assert await counts(setup) == {"done": 0, "cancelled": 0}
    assert (await setup.ask(headers=CODEX)).response["status"] == "completed"


@pytest_twisted.ensureDeferred
async def test_a_bridge_that_is_stopped_does_not_wait_for_the_reading(start: Start) -> None:
    never: Deferred[None] = Deferred()
    waiting = [[Say("ok")], [Hold(never)]]
    setup = await start(lambda _: waiting.pop(0), drain=3600)
    await setup.ask(headers=CODEX)
    unload(setup)
    seen = setup.fake.chat_seen()
    await probe(setup)
    ahead = await seen
    gone = ahead.when_hung_up()
    await setup.service.stopService()
    await gone


@pytest_twisted.ensureDeferred
async def test_what_a_client_announces_is_read_where_its_conversation_goes(
    reactor_under_test: Any,
) -> None:
    fakes = [FakeOllama(reactor_under_test, model=model()) for _ in range(2)]
    for fake in fakes:
        fake.listen()
    names = tuple((name, fake.url) for name, fake in zip("ab", fakes, strict=True))
    setup = await harness.serve(reactor_under_test, "", upstream=names)
    try:
        await setup.service.identified
        # Each new conversation goes to the server with the fewest answers: to a, while both rest.
        await setup.ask(headers=CODEX | {"thread-id": "1"})
        (a, b) = fakes
        until = Deferred[None]()
        a._model = lambda _: [Hold(until), Say("ok")]
        seen = a.chat_seen()
        running = Deferred.fromCoroutine(setup.ask(headers=CODEX | {"thread-id": "1"}))
        await seen
        announced = read(REQUEST | {"input": [DEVELOPER]})
        second = conversation_of(announced, Headers({"thread-id": ["2"]}))
        await setup.service.read_ahead.begin(announced, second)
        (ahead,) = b.turns
        # The conversation stays where it was read, also when a has nothing to do any more.
        until.callback(None)
        await running
        await setup.ask(begins_with(DEVELOPER), CODEX | {"thread-id": "2"})
        assert (len(a.turns), len(b.turns)) == (2, 2)
        assert asked_for(ahead) == asked_for(b.turns[1])
    finally:
        await setup.stop()
        for fake in fakes:
            await fake.stop()


@pytest_twisted.ensureDeferred
async def test_reading_for_one_client_is_not_begun_twice_at_a_time(start: Start) -> None:
    until: Deferred[None] = Deferred()
    setup = await start(lambda _: [Hold(until), Say("ok")])
    announced = [read(REQUEST | {"input": [], "instructions": each}) for each in ("One.", "Two.")]
    seen = setup.fake.chat_seen()
    first = setup.service.read_ahead.begin(announced[0])
    await seen
    await setup.service.read_ahead.begin(announced[1])
    until.callback(None)
    await first
    assert len(setup.fake.turns) == 1
    assert await counts(setup) == {"done": 1, "cancelled": 0}


@pytest_twisted.ensureDeferred
async def test_the_log_has_nothing_of_what_is_read(start: Start, logged: LogBook) -> None:
    setup = await start(model())
    await setup.ask({"instructions": "SECRET-WORDS"}, CODEX)
    unload(setup)
    await probe(setup)
    assert len(await has_read(setup)) == 2
    assert "SECRET-WORDS" not in str(lines(logged))
