"""What a request shows that its answer may repeat: what the model may quote, and files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial

from attrs import Factory, frozen

from codex_bridge.leaks.quotations import Quotations
from codex_bridge.repair.seen import Seen
from codex_bridge.responses.contents import (
    agent_task,
    agent_text,
    item_text,
    other_text,
    output_content,
)
from codex_bridge.responses.messages import CALL_KINDS, RESULT_KINDS, arguments_object
from codex_bridge.responses.request import ResponsesRequest
from codex_bridge.tools.declarations import INPUT
from codex_bridge.vocabulary import Json

OWN_KINDS = frozenset({"reasoning", "compaction", *CALL_KINDS})
"""Kinds of items that the model itself wrote."""
COMMAND_KEYS = ("cmd", "command", INPUT)
"""The parameters that hold a command or a patch."""
SHOWING = re.compile(
    r"\bJSON\b|\b(?:show me|an? (?:\w+ )?(?:example|sample|snippet)|examples|request body|payload|"
    r"declaration|(?:ein|zum) \w*beispiel|zeig\w* mir|un exemple|montre[zr]?[- ]moi|un ejemplo|"
    r"mu[ée]stra(?:me)?|um exemplo|mostr[ae]\w*|пример|покажи\w*)\b|例子|示例|例を|示して|見せて|"
    r"예시|예를|보여",
    re.IGNORECASE,
)
"""A user asks to be shown something that may look like a call."""


@frozen
class Sources:
    """What the texts of one request say about its answer. Each is read when it is asked for."""

    read: Quotations = Factory(Quotations)
    """All that the model did not write itself: what it may be quoting."""
    results: Quotations = Factory(Quotations)
    """The part of that which tools returned."""
    seen: Seen = Factory(Seen)
    """What the model has read, and written, of files."""
    is_shown_json: Callable[[], bool] = lambda: False
    """Whether the user asked to be shown JSON."""

    @classmethod
    def of(cls, request: ResponsesRequest) -> Sources:
        """The sources of a request."""
        return cls(
            Quotations(all_texts(request)),
            Quotations(results(request)),
            Seen(calls_and_results(request)),
            partial(asks_to_show, request),
        )


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


def calls_and_results(request: ResponsesRequest) -> Iterator[tuple[str, str]]:
    """The command or patch of each call that has a result, and that result, in their order."""
    calls: dict[str, str] = {}
    for item in request.items:
        call_id = str(item.get("call_id"))
        if item["type"] in CALL_KINDS:
            calls[call_id] = _command(item)
        elif item["type"] in RESULT_KINDS and calls.get(call_id):
            yield calls[call_id], output_content(item.get("output"), sees=False)[0]


def _command(item: Json) -> str:
    """The command line or the patch of a call; "" for any other call."""
    _, arguments = CALL_KINDS[item["type"]](item)
    values = arguments_object(arguments)
    found = next((values[key] for key in COMMAND_KEYS if key in values), "")
    # A list of words ends with the command line for a shell.
    found = found[-1] if isinstance(found, list) and found else found
    return found if isinstance(found, str) else ""


def all_texts(request: ResponsesRequest) -> Iterator[str]:
    """The results of tools, and all that users, developers and other agents wrote; summaries."""
    yield from results(request)
    yield request.instructions or ""
    for item in request.items:
        if item["type"] == "agent_message":
            yield agent_text(item)
        elif item["type"] == "compaction":
            # The model wrote it, and may quote in it what tools returned.
            yield str(item.get("text"))
        elif item["type"] == "message" and _is_read(item):
            yield item_text(item)


def _is_read(item: Json) -> bool:
    """Whether the model did not write a message itself; older Codex sends tasks as its own."""
    return item.get("role") != "assistant" or agent_task(item_text(item)) is not None
