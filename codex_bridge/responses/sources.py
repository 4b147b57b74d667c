"""The texts of a request that the model did not write: those that it may quote."""

from __future__ import annotations

import re
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
SHOWING = re.compile(
    r"\bJSON\b|\b(?:show me|an? (?:\w+ )?(?:example|sample|snippet)|examples|request body|payload|"
    r"declaration|(?:ein|zum) \w*beispiel|zeig\w* mir|un exemple|montre[zr]?[- ]moi|un ejemplo|"
    r"mu[ée]stra(?:me)?|um exemplo|mostr[ae]\w*|пример|покажи\w*)\b|例子|示例|例を|示して|見せて|"
    r"예시|예를|보여",
    re.IGNORECASE,
)
"""A user asks to be shown something that may look like a call."""


def asks_to_show(request: ResponsesRequest) -> bool:
    """Whether the answer may hold JSON that is no call: the user asks for it, or a schema does."""
    if request.text_format is not None:
        return True
    users = (item for item in reversed(request.items) if item.get("role") == "user")
    last = next(users, None)
    return last is not None and SHOWING.search(item_text(last)) is not None


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
