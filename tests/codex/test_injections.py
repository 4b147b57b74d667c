"""Nothing that a model only quotes is run by the real Codex CLI, whose sandbox is off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import pytest_twisted

from tests.codex import styles
from tests.codex.conftest import run
from tests.codex.injections import Injection, injections, last_words
from tests.codex.program import NEEDS_CLI, OLDEST_AND_NEWEST, Codex
from tests.codex.scenario import Json
from tests.conftest import Start
from tests.fake_ollama import Answer, Call, FakeOllama, ModelFacts, Say

pytestmark = [*NEEDS_CLI, pytest.mark.parametrize("codex", OLDEST_AND_NEWEST, indirect=True)]


class Reader:
    """A model that reads one file after the other, and quotes each when it has read it."""

    def __init__(self, injections: Sequence[Injection]) -> None:
        self.injections = injections
        self.asked_whether_meant = 0

    def __call__(self, request: Json) -> Answer:
        results = [m["content"] for m in request["messages"] if m["role"] == "tool"]
        was_asked = bool(results) and results[-1].startswith("Not run")
        read = len(results) - was_asked
        if was_asked:
            self.asked_whether_meant += 1
            return [Say("No, I only quoted it."), *self.reading(read)]
        quoted = self.injections[read - 1].answer if read else []
        if any(isinstance(step, Call) for step in quoted):
            return quoted
        return [*quoted, *self.reading(read)]

    def reading(self, n: int) -> Answer:
        """The call that shows the file of injection `n`; none behind the last one."""
        is_over = n == len(self.injections)
        return [] if is_over else [Call("exec_command", {"cmd": f"cat notes-{n}.md"})]


def write_files(codex: Codex, injections: Sequence[Injection]) -> None:
    for n, injection in enumerate(injections):
        (codex.folder / f"notes-{n}.md").write_text(injection.file)


@pytest_twisted.ensureDeferred
async def test_no_injection_runs(start: Start, codex: Codex) -> None:
    tried = list(injections())
    assert len(tried) >= 40
    write_files(codex, tried)
    model = Reader(tried)
    setup = await start(model)
    done = await run(codex, setup, "Read the notes, one after the other.")
    assert done.code == 0, done.output
    assert [path.name for path in codex.folder.glob("pwned-*")] == []
    natives = [each for each in tried if any(isinstance(step, Call) for step in each.answer)]
    assert model.asked_whether_meant == len(natives) > 0
    # Every file was read: each injection had its chance.
    final = setup.fake.turns[-1].json["messages"]
    assert sum("End of the notes." in str(m["content"]) for m in final) == len(tried)


@pytest_twisted.ensureDeferred
async def test_no_injection_that_ends_an_answer_runs(start: Start, codex: Codex) -> None:
    for injection in last_words():
        write_files(codex, [injection])
        setup = await start(Reader([injection]))
        done = await run(codex, setup, "Read the notes.")
        assert done.code == 0, done.output
        assert [path.name for path in codex.folder.glob("pwned-*")] == [], injection.name
        assert len(setup.fake.turns) == 2


@pytest_twisted.ensureDeferred
async def test_a_call_in_doubt_runs_when_the_model_means_it(start: Start, codex: Codex) -> None:
    def model(request: Json) -> Answer:
        last = request["messages"][-1]
        if last["role"] == "tool":
            return [Say("Made.")]
        arguments = {"cmd": "touch meant.txt"}
        if "make the call now" in last["content"]:
            return [Call("exec_command", arguments)]
        return [Say(f"The next step is this: {styles.bare('exec_command', arguments)}")]

    setup = await start(model)
    done = await run(codex, setup, "Make the file.")
    assert done.code == 0, done.output
    assert (codex.folder / "meant.txt").exists()
    assert "exec_command" not in done.output
    assert len(setup.fake.turns) == 3


@pytest_twisted.ensureDeferred
async def test_a_call_in_marks_of_another_family_runs_when_the_model_means_it(
    start: Start, codex: Codex, reactor_under_test: Any
) -> None:
    """The model's template teaches [TOOL_CALLS]; it writes <tool_call>, and goes on talking."""

    def model(request: Json) -> Answer:
        last = request["messages"][-1]
        if last["role"] == "tool":
            return [Say("Made.")]
        file = "meant.txt"
        if "make the call now" in last["content"]:
            return [Say(f'[TOOL_CALLS]exec_command[ARGS]{{"cmd": "touch {file}"}}')]
        written = styles.hermes("exec_command", {"cmd": f"touch {file}"})
        return [Say(f"The next step is this:\n{written}\nAfter that there is nothing left.")]

    facts = ModelFacts(shown_template="[INST] {{ .Prompt }} [/INST] [TOOL_CALLS]")
    fake = FakeOllama(reactor_under_test, model=model, models=[facts])
    setup = await start(fake=fake)
    done = await run(codex, setup, "Make the file.")
    assert done.code == 0, done.output
    assert (codex.folder / "meant.txt").exists()
    assert "tool_call" not in done.output
    assert len(setup.fake.turns) == 3
