"""Slips of a model, before the real Codex CLI: the turn ends because the work is done."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
import pytest_twisted
from attrs import field, frozen
from twisted.internet import reactor

from tests.codex.conftest import run
from tests.codex.program import NEEDS_CLI, OLDEST_AND_NEWEST, Codex
from tests.conftest import Start
from tests.fake_ollama import (
    Answer,
    Call,
    Die,
    FakeOllama,
    Finish,
    ModelFacts,
    Playlist,
    Refuse,
    Say,
    Think,
)

pytestmark = NEEDS_CLI
MAKE = "echo made > made.txt"
MADE = Call("exec_command", {"cmd": MAKE})
LOOK = Call("exec_command", {"cmd": "ls"})
DONE = Say("It is done.")
XML_ERROR = Refuse(500, "XML syntax error on line 5: element <parameter> closed by </function>")
CUT_CALL = Say('<tool_call>\n{"name": "exec_command", "arguments": {"cmd": "echo one two three')
CONSTRAINED = Say(orjson.dumps({"name": "exec_command", "arguments": {"cmd": MAKE}}).decode())
ENDLESS = Think(" ".join(f"Perhaps number {n} is right." for n in range(200)))
SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}


@frozen
class Slip:
    """What a model does wrong, and what comes of it."""

    answers: list[Answer]
    """One for each time that the model is asked."""
    shows: str = "It is done."
    """What Codex's user reads."""
    code: int = 0
    makes: bool = True
    """Whether the command is run that makes the file."""
    tells: str = ""
    """What the model is told in the end."""
    options: dict[str, Any] = field(factory=dict)
    flags: tuple[str, ...] = ()


SLIPS = {
    "a call that Ollama cannot read": Slip([[XML_ERROR], [MADE], [DONE]]),
    "one that cannot be read in the model's own words either": Slip(
        [[XML_ERROR], [CUT_CALL], [CONSTRAINED], [DONE]]
    ),
    "the same in the other dialect": Slip(
        [[XML_ERROR], [XML_ERROR], [CONSTRAINED], [DONE]], options={"upstream_api": "chat"}
    ),
    "a call that Ollama drops": Slip(
        [2 * [Call("bash", {"command": MAKE})], 2 * [Call("bash", {"command": MAKE})], [DONE]]
    ),
    "an empty answer": Slip([[Finish()], [MADE], [DONE]]),
    "an announced step": Slip([[LOOK], [Say("Now I will create the file:")], [MADE], [DONE]]),
    "an announced step, not nudged": Slip(
        [[LOOK], [Say("Now I will create the file:")]],
        shows="Now I will create the file:",
        makes=False,
        options={"nudge": False},
    ),
    "the same call over and over": Slip(
        [[LOOK], [LOOK], [LOOK], [DONE]], makes=False, tells="3 times with the same result"
    ),
    "an answer that repeats its end": Slip(
        [[MADE], [Say("It is done. " + 200 * "The file is there. ")]], "only repeated itself"
    ),
    "an answer that is nothing but a repetition": Slip(
        [[Say(600 * " ha")]], "only repeated itself", code=1, makes=False
    ),
    "an endless answer that Ollama ends": Slip(
        [[Say(31 * " ha"), Die("close")]], "only repeated itself", code=1, makes=False
    ),
    "an answer that is not of the schema": Slip(
        [[MADE], [Say("There is one file.")], [Say('{"n": 1}')]],
        '{"n": 1}',
        flags=("--output-schema", "schema.json"),
    ),
    "one in a fence": Slip(
        [[MADE], [Say('```json\n{"n":1}\n```')]],
        '{"n":1}',
        flags=("--output-schema", "schema.json"),
    ),
    "a thought without an end": Slip(
        [[ENDLESS, MADE], [MADE], [DONE]], options={"think_budget": 100}
    ),
}


@pytest.mark.parametrize("codex", OLDEST_AND_NEWEST, indirect=True)
@pytest.mark.parametrize("slip", SLIPS.values(), ids=SLIPS)
@pytest_twisted.ensureDeferred
async def test_the_turn_ends_as_it_should(start: Start, codex: Codex, slip: Slip) -> None:
    (codex.folder / "schema.json").write_bytes(orjson.dumps(SCHEMA))
    facts = ModelFacts(swallows=True)
    fake = FakeOllama(reactor, Playlist(*slip.answers), models=[facts])
    setup = await start(fake=fake, **slip.options)
    done = await run(codex, setup, *slip.flags, "Make the file made.txt.")
    assert (done.code, slip.shows in done.output) == (slip.code, True), done.output
    assert (codex.folder / "made.txt").exists() is slip.makes
    assert len(fake.turns) == len(slip.answers)
    assert slip.tells in str(fake.turns[-1].effective["messages"])
