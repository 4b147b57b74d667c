"""One bridge before several upstreams: lists, routing, conversations, fail-over, keys."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import pairwise
from typing import Any

import orjson
import pytest
import pytest_twisted
from attrs import define
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.logger import formatEvent

from tests.answering import AnsweringServer, answer
from tests.conftest import LogBook
from tests.fake_ollama import Die, FakeOllama, Hold, ModelFacts, Playlist, Refuse, Say
from tests.harness import CODEX, Answer, Setup, serve
from tests.wires import WireServer

CATALOG = "/v1/models?client_version=0.169.0"
BOTH = ModelFacts("both:1b")
MODELS = {"a": (BOTH, ModelFacts("only-a:1b")), "b": (BOTH, ModelFacts("only-b:1b"))}


@define
class Pair:
    """Two fakes, `a` and `b`, that share a model, and a bridge before them."""

    a: FakeOllama
    b: FakeOllama
    setup: Setup

    async def ask(
        self, model: str = "both:1b", thread: str | None = None, said: tuple[str, ...] = ("hi",)
    ) -> Answer:
        """One exchange; every second thing that was `said` is the model's."""
        roles = {0: ("user", "input_text"), 1: ("assistant", "output_text")}
        items = [
            {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}
            for text, (role, kind) in ((text, roles[n % 2]) for n, text in enumerate(said))
        ]
        headers = CODEX | ({"thread-id": thread} if thread else {})
        return await self.setup.ask({"model": model, "input": items}, headers)

    def begin(self, thread: str) -> Deferred[Answer]:
        return Deferred.fromCoroutine(self.ask(thread=thread))

    @property
    def turns(self) -> tuple[int, int]:
        """How many chat requests each fake has seen."""
        return len(self.a.turns), len(self.b.turns)


Started = Callable[..., Awaitable[Pair]]


def says(text: str) -> Any:
    return lambda _: [Say(text)]


A, B = says("I am a"), says("I am b")


@pytest_twisted.async_yield_fixture
async def started() -> AsyncIterator[Started]:
    """Start both fakes, with a model each, and the bridge; all are stopped at the end."""
    running: list[Any] = []

    async def begin(a: Any = A, b: Any = B, down: str = "", **settings: Any) -> Pair:
        fakes = {
            name: FakeOllama(reactor, model=model, models=MODELS[name])
            for name, model in (("a", a), ("b", b))
        }
        for name, fake in fakes.items():
            fake.listen()
            running.append(fake)
            if name in down:
                await fake.stop()
        urls = tuple((name, fake.url) for name, fake in fakes.items())
        setup = await serve(reactor, "", upstream=urls, **settings)
        running.insert(0, setup)
        await setup.service.identified
        return Pair(fakes["a"], fakes["b"], setup)

    yield begin
    for each in running:
        await each.stop()


def text_of(answer: Answer) -> str:
    (message,) = [item for item in answer.response["output"] if item["type"] == "message"]
    text: str = message["content"][0]["text"]
    return text


def lines(logged: LogBook) -> list[str]:
    return [formatEvent(event) or "" for event in logged.events]


@pytest.mark.parametrize(
    ("path", "key", "name"),
    [("/v1/models", "data", "id"), ("/api/tags", "models", "name"), ("/api/ps", "models", "name")],
)
@pytest_twisted.ensureDeferred
async def test_lists_are_merged_and_one_that_is_down_hides_only_its_own(
    started: Started, path: str, key: str, name: str
) -> None:
    pair = await started()

    async def listed() -> list[str]:
        return [entry[name] for entry in (await pair.setup.request("GET", path)).json[key]]

    assert await listed() == ["both:1b", "only-a:1b", "only-b:1b"]
    await pair.a.stop()
    assert await listed() == ["both:1b", "only-b:1b"]


@pytest_twisted.ensureDeferred
async def test_codex_gets_the_models_of_all_with_their_aliases(started: Started) -> None:
    pair = await started(alias=(("gpt-4o", "only-b:1b"),))
    listed = (await pair.setup.request("GET", CATALOG)).json
    names = ["both:1b", "only-a:1b", "only-b:1b", "gpt-4o"]
    assert [model["slug"] for model in listed["models"]] == names
    assert [model["id"] for model in listed["data"]] == names
    assert text_of(await pair.ask("gpt-4o")) == "I am b"


@pytest_twisted.ensureDeferred
async def test_where_none_answers_the_lists_are_an_error(
    started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codex_bridge.web.model_list.PATIENCE", 0.0)
    pair = await started(down="ab")
    for path in (CATALOG, "/v1/models", "/api/tags"):
        reply = await pair.setup.request("GET", path)
        assert (reply.status, reply.json["error"]["code"]) == (502, "upstream_unreachable")
        assert pair.a.url in reply.json["error"]["message"]


@pytest_twisted.ensureDeferred
async def test_a_request_goes_where_its_model_lives(started: Started, logged: LogBook) -> None:
    pair = await started()
    assert text_of(await pair.ask("only-a:1b")) == "I am a"
    assert text_of(await pair.ask("only-b:1b")) == "I am b"
    assert pair.turns == (1, 1)
    assert [turn.json["model"] for turn in pair.b.turns] == ["only-b:1b"]
    told = [line for line in lines(logged) if "completed" in line]
    assert [line.split(" streamed")[0].split(" ", 1)[1] for line in told] == [
        "only-a:1b at a",
        "only-b:1b at b",
    ]
    assert any(line.startswith("b: upstream: Ollama") for line in lines(logged))


@pytest_twisted.ensureDeferred
async def test_a_model_that_is_pulled_later_is_found_at_once(started: Started) -> None:
    pair = await started()
    await pair.ask()
    missing = (await pair.ask("new:1b")).response["error"]
    assert "new:1b" in missing["message"]
    pair.b.models["new:1b"] = ModelFacts("new:1b")
    assert text_of(await pair.ask("new:1b")) == "I am b"


@pytest_twisted.ensureDeferred
async def test_a_native_request_goes_by_the_model_in_its_body(started: Started) -> None:
    pair = await started()
    asked: list[tuple[str, str, Any]] = [
        ("POST", "/api/show", {"model": "only-b:1b"}),
        ("POST", "/api/show", {"name": "only-b:1b"}),
        ("DELETE", "/api/delete", {"model": "only-b:1b"}),
    ]
    for method, path, body in asked:
        assert (await pair.setup.request(method, path, body)).status == 200
        seen = pair.b.exchanges[-1]
        assert (seen.uri.decode(), seen.body) == (path, orjson.dumps(body))
    others: list[tuple[str, str, Any]] = [
        ("POST", "/api/show", {"model": "both:1b"}),
        ("GET", "/api/version", None),
        ("POST", "/api/blobs/sha256:00", b"{}"),
        ("POST", "/api/show", b"no JSON"),
        ("POST", "/api/show", [1]),
    ]
    before = len(pair.b.exchanges)
    for method, path, body in others:
        await pair.setup.request(method, path, body)
        assert pair.a.exchanges[-1].uri.decode() == path
    assert len(pair.b.exchanges) == before
    await pair.a.stop()
    assert (await pair.setup.request("GET", "/api/version")).status == 200


@pytest_twisted.ensureDeferred
async def test_a_native_request_that_failed_makes_the_next_one_go_elsewhere(
    started: Started,
) -> None:
    pair = await started()
    listed = b'{"data":[{"id":"both:1b"}]}'
    said = {"/api/version": b'{"version":"0.33.0"}'}

    def told(path: str) -> bytes:
        return answer("200 OK", said.get(path, listed), "Connection: close")

    closing = AnsweringServer(reactor, told)
    urls = (("closing", closing.url), ("b", pair.b.url))
    setup = await serve(reactor, "", upstream=urls)
    show = ("POST", "/api/show", {"model": "both:1b"})
    assert (await setup.request(*show)).body == listed
    await closing.stop()
    # No kept connection could tell that it is gone.
    assert (await setup.request(*show)).status == 502
    assert (await setup.request(*show)).status == 200
    assert pair.b.exchanges[-1].uri == b"/api/show"
    await setup.stop()


@pytest_twisted.ensureDeferred
async def test_the_data_of_a_model_is_streamed_to_the_first(started: Started) -> None:
    pair = await started()
    wires = WireServer(reactor)
    setup = await serve(reactor, "", upstream=(("wires", wires.url), ("b", pair.b.url)))
    await setup.service.identified
    client = await setup.connect()
    client.send(
        b"POST /api/blobs/sha256:00 HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Length: 1000\r\n\r\nbegin"
    )
    question = await wires.next_connection()
    assert (await question.until(b"\r\n\r\n")).startswith(b"GET /v1/models ")
    question.say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
    blob = await wires.next_connection()
    assert (await blob.until(b"begin")).startswith(b"POST /api/blobs/sha256:00 ")
    await setup.stop()
    await wires.stop()


@pytest.mark.parametrize("threads", [("one", "two"), (None, None)])
@pytest_twisted.ensureDeferred
async def test_a_conversation_stays_on_its_upstream(
    started: Started, threads: tuple[str | None, str | None]
) -> None:
    hold: Deferred[None] = Deferred()
    answers = Playlist([Hold(hold), Say("one")], [Say("one")], [Say("one")])
    pair = await started(a=answers)
    first = Deferred.fromCoroutine(pair.ask(thread=threads[0], said=("first",)))
    await pair.a.chat_seen()
    # The first upstream is at work, so the second conversation goes to the other one.
    assert text_of(await pair.ask(thread=threads[1], said=("second",))) == "I am b"
    hold.callback(None)
    assert text_of(await first) == "one"
    for more in (("x", "y"), ("x", "y", "x", "z")):
        assert text_of(await pair.ask(thread=threads[1], said=("second", *more))) == "I am b"
        assert text_of(await pair.ask(thread=threads[0], said=("first", *more))) == "one"
    assert pair.turns == (3, 3)
    for fake, begins in ((pair.a, "first"), (pair.b, "second")):
        prompts = [turn.json["messages"] for turn in fake.turns]
        assert [message["content"] for message in prompts[0] if message["role"] == "user"] == [
            begins
        ]
        for before, after in pairwise(prompts):
            assert after[: len(before)] == before
            assert len(after) == len(before) + 2


@pytest_twisted.ensureDeferred
async def test_new_conversations_go_where_the_fewest_run(started: Started) -> None:
    hold: Deferred[None] = Deferred()
    holding = Playlist(*[[Hold(hold), Say("ok")]] * 4)
    pair = await started(a=holding, b=Playlist(*[[Hold(hold), Say("ok")]] * 4))
    asked = []
    for n, fake in enumerate((pair.a, pair.b, pair.a, pair.b)):
        seen = fake.chat_seen()
        asked.append(pair.begin(f"t{n}"))
        await seen
    assert [len(pair.a.turns), len(pair.b.turns)] == [2, 2]
    hold.callback(None)
    assert [(await each).response["status"] for each in asked] == ["completed"] * 4
    # All have ended, so the first is as good as any.
    seen = pair.a.chat_seen()
    later = pair.begin("later")
    await seen
    assert (await later).response["status"] == "completed"


@pytest_twisted.ensureDeferred
async def test_a_conversation_moves_off_a_dead_upstream_at_once_and_stays_there(
    started: Started, logged: LogBook
) -> None:
    pair = await started()
    assert text_of(await pair.ask(thread="t")) == "I am a"
    port = pair.a.port
    await pair.a.stop()
    assert text_of(await pair.ask(thread="t")) == "I am b"
    pair.a.listen(port)
    assert text_of(await pair.ask(thread="t")) == "I am b"
    assert pair.turns == (1, 2)
    assert not any("is asked again" in line for line in lines(logged))
    # New ones find it again, once it has answered a question that nobody waits for.
    heard = [text_of(await pair.ask(thread=f"new {n}")) for n in range(20)]
    assert heard[-1] == "I am a"


REFUSALS = [(503, "server busy, please try again."), (503, "Loading model"), (429, "wait")]


@pytest.mark.parametrize(("status", "message"), REFUSALS)
@pytest.mark.parametrize("stream", [True, False])
@pytest_twisted.ensureDeferred
async def test_an_upstream_that_has_not_begun_is_left_for_another(
    started: Started, logged: LogBook, status: int, message: str, stream: bool
) -> None:
    pair = await started(a=Playlist([Refuse(status, message)]))
    answer = await pair.setup.ask({"model": "both:1b", "stream": stream}, {"thread-id": "t"})
    assert b"I am b" in answer.body
    assert pair.turns == (1, 1)
    assert pair.a.turns[0].json["messages"] == pair.b.turns[0].json["messages"]
    (line,) = [line for line in lines(logged) if "is asked of another upstream" in line]
    assert "both:1b at a" in line
    assert not any("is asked again" in line for line in lines(logged))
    await pair.setup.ask({"model": "both:1b"}, {"thread-id": "t"})
    assert pair.turns == (1, 2)


@pytest_twisted.ensureDeferred
async def test_where_all_are_busy_the_table_counts_rounds(started: Started) -> None:
    busy = lambda _: [Refuse(503, "server busy, please try again.")]  # noqa: E731
    pair = await started(a=busy, b=busy)
    error = (await pair.setup.ask({"model": "both:1b"})).json["error"]
    assert error["code"] == "upstream_busy"
    assert pair.turns == (5, 5)


@pytest_twisted.ensureDeferred
async def test_one_that_is_known_to_be_gone_is_not_tried_for_another(
    started: Started, logged: LogBook
) -> None:
    busy = lambda _: [Refuse(503, "server busy, please try again.")]  # noqa: E731
    pair = await started(a=busy)
    await pair.setup.request("POST", "/api/show", {"model": "both:1b"})
    await pair.b.stop()
    await pair.ask()
    assert len(pair.a.turns) == 5
    assert not any("is asked of another upstream" in line for line in lines(logged))


@pytest_twisted.ensureDeferred
async def test_new_conversations_do_not_try_one_that_was_not_there_again(
    started: Started, logged: LogBook
) -> None:
    pair = await started()
    listed = b'{"data":[{"id":"both:1b"}]}'
    a = AnsweringServer(reactor, lambda path: answer("200 OK", listed, "Connection: close"))
    setup = await serve(reactor, "", upstream=(("a", a.url), ("b", pair.b.url)))
    await setup.request("POST", "/api/show", {"model": "both:1b"})
    await a.stop()
    for n in range(3):
        answered = await setup.ask({"model": "both:1b"}, {"thread-id": f"t{n}"})
        assert text_of(answered) == "I am b"
    moves = [line for line in lines(logged) if "is asked of another upstream" in line]
    assert len(moves) == 1
    await setup.stop()


@pytest_twisted.ensureDeferred
async def test_a_conversation_moves_off_an_upstream_that_lost_its_model(started: Started) -> None:
    pair = await started()
    assert text_of(await pair.ask(thread="t")) == "I am a"
    del pair.a.models["both:1b"]
    assert "error" in (await pair.ask(thread="t")).response
    assert text_of(await pair.ask(thread="t")) == "I am b"


@pytest_twisted.ensureDeferred
async def test_a_server_that_was_started_anew_is_asked_for_its_list_before_it_is_used(
    started: Started,
) -> None:
    pair = await started()
    assert text_of(await pair.ask(thread="t")) == "I am a"
    port = pair.a.port
    await pair.a.stop()
    del pair.a.models["both:1b"]
    pair.a.listen(port)
    assert text_of(await pair.ask(thread="t")) == "I am b"
    assert pair.turns == (1, 1)


@pytest_twisted.ensureDeferred
async def test_a_model_of_one_upstream_is_asked_of_no_other(started: Started) -> None:
    busy = lambda _: [Refuse(503, "server busy, please try again.")]  # noqa: E731
    pair = await started(a=busy)
    await pair.setup.ask({"model": "only-a:1b"})
    assert pair.turns == (5, 0)


@pytest_twisted.ensureDeferred
async def test_what_the_client_has_a_part_of_is_not_begun_elsewhere(started: Started) -> None:
    hold: Deferred[None] = Deferred()
    half = "The half of an answer that is long enough to be gone on with, here and"
    pair = await started(a=Playlist([Say(half, pieces=(half,)), Hold(hold), Die("reset")]))
    client = await pair.setup.connect()
    request = {"model": "both:1b", "input": "hi", "stream": True}
    client.post(request, headers={"thread-id": "t"} | CODEX)
    await client.until(b" here and")
    await pair.a.stop()
    received = await client.until(b"response.failed")
    assert b"I am b" not in received
    assert pair.turns == (1, 0)
    assert pair.b.renderings == []
    # The next request of the conversation finds another one.
    assert text_of(await pair.ask(thread="t")) == "I am b"


@pytest_twisted.ensureDeferred
async def test_one_that_is_down_at_the_start_is_no_hindrance(started: Started) -> None:
    pair = await started(down="a")
    assert text_of(await pair.ask("only-b:1b")) == "I am b"
    assert text_of(await pair.ask()) == "I am b"
    # Its models are unknown, so a model that nobody else has may be there.
    error = (await pair.ask("only-a:1b")).response["error"]
    assert pair.a.url in error["message"]
    pair.a.listen(pair.a.port)
    assert text_of(await pair.ask("only-a:1b")) == "I am a"


@pytest_twisted.ensureDeferred
async def test_health_tells_of_each_and_needs_one(started: Started) -> None:
    pair = await started()
    await pair.ask("only-b:1b")
    await pair.a.stop()
    reply = await pair.setup.request("GET", "/__health")
    assert reply.status == 200
    upstreams = reply.json["upstreams"]
    assert {name: each["reachable"] for name, each in upstreams.items()} == {"a": False, "b": True}
    assert upstreams["b"]["url"] == pair.b.url
    assert reply.json["upstream"] == upstreams["a"]
    assert list(reply.json["models"]) == ["only-b:1b"]
    await pair.b.stop()
    assert (await pair.setup.request("GET", "/__health")).status == 503


@pytest_twisted.ensureDeferred
async def test_each_upstream_gets_its_own_key_and_no_other(started: Started) -> None:
    pair = await started(upstream_api_key="a=sk-a,b=sk-b")
    client = {"Authorization": "Bearer sk-client"}
    await pair.ask("only-a:1b")
    await pair.ask("only-b:1b")
    for path in (CATALOG, "/api/tags", "/__health", "/api/version"):
        await pair.setup.request("GET", path, headers=client)
    await pair.setup.request("POST", "/api/show", {"model": "only-b:1b"}, client)
    for fake, key in ((pair.a, b"Bearer sk-a"), (pair.b, b"Bearer sk-b")):
        assert len(fake.turns) == 1
        headers = [dict(seen.headers) for seen in fake.exchanges]
        assert {tuple(each.get(b"Authorization", ())) for each in headers} == {(key,)}


@pytest_twisted.ensureDeferred
async def test_a_single_one_is_asked_nothing_more(started: Started) -> None:
    pair = await started()
    seen = []
    for options in ({"upstream_url": pair.b.url}, {"upstream": (("b", pair.b.url),)}):
        setup = await serve(reactor, **{"upstream_url": "http://unused", **options})  # type: ignore[arg-type]
        pair.b.exchanges.clear()
        await setup.service.identified
        await setup.ask({"model": "only-b:1b"})
        await setup.request("GET", "/api/tags")
        reply = await setup.request("GET", "/__health")
        assert "upstreams" not in reply.json
        seen.append([(each.method, each.uri, each.body) for each in pair.b.exchanges])
        await setup.stop()
    assert seen[0] == seen[1]
    assert not any(uri == b"/v1/models" for _, uri, _ in seen[0])
