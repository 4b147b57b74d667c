"""Scripted models: the competent one, and the same with one vice each.

A vice shows when the model is asked something for the first time, and again if it is asked the
same in the same words, as a model does at temperature 0. Asked in other words, or held to a form,
the model does what it should.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, field, frozen

from tests.codex import styles
from tests.exam.conversation import Conversation
from tests.exam.solutions import Step, next_step
from tests.fake_ollama import Answer, Call, Die, Finish, ModelFacts, Say

Json = dict[str, Any]
LOOPS = 2000
"""Lines of an answer that repeats itself."""
PATIENCE = 6
"""How often the model that repeats itself makes the same call."""


@frozen
class Turn:
    """What the model should do now, and where it stands."""

    conversation: Conversation
    wanted: Step | str
    """A call, or the text of an answer."""

    @property
    def call(self) -> Step | None:
        return None if isinstance(self.wanted, str) else self.wanted

    @property
    def stage(self) -> int:
        """How many calls have results."""
        return len(self.conversation.results)


Misbehave = Callable[[Turn], Answer | None]
"""What a vice makes of a turn; None: what should be done is done."""


@frozen
class Vice:
    """A vice, and the model that has it."""

    model: str
    meaning: str
    misbehave: Misbehave
    capabilities: tuple[str, ...] = ("completion", "tools", "vision")
    swallows: bool = False
    """Whether Ollama's generic parser reads its calls, and drops those that it does not know."""

    @property
    def facts(self) -> ModelFacts:
        return ModelFacts(
            name=f"{self.model}:latest",
            capabilities=self.capabilities,
            family="qwen3",
            swallows=self.swallows,
        )


def behave(turn: Turn) -> Answer:
    """Do what should be done, in the form that the request asks for."""
    form, call = turn.conversation.form, turn.call
    is_held = form is not None and '"arguments"' in json.dumps(form)
    if call is None:
        text = str(turn.wanted)
        return [Say(json.dumps({"answer": text}) if is_held else text)]
    function, arguments = call
    if is_held:
        return [Say(json.dumps({"name": function, "arguments": arguments}))]
    if not turn.conversation.functions:
        return [Say(styles.hermes(function, arguments))]
    return [Call(function, arguments)]


def _in_call(write: Callable[[str, Json], Answer]) -> Misbehave:
    """A vice that shows in every call."""

    def misbehave(turn: Turn) -> Answer | None:
        return write(*turn.call) if turn.call else None

    return misbehave


def _nothing(turn: Turn) -> None:
    return None


def _wrong_name(function: str, arguments: Json) -> Answer:
    if function != "exec_command":
        return [Call(function.rpartition("__")[2].upper(), arguments)]
    cmd = arguments["cmd"]
    if read := re.fullmatch(r"cat (\S+)", cmd):
        return [Call("read_file", {"path": read[1]})]
    if " " in cmd and ";" in cmd:
        return [Call("shell", {"command": ["bash", "-lc", cmd]})]
    return [Call("bash", {"command": cmd})]


def _wrong_parameters(function: str, arguments: Json) -> Answer:
    others = {"cmd": "command", "input": "patch", "path": "file_path"}
    if arguments.keys() & others.keys():
        return [Call(function, {others.get(key, key): each for key, each in arguments.items()})]
    return [Call(function, {"kwargs": arguments})]


def _cut_short(function: str, arguments: Json) -> Answer:
    """Arguments that break off, which Ollama refuses with what there was of them."""
    text = json.dumps(arguments)
    return [Call(function, text[: len(text) // 2])]


def _announce(turn: Turn) -> Answer | None:
    return [Say("Let me look at the next part:")] if turn.stage == 1 else None


def _empty(turn: Turn) -> Answer | None:
    return [Finish()] if turn.stage == 0 else None


def _repeat(turn: Turn) -> Answer | None:
    """Make the last call again, until its result is another one, or patience is at its end."""
    outputs = turn.conversation.repeated
    calls = [c for m in turn.conversation.messages for c in m.get("tool_calls") or []]
    if not calls or len(set(outputs)) > 1 or len(outputs) >= PATIENCE:
        return None
    return [Call(calls[-1]["name"], calls[-1]["arguments"])]


def _loop(turn: Turn) -> Answer | None:
    """An answer that never ends; Ollama ends it without a finish reason."""
    if turn.call:
        return None
    return [Say(f"{turn.wanted}\n" * LOOPS, tuple([f"{turn.wanted}\n"] * LOOPS)), Die("close")]


def _fenced_answer(turn: Turn) -> Answer | None:
    task = turn.conversation.task
    if turn.call or task is None or task.schema is None:
        return None
    return [Say(f"Here it is:\n\n```json\n{turn.wanted}\n```\n")]


VICES: tuple[Vice, ...] = (
    Vice("no-vice", "none", _nothing),
    Vice("wrong-names", "calls `bash`, `shell`, `read_file`, …", _in_call(_wrong_name)),
    Vice("wrong-parameters", "`command` for `cmd`, …", _in_call(_wrong_parameters)),
    Vice(
        "arguments-as-text",
        "arguments are a string with JSON in it",
        _in_call(lambda name, given: [Call(name, json.dumps(json.dumps(given)))]),
    ),
    Vice(
        "broken-json",
        "arguments break off, and Ollama refuses them",
        _in_call(_cut_short),
    ),
    Vice(
        "fence",
        "writes its calls into the text, in a fence",
        _in_call(lambda name, given: [Say(styles.fence(name, given))]),
    ),
    Vice(
        "other-family",
        "writes its calls as models of another family do",
        _in_call(lambda name, given: [Say(styles.mistral(name, given))]),
    ),
    Vice(
        "swallowed",
        "calls `bash`, …, which Ollama's generic parser drops",
        _in_call(_wrong_name),
        swallows=True,
    ),
    Vice("empty", "says nothing at first", _empty),
    Vice("announces", "announces the next step and stops", _announce),
    Vice("repeats", "makes the same call again and again", _repeat),
    Vice("loops", "repeats its answer without an end", _loop),
    Vice("fenced-json", "puts JSON for `--output-schema` into a fence", _fenced_answer),
    Vice(
        "no-tools",
        "has no template for tools, and is told of them in words",
        _nothing,
        capabilities=("completion", "vision"),
    ),
)


@define
class Scripted:
    """A model with a vice, as the fake Ollama plays it."""

    vice: Vice
    _asked: dict[tuple[str, int], bytes] = field(factory=dict)
    """What it was asked first, by the run of the task and the stage."""

    def __call__(self, request: Json) -> Answer:
        """The steps of its answer."""
        conversation = Conversation(request)
        turn = Turn(conversation, next_step(conversation))
        place = conversation.place, len(conversation.all_results)
        words = conversation.words
        if conversation.form or words != self._asked.setdefault(place, words):
            return behave(turn)
        misbehaved = self.vice.misbehave(turn)
        return behave(turn) if misbehaved is None else misbehaved


def scripted(vices: Sequence[Vice] = VICES) -> Callable[[Json], Answer]:
    """The models of all `vices`, by the name in the request."""
    models = {vice.model: Scripted(vice) for vice in vices}
    return lambda request: models[request["model"].partition(":")[0]](request)
