"""The requests of the probe, and how their answers are judged. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

import orjson
from attrs import field, frozen

from codex_bridge.vocabulary import Json

INSTRUCTIONS = (
    "You are a coding agent in a terminal. Use the tools where they are needed, and only there. "
    "Be brief."
)
RUNNER, NAMESPACE, TICKET = "exec_command", "mcp__tracker", "create_ticket"


def _object(properties: Json, *required: str) -> Json:
    return {"type": "object", "properties": properties, "required": list(required)}


def _function(name: str, description: str, parameters: Json) -> Json:
    tool = {"type": "function", "name": name, "description": description}
    return tool | {"strict": False, "parameters": parameters}


COMMAND_SCHEMA = _object(
    {
        "cmd": {"type": "string", "description": "Shell command to execute."},
        "workdir": {"type": "string", "description": "Working directory."},
        "yield_time_ms": {"type": "number", "description": "Time to wait for output."},
    },
    "cmd",
)
INTEGER = {"type": "integer"}
TICKET_SCHEMA = _object(
    {
        "title": {"type": "string"},
        "labels": {"type": "array", "items": {"type": "string"}},
        "place": _object({"floor": INTEGER, "room": INTEGER}, "floor", "room"),
    },
    "title",
    "labels",
    "place",
)
TOOLS: list[Json] = [
    _function(
        RUNNER,
        "Runs a command in a PTY, returning output or a session ID for ongoing interaction.",
        COMMAND_SCHEMA | {"additionalProperties": False},
    ),
    {
        "type": "namespace",
        "name": NAMESPACE,
        "description": "Tools of the issue tracker.",
        "tools": [_function(TICKET, "Creates a ticket in the issue tracker.", TICKET_SCHEMA)],
    },
]
OUTPUT = (
    "Chunk ID: 1\nWall time: 0.1 seconds\nProcess exited with code 0\nOutput:\nharbour-4711.txt"
)
CALL_ID = "call_doctor"
SUM, IN_OUTPUT = re.compile(r"\b(?:5|five)\b", re.IGNORECASE), re.compile("4711")
MEASURABLE = 0.1
"""Shortest stream, in seconds, whose speed is reported."""


@frozen
class Answer:
    """The reply to one request of the probe: the model's answer as the bridge passed it on."""

    output: list[Json] = field(factory=list)
    """Output items, as in `response.completed`."""
    error: str = ""
    """Why there is no whole answer; "" if there is one, or if it only came too late."""
    timed_out: bool = False
    repairs: dict[str, int] = field(factory=dict)
    """What the bridge repaired in it -> how often."""
    first_token: float | None = None
    """Seconds to the first piece of text or reasoning."""
    seconds: float = 0.0
    """Seconds from the request to the end of the answer."""
    output_tokens: int = 0

    @property
    def calls(self) -> list[Json]:
        """The calls in it."""
        return [item for item in self.output if str(item.get("type")).endswith("_call")]

    @property
    def text(self) -> str:
        """The text in it."""
        messages = [item for item in self.output if item.get("type") == "message"]
        parts = [part for message in messages for part in message.get("content") or []]
        return "".join(str(part.get("text") or "") for part in parts)


@frozen
class Trial:
    """One request, and what a good answer to it is."""

    name: str
    prompt: str
    judge: Callable[[Answer], tuple[str, str]]
    """Answer -> outcome and detail; the outcome of a good one is "called" or "answered"."""


@frozen
class Judgement:
    """The result of one trial."""

    name: str
    outcome: str
    """`called`, `answered`, or a few words on what the model did instead."""
    detail: str = ""
    answer: Answer = Answer()

    @property
    def is_right(self) -> bool:
        """Whether the model did what it should."""
        return self.outcome in {"called", "answered"}

    @property
    def is_broken(self) -> bool:
        """Whether there was no whole answer to judge."""
        return self.outcome in {"error", "out of time"}


def judged(trial: Trial, answer: Answer) -> Judgement:
    """The result of a trial. An answer that never came says nothing about the model."""
    if answer.timed_out:
        return Judgement(trial.name, "out of time", answer=answer)
    if answer.error:
        return Judgement(trial.name, "error", answer.error, answer)
    outcome, detail = trial.judge(answer)
    return Judgement(trial.name, outcome, detail, answer)


def request(model: str, trial: Trial, first: Answer | None = None) -> Json:
    """The body that Codex would send for a trial.

    The trial "result" continues `first`, the answer to "command", or a good one in its place.
    """
    text = {"type": "input_text", "text": trial.prompt}
    items: list[Json] = [{"type": "message", "role": "user", "content": [text]}]
    if trial.name == "result":
        calls = [call for call in (first.calls if first else []) if _is_command(call)]
        call = {"type": "function_call", "name": RUNNER, "call_id": CALL_ID}
        arguments = calls[0]["arguments"] if calls else '{"cmd":"ls /tmp/doctor"}'
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


def _is_command(call: Json) -> bool:
    return call.get("name") == RUNNER and not call.get("namespace")


def _is_ticket(call: Json) -> bool:
    return call.get("name") == TICKET and call.get("namespace") == NAMESPACE


def _call(
    answer: Answer, is_wanted: Callable[[Json], bool], mistake: Callable[[Json], str]
) -> tuple[str, str]:
    """Judge an answer that has to be a call; `mistake` names what is wrong in its arguments."""
    if not answer.calls:
        return "no call", _short(answer.text) or "an empty answer"
    call = next((call for call in answer.calls if is_wanted(call)), None)
    if call is None:
        return "wrong tool", _tool_name(answer.calls[0])
    text = str(call.get("arguments"))
    if wrong := mistake(_arguments(text)):
        return "wrong arguments", f"{wrong}: {_short(text)}"
    return "called", ""


def _text(answer: Answer, right: re.Pattern[str], called: str) -> tuple[str, str]:
    """Judge an answer that has to be text with `right` in it; `called`: the outcome if it calls."""
    if answer.calls:
        return called, _tool_name(answer.calls[0])
    if not right.search(answer.text):
        return "wrong answer", _short(answer.text) or "empty"
    return "answered", ""


def _arguments(text: str) -> Json:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _mistake_in_command(arguments: Json) -> str:
    command = arguments.get("cmd")
    if not isinstance(command, str) or not command.strip():
        return "no command"
    return "" if "/tmp" in command + str(arguments.get("workdir")) else "another folder"  # noqa: S108


def _mistake_in_ticket(arguments: Json) -> str:
    labels = arguments.get("labels")
    words = labels if isinstance(labels, list) else []
    if sorted(str(word).lower() for word in words) != ["red", "urgent"]:
        return "labels"
    return "" if arguments.get("place") == {"floor": 3, "room": 12} else "place"


def _tool_name(call: Json) -> str:
    namespace = call.get("namespace")
    return f"{namespace}.{call.get('name')}" if namespace else str(call.get("name"))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 80 else f"{line[:79]}…"


TRIALS = (
    Trial(
        "plain",
        "What is 2 + 3? Answer with the number alone, without a tool.",
        lambda answer: _text(answer, SUM, "called without need"),
    ),
    Trial(
        "command",
        "List the files in the folder /tmp/doctor with a shell command.",
        lambda answer: _call(answer, _is_command, _mistake_in_command),
    ),
    Trial(
        "result",
        "Which file is in the folder /tmp/doctor? Tell me its name.",
        lambda answer: _text(answer, IN_OUTPUT, "called again"),
    ),
    Trial(
        "nested",
        "Create a ticket titled 'Broken lamp' with the labels red and urgent, for room 12 on "
        "floor 3.",
        lambda answer: _call(answer, _is_ticket, _mistake_in_ticket),
    ),
)
WANT_CALLS = {"command", "nested"}


@frozen
class Probe:
    """The results of all trials."""

    model: str
    trials: tuple[Judgement, ...] = ()
    """Fewer than TRIALS if one had no answer."""

    @property
    def verdict(self) -> str:
        """good, "works, with repairs", weak, cannot, or unknown if a trial had no answer."""
        broken = [trial for trial in self.trials if trial.is_broken]
        if any("does not support tools" in trial.detail for trial in broken):
            return "cannot"
        if broken or len(self.trials) < len(TRIALS):
            return "unknown"
        if all(trial.outcome == "no call" for trial in self.trials if trial.name in WANT_CALLS):
            return "cannot"
        if not all(trial.is_right for trial in self.trials):
            return "weak"
        return "works, with repairs" if self.repairs else "good"

    @property
    def repairs(self) -> dict[str, int]:
        """What the bridge repaired -> how often."""
        return dict(sum((Counter(trial.answer.repairs) for trial in self.trials), Counter()))

    @property
    def first_token(self) -> float | None:
        """Seconds to the first token: the least of all answers, since one may load the model."""
        times = [trial.answer.first_token for trial in self.trials]
        return min((seconds for seconds in times if seconds is not None), default=None)

    @property
    def tokens_per_second(self) -> float | None:
        """Tokens per second of the answer that streamed longest; None if all were too short."""
        longest = max((trial.answer for trial in self.trials), key=_streamed, default=Answer())
        seconds, tokens = _streamed(longest), longest.output_tokens - 1
        return tokens / seconds if seconds >= MEASURABLE and tokens > 0 else None


def _streamed(answer: Answer) -> float:
    """Seconds between the first token and the end."""
    return 0.0 if answer.first_token is None else answer.seconds - answer.first_token
