"""Contexts over the wire: what Ollama is asked for, what it loads, what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted

from codex_bridge.fake_ollama import FakeOllama, ModelFacts, Playlist, Refuse, Say
from tests.conftest import Start
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
async def test_an_ollama_that_allocates_enough_is_asked_for_nothing(
    start: Start, reactor_under_test: Any
) -> None:
    setup = await start(fake=fake(reactor_under_test, default_context=32768))
    for _ in range(2):
        await setup.ask()
    assert len(setup.fake.chats) == 2
    assert setup.fake.loads == [("qwen3:14b", 32768)]


@pytest.mark.parametrize(
    ("settings", "loads", "keep_alive"),
    [
        ({"num_ctx": 20_000}, [("qwen3:14b", 20_000)], None),
        ({"num_ctx": 99_000}, [("qwen3:14b", 40_960)], None),
        ({"upstream_api": "ollama"}, [("qwen3:14b", 32_768)], None),
        ({"upstream_api": "chat"}, [("qwen3:14b", 4096)], None),
        ({"upstream_api": "ollama", "keep_alive": "-1"}, [("qwen3:14b", 32_768)], -1),
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


@pytest.mark.parametrize("api", ["chat", "ollama"])
@pytest_twisted.ensureDeferred
async def test_what_does_not_fit_is_refused_before_it_is_sent(
    start: Start, reactor_under_test: Any, api: str
) -> None:
    setup = await start(fake=fake(reactor_under_test, num_ctx=16384), upstream_api=api)
    reply = await setup.ask({"input": LONG})
    assert reply.status == 400
    assert reply.json["error"]["code"] == "context_length_exceeded"
    told = (await setup.ask({"input": LONG}, headers=CODEX)).events[-1]
    assert told["response"]["error"]["code"] == "context_length_exceeded"
    assert setup.fake.turns == []
    assert (await setup.ask()).response["status"] == "completed"


@pytest_twisted.ensureDeferred
async def test_what_passes_in_doubt_is_not_cut_by_ollama_either(
    start: Start, reactor_under_test: Any
) -> None:
    setup = await start(fake=fake(reactor_under_test, num_ctx=16384), upstream_api="ollama")
    # Four characters a token, where the guard allows for five.
    told = (await setup.ask({"input": 13_500 * "word "}, headers=CODEX)).events[-1]
    assert told["response"]["error"]["code"] == "context_length_exceeded"
    assert len(setup.fake.turns) == 1


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
    sampling = [(turn.json["temperature"], turn.json["top_p"]) for turn in setup.fake.turns]
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
    await setup.ask()
    assert len(setup.fake.native_chats) == 1


@pytest_twisted.ensureDeferred
async def test_a_server_that_is_not_ollama_is_asked_through_chat_completions(
    start: Start, reactor_under_test: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from codex_bridge.fake_ollama import sides

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
