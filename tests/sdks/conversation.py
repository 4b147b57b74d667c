"""The conversation that every client holds, what its model has to see of it, and what it saw."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal

import orjson

from tests.fake_ollama import (
    Answer,
    Call,
    FakeOllama,
    Model,
    ModelFacts,
    Playlist,
    Refuse,
    Say,
    Think,
)

Json = dict[str, Any]
Part = tuple[str, str]
"""Who says it, or what it is, and the text."""
Reasoning = Literal["all", "as text", "answer", "none"]
"""Which of its earlier reasoning a model sees: all; all, but at the beginning of its answers; that
of the answer which it is still at, between a call and its result; none."""

SYSTEM = "You are the weather desk of Norway."
QUESTIONS = ("What is the weather in Oslo?", "And do I need an umbrella?")
ANSWERS = ("It is 7 degrees with light rain.", "Yes, take an umbrella.")
THOUGHTS = ("The weather has to be looked up.", "The service says rain.", "Rain asks for one.")
SPOKEN = "I ask the weather service."
RESULT = "Oslo: 7 degrees celsius, light rain"
"""What every client's tool makes of the arguments of the call."""
WEATHER = Call("get_weather", {"city": "Oslo", "unit": "celsius"})

MODELS = {"whole": "qwen3:14b", "stream": "qwen3:8b"}
"""Name of the conversation that a client holds without and with streaming -> its model.

A client sends the model with each request, whatever else it forgets; so it tells them apart.
"""
SUMMARY = "The user asked for the weather in Oslo: light rain."
PARSED = {"city": "Oslo", "degrees": 7}
FACTS = [
    ModelFacts(name, template="keep")
    for name in (*MODELS.values(), "parsing:latest", "stored:latest", "compacting:latest")
]
"""Templates that keep everything, so that what the model sees is what the bridge sent."""


def script(call: Call) -> Model:
    """A model that plays its part of each conversation, with `call` as its call."""
    answers: dict[str, Playlist] = {
        name: Playlist(
            [Think(THOUGHTS[0]), Say(SPOKEN), call],
            [Think(THOUGHTS[1]), Say(ANSWERS[0])],
            [Think(THOUGHTS[2]), Say(ANSWERS[1])],
        )
        for name in MODELS.values()
    }

    def answer(request: Json) -> Answer:
        name = request["model"]
        if name.startswith("parsing"):
            return [Say(orjson.dumps(PARSED).decode())]
        if name.startswith("stored"):
            return [Say(ANSWERS[0])]
        if name.startswith("compacting"):
            told = any(SUMMARY in text for _, text in _parts(request["messages"]))
            return [Say(ANSWERS[1] if told else SUMMARY)]
        return answers[name](request) if name in answers else [Refuse(500, f"who is {name}?")]

    return answer


def meant(call: Call, reasoning: Reasoning) -> list[list[Part]]:
    """What the model has to see in each of the three requests of a conversation."""
    asked = [("system", SYSTEM), ("user", QUESTIONS[0])]
    spoken, answered = SPOKEN, ANSWERS[0]
    if reasoning == "as text":
        spoken, answered = (
            f"<think>\n{thought}\n</think>\n\n{text}"
            for thought, text in zip(THOUGHTS, (spoken, answered), strict=False)
        )
    call_and_result = [("call", _written(call.name, call.arguments)), ("result", RESULT)]
    first, second = ([("reasoning", thought)] for thought in THOUGHTS[:2])
    return [
        asked,
        [
            *asked,
            *(first if reasoning in {"all", "answer"} else []),
            ("text", spoken),
            *call_and_result,
        ],
        [
            *asked,
            *(first if reasoning == "all" else []),
            ("text", spoken),
            *call_and_result,
            *(second if reasoning == "all" else []),
            ("text", answered),
            ("user", QUESTIONS[1]),
        ],
    ]


def seen(fake: FakeOllama, model: str, *, embedded: bool = False) -> list[list[Part]]:
    """What `model` saw in each request, part by part.

    The bridge ends the system message with words of its own. `embedded`: so does the client with
    all texts that are not the model's; of these only the parts of the conversation are kept.
    """
    wrapped = {"system", "user", "result"} if embedded else {"system"}
    return [
        [
            part
            for kind, text in _parts(turn.effective["messages"])
            for part in (
                [(kind, each) for each in _found(text)] if kind in wrapped else [(kind, text)]
            )
        ]
        for turn in fake.turns
        if turn.effective is not None and turn.effective["model"] == model
    ]


def _found(text: str) -> Iterator[str]:
    """The texts of the conversation that stand in `text`, in their order, each time they do."""
    known = [SYSTEM, *QUESTIONS, *ANSWERS, *THOUGHTS, SPOKEN, RESULT]
    places = [
        (place, each)
        for each in known
        for place in range(len(text))
        if text.startswith(each, place)
    ]
    return (each for _, each in sorted(places))


def _parts(messages: Iterable[Json]) -> Iterator[Part]:
    kinds = {"assistant": "text", "tool": "result"}
    for message in messages:
        if message.get("reasoning"):
            yield "reasoning", message["reasoning"]
        if message["content"]:
            yield kinds.get(message["role"], message["role"]), message["content"]
        for call in message.get("tool_calls", ()):
            yield "call", _written(call["name"], call["arguments"])


def _written(name: str, arguments: Any) -> str:
    return f"{name} {orjson.dumps(arguments, option=orjson.OPT_SORT_KEYS).decode()}"
