"""The real Codex CLI, started twice: at the second start the model reads ahead."""

from __future__ import annotations

import pytest
import pytest_twisted

from tests.codex.conftest import run
from tests.codex.program import NEEDS_CLI, OLDEST_AND_NEWEST, Codex
from tests.conftest import Start
from tests.fake_ollama import Recorded, Say
from tests.web.test_read_ahead import asked_for

pytestmark = NEEDS_CLI


@pytest.mark.parametrize("codex", OLDEST_AND_NEWEST, indirect=True)
@pytest_twisted.ensureDeferred
async def test_at_the_second_start_the_model_reads_what_the_turn_will_begin_with(
    start: Start, codex: Codex
) -> None:
    turns: dict[bool, list[Recorded]] = {}
    for reads_ahead in (True, False):
        setup = await start(lambda _: [Say("Hello.")], read_ahead=reads_ahead)
        for _ in range(2):
            done = await run(codex, setup, "hi")
            assert done.code == 0, done.output
            # The time of the model is over, so what it has read is gone.
            setup.fake.loaded.clear()
        turns[reads_ahead] = setup.fake.turns
        health = (await setup.request("GET", "/__health")).json
        assert health["exchanges"]["served"] == 2
    first, ahead, second = turns[True]
    assert ahead.json["messages"][1:] == [{"role": "user", "content": "."}]
    assert asked_for(first) == asked_for(ahead) == asked_for(second)
    assert len(ahead.json["messages"][0]["content"]) > 10_000
    assert [first.body, second.body] == [turn.body for turn in turns[False]]
