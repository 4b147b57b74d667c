"""Compaction: a conversation becomes a summary, which its client keeps as a sealed item. No I/O.

The model is asked for the summary behind the conversation (`summary_request`, `ASKED`). The client
gets it as an item of the type `compaction`, and sends that item in place of what was summarised.
Then the model reads the summary (`opened`).
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

from attrs import evolve

from codex_bridge.errors import invalid
from codex_bridge.ids import IdSource
from codex_bridge.responses.contents import item_text
from codex_bridge.responses.request import ResponsesRequest
from codex_bridge.tools.choice import ToolChoice
from codex_bridge.vocabulary import Json

TRIGGER = "compaction_trigger"
"""The last item of a request that asks for a compaction, as Codex does."""
COMPACTION = "compaction"
OLDER_NAME, MARK = "compaction_summary", "context_compaction"
"""Other types of Codex's. The second one may be a mere mark, without a summary."""
ASKED: tuple[Json, ...] = (
    {
        "role": "user",
        "content": """\
This conversation ends here, and somebody else goes on with the work. They know nothing of it but \
what you write now. Do not go on with the task, and do not call any function. Write a summary that \
hands the work over. Say, as far as there is something to say:

- what the user wants: every request, wish and limit, in the user's own words where these matter;
- what was done, and what came of it: the files that were read, made or changed, the commands that \
were run, and what they showed;
- what was decided, and why; what was tried and did not work;
- what is open: the step that is under way, the next ones, questions to the user;
- names that are needed again, letter for letter: paths, functions, commands, addresses, numbers, \
error messages.

Leave out what nobody needs to go on. Write in the language of the user, and nothing but the \
summary.""",
    },
)
"""What the model is told behind the conversation."""
SUMMARISED = """\
The conversation was too long. What was said and done before is replaced by this summary. \
Messages of the user that it covers may stand before it. Take what it says as known and done, and \
go on from there.

{summary}"""
"""What the model reads of a compacted conversation."""


def is_asked_for(request: ResponsesRequest) -> bool:
    """Whether the client wants the conversation compacted, by its last item."""
    return bool(request.items) and request.items[-1]["type"] == TRIGGER


def summary_request(request: ResponsesRequest) -> ResponsesRequest:
    """The request for a summary of the conversation of `request`; the turns `ASKED` follow it.

    Instructions and tools stay as they are. So the prompt begins as that of the request before
    did, and the server has all of it but the last message in its cache. What the client says of
    the form and the length of an answer is not meant for a summary.
    """
    return evolve(
        request,
        tool_choice=ToolChoice(),
        text_format=None,
        max_output_tokens=None,
        most_calls=None,
        logprobs=None,
        is_compaction=True,
    )


def without_tools(request: ResponsesRequest) -> ResponsesRequest:
    """`request` for a model that called a function in place of writing a summary.

    The functions that were called in the conversation keep their names.
    """
    toolbox = copy(request.toolbox)
    toolbox.offer_only([])
    return evolve(request, toolbox=toolbox)


def opened(request: Json, unseal: Callable[[str], str], before: int = 0) -> Json:
    """A parsed request, with the summaries of compacted conversations in `input` as text.

    `unseal` opens a sealed text, or raises ValueError. `before`: how many items stand before those
    that the client sent. Raises ApiError (400) that names the item: for a summary that cannot be
    opened, and for the wish for a compaction in mid-conversation.
    """
    items = request.get("input")
    if not isinstance(items, list):
        return request
    places = [
        f"input[{n - before}]" if n >= before else "previous_response_id" for n in range(len(items))
    ]
    for each, place in zip(items[before:-1], places[before:], strict=False):
        if _kind(each) == TRIGGER:
            raise invalid(
                f"{place} asks for a compaction (compaction_trigger) and has to be the last item.",
                place,
            )
    pairs = zip(items, places, strict=True)
    return request | {"input": [_opened(each, place, unseal) for each, place in pairs]}


def _kind(item: Any) -> Any:
    return item.get("type") if isinstance(item, dict) else None


def _opened(item: Any, place: str, unseal: Callable[[str], str]) -> Any:
    kind = _kind(item)
    if kind not in (COMPACTION, OLDER_NAME, MARK):
        return item
    sealed = item.get("encrypted_content")
    if kind == MARK and sealed is None:
        return item
    try:
        if not isinstance(sealed, str):
            raise ValueError(kind)
        text = SUMMARISED.format(summary=unseal(sealed))
    except ValueError:
        raise invalid(
            f"{place} is, or holds, a summary that this bridge cannot open: another service made "
            f"it, or a bridge with another key, or it was changed since. Start a new conversation, "
            f"or send in its place the messages that it stands for.",
            f"{place}.encrypted_content" if place.startswith("input") else place,
            "invalid_encrypted_content",
        ) from None
    return item | {"type": COMPACTION, "text": text}


def summary_in(output: list[Json]) -> str:
    """The summary that an answer with these output items holds.

    "" where it holds none: it is empty, or the model called a function.
    """
    said = [item for item in output if item["type"] != "reasoning"]
    if any(item["type"] != "message" for item in said):
        return ""
    return "\n\n".join(map(item_text, said)).strip()


def user_messages(items: list[Json]) -> list[Json]:
    """The user's messages among `items`, which stay when a conversation is compacted."""
    return [item for item in items if item["type"] == "message" and item.get("role") == "user"]


def as_output(message: Json, new_id: IdSource) -> Json:
    """A user's message as an item of a response."""
    item_id, content = message.get("id"), message.get("content")
    is_list = isinstance(content, list)
    return {
        "type": "message",
        "id": item_id if isinstance(item_id, str) else new_id("msg"),
        "status": "completed",
        "role": "user",
        "content": content if is_list else [{"type": "input_text", "text": item_text(message)}],
    }
