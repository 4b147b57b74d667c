"""`codex-bridge configure`, and what the real Codex CLI makes of it."""

from __future__ import annotations

import json
import os
import re
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from codex_bridge.cli.codex_config import PROFILE
from codex_bridge.cli.codex_program import own_instructions
from codex_bridge.clients.instructions import INSTRUCTIONS
from tests.cli.command import Done, call
from tests.codex import mcp_server
from tests.codex.program import NEEDS_CLI, Codex, Run
from tests.codex.scenario import Chat, Json
from tests.conftest import Start
from tests.fake_ollama import Call, FakeOllama, ModelFacts, Playlist, Say

pytestmark = NEEDS_CLI
MINE = b"# mine\nmodel_verbosity = 'low'  # keep\n"
MODELS = (
    ModelFacts("qwen3:14b", ("completion", "tools", "thinking"), num_ctx=24576),
    ModelFacts("qwen3:4b", ("completion", "tools"), num_ctx=16384),
)
PATCH = """\
*** Begin Patch
*** Update File: notes.txt
@@
-old
+new
*** End Patch
"""


@pytest.fixture(name="start")
def without_reading_ahead(start: Start) -> Start:
    """Over WebSocket Codex prepares its first turn; what the model then reads is no turn."""
    return partial(start, read_ahead=False)


@pytest.fixture
def codex_in_path(codex: Codex, monkeypatch: pytest.MonkeyPatch) -> Codex:
    monkeypatch.setenv("PATH", f"{codex.program.parent}{os.pathsep}{os.environ['PATH']}")
    return codex


async def configured(codex: Codex, *arguments: str) -> Done:
    done: Done = await deferToThread(call, codex.home, *arguments)
    assert done.code == 0, done.err
    return done


async def run(codex: Codex, *arguments: str) -> Run:
    done: Run = await deferToThread(codex.exec_with_profile, *arguments)
    assert done.code == 0, done.output
    # Codex would say: "Model metadata for … not found".
    assert "etadata" not in done.output
    assert "ERROR" not in done.output
    return done


def windows(home: Path) -> set[int]:
    """The context windows that the sessions of a home recorded."""
    texts = [path.read_text() for path in home.rglob("rollout-*.jsonl")]
    found = [re.findall(r'"model_context_window":(\w+)', text) for text in texts]
    return {int(each) for window in found for each in window}


@pytest_twisted.ensureDeferred
async def test_codex_knows_the_models_until_it_is_undone(
    start: Start, codex_in_path: Codex, reactor_under_test: Any
) -> None:
    codex = codex_in_path
    (codex.home / "config.toml").write_bytes(MINE)
    (codex.folder / "notes.txt").write_text("old\n")
    model = Playlist([Call("apply_patch", {"input": PATCH})], [Say("Done.")], [Say("Hello.")])
    fake = FakeOllama(reactor_under_test, model=model, models=MODELS)
    setup = await start(fake=fake)
    await configured(codex, "--bridge-url", setup.url)

    await run(codex, "mend the notes")
    assert (codex.folder / "notes.txt").read_text() == "new\n"
    first, second = [chat.json for chat in fake.turns]
    assert first["model"] == "qwen3:14b"
    assert first["messages"][0]["content"].startswith(INSTRUCTIONS.rstrip())
    names = [tool["function"]["name"] for tool in first["tools"]]
    assert {"apply_patch", "exec_command"} <= set(names)
    assert second["messages"][-1]["role"] == "tool"
    assert windows(codex.home) == {24576 * 93 // 100}

    await run(codex, "-m", "qwen3:4b", "hi")
    assert fake.turns[-1].json["model"] == "qwen3:4b"
    assert windows(codex.home) == {24576 * 93 // 100, 16384 * 93 // 100}

    # Newer versions get a profile file of its own. Then config.toml is not ours, and undoing
    # leaves in it what Codex itself noted there: which folders it trusts.
    config = codex.home / "config.toml"
    before = config.read_bytes() if (codex.home / PROFILE).exists() else MINE
    await configured(codex, "--undo")
    assert config.read_bytes() == before
    assert before.startswith(MINE)
    assert not list(codex.home.glob("*bridge*"))


@pytest_twisted.ensureDeferred
async def test_of_very_many_tools_the_model_sees_those_that_it_finds(
    start: Start, codex_in_path: Codex, reactor_under_test: Any
) -> None:
    codex = codex_in_path
    server = [sys.executable, mcp_server.__file__, "120"]
    (codex.home / "config.toml").write_text(
        f"[mcp_servers.demo]\ncommand = {json.dumps(server[0])}\nargs = {json.dumps(server[1:])}\n"
    )

    def reverse(request: Json) -> list[Any]:
        (name,) = (n for n in Chat(request).functions if n.endswith("reverse_text"))
        return [Call(name, {"text": "abc"})]

    turns = iter(
        [
            lambda _: [Call("tool_search", {"query": "reverse a text", "limit": 1})],
            reverse,
            lambda _: [Say("Done.")],
        ]
    )
    fake = FakeOllama(reactor_under_test, model=lambda request: next(turns)(request), models=MODELS)
    setup = await start(fake=fake)
    await configured(codex, "--bridge-url", setup.url)
    await run(codex, "reverse it")
    chats = [Chat(turn.json) for turn in fake.turns]
    assert "tool_search" in chats[0].functions
    assert len(chats[0].functions) <= 13
    assert not any("idle" in name for name in chats[0].functions)
    assert len(json.dumps(chats[0].request["tools"])) < 5_000
    # A search that finds one tool adds one: the tools before it keep their places.
    assert chats[1].functions[: len(chats[0].functions)] == chats[0].functions
    assert "reversed: cba" in chats[2].results[-1]


@pytest_twisted.ensureDeferred
async def test_codexs_own_instructions_are_told_on_request(
    start: Start, codex_in_path: Codex, reactor_under_test: Any
) -> None:
    fake = FakeOllama(reactor_under_test, model=Playlist([Say("Hello.")]), models=MODELS)
    setup = await start(fake=fake)
    await configured(codex_in_path, "--bridge-url", setup.url, "--instructions", "codex")
    await run(codex_in_path, "hi")
    system = fake.turns[0].json["messages"][0]["content"]
    assert len(system) > 15_000
    assert system.startswith(await deferToThread(own_instructions))
