"""A Codex that takes one call in a response gets one, whatever the model wrote."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted

from tests.codex import walk
from tests.codex.conftest import run
from tests.codex.program import NEEDS_CLI, OLDEST_AND_NEWEST, Codex
from tests.codex.scenario import Chat
from tests.conftest import Start
from tests.fake_ollama import Call, Playlist, Say

pytestmark = NEEDS_CLI
ONE_CALL: dict[str, Any] = {
    # By what the catalog says of the model; in its short form 0.169 always asks for one call.
    "0.130.0": {"supports_parallel_tool_calls": False},
    "0.169.0": {"use_responses_lite": True},
}


@pytest.mark.parametrize("codex", OLDEST_AND_NEWEST, indirect=True)
@pytest.mark.parametrize("is_one", [True, False])
@pytest_twisted.ensureDeferred
async def test_two_calls_in_an_answer_are_one_or_two(
    start: Start, codex: Codex, is_one: bool
) -> None:
    if codex.version not in ONE_CALL:
        pytest.skip("not known by which words this version asks for one call")
    calls = [Call("exec_command", {"cmd": f"echo {name} > {name}.txt"}) for name in "ab"]
    setup = await start(Playlist(calls, [Say("Done.")]))
    model = ONE_CALL[codex.version] if is_one else {}
    done = await run(codex, setup, *walk.settings(codex.folder, **model), "Make the files.")
    assert done.code == 0, done.output
    made = sorted(path.name for path in codex.folder.glob("*.txt"))
    assert made == (["a.txt"] if is_one else ["a.txt", "b.txt"])
    first, second = setup.fake.turns
    assert len(Chat(first.json).calls) == 0
    assert len(Chat(second.json).calls) == len(Chat(second.json).results) == len(made)
