"""Failures, with the real Codex CLI: the user reads one sentence, or none."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from attrs import frozen
from twisted.internet.threads import deferToThread

from tests.codex.program import NEEDS_CLI, OLDEST_AND_NEWEST, Codex, Run
from tests.conftest import Start
from tests.fake_ollama import Answer, Die, Finish, Pause, Refuse, Say
from tests.harness import Setup

# Two versions are enough: all that differs in failures differs between these.
pytestmark = [
    *NEEDS_CLI,
    pytest.mark.parametrize("codex", OLDEST_AND_NEWEST, indirect=True),
]
HALF = [Say("Half an answer."), Die("close")]
SLIP = [Refuse(500, "XML syntax error on line 5: element <parameter> closed by </function>")]


@frozen
class Case:
    """The answers of the model, how many it gives, and what the user reads."""

    answers: list[Answer]
    generations: int
    says: str = ""
    """The one sentence that the user reads; "" if a retry helps."""


CASES = {
    "it breaks off before anything was said, once": Case([[Die("close")], [Say("Done.")]], 2),
    "it breaks off before anything was said": Case(
        [[Die("empty-model")]], 3, "Ollama broke off its answer: an error was encountered while"
    ),
    "a call that cannot be read, once": Case([SLIP, [Say("Done.")]], 2),
    "a call that cannot be read": Case([SLIP], 3, "wrote a tool call that Ollama cannot read"),
    "it says nothing, once": Case([[Finish("stop")], [Say("Done.")]], 2),
    "it says nothing": Case([[Finish("stop")]], 2, "with nothing, though it was asked again"),
    "no memory": Case([[Refuse(500, "model requires more system memory")]], 1, "smaller model"),
    # Text that was shown cannot be taken back, so the bridge leaves the retry to the client.
    "it breaks off in the middle, once": Case([HALF, [Say("Done.")]], 2),
    "it breaks off in the middle": Case([HALF], 6, "Ollama broke off its answer"),
}


def playing(answers: list[Answer]) -> Any:
    """A model that gives these answers, and then repeats the last one."""
    left = list(answers)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


async def ask(codex: Codex, setup: Setup) -> Run:
    done: Run = await deferToThread(codex.exec_with_provider, setup.url, "hello")
    return done


def errors(done: Run) -> set[str]:
    """The lines that report a failure to the user, without those that report a retry.

    `codex exec` prints the last one twice.
    """
    lines = {line for line in done.output.splitlines() if line.startswith("ERROR")}
    return {line for line in lines if "Reconnecting" not in line}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
@pytest_twisted.ensureDeferred
async def test_a_failure_is_one_sentence_or_none(start: Start, codex: Codex, case: Case) -> None:
    setup = await start(playing(case.answers))
    done = await ask(codex, setup)
    assert len(setup.fake.turns) == case.generations, done.output
    if case.says:
        assert done.code == 1
        (line,) = errors(done)
        assert case.says in line
    else:
        assert (done.code, errors(done)) == (0, set()), done.output
        assert "Done." in done.output


@pytest_twisted.ensureDeferred
async def test_a_model_that_is_missing_is_one_sentence_with_the_remedy(
    start: Start, codex: Codex
) -> None:
    setup = await start()
    del setup.fake.models["qwen3:14b"]
    done = await ask(codex, setup)
    (line,) = errors(done)
    assert line.endswith("Model qwen3:14b is not in Ollama. Run: ollama pull qwen3:14b")
    assert done.code == 1


@pytest_twisted.ensureDeferred
async def test_an_ollama_that_is_down_is_one_sentence_with_the_remedy(
    start: Start, codex: Codex
) -> None:
    setup = await start()
    await setup.fake.stop()
    done = await ask(codex, setup)
    (line,) = errors(done)
    assert f"Ollama does not answer at {setup.fake.url}: connection refused." in line
    assert done.code == 1


@pytest_twisted.ensureDeferred
async def test_a_long_prefill_outlives_codexs_patience(start: Start, codex: Codex) -> None:
    # Codex gives up after 4 s of silence. A busy machine may delay a heartbeat by nearly as much.
    setup = await start(lambda _: [Pause(6), Say("Done.")], heartbeat=0.2, grace=0.2)
    codex.write_provider(setup.url, "stream_idle_timeout_ms = 4000")
    done = await deferToThread(codex.exec_as_configured, "hello")
    assert (done.code, errors(done)) == (0, set()), done.output
    assert len(setup.fake.turns) == 1
