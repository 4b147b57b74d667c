"""Compaction by the bridge, which the real Codex CLI asks of a provider that is named "OpenAI"."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest_twisted
from twisted.internet.threads import deferToThread

from tests.codex import walk
from tests.codex.program import NEEDS_CLI, Codex
from tests.codex.scenario import Json
from tests.codex.test_contexts import is_compaction, texts, used
from tests.conftest import LogBook, Start
from tests.fake_ollama import Answer, Call, Say

pytestmark = NEEDS_CLI
SUMMARY = "Numbers were counted, up to blue-42."


@pytest_twisted.ensureDeferred
async def test_codex_has_the_bridge_compact_and_goes_on_with_the_summary(
    start: Start, codex: Codex, tmp_path: Path, logged: LogBook
) -> None:
    def model(request: Json) -> Answer:
        if any(SUMMARY in text for text in texts(request)):
            return [Say("Went on.")]
        if texts(request, "tool"):
            return [Say(SUMMARY)]
        return [Call("exec_command", {"cmd": "echo one"}), used(19_000)]

    setup = await start(model, seal_key=str(tmp_path / "seal.key"))
    settings = walk.settings(codex.folder, context_window=20_000)
    run = partial(codex.exec_with_provider, setup.url, *settings, "count", name="OpenAI")
    done = await deferToThread(run)
    assert done.code == 0, done.output
    assert "Went on." in done.output
    first, compaction, last = (chat.json for chat in setup.fake.turns)
    # It begins with the whole prompt before it, tools included, which the model has in its cache.
    assert compaction["tools"] == first["tools"]
    assert compaction["messages"][: len(first["messages"])] == first["messages"]
    assert not is_compaction(compaction)
    assert texts(last, "tool") == []
    assert "count" in texts(last)
    # 0.130 posts to /responses/compact; 0.145 and 0.169 end their input in a trigger.
    modes = [event["mode"] for event in logged.events if "compacted" in event.get("mode", "")]
    assert modes in (["whole, compacted"], ["streamed, compacted"])
