"""What a client script is told on its standard input, and the one line that it prints."""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

URL: str
WAY: str
SYSTEM: str
QUESTIONS: list[str]
_task = json.load(sys.stdin)
URL = _task["url"]
WAY = _task["way"]
"""How the conversation is carried from one request to the next; each client has its own ways."""
SYSTEM = _task["system"]
QUESTIONS = _task["questions"]
KEY = "none"

PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "unit": {"type": "string"}},
    "required": ["city", "unit"],
    "additionalProperties": False,
}
TOOL = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city.",
    "parameters": PARAMETERS,
}

os.environ["OPENAI_API_KEY"] = KEY
os.environ["OPENAI_BASE_URL"] = URL


def get_weather(city: str, unit: str) -> str:
    """The weather in a city."""
    return f"{city}: 7 degrees {unit}, light rain"


def run(converse: Callable[[str, bool], Any], **more: Any) -> None:
    """Hold both conversations and print the answers.

    `converse(model, streams)` returns the answers to the questions. Where more is asked for, each
    of `more` is called afterwards, and what it returns is printed under its name.
    """
    import asyncio

    async def all_of_them() -> dict[str, Any]:
        said: dict[str, Any] = {}
        for name, model in _task["models"].items():
            said[name] = await _result(converse(model, name == "stream"))
        for name, ask in more.items() if _task["more"] else ():
            said[name] = await _result(ask())
        return said

    print(json.dumps(asyncio.run(all_of_them())))


async def _result(value: Any | Awaitable[Any]) -> Any:
    return await value if inspect.isawaitable(value) else value
