"""A model without tools at work for the real Codex CLI."""

from __future__ import annotations

from typing import Any

import pytest_twisted

from tests.codex.conftest import run
from tests.codex.program import NEEDS_CLI, Codex
from tests.conftest import LogBook, Start
from tests.fake_ollama import Answer, FakeOllama, ModelFacts, Say

pytestmark = NEEDS_CLI
FACTS = ModelFacts(name="gemma3:4b", capabilities=("completion",), num_ctx=32768)


def model(request: Any) -> Answer:
    last = request["messages"][-1]["content"]
    if "<tool_response" in last:
        return [Say("It works." if "8*5=40" in last else "It does not.")]
    call = '{"name": "exec_command", "arguments": {"cmd": "echo 8*5=$((8*5))"}}'
    return [Say(f"I count.\n<tool_call>\n{call}\n</tool_call>")]


@pytest_twisted.ensureDeferred
async def test_a_model_without_tools_runs_a_command_and_reads_its_result(
    start: Start, codex: Codex, reactor_under_test: Any, logged: LogBook
) -> None:
    setup = await start(fake=FakeOllama(reactor_under_test, model=model, models=[FACTS]))
    done = await run(codex, setup, "count", model="gemma3:4b")
    assert done.code == 0, done.output
    assert "It works." in done.output
    first, second = (chat.json["messages"] for chat in setup.fake.turns)
    assert second[: len(first)] == first
    notes = [event for event in logged.events if "has no tools" in event.get("line", "")]
    assert len(notes) == 1
