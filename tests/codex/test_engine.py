"""The real Codex CLI, the bridge and a real llama.cpp: a command is run and reported."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor

from codex_bridge.cli.llama_server import LlamaServer
from tests.codex.conftest import run
from tests.codex.program import NEEDS_CLI, OLDEST_AND_NEWEST, Codex
from tests.harness import serve

pytestmark = NEEDS_CLI


@pytest.mark.parametrize("codex", OLDEST_AND_NEWEST, indirect=True)
@pytest_twisted.ensureDeferred
async def test_without_any_setting_a_real_model_runs_a_command_and_reports(
    codex: Codex, llama: LlamaServer, llama_log: Path
) -> None:
    (codex.folder / "marker-42").touch()
    before = llama_log.read_text().count("launch_slot_")
    setup = await serve(reactor, llama.url)
    try:
        # The key word lets the model call `ls`; without a result it calls, with one it reports.
        done = await run(codex, setup, "RUN ls", model="tiny")
    finally:
        await setup.stop()
    assert done.code == 0, done.output
    assert "marker-42" in done.output
    assert done.output.rstrip().endswith("listed above."), done.output
    assert llama_log.read_text().count("launch_slot_") - before == 2


@pytest.mark.parametrize("codex", OLDEST_AND_NEWEST, indirect=True)
@pytest_twisted.ensureDeferred
async def test_a_model_that_the_engine_lacks_is_one_sentence_with_those_that_it_has(
    codex: Codex, llama: LlamaServer
) -> None:
    setup = await serve(reactor, llama.url)
    try:
        done = await run(codex, setup, "RUN ls", model="qwen3:14b")
    finally:
        await setup.stop()
    assert done.code == 1
    assert "llama.cpp has no model qwen3:14b" in done.output
    assert "Its models: tiny" in done.output
