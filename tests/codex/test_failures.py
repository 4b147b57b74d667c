"""Failures, with the real Codex CLI: the user reads one sentence, or none."""

from __future__ import annotations

import time
from typing import Any

import pytest
import pytest_twisted
from attrs import define, frozen
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from codex_bridge.engines.budget import SECONDS, Phase
from tests.codex.program import NEEDS_CLI, OLDEST_AND_NEWEST, Codex, Run
from tests.conftest import LogBook, Start
from tests.fake_ollama import Answer, Die, Finish, Hold, ModelFacts, Pause, Refuse, Say
from tests.harness import Setup, serve
from tests.plays import Stage

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
    "a call that cannot be read": Case(
        [SLIP], 3, "Ollama cannot read the tool call that qwen3:14b wrote"
    ),
    "it says nothing, once": Case([[Finish("stop")], [Say("Done.")]], 2),
    "it says nothing": Case([[Finish("stop")]], 2, "with nothing, though it was asked again"),
    "no memory": Case([[Refuse(500, "model requires more system memory")]], 1, "smaller model"),
    # Each of Codex's six requests is gone on with once.
    "it breaks off in the middle": Case([HALF], 12, "Ollama broke off its answer"),
}


@define
class Machine:
    """The clocks by which the bridge notices that the machine slept."""

    asleep: float = 0.0

    def clock_gettime(self, clock: int) -> float:
        return time.monotonic() + self.asleep

    def monotonic(self) -> float:
        return time.monotonic()


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
    assert line.endswith("Ollama has no model qwen3:14b. Run: ollama pull qwen3:14b")
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
async def test_codex_starts_while_ollama_restarts(
    start: Start, codex: Codex, reactor_under_test: Any
) -> None:
    setup = await start(lambda _: [Say("Done.")])
    await setup.fake.stop()
    reactor_under_test.callLater(4, setup.fake.listen, setup.fake.port)
    done = await deferToThread(codex.exec, setup.url, "hello")
    assert (done.code, errors(done)) == (0, set()), done.output
    assert "Done." in done.output
    assert setup.fake.exchanges[0].uri == b"/v1/models"


@pytest_twisted.ensureDeferred
async def test_a_long_prefill_outlives_codexs_patience(start: Start, codex: Codex) -> None:
    # Codex gives up after 4 s of silence. A busy machine may delay a heartbeat by nearly as much.
    setup = await start(lambda _: [Pause(6), Say("Done.")], heartbeat=0.2, grace=0.2)
    codex.write_provider(setup.url, "stream_idle_timeout_ms = 4000")
    done = await deferToThread(codex.exec_as_configured, "hello")
    assert (done.code, errors(done)) == (0, set()), done.output
    assert len(setup.fake.turns) == 1


@pytest_twisted.ensureDeferred
async def test_an_answer_that_breaks_off_in_the_middle_goes_on_unnoticed(
    start: Start, codex: Codex
) -> None:
    setup = await start(playing([HALF, [Say(" And the rest. Done.")]]))
    done = await ask(codex, setup)
    assert (done.code, errors(done)) == (0, set()), done.output
    assert "Half an answer. And the rest. Done." in done.output
    assert "Reconnecting" not in done.output
    assert (len(setup.fake.turns), len(setup.fake.renderings)) == (2, 1)


@pytest_twisted.ensureDeferred
async def test_text_that_cannot_be_gone_on_with_is_repeated_by_codex(
    start: Start, codex: Codex
) -> None:
    # Text that was shown cannot be taken back, so the bridge leaves the retry to the client.
    setup = await start(playing([HALF, [Say("Done.")]]))
    setup.fake.models["qwen3:14b"] = ModelFacts(goes_on=False)
    done = await ask(codex, setup)
    assert (done.code, errors(done)) == (0, set()), done.output
    assert "Reconnecting" in done.output
    assert len(setup.fake.turns) == 2


@pytest_twisted.ensureDeferred
async def test_an_endless_error_body_is_one_sentence(
    codex: Codex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SECONDS, Phase.REFUSAL, 0.5)
    head = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 100\r\n\r\n"
    stage = Stage(reactor, (head + b"no such grammar", "hang"))
    setup = await serve(reactor, stage.url)
    done = await ask(codex, setup)
    (line,) = errors(done)
    assert line.endswith("The model server refused the request (500): no such grammar")
    assert (done.code, stage.requests) == (1, 1)
    await setup.stop()
    await stage.stop()


@pytest_twisted.ensureDeferred
async def test_a_stream_that_stays_open_behind_its_finish_reason_is_no_failure(
    codex: Codex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SECONDS, Phase.TAIL, 0.5)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    text = b'data: {"model":"m","choices":[{"delta":{"content":"Done."}}]}\n\n'
    stop = b'data: {"model":"m","choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
    stage = Stage(reactor, (head + text + stop, "hang"))
    setup = await serve(reactor, stage.url)
    done = await ask(codex, setup)
    assert (done.code, errors(done)) == (0, set()), done.output
    assert "Done." in done.output
    assert stage.requests == 1
    await setup.stop()
    await stage.stop()


@pytest.mark.parametrize("engine", ["lives on", "died"])
@pytest_twisted.ensureDeferred
async def test_a_lid_that_is_closed_for_two_hours_in_mid_answer_loses_nothing(
    start: Start, codex: Codex, monkeypatch: pytest.MonkeyPatch, engine: str, logged: LogBook
) -> None:
    machine = Machine()
    monkeypatch.setattr("codex_bridge.sleep.time", machine)
    monkeypatch.setattr("codex_bridge.sleep.CHECK_EVERY", 0.05)
    woken: Deferred[None] = Deferred()
    rest = [Say(" And the rest. Done.")]
    first = [
        Say("Half an answer."),
        Hold(woken),
        *(rest if engine == "lives on" else [Die("reset")]),
    ]
    setup = await start(playing([first, rest]))
    asking = Deferred.fromCoroutine(ask(codex, setup))
    await setup.fake.chat_seen()
    machine.asleep += 7200
    while not any("slept" in (event.get("log_format") or "") for event in logged.events):
        await deferLater(reactor, 0.05)
    woken.callback(None)
    done = await asking
    assert (done.code, errors(done)) == (0, set()), done.output
    assert "Half an answer. And the rest. Done." in done.output
    assert "Reconnecting" not in done.output
