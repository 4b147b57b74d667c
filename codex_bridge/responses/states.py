"""Which event of a response may follow which: the states of a stream, as one table.

A stream begins with `response.created` and ends with one last event. In between stand items,
one after another: an item ends before the next one begins. The writer checks each event against
the table; the tests generate streams from it.
"""

from __future__ import annotations

from enum import Enum, auto

from codex_bridge.vocabulary import Json


class State(Enum):
    """What has been sent."""

    NEW = auto()
    """Nothing."""
    CREATED = auto()
    BETWEEN_ITEMS = auto()
    MESSAGE = auto()
    """An item was added that is a message; its content part was not."""
    TEXT = auto()
    """Pieces of the message's text may follow."""
    TEXT_DONE = auto()
    TEXT_PART_DONE = auto()
    REASONING = auto()
    """An item was added that is reasoning; its summary part was not."""
    SUMMARY = auto()
    """Pieces of the summary may follow."""
    SUMMARY_DONE = auto()
    SUMMARY_PART_DONE = auto()
    FUNCTION_CALL = auto()
    ARGUMENTS = auto()
    ARGUMENTS_DONE = auto()
    CUSTOM_CALL = auto()
    INPUT = auto()
    INPUT_DONE = auto()
    SEARCH_CALL = auto()
    SHELL_CALL = auto()
    COMPACTION = auto()
    ENDED = auto()
    """The last event."""


class WrongOrder(RuntimeError):
    """An event that may not follow the one before it: a bug of the caller."""


_TABLE: dict[State, dict[str, State]] = {
    State.NEW: {"created": State.CREATED},
    State.CREATED: {"in_progress": State.BETWEEN_ITEMS},
    State.BETWEEN_ITEMS: {
        "output_item.added message": State.MESSAGE,
        "output_item.added reasoning": State.REASONING,
        "output_item.added function_call": State.FUNCTION_CALL,
        "output_item.added custom_tool_call": State.CUSTOM_CALL,
        "output_item.added tool_search_call": State.SEARCH_CALL,
        "output_item.added local_shell_call": State.SHELL_CALL,
        "output_item.added compaction": State.COMPACTION,
        "completed": State.ENDED,
        "incomplete": State.ENDED,
    },
    State.MESSAGE: {"content_part.added": State.TEXT},
    State.TEXT: {"output_text.delta": State.TEXT, "output_text.done": State.TEXT_DONE},
    State.TEXT_DONE: {"content_part.done": State.TEXT_PART_DONE},
    State.TEXT_PART_DONE: {"output_item.done message": State.BETWEEN_ITEMS},
    State.REASONING: {"reasoning_summary_part.added": State.SUMMARY},
    State.SUMMARY: {
        "reasoning_summary_text.delta": State.SUMMARY,
        "reasoning_summary_text.done": State.SUMMARY_DONE,
    },
    State.SUMMARY_DONE: {"reasoning_summary_part.done": State.SUMMARY_PART_DONE},
    State.SUMMARY_PART_DONE: {"output_item.done reasoning": State.BETWEEN_ITEMS},
    State.FUNCTION_CALL: {"function_call_arguments.delta": State.ARGUMENTS},
    State.ARGUMENTS: {"function_call_arguments.done": State.ARGUMENTS_DONE},
    State.ARGUMENTS_DONE: {"output_item.done function_call": State.BETWEEN_ITEMS},
    State.CUSTOM_CALL: {
        "custom_tool_call_input.delta": State.INPUT,
        # An empty input has no delta.
        "custom_tool_call_input.done": State.INPUT_DONE,
    },
    State.INPUT: {"custom_tool_call_input.done": State.INPUT_DONE},
    State.INPUT_DONE: {"output_item.done custom_tool_call": State.BETWEEN_ITEMS},
    State.SEARCH_CALL: {"output_item.done tool_search_call": State.BETWEEN_ITEMS},
    State.SHELL_CALL: {"output_item.done local_shell_call": State.BETWEEN_ITEMS},
    State.COMPACTION: {"output_item.done compaction": State.BETWEEN_ITEMS},
    State.ENDED: {},
}
_UNSTARTED = (State.NEW, State.CREATED, State.ENDED)
TABLE: dict[State, dict[str, State]] = {
    # Anywhere in a stream it may be said that the answer is still awaited, or that it failed.
    state: following
    if state in _UNSTARTED
    else {**following, "in_progress": state, "failed": State.ENDED}
    for state, following in _TABLE.items()
}
"""State -> the events that may follow, without "response.", and the state that each leads to.
The name of an event that has an item includes the item's type."""


def event_name(event: Json) -> str:
    """What the table calls an event: "output_item.added message" for the start of a message."""
    name: str = event["type"].removeprefix("response.")
    return f"{name} {event['item']['type']}" if "item" in event else name


def after(state: State, event: Json) -> State:
    """The state that `event` leads to. Raises WrongOrder for an event that may not follow."""
    following = TABLE[state].get(event_name(event))
    if following is None:
        raise WrongOrder(f"{event_name(event)} may not follow in {state.name}")
    return following
