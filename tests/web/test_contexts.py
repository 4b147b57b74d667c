"""Contexts over the wire: what Ollama is asked for, what it loads, what is refused."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from tests import harness
from tests.clocked import ClockedReactor
from tests.conftest import Start
from tests.fake_ollama import FakeOllama, ModelFacts, Playlist, Refuse, Say
from tests.harness import CODEX, REQUEST

LONG = 20_000 * "word "


def fake(reactor: Any, **options: Any) -> FakeOllama:
    facts = ModelFacts(num_ctx=options.pop("num_ctx", None), **options.pop("facts", {}))
    return FakeOllama(
        reactor, model=Playlist(*(5 * [[Say("ok")]])), models=[facts], loaded=False, **options
    )


@pytest_twisted.ensureDeferred
async def test_a_newcomer_on_the_default_of_4096_gets_a_working_session(
    start: Start, reactor_under_test: Any
) -> None:
    setup = await start(fake=fake(reactor_under_test))
    for _ in range(3):
        assert (await setup.ask()).response["status"] == "completed"
    assert len(setup.fake.native_chats) == 3
    # One load to see what there is, one to get enough; nothing thrashes after that.
    assert setup.fake.loads == [("qwen3:14b", 4096), ("qwen3:14b", 32768)]
    assert all(turn.json["truncate"] is False for turn in setup.fake.turns)


@pytest_twisted.ensureDeferred
async def test_an_ollama_that_allocates_enough_loads_once(
    start: Start, reactor_under_test: Any
) -> None:
    setup = await start(fake=fake(reactor_under_test, default_context=32768))
    for _ in range(2):
        await setup.ask()
    assert [turn.json["options"]["num_ctx"] for turn in setup.fake.native_chats] == 2 * [32768]
    assert setup.fake.loads == [("qwen3:14b", 32768)]


@pytest_twisted.ensureDeferred
async def test_all_spellings_of_a_model_are_one_model_and_go_out_as_the_client_wrote_them(
    start: Start, reactor_under_test: Any
) -> None:
    setup = await start(fake=fake(reactor_under_test))
    spellings = ["qwen3:14b", "Qwen3:14B", "QWEN3:14b"]
    for name in spellings:
        assert (await setup.ask({"model": name})).response["status"] == "completed"
    assert [turn.json["model"] for turn in setup.fake.turns] == spellings
    assert setup.fake.loads == [("qwen3:14b", 4096), ("qwen3:14b", 32768)]
    assert list((await setup.request("GET", "/__health")).json["models"]) == ["qwen3:14b"]


@pytest.mark.parametrize(
    ("settings", "loads", "keep_alive"),
    [
        ({"num_ctx": 20_000}, [("qwen3:14b", 20_000)], None),
        ({"num_ctx": 99_000}, [("qwen3:14b", 40_960)], None),
        ({"upstream_api": "ollama"}, [("qwen3:14b", 4096), ("qwen3:14b", 32_768)], None),
        ({"upstream_api": "chat"}, [("qwen3:14b", 4096)], None),
        ({"num_ctx": 32_768, "keep_alive": "-1"}, [("qwen3:14b", 32_768)], -1),
    ],
)
@pytest_twisted.ensureDeferred
async def test_the_users_word_counts(
    start: Start, reactor_under_test: Any, settings: Any, loads: Any, keep_alive: Any
) -> None:
    setup = await start(fake=fake(reactor_under_test), **settings)
    await setup.ask()
    assert setup.fake.loads == loads
    assert setup.fake.turns[0].json.get("keep_alive") == keep_alive


@pytest.mark.parametrize(("api", "remedy"), [("chat", "prepare"), ("ollama", "--num-ctx")])
@pytest_twisted.ensureDeferred
async def test_what_cannot_fit_is_refused_before_it_is_sent(
    start: Start, reactor_under_test: Any, api: str, remedy: str
) -> None:
    setup = await start(fake=fake(reactor_under_test, num_ctx=16384), upstream_api=api)
    long = 7 * LONG[:20_000]
    reply = await setup.ask({"input": long})
    assert reply.status == 400
    assert reply.json["error"]["code"] == "context_length_exceeded"
    assert remedy in reply.json["error"]["message"]
    told = (await setup.ask({"input": long}, headers=CODEX)).events[-1]
    assert told["response"]["error"]["code"] == "context_length_exceeded"
    assert setup.fake.turns == []
    assert (await setup.ask()).response["status"] == "completed"


@pytest.mark.parametrize("api", ["auto", "ollama"])
@pytest_twisted.ensureDeferred
async def test_what_may_not_fit_is_left_to_ollama_which_cuts_nothing(
    start: Start, reactor_under_test: Any, api: str
) -> None:
    setup = await start(fake=fake(reactor_under_test, num_ctx=16384), upstream_api=api)
    told = (await setup.ask({"input": LONG}, headers=CODEX)).events[-1]
    assert told["response"]["error"]["code"] == "context_length_exceeded"
    (turn,) = setup.fake.turns
    assert turn.json["truncate"] is False


@pytest_twisted.ensureDeferred
async def test_a_growing_conversation_keeps_its_dialect_its_load_and_its_prompt(
    start: Start, reactor_under_test: Any
) -> None:
    setup = await start(fake=fake(reactor_under_test, default_context=16384))
    items = []
    for words in (6000, 2400, 2400, 100):
        items += [item("user", words * "word "), item("assistant", "ok")]
        assert (await setup.ask({"input": items[:-1]})).response["status"] == "completed"
    assert {turn.uri for turn in setup.fake.turns} == {b"/api/chat"}
    assert setup.fake.loads == [("qwen3:14b", 16384)]
    prompts = [turn.effective["messages"] for turn in setup.fake.turns]
    assert all(new[: len(old)] == old for old, new in pairwise(prompts))


@pytest_twisted.ensureDeferred
async def test_a_dense_conversation_locks_no_other_out(
    start: Start, reactor_under_test: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.fake_ollama import prompt

    real = prompt._length
    digits = str.maketrans(dict.fromkeys("0123456789", "1234"))
    monkeypatch.setattr(
        prompt, "_length", lambda m: real(m | {"content": m["content"].translate(digits)})
    )
    setup = await start(fake=fake(reactor_under_test, num_ctx=16384), upstream_api="chat")
    for text in (8000 * "word ", 1200 * "0123456789 ", 8000 * "word "):
        assert (await setup.ask({"input": text})).response["status"] == "completed"


@pytest.mark.parametrize("api", ["auto", "chat"])
@pytest_twisted.ensureDeferred
async def test_an_ollama_that_was_given_more_is_believed_at_once(
    start: Start, reactor_under_test: Any, monkeypatch: pytest.MonkeyPatch, api: str
) -> None:
    monkeypatch.setattr("codex_bridge.engines.contexts.REFUSAL_PAUSE", 0.0)
    server = fake(reactor_under_test, default_context=16384, facts={"trained_ctx": 131072})
    setup = await start(fake=server, upstream_api=api)
    refused = (await setup.ask({"input": LONG}, headers=CODEX)).events[-1]
    assert refused["response"]["error"]["code"] == "context_length_exceeded"
    server.default_context = 65536
    server.loaded.clear()
    assert (await setup.ask({"input": LONG}, headers=CODEX)).response["status"] == "completed"
    assert server.loaded == {"qwen3:14b": 65536}


@pytest.mark.parametrize("api", ["auto", "chat"])
@pytest_twisted.ensureDeferred
async def test_what_another_client_asked_for_refuses_nothing(
    start: Start, reactor_under_test: Any, api: str
) -> None:
    server = fake(reactor_under_test, default_context=32768)
    server.loaded["qwen3:14b"] = 8192
    setup = await start(fake=server, upstream_api=api)
    assert (await setup.ask({"input": LONG})).response["status"] == "completed"
    assert server.loads == [("qwen3:14b", 32768)]


@pytest_twisted.ensureDeferred
async def test_an_ollama_that_was_started_again_with_less_cuts_nothing(
    start: Start, reactor_under_test: Any
) -> None:
    server = fake(reactor_under_test, default_context=32768)
    setup = await start(fake=server)
    for _ in range(2):
        await setup.ask({"input": 12_000 * "word "})
    # Its end closes the kept connections.
    server.default_context = 4096
    server.loaded.clear()
    await server._listening.factory.abort_all()
    await deferLater(reactor_under_test, 0)
    await setup.ask({"input": 12_000 * "word "})
    assert len({turn.effective["prompt_tokens"] for turn in server.turns}) == 1
    assert server.native_chats[-1].json["options"]["num_ctx"] == 32768


@pytest.mark.parametrize("api", ["auto", "chat"])
@pytest_twisted.ensureDeferred
async def test_a_model_remade_with_less_is_cut_only_by_chat_completions_and_once(
    start: Start, reactor_under_test: Any, api: str
) -> None:
    server = fake(reactor_under_test, num_ctx=65536, facts={"trained_ctx": 131072})
    setup = await start(fake=server, upstream_api=api)
    asked = {"input": 12_000 * "word "}
    await setup.ask(asked)
    server.models["qwen3:14b"] = ModelFacts(num_ctx=4096, trained_ctx=131072)
    server.loaded.clear()
    replies = [await setup.ask(asked) for _ in range(3)]
    first, *others = [turn.effective["prompt_tokens"] for turn in server.turns]
    if api == "auto":
        assert others == [first, first, first]
    else:
        (cut,) = others
        assert cut < first
        assert [reply.status for reply in replies] == [200, 400, 400]


@pytest_twisted.ensureDeferred
async def test_an_ollama_that_goes_while_it_is_looked_at_again_is_no_bug_of_the_bridge(
    start: Start, reactor_under_test: Any
) -> None:
    server = fake(reactor_under_test, default_context=16384)
    setup = await start(fake=server)
    await setup.ask()
    answer = server._respond

    async def respond(request: Any, recorded: Any) -> None:
        if request.path == b"/api/generate":
            request.transport.abortConnection()
        else:
            await answer(request, recorded)

    server._respond = respond  # type: ignore[method-assign]
    told = (await setup.ask({"input": LONG}, headers=CODEX)).events[-1]
    assert told["response"]["error"]["code"] == "context_length_exceeded"


def item(role: str, text: str) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": text}


def slow_once(server: FakeOllama, path: bytes) -> Deferred[None]:
    """The first question for `path` is never answered; fires when it has been asked."""
    answer, asked = server._respond, Deferred[None]()

    async def respond(request: Any, recorded: Any) -> None:
        if request.path == path and not asked.called:
            asked.callback(None)
            await Deferred()
        await answer(request, recorded)

    server._respond = respond  # type: ignore[method-assign]
    return asked


@pytest.mark.parametrize("path", [b"/api/version", b"/api/show", b"/api/ps"])
@pytest.mark.parametrize(("settings", "num_ctx"), [({}, 32768), ({"num_ctx": 20_000}, 20_000)])
@pytest_twisted.ensureDeferred
async def test_an_ollama_too_busy_to_tell_of_itself_is_no_other_server(
    reactor_under_test: Any,
    path: bytes,
    settings: Any,
    num_ctx: int,
) -> None:
    time, server = ClockedReactor(), fake(reactor_under_test)
    setup = await harness.start(time, server, **settings)
    asked = slow_once(server, path)
    answer = Deferred.fromCoroutine(setup.ask({"input": 12_000 * "word "}, headers=CODEX))
    await asked
    time.clock.advance(20)
    while not answer.called:
        # The bridge asks again "after 0 s", which is a timer of the clock, too.
        time.clock.advance(0)
        await deferLater(reactor_under_test, 0)
    done = await answer
    await setup.stop()
    assert done.response["status"] == "completed"
    (turn,) = server.turns
    assert (turn.uri, turn.effective["num_ctx"]) == (b"/api/chat", num_ctx)
    assert turn.effective["prompt_tokens"] > 15_000


@pytest_twisted.ensureDeferred
async def test_a_server_that_refuses_with_a_200_is_not_ollama(
    start: Start, reactor_under_test: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.fake_ollama import sides
    from tests.fake_ollama.answers import write_json

    def unexpected(request: Any, body: Any, server: Any) -> None:
        write_json(request, {"error": "Unexpected endpoint or method."})

    for path in ("/api/version", "/api/show", "/api/ps", "/api/chat", "/api/generate"):
        monkeypatch.setitem(sides.ROUTES, path, {"GET": unexpected, "POST": unexpected})
    monkeypatch.setattr("tests.fake_ollama.server.NATIVE", {})
    setup = await start(fake=fake(reactor_under_test, num_ctx=32768))
    assert (await setup.ask()).response["status"] == "completed"
    assert len(setup.fake.chats) == 1


@pytest.mark.parametrize("settings", [{}, {"num_ctx": 8192}, {"upstream_api": "ollama"}])
@pytest_twisted.ensureDeferred
async def test_a_model_in_the_cloud_is_neither_loaded_nor_given_a_context(
    start: Start, reactor_under_test: Any, settings: Any
) -> None:
    facts = {"name": "glm-4.6:cloud", "trained_ctx": 202752}
    setup = await start(fake=fake(reactor_under_test, facts=facts), **settings)
    await setup.ask({"model": "glm-4.6:cloud", "input": LONG})
    assert b"/api/generate" not in {seen.uri for seen in setup.fake.exchanges}
    (turn,) = setup.fake.turns
    assert "num_ctx" not in turn.json.get("options", {})


@pytest.mark.parametrize("effort", [None, "medium"])
@pytest_twisted.ensureDeferred
async def test_a_model_of_which_nothing_is_told_is_not_made_to_think(
    start: Start, reactor_under_test: Any, monkeypatch: pytest.MonkeyPatch, effort: str | None
) -> None:
    from tests.fake_ollama import Rejected, sides

    def busy(request: Any, body: Any, server: Any) -> None:
        raise Rejected(500, "busy")

    monkeypatch.setitem(sides.ROUTES, "/api/show", {"POST": busy})
    facts = {"capabilities": ("completion", "tools")}
    setup = await start(fake=fake(reactor_under_test, facts=facts))
    reply = await setup.ask({"reasoning": {"effort": effort}}, headers=CODEX)
    assert reply.response["status"] == "completed"
    assert setup.fake.native_chats[-1].effective["num_ctx"] == 32768


@pytest_twisted.ensureDeferred
async def test_without_the_guard_ollama_may_cut_and_the_log_tells(
    start: Start, reactor_under_test: Any, logged: Any
) -> None:
    setup = await start(
        fake=fake(reactor_under_test, num_ctx=16384), upstream_api="chat", context_guard=False
    )
    assert (await setup.ask({"input": LONG})).response["status"] == "completed"
    (warning,) = [event for event in logged.events if "counted" in event]
    assert warning["counted"] < 16384


@pytest_twisted.ensureDeferred
async def test_the_models_own_sampling_is_kept(start: Start, reactor_under_test: Any) -> None:
    facts = {"parameters": {"temperature": 0.7, "top_p": 0.8, "stop": ["<|im_end|>"]}}
    setup = await start(fake=fake(reactor_under_test, num_ctx=32768, facts=facts))
    await setup.ask()
    await setup.ask({"temperature": 0.1})
    options = [turn.json["options"] for turn in setup.fake.turns]
    sampling = [(each["temperature"], each["top_p"]) for each in options]
    assert sampling == [(0.7, 0.8), (0.1, 0.8)]


@pytest.mark.parametrize("api", ["chat", "ollama"])
@pytest_twisted.ensureDeferred
async def test_a_model_that_neither_thinks_nor_sees_is_asked_for_neither(
    start: Start, reactor_under_test: Any, api: str
) -> None:
    facts = {"capabilities": ("completion", "tools")}
    setup = await start(fake=fake(reactor_under_test, facts=facts), upstream_api=api)
    image = {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="}
    items = [{"type": "message", "role": "user", "content": [image]}]
    reply = await setup.ask({"input": items, "reasoning": {"effort": "high"}})
    assert reply.response["status"] == "completed"


@pytest_twisted.ensureDeferred
async def test_a_model_that_is_removed_and_made_anew_is_known_anew(
    start: Start, reactor_under_test: Any
) -> None:
    setup = await start(fake=fake(reactor_under_test, num_ctx=32768))
    await setup.ask()
    facts = setup.fake.models.pop("qwen3:14b")
    missing = await setup.ask()
    assert missing.json["error"]["code"] == "model_not_found"
    setup.fake.models["qwen3:14b"] = ModelFacts(num_ctx=None, capabilities=facts.capabilities)
    setup.fake.loads.clear()
    await setup.ask()
    assert setup.fake.loads == [("qwen3:14b", 4096), ("qwen3:14b", 32768)]


@pytest_twisted.ensureDeferred
async def test_a_server_that_is_not_ollama_is_asked_through_chat_completions(
    start: Start, reactor_under_test: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.fake_ollama import sides

    for path in ("/api/version", "/api/show", "/api/ps", "/api/chat"):
        monkeypatch.delitem(sides.ROUTES, path)
    setup = await start(fake=fake(reactor_under_test, num_ctx=32768))
    assert (await setup.ask()).response["status"] == "completed"
    assert len(setup.fake.chats) == 1


@pytest_twisted.ensureDeferred
async def test_a_model_whose_load_fails_is_told_as_it_is(
    start: Start, reactor_under_test: Any
) -> None:
    model = Playlist([Refuse(500, "model requires more system memory")])
    broken = FakeOllama(reactor_under_test, model=model, models=[ModelFacts(num_ctx=None)])
    setup = await start(fake=broken)
    reply = await setup.ask(REQUEST)
    assert "more system memory" in reply.json["error"]["message"]
