"""Scripted models of different quality for doctor to try."""

from __future__ import annotations

from typing import Any

import orjson

from tests.fake_ollama import Answer, Call, Model, Say, Think

Json = dict[str, Any]
TICKET = "mcp__tracker__create_ticket"
GOOD_TICKET: Json = {
    "title": "Broken lamp",
    "labels": ["red", "urgent"],
    "place": {"floor": 3, "room": 12},
}
GOOD: dict[str, Answer] = {
    "plain": [Think("Easy."), Say("It is 5.")],
    "command": [Call("exec_command", {"cmd": "ls /tmp/doctor"})],
    "result": [Say("The file is harbour-4711.txt.")],
    "nested": [Call(TICKET, GOOD_TICKET)],
}


def scripted(**answers: Answer) -> Model:
    """A model that answers every trial well, except those whose `answers` are given."""

    def model(request: Json) -> Answer:
        return (GOOD | answers)[trial_of(request)]

    return model


def trial_of(request: Json) -> str:
    """Which trial of the probe a chat request is."""
    last = request["messages"][-1]
    if last["role"] == "tool":
        return "result"
    if "ticket" in last["content"]:
        return "nested"
    return "command" if "List" in last["content"] else "plain"


def leaked(name: str, arguments: Json) -> Answer:
    """A call that is written into the text."""
    call = orjson.dumps({"name": name, "arguments": arguments}).decode()
    return [Say(f"<tool_call>\n{call}\n</tool_call>")]
