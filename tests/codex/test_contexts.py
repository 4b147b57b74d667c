"""Contexts, with the real Codex CLI: what is too long is refused, compacted, and goes on."""

from __future__ import annotations

from typing import Any

import pytest_twisted
from twisted.internet.threads import deferToThread

from tests.codex import walk
from tests.codex.app_server import converse
from tests.codex.conftest import run
from tests.codex.program import NEEDS_CLI, Codex
from tests.codex.scenario import Json
from tests.conftest import Start
from tests.fake_ollama import Answer, Call, Calls, FakeOllama, Finish, ModelFacts, Say

pytestmark = NEEDS_CLI
LONG = [f"seq {n}000000 {n}001000" for n in range(1, 8)]
COMPACTION = "CONTEXT CHECKPOINT COMPACTION"
SUMMARY = "Numbers were counted, up to blue-42."


def texts(request: Json, role: str = "user") -> list[str]:
    return [str(message["content"]) for message in request["messages"] if message["role"] == role]


def is_compaction(request: Json) -> bool:
    return COMPACTION in texts(request)[-1]


@pytest_twisted.ensureDeferred
async def test_codex_compacts_by_the_tokens_it_is_told_and_goes_on(
    start: Start, codex: Codex
) -> None:
    def model(request: Json) -> Answer:
        if is_compaction(request):
            return [Say(SUMMARY)]
        if any(SUMMARY in text for text in texts(request)):
            return [Say("Went on.")]
        return [Call("exec_command", {"cmd": "echo one"}), used(19_000)]

    setup = await start(model)
    done = await run(codex, setup, *walk.settings(codex.folder, context_window=20_000), "count")
    assert done.code == 0, done.output
    assert "Went on." in done.output
    first, compaction, last = (chat.json for chat in setup.fake.turns)
    assert "tools" not in compaction
    # It begins with the conversation so far, which the model has in its cache.
    assert compaction["messages"][1 : len(first["messages"])] == first["messages"][1:]
    assert texts(last, "tool") == []


def used(tokens: int) -> Finish:
    counts = {"prompt_tokens": tokens - 10, "completion_tokens": 10, "total_tokens": tokens}
    return Finish("tool_calls", counts)


@pytest_twisted.ensureDeferred
async def test_a_prompt_that_does_not_fit_is_refused_and_the_next_turn_compacts(
    start: Start, codex: Codex, reactor_under_test: Any
) -> None:
    def model(request: Json) -> Answer:
        if is_compaction(request):
            return [Say(SUMMARY)]
        if any(SUMMARY in text for text in texts(request)):
            return [Say("Went on.")]
        return [Calls(*(Call("exec_command", {"cmd": cmd}) for cmd in LONG))]

    facts = ModelFacts(num_ctx=16384, trained_ctx=16384, template="keep")
    fake = FakeOllama(reactor_under_test, model=model, models=[facts])
    setup = await start(fake=fake)
    # Older versions take one call at a time from a model that no catalog tells them of.
    settings = walk.settings(codex.folder, context_window=400_000)
    ended = await deferToThread(converse, codex, setup.url, ["count", "go on"], settings=settings)
    assert ended == ["failed", "completed"]
    # A prompt that may not fit is sent so that Ollama refuses it and cuts nothing.
    taken = [turn for turn in fake.turns if turn.effective]
    shown = [len(turn.effective["messages"]) for turn in taken if turn.effective]
    assert shown == [len(turn.json["messages"]) for turn in taken]
    kinds = [is_compaction(turn.json) for turn in taken]
    assert kinds == [False, True, False]
    assert any(SUMMARY in text for text in texts(taken[-1].json))
    assert fake.loads == []
