"""What a real llama.cpp has to read in a first turn, after it has read ahead."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
import pytest_twisted

from codex_bridge.cli.llama_server import LlamaServer
from codex_bridge.responses.request import read
from tests.engine.conftest import Bridge
from tests.engine.test_engine import is_busy
from tests.harness import CODEX, Setup
from tests.tools.declared import CODEX as TOOLS
from tests.web.test_read_ahead import counts, probe

Json = dict[str, Any]
DEVELOPER = {"type": "message", "role": "developer", "content": "You may write files. " * 10}
NUMBERS = count()
POLLS = 1000
"""Requests, each of which takes some milliseconds."""


def first_turn(words: str, *leading: Json) -> Json:
    """A turn with instructions that no other test of this process has."""
    user = {"type": "message", "role": "user", "content": f"{words} TALK"}
    return {
        "model": "tiny",
        "instructions": f"{next(NUMBERS)} reads ahead. " + "Follow the instructions. " * 60,
        "input": [*leading, user],
        "tools": TOOLS,
        "max_output_tokens": 8,
    }


async def share_read_before(setup: Setup, body: Json) -> float:
    """Ask for a turn; how much of its prompt the engine had in its cache."""
    response = (await setup.ask(body, CODEX)).response
    assert response["status"] == "completed"
    usage = response["usage"]
    assert usage["input_tokens"] > 1000
    share: float = usage["input_tokens_details"]["cached_tokens"] / usage["input_tokens"]
    return share


@pytest_twisted.ensureDeferred
async def test_after_codexs_start_the_first_turn_reads_only_the_users_words(
    llama: LlamaServer, bridge_to: Bridge
) -> None:
    setup = await bridge_to(llama.url)
    body = first_turn("go", DEVELOPER)
    assert await share_read_before(setup, body) < 0.1
    await share_read_before(setup, first_turn("another"))
    await probe(setup)
    polls = 0
    while (await counts(setup))["done"] == 0:
        polls += 1
        assert polls < POLLS, "it does not read ahead"
    user = {"type": "message", "role": "user", "content": "Now tell me of all your files. TALK"}
    assert await share_read_before(setup, body | {"input": [DEVELOPER, user]}) > 0.95


@pytest.mark.parametrize("path", ["/v1/responses", "/api/chat"])
@pytest_twisted.ensureDeferred
async def test_a_request_that_comes_while_the_engine_reads_ahead_is_answered(
    llama: LlamaServer, bridge_to: Bridge, path: str
) -> None:
    setup = await bridge_to(llama.url)
    long = first_turn("go") | {"input": [DEVELOPER | {"content": "You may write files. " * 1500}]}
    reading = setup.service.read_ahead.begin(read(long))
    polls = 0
    while not await is_busy(setup):
        polls += 1
        assert polls < POLLS, "it does not read ahead"
    if path == "/v1/responses":
        assert await share_read_before(setup, first_turn("another")) < 0.1
    else:
        messages = [{"role": "user", "content": "go TALK"}]
        chat = {"model": "tiny", "messages": messages, "stream": False}
        assert (await setup.request("POST", path, chat)).status == 200
    await reading
    assert await counts(setup) == {"done": 0, "cancelled": 1}
