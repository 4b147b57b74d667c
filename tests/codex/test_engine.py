"""The real Codex CLI, the bridge and a real llama.cpp: a command is run and reported."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.logger import formatEvent

from codex_bridge.cli.llama_server import LlamaServer
from tests.cli.command import call
from tests.codex.conftest import run
from tests.codex.program import NEEDS_CLI, OLDEST_AND_NEWEST, Codex
from tests.conftest import LogBook
from tests.engine.llama import llama_server
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


@pytest.mark.parametrize("codex", OLDEST_AND_NEWEST[-1:], indirect=True)
@pytest_twisted.ensureDeferred
async def test_as_configured_codex_compacts_before_the_engines_own_context_is_full(
    codex: Codex, tmp_path: Path, logged: LogBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(60):
        (codex.folder / f"a-file-with-a-rather-long-name-{n}").touch()
    monkeypatch.setenv("PATH", f"{codex.program.parent}{os.pathsep}{os.environ['PATH']}")
    with llama_server(log=tmp_path / "engine.log", context=4096) as engine:
        setup = await serve(reactor, engine.url)
        try:
            configured = await deferToThread(call, codex.home, "--bridge-url", setup.url)
            assert configured.code == 0, configured.err
            assert "tiny, 4,096 tokens" in configured.out
            for arguments in ([], *4 * [["resume", "--last"]]):
                done = await deferToThread(codex.exec_with_profile, *arguments, "RUN ls")
                assert done.code == 0, done.output
        finally:
            await setup.stop()
    lines = [str(formatEvent(event)) for event in logged.events]
    sizes = [int(found[1]) for line in lines if (found := re.search(r" (\d+) in, ", line))]
    # Five turns would have made more than 5,000 tokens.
    assert 4096 * 0.7 < max(sizes) < 4096 * 0.93
    assert sizes[-1] < max(sizes)
    assert not any("context_length_exceeded" in line for line in lines)
