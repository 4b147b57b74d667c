"""Slips and failures behind one another, each pair of them: the client gets nothing twice."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise, product
from random import Random

import orjson
import pytest
import pytest_twisted
from twisted.internet import reactor

from tests.conftest import Start
from tests.fake_ollama import (
    Answer,
    Call,
    Die,
    FakeOllama,
    Finish,
    ModelFacts,
    Pause,
    Refuse,
    Say,
    Think,
)
from tests.fake_ollama.script import Step
from tests.harness import CODEX, Json, Setup
from tests.responses.grammar import text_of
from tests.tools.declared import EXEC

QUOTED = '<tool_call>\n{"name": "exec_command", "arguments": {"cmd": "touch QUOTED"}}\n</tool_call>'
INPUT: list[Json] = [
    {"type": "message", "role": "user", "content": "Mend main.py."},
    {
        "type": "function_call",
        "call_id": "c1",
        "name": "exec_command",
        "arguments": '{"cmd":"cat main.py"}',
    },
    {"type": "function_call_output", "call_id": "c1", "output": f"Notes.\n{QUOTED}\n"},
]
COUNTED = {"prompt_tokens": 9, "completion_tokens": 40, "total_tokens": 49}
XML_ERROR = Refuse(500, "XML syntax error on line 5: element <parameter> closed by </function>")
SHOWN = '<tool_call>\n{"name": "exec_command", "arguments": {"cmd": "shown"}}\n</tool_call>'
SLIPS: dict[str, Sequence[Step]] = {
    "swallowed": [Finish(usage=COUNTED)],
    "swallowed behind words": [Say("Word# is here. Let me look at it:"), Finish(usage=COUNTED)],
    "malformed": [Think("Thought#."), XML_ERROR],
    "malformed behind words": [Say("Word# is here."), XML_ERROR],
    "malformed behind a call": [Call("exec_command", {"cmd": "lost#"}), XML_ERROR],
    "malformed behind a doubt": [Say(f"Word#. Should I run this?\n{SHOWN}\n"), XML_ERROR],
    "empty": [Think("Thought#."), Finish()],
    "announced": [Think("Thought#."), Say("Word# is here. Let me look at it:")],
    "in doubt": [Say(f"Word#. Should I run this?\n{SHOWN}")],
    "quoted": [Say("Word# is here."), Call("exec_command", {"cmd": "touch QUOTED"})],
    "quoted alone": [Call("exec_command", {"cmd": "touch QUOTED"})],
    "broken": [Say("Word# is here and"), Die("reset")],
    "broken thought": [Think("Thought#."), Die("reset")],
    "broken behind a call": [Call("exec_command", {"cmd": "lost#"}), Die("reset")],
    "overthought": [Think("Thought#. " + " ".join(f"Perhaps {n}." for n in range(60)))],
    "looped": [Say("Word# is here. " + 500 * " ha")],
    "busy": [Refuse(503, "server busy, please try again")],
    "closed": [Die("reset")],
    "cut": [Say("Word# is here and"), Finish("length")],
}
LAST = [Think("Thought#."), Say("Word# is here."), Call("exec_command", {"cmd": "run#"})]
DOUBTS = {"malformed behind a doubt", "in doubt", "quoted", "quoted alone"}
ENDLESS = {"overthought", "looped"}
NO_GENERATION = {"busy", "closed"}
EXAMPLES = 25
"""Pairs that are tried of each kind of reply, the same each time; 0: all, which takes long."""
WORD = re.compile(r"(?:Word|Thought)\d")


def numbered(steps: Sequence[Step], number: int) -> Answer:
    """The steps of an answer with words of its own."""

    def step_for(step: Step) -> Step:
        if isinstance(step, Say | Think):
            return type(step)(step.text.replace("#", str(number)))
        if isinstance(step, Call) and isinstance(step.arguments, dict):
            return Call(step.name, {"cmd": step.arguments["cmd"].replace("#", str(number))})
        return step

    return [step_for(step) for step in steps]


class Slipping:
    """A model that makes these slips one after another, and then answers."""

    def __init__(self) -> None:
        self.slips: list[str] = []
        self.played = 0

    def __call__(self, request: Json) -> Answer:
        number, self.played = self.played, self.played + 1
        slip = self.slips[number] if number < len(self.slips) else ""
        if not (request.get("format") or request.get("response_format")):
            is_begun = request["messages"][-1]["role"] == "assistant"
            # What the bridge ends itself must not end in the same read.
            rest = [Pause(0.02)] if slip in ENDLESS else []
            return [*numbered(SLIPS[slip] if slip else LAST[is_begun:], number), *rest]
        # A grammar allows nothing else.
        call = orjson.dumps({"name": "exec_command", "arguments": {"cmd": f"run{number}"}}).decode()
        return [XML_ERROR] if slip else [Say(call)]


def check(setup: Setup, model: Slipping, response: Json, *, stream: bool) -> None:
    """Raises AssertionError if the client got anything twice, or what does not count."""
    slips = model.slips[: model.played]
    items = response.get("output", [])
    said = [text_of(item) for item in items if item["type"] in {"message", "reasoning"}]
    words = WORD.findall("\n".join(said))
    assert len(words) == len(set(words)), "a text twice"
    for text in said:
        # An answer that broke off may be gone on with, where the client has its beginning.
        is_gone_on = stream and "broken" in slips
        assert is_gone_on or len(set(WORD.findall(text))) <= 1, "two answers in one item"
    calls = [orjson.loads(item["arguments"])["cmd"] for item in items if "arguments" in item]
    last = model.played - 1
    has_answered = last == len(model.slips)
    if has_answered:
        assert response["status"] == "completed"
        assert calls == [f"run{last}"]
        if "Word0. Should I" in "".join(said):
            assert '"shown"' in "".join(said), "a lost text"
    else:
        # A call that is made once more is meant.
        assert calls in ([], ["shown"], ["touch QUOTED"])
        assert not calls or [slip for slip in slips if slip in DOUBTS][1:]
    generations = [slip for slip in slips if slip not in NO_GENERATION]
    assert len(generations) + has_answered <= 3
    asked = [turn.effective for turn in setup.fake.turns]
    for one, other in pairwise(asked):
        if bool(one.get("tools")) != bool(other.get("tools")):
            # From then on the tools are told in words.
            continue
        *told, end = one["messages"]
        assert other["messages"][: len(told)] == told
        # The beginning of an answer may have grown.
        assert other["messages"][len(told)]["content"].startswith(end["content"])


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("api", ["ollama", "chat"])
@pytest_twisted.ensureDeferred
async def test_slips_behind_one_another_give_the_client_nothing_twice(
    start: Start, api: str, stream: bool
) -> None:
    sequences = list(product(SLIPS, repeat=2))
    if EXAMPLES:
        sequences = Random(f"{api} {stream}").sample(sequences, EXAMPLES)
    model = Slipping()
    # What the bridge learns of a model counts for this one alone.
    names = [f"qwen3:{n}" for n in range(len(sequences))]
    fake = FakeOllama(reactor, model, models=list(map(ModelFacts, names)))
    setup = await start(fake=fake, upstream_api=api, think_budget=40)
    for name, slips in zip(names, sequences, strict=True):
        model.slips, model.played = list(slips), 0
        fake.exchanges.clear()
        asked = {"model": name, "tools": [EXEC], "input": INPUT, "stream": stream}
        reply = await setup.ask(asked, CODEX)
        try:
            check(setup, model, reply.response if stream else reply.json, stream=stream)
        except AssertionError as error:
            error.add_note(f"after {' and '.join(slips)}")
            raise
