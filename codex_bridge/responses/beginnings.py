"""What a conversation begins with before its user has said anything."""

from __future__ import annotations

from attrs import evolve

from codex_bridge.responses.messages import SILENT, leading_instructions
from codex_bridge.responses.request import ResponsesRequest
from codex_bridge.vocabulary import Json

USERS_WORDS: Json = {"type": "message", "role": "user", "content": "."}
"""In place of what the user will say: many templates refuse a conversation without a user. It is
short, since what a model read of it is read again in the turn."""


def beginning(request: ResponsesRequest) -> ResponsesRequest:
    """`request` with its instructions and tools alone, and a placeholder for the user's words."""
    leading, _ = leading_instructions(request.items)
    return evolve(request, items=[*leading, USERS_WORDS], echo={}, size=0)


def is_first_turn(request: ResponsesRequest) -> bool:
    """Whether a conversation that can use tools begins with `request`: nothing was answered yet."""
    return len(request.toolbox) > 0 and all(
        item["type"] in SILENT or (item["type"] == "message" and item.get("role") != "assistant")
        for item in request.items
    )
