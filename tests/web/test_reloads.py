"""Other programs that use Codex's model with another context: who notices, and what helps."""

from __future__ import annotations

import re
from typing import Any

import pytest
import pytest_twisted
from twisted.logger import LogLevel, formatEvent

from tests.conftest import LogBook, Start
from tests.fake_ollama import FakeOllama, ModelFacts, Playlist, Say
from tests.harness import Setup

NAME = "qwen3:14b"
OTHER = {"model": NAME, "messages": [{"role": "user", "content": "hi"}]}
BARE = ModelFacts(num_ctx=None)


def fake(reactor: Any, *models: ModelFacts) -> FakeOllama:
    answers = Playlist(*(99 * [[Say("ok")]]))
    return FakeOllama(reactor, model=answers, models=models or [BARE], loaded=False)


def warnings(logged: LogBook) -> list[str]:
    return [str(formatEvent(event)) for event in logged.at(LogLevel.warn)]


async def take_turns(setup: Setup, rounds: int, path: str = "/api/chat") -> None:
    """Codex and another program use the model by turns, through the bridge."""
    for _ in range(rounds):
        assert (await setup.ask()).response["status"] == "completed"
        assert (await setup.request("POST", path, OTHER | {"prompt": "hi"})).status == 200


async def reloads(setup: Setup) -> Any:
    return (await setup.request("GET", "/__health")).json["models"][NAME]["reloads"]


@pytest_twisted.ensureDeferred
async def test_a_program_without_a_context_is_told_once_and_what_is_advised_helps(
    start: Start, reactor_under_test: Any, logged: LogBook
) -> None:
    setup = await start(fake=fake(reactor_under_test))
    await take_turns(setup, 12)
    (told,) = warnings(logged)
    assert told.startswith(f"{NAME}: Ollama loaded it anew 3 times in the last 4 requests")
    assert await reloads(setup) == 10
    # Ollama is started again as the log advises.
    advised = re.search(r"OLLAMA_CONTEXT_LENGTH=(\d+)", told)
    assert advised is not None
    setup.fake.default_context = int(advised[1])
    setup.fake.loaded.clear()
    setup.fake.loads.clear()
    await take_turns(setup, 11)
    assert setup.fake.loads == [(NAME, 32768)]
    assert await reloads(setup) == 0


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
@pytest_twisted.ensureDeferred
async def test_with_a_shared_context_nothing_is_loaded_anew(
    start: Start, reactor_under_test: Any, logged: LogBook, path: str
) -> None:
    setup = await start(fake=fake(reactor_under_test), share_context=True)
    await take_turns(setup, 10, path)
    # One load to see what there is, one to get enough.
    assert setup.fake.loads == [(NAME, 4096), (NAME, 32768)]
    assert warnings(logged) == []


@pytest_twisted.ensureDeferred
async def test_a_model_whose_time_is_over_is_loaded_without_a_word(
    start: Start, reactor_under_test: Any, logged: LogBook
) -> None:
    setup = await start(fake=fake(reactor_under_test))
    for _ in range(12):
        await setup.ask()
        setup.fake.loaded.clear()
    assert len(setup.fake.loads) > 12
    assert (warnings(logged), await reloads(setup)) == ([], 0)


@pytest_twisted.ensureDeferred
async def test_two_models_for_which_there_is_no_room_at_once_are_loaded_without_a_word(
    start: Start, reactor_under_test: Any, logged: LogBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = ModelFacts("qwen3:4b", num_ctx=None)
    setup = await start(fake=fake(reactor_under_test, BARE, second))
    load = setup.fake._load

    def alone(name: str, context: int) -> bool:
        for other in set(setup.fake.loaded) - {name}:
            del setup.fake.loaded[other]
        return load(name, context)

    monkeypatch.setattr(setup.fake, "_load", alone)
    for _ in range(12):
        await setup.ask()
        await setup.ask({"model": "qwen3:4b"})
    assert len(setup.fake.loads) > 24
    assert (warnings(logged), await reloads(setup)) == ([], 0)


@pytest_twisted.ensureDeferred
async def test_while_nothing_is_loaded_ollama_is_not_asked_what_is_loaded(
    start: Start, reactor_under_test: Any
) -> None:
    setup = await start(fake=fake(reactor_under_test))
    for _ in range(2):
        await setup.ask()
    setup.fake.exchanges.clear()
    for _ in range(5):
        await setup.ask()
    assert {seen.uri for seen in setup.fake.exchanges} == {b"/api/chat"}
