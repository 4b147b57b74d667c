"""Compaction over a real llama.cpp: what its prompt cache saves."""

from __future__ import annotations

import pytest
import pytest_twisted

from codex_bridge.cli.llama_server import LlamaServer
from codex_bridge.web import exchange
from tests.engine.conftest import Bridge
from tests.engine.test_engine import ask, kept, user
from tests.harness import Setup

Json = dict[str, object]
TRIGGER = {"type": "compaction_trigger"}
HISTORY = [
    user("list the files"),
    {
        "type": "function_call",
        "name": "exec_command",
        "arguments": '{"cmd": "ls /tmp"}',
        "call_id": "1",
    },
    {"type": "function_call_output", "call_id": "1", "output": "notes.txt\nlog.txt\n" * 100},
]
TALK = "Hello! I am a tiny local model."


@pytest.fixture
def talks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model writes a text for a summary: it chooses its answer by the last word."""
    asked = [turn | {"content": f"{turn['content']} TALK"} for turn in exchange.ASKED]
    monkeypatch.setattr(exchange, "ASKED", tuple(asked))


async def after_a_turn(setup: Setup) -> tuple[Json, Json]:
    """The responses to a turn, and to the wish to compact what was said by then."""
    turn = await ask(setup, *HISTORY)
    return turn, await ask(setup, *HISTORY, *turn["output"], TRIGGER)


@pytest_twisted.ensureDeferred
async def test_a_compaction_reads_only_what_was_not_read_before(
    llama: LlamaServer, bridge_to: Bridge, talks: None
) -> None:
    setup = await bridge_to(llama.url, seal_key="/dev/null/none")
    turn, compaction = await after_a_turn(setup)
    (item,) = compaction["output"]
    assert item["type"] == "compaction"
    read = turn["usage"]["input_tokens"]
    assert read > 1000
    assert compaction["usage"]["input_tokens_details"]["cached_tokens"] >= read
    after = await ask(setup, HISTORY[0], item, user("go on TALK"))
    assert kept(after) == [("message", TALK)]
    assert after["usage"]["input_tokens"] < read


@pytest_twisted.ensureDeferred
async def test_a_model_that_only_calls_gets_no_summary_taken_from_its_calls(
    llama: LlamaServer, bridge_to: Bridge
) -> None:
    setup = await bridge_to(llama.url, seal_key="/dev/null/none")
    _, compaction = await after_a_turn(setup)
    assert compaction["status"] == "failed"
    assert "did not write a summary" in compaction["error"]["message"]
