"""The real Codex CLI, the bridge and a real llama.cpp: a command is run and reported."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from codex_bridge.cli.llama_server import LlamaServer
from tests.codex.program import NEEDS_CLI, OLDEST_AND_NEWEST, Codex
from tests.harness import serve

pytestmark = NEEDS_CLI


@pytest.mark.parametrize("codex", OLDEST_AND_NEWEST, indirect=True)
@pytest_twisted.ensureDeferred
async def test_a_real_model_runs_a_command_and_reports(
    codex: Codex, llama: LlamaServer, llama_log: Path
) -> None:
    (codex.folder / "marker-42").touch()
    before = llama_log.read_text().count("launch_slot_")
    setup = await serve(reactor, llama.url)
    try:
        # The key word lets the model call `ls`; without a result it calls, with one it reports.
        run = await deferToThread(codex.exec_with_provider, setup.url, "RUN ls")
    finally:
        await setup.stop()
    assert run.code == 0, run.output
    assert "marker-42" in run.output
    assert run.output.rstrip().endswith("listed above."), run.output
    assert llama_log.read_text().count("launch_slot_") - before == 2
