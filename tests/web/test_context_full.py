"""An answer that used up the context."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import pytest_twisted

from tests.conftest import Start
from tests.fake_ollama import Finish, Playlist, Say
from tests.harness import CODEX
from tests.responses.grammar import text_of

CONTEXT = 32768
"""Tokens that the fake's model has."""


def cut_at(tokens: int) -> list[Any]:
    counts = {"prompt_tokens": tokens - 10, "completion_tokens": 10, "total_tokens": tokens}
    return [Say("As far as"), Finish("length", counts)]


@pytest.fixture(name="start", params=["chat", "ollama"])
def over_both_dialects(start: Start, request: pytest.FixtureRequest) -> Start:
    return partial(start, upstream_api=request.param)


@pytest_twisted.ensureDeferred
async def test_codex_is_told_so_that_it_compacts_and_has_what_there_is(start: Start) -> None:
    setup = await start(Playlist(cut_at(CONTEXT)))
    response = (await setup.ask(headers=CODEX)).response
    assert response["error"]["code"] == "context_length_exceeded"
    assert str(CONTEXT) in response["error"]["message"]
    assert [text_of(item) for item in response["output"]] == ["As far as"]
    assert len(setup.fake.turns) == 1


@pytest.mark.parametrize(
    ("tokens", "change", "headers", "status"),
    [
        (20_000, {}, CODEX, "completed"),
        (CONTEXT, {"max_output_tokens": 10}, CODEX, "completed"),
        (CONTEXT, {}, {}, "incomplete"),
    ],
    ids=["a limit of the model's own", "a limit of the client's own", "an SDK"],
)
@pytest_twisted.ensureDeferred
async def test_any_other_cut_is_an_end(
    start: Start, tokens: int, change: Any, headers: Any, status: str
) -> None:
    setup = await start(Playlist(cut_at(tokens)))
    response = (await setup.ask(change, headers=headers)).response
    assert response["status"] == status
    assert [text_of(item) for item in response["output"]] == ["As far as"]
