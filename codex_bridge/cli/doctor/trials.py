"""What the probe asks of a model, and how an answer is judged. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import orjson
from attrs import evolve, field, frozen

from codex_bridge.vocabulary import Json

INSTRUCTIONS = (
    "You are a coding agent in a terminal. Use the tools where they are needed, and only there. "
    "Be brief."
)
RUNNER, NAMESPACE, TICKET = "exec_command", "mcp__tracker", "create_ticket"
TOOLS: list[Json] = [
    {
        "type": "function",
        "name": RUNNER,
        "description": "Runs a command in a PTY, returning output or a session ID for ongoing "
        "interaction.",
        "strict": False,
        "parameters": {
            "type": "object",
            "properties": {
                "cmd": {"type": "string", "description": "Shell command to execute."},
                "workdir": {"type": "string", "description": "Working directory."},
                "yield_time_ms": {"type": "number", "description": "Time to wait for output."},
            },
            "required": ["cmd"],
            "additionalProperties": False,
        },
    },
    {
        "type": "namespace",
        "name": NAMESPACE,
        "description": "Tools of the issue tracker.",
        "tools": [
            {
                "type": "function",
                "name": TICKET,
                "description": "Creates a ticket in the issue tracker.",
                "strict": False,
                "parameters": {
                    "type": "object",
                    "properties": {
                        "title": {"type": "string"},
                        "labels": {"type": "array", "items": {"type": "string"}},
                        "place": {
                            "type": "object",
                            "properties": {
                                "floor": {"type": "integer"},
                                "room": {"type": "integer"},
                            },
                            "required": ["floor", "room"],
                        },
                    },
                    "required": ["title", "labels", "place"],
                },
            }
        ],
    },
]
OUTPUT = (
    "Chunk ID: 1\nWall time: 0.1 seconds\nProcess exited with code 0\nOutput:\nharbour-4711.txt"
)
CALL_ID = "call_doctor"
SUM, IN_OUTPUT = re.compile(r"\b(?:5|five)\b", re.IGNORECASE), re.compile("4711")
MEASURABLE = 0.1
"""Seconds of streaming below which a speed says nothing."""


@frozen
class Answer:
    """What came back for one request of the probe."""

    output: list[Json] = field(factory=list)
    """Output items, as in `response.completed`."""
    error: str = ""
    """Why there is no whole answer; "" if there is one."""
    timed_out: bool = False
    repairs: dict[str, int] = field(factory=dict)
    """What the bridge mended in it -> how often."""
    first_token: float | None = None
    """Seconds to the first piece of text or reasoning."""
    seconds: float = 0.0
    """To the end."""
    output_tokens: int = 0

    @property
    def calls(self) -> list[Json]:
        """The calls in it."""
        return [item for item in self.output if str(item.get("type")).endswith("_call")]

    @property
    def text(self) -> str:
        """What it says."""
        said = [item for item in self.output if item.get("type") == "message"]
        parts = [part for item in said for part in item.get("content") or []]
        return "".join(str(part.get("text") or "") for part in parts)


@frozen
class Judgement:
    """What became of one trial."""

    name: str
    outcome: str
    """called, answered, or in words what it did instead."""
    is_right: bool
    mended: tuple[str, ...] = ()
    detail: str = ""
    answer: Answer = Answer()


@frozen
class Trial:
    """One request, and what a good answer is."""

    name: str
    prompt: str
    judge: Callable[[Answer], Judgement]
    wants_call: bool


def request(model: str, trial: Trial, first: Answer | None = None) -> Json:
    """The body that Codex would send for a trial.

    The trial "result" goes on from the answer to "command", or from a good one.
    """
    items: list[Json] = [_said(trial.prompt)]
    if trial.name == "result":
        made = [call for call in (first.calls if first else []) if _is_command(call)]
        call = {"type": "function_call", "name": RUNNER, "call_id": CALL_ID}
        arguments = made[0]["arguments"] if made else '{"cmd":"ls /tmp/doctor"}'
        result = {"type": "function_call_output", "call_id": CALL_ID, "output": OUTPUT}
        items += [call | {"arguments": arguments}, result]
    return {
        "model": model,
        "instructions": INSTRUCTIONS,
        "input": items,
        "tools": TOOLS,
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "reasoning": {"summary": "auto"},
        "store": False,
        "stream": True,
        "include": [],
    }


def _said(text: str) -> Json:
    content = [{"type": "input_text", "text": text}]
    return {"type": "message", "role": "user", "content": content}


def _arguments(call: Json) -> Json:
    try:
        value = orjson.loads(str(call.get("arguments")))
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _is_command(call: Json) -> bool:
    return call.get("name") == RUNNER and not call.get("namespace")


def _called(name: str, answer: Answer, is_tool: Callable[[Json], bool], wrong: Any) -> Judgement:
    """Judge an answer that has to be a call; `wrong` tells what is wrong with its arguments."""
    calls = answer.calls
    mine = [call for call in calls if is_tool(call)]
    if not calls:
        return Judgement(name, "no call", False, detail=_short(answer.text) or "an empty answer")
    if not mine:
        return Judgement(name, "wrong tool", False, detail=_tool_name(calls[0]))
    if trouble := wrong(_arguments(mine[0])):
        detail = f"{trouble}: {_short(str(mine[0].get('arguments')))}"
        return Judgement(name, "wrong arguments", False, detail=detail)
    return Judgement(name, "called", True)


def _tool_name(call: Json) -> str:
    space = call.get("namespace")
    return f"{space}.{call.get('name')}" if space else str(call.get("name"))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 80 else f"{line[:79]}…"


def _judge_command(answer: Answer) -> Judgement:
    def wrong(arguments: Json) -> str:
        command = arguments.get("cmd")
        if not isinstance(command, str) or not command.strip():
            return "no command"
        return "" if "/tmp" in command + str(arguments.get("workdir")) else "another folder"  # noqa: S108

    return _called("command", answer, _is_command, wrong)


def _judge_nested(answer: Answer) -> Judgement:
    def is_ticket(call: Json) -> bool:
        return call.get("name") == TICKET and call.get("namespace") == NAMESPACE

    def wrong(arguments: Json) -> str:
        labels = arguments.get("labels")
        found = labels if isinstance(labels, list) else []
        if sorted(str(each).lower() for each in found) != ["red", "urgent"]:
            return "labels"
        return "" if arguments.get("place") == {"floor": 3, "room": 12} else "place"

    return _called("nested", answer, is_ticket, wrong)


def _judge_plain(answer: Answer) -> Judgement:
    return _answered("plain", answer, SUM, "called without need")


def _judge_result(answer: Answer) -> Judgement:
    return _answered("result", answer, IN_OUTPUT, "called again")


def _answered(name: str, answer: Answer, right: re.Pattern[str], called: str) -> Judgement:
    """Judge an answer that has to be text with something `right` in it."""
    if answer.calls:
        return Judgement(name, called, False, detail=_tool_name(answer.calls[0]))
    if not right.search(answer.text):
        return Judgement(name, "wrong answer", False, detail=_short(answer.text) or "empty")
    return Judgement(name, "answered", True)


def judged(trial: Trial, answer: Answer) -> Judgement:
    """What to think of an answer; one that never came is no one's fault yet."""
    if answer.timed_out:
        made = Judgement(trial.name, "out of time", False)
    elif answer.error:
        made = Judgement(trial.name, "error", False, detail=answer.error)
    else:
        made = trial.judge(answer)
    mended = tuple(f"{what} x{n}" if n > 1 else what for what, n in answer.repairs.items())
    return evolve(made, mended=mended, answer=answer)


TRIALS = (
    Trial(
        "plain",
        "What is 2 + 3? Answer with the number alone, without a tool.",
        _judge_plain,
        wants_call=False,
    ),
    Trial(
        "command",
        "List the files in the folder /tmp/doctor with a shell command.",
        _judge_command,
        wants_call=True,
    ),
    Trial(
        "result",
        "Which file is in the folder /tmp/doctor? Tell me its name.",
        _judge_result,
        wants_call=False,
    ),
    Trial(
        "nested",
        "Create a ticket titled 'Broken lamp' with the labels red and urgent, for room 12 on "
        "floor 3.",
        _judge_nested,
        wants_call=True,
    ),
)


@frozen
class Probe:
    """All that the probe found."""

    model: str
    trials: tuple[Judgement, ...] = ()
    """Fewer than asked for, where one had no answer."""

    @property
    def verdict(self) -> str:
        """good, "works, with mending", weak, cannot, or unknown where it could not be tried."""
        broken = [each for each in self.trials if each.outcome in {"error", "out of time"}]
        if any("does not support tools" in each.detail for each in broken):
            return "cannot"
        if broken or len(self.trials) < len(TRIALS):
            return "unknown"
        wanting = {trial.name for trial in TRIALS if trial.wants_call}
        tried = [each for each in self.trials if each.name in wanting]
        if all(each.outcome == "no call" for each in tried):
            return "cannot"
        if not all(each.is_right for each in self.trials):
            return "weak"
        return "works, with mending" if self.mended else "good"

    @property
    def mended(self) -> dict[str, int]:
        """What the bridge mended -> how often."""
        total: Counter[str] = Counter()
        for each in self.trials:
            total += Counter(each.answer.repairs)
        return dict(total)

    @property
    def first_token(self) -> float | None:
        """Seconds to the first token with the model loaded: the least of all answers."""
        known = [each.answer.first_token for each in self.trials]
        return min((seconds for seconds in known if seconds is not None), default=None)

    @property
    def tokens_per_second(self) -> float | None:
        """Of the longest answer that was streamed; None if none took long enough to tell."""
        best = max((each.answer for each in self.trials), key=_streamed, default=Answer())
        seconds, tokens = _streamed(best), best.output_tokens - 1
        return tokens / seconds if seconds >= MEASURABLE and tokens > 0 else None


def _streamed(answer: Answer) -> float:
    """Seconds between the first token and the end."""
    return 0.0 if answer.first_token is None else answer.seconds - answer.first_token
