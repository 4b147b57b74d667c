"""`codex-bridge exam` with the real Codex CLI, over a scripted model that has one vice."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from tests.cli.command import Done, run
from tests.codex.program import NEEDS_CLI, OLDEST_AND_NEWEST, Codex
from tests.exam.vices import VICES, scripted
from tests.fake_ollama import FakeOllama

pytestmark = NEEDS_CLI
TASKS = {"run a command": 2, "schema without a tool": 1}
"""Task -> how often a model that has no vice is asked."""


@pytest.mark.parametrize("codex", OLDEST_AND_NEWEST, indirect=True)
@pytest_twisted.ensureDeferred
async def test_the_exam_tells_what_mending_is_worth(codex: Codex) -> None:
    vice = next(vice for vice in VICES if vice.model == "wrong-names")
    fake = FakeOllama(reactor, scripted([vice]), models=[vice.facts])
    fake.listen()
    options = ["--upstream-url", fake.url, "--codex", str(codex.program), "--no-sandbox", "--json"]
    try:
        done: Done = await deferToThread(
            run, "exam", "wrong-names", "--tasks", ",".join(TASKS), *options
        )
    finally:
        await fake.stop()
    assert (done.code, done.err) == (0, "")
    told: Any = orjson.loads(done.out)
    assert (told["server"], told["codex"]) == ("Ollama 0.33.0", codex.version)
    mended = {task["name"]: task["mended"] for task in told["tasks"]}
    assert {name: each["generations"] for name, each in mended.items()} == TASKS
    assert all(each["passed"] for each in mended.values()), mended
    plain = {task["name"]: task["plain"]["passed"] for task in told["tasks"]}
    assert plain == {"run a command": False, "schema without a tool": True}
    assert told["worth"]["stand-in name"] == {"passed": 1, "gained": 1}
