"""The texts of a request that the model did not write: those that it may quote."""

from __future__ import annotations

from collections.abc import Iterator

from codex_bridge.responses.contents import (
    agent_task,
    agent_text,
    item_text,
    other_text,
    output_content,
)
from codex_bridge.responses.messages import CALL_KINDS, RESULT_KINDS
from codex_bridge.responses.request import ResponsesRequest
from codex_bridge.vocabulary import Json

OWN_KINDS = frozenset({"reasoning", *CALL_KINDS})
"""Kinds of items that the model itself wrote."""


def results(request: ResponsesRequest) -> Iterator[str]:
    """The results of tools: what files, programs and web pages say."""
    for item in request.items:
        if item["type"] in RESULT_KINDS:
            yield output_content(item.get("output"), sees=False)[0]
        elif item["type"] not in OWN_KINDS and item["type"] != "message":
            yield other_text(item)


def all_texts(request: ResponsesRequest) -> Iterator[str]:
    """The results of tools, and all that users, developers and other agents wrote."""
    yield from results(request)
    yield request.instructions or ""
    for item in request.items:
        if item["type"] == "agent_message":
            yield agent_text(item)
        elif item["type"] == "message" and _is_read(item):
            yield item_text(item)


def _is_read(item: Json) -> bool:
    """Whether the model did not write a message itself; older Codex sends tasks as its own."""
    return item.get("role") != "assistant" or agent_task(item_text(item)) is not None
