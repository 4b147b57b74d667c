"""The order of events, written down a second time: by hand, event by event."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codex_bridge.errors import stopping
from codex_bridge.repair.calls import RepairedCall
from codex_bridge.responses.events import ResponseTemplate
from codex_bridge.responses.states import TABLE, State, WrongOrder, after, event_name
from codex_bridge.responses.writer import Channel, ResponseWriter
from codex_bridge.tools.declarations import Kind
from codex_bridge.vocabulary import UsageDelta

HEAD = ["created", "in_progress"]
MESSAGE = [
    "output_item.added message",
    "content_part.added",
    "output_text.delta",
    "output_text.delta",
    "output_text.done",
    "content_part.done",
    "output_item.done message",
]
REASONING = [
    "output_item.added reasoning",
    "reasoning_summary_part.added",
    "reasoning_summary_text.delta",
    "reasoning_summary_text.done",
    "reasoning_summary_part.done",
    "output_item.done reasoning",
]
FUNCTION_CALL = [
    "output_item.added function_call",
    "function_call_arguments.delta",
    "function_call_arguments.done",
    "output_item.done function_call",
]
CUSTOM_CALL = [
    "output_item.added custom_tool_call",
    "custom_tool_call_input.delta",
    "custom_tool_call_input.done",
    "output_item.done custom_tool_call",
]
EMPTY_CUSTOM_CALL = [CUSTOM_CALL[0], *CUSTOM_CALL[2:]]
SEARCH_CALL = ["output_item.added tool_search_call", "output_item.done tool_search_call"]
SHELL_CALL = ["output_item.added local_shell_call", "output_item.done local_shell_call"]
COMPACTION = ["output_item.added compaction", "output_item.done compaction"]
CALLS = [FUNCTION_CALL, CUSTOM_CALL, EMPTY_CUSTOM_CALL, SEARCH_CALL, SHELL_CALL]
ITEMS = [MESSAGE, REASONING, *CALLS, COMPACTION]
NAMES = sorted({name for following in TABLE.values() for name in following})


def event(name: str) -> dict[str, Any]:
    kind, _, item = name.partition(" ")
    return {"type": f"response.{kind}"} | ({"item": {"type": item}} if item else {})


def walk(*names: str) -> State:
    state = State.NEW
    for name in names:
        state = after(state, event(name))
    return state


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item[0])
@pytest.mark.parametrize("last", ["completed", "incomplete", "failed"])
def test_items_stand_between_the_head_and_the_last_event(item: list[str], last: str) -> None:
    assert walk(*HEAD, *item, *MESSAGE, *item, last) is State.ENDED


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item[0])
def test_no_event_of_an_item_may_be_missing_but_deltas_of_text(item: list[str]) -> None:
    for n, name in enumerate(item):
        if name in {"output_text.delta", "reasoning_summary_text.delta"}:
            continue
        if item is CUSTOM_CALL and name.endswith(".delta"):
            continue
        with pytest.raises(WrongOrder):
            walk(*HEAD, *item[:n], *item[n + 1 :], "completed")


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item[0])
def test_inside_an_item_only_a_heartbeat_or_a_failure_may_come(item: list[str]) -> None:
    for n in range(1, len(item)):
        inside = [*HEAD, *item[:n]]
        assert walk(*inside, "in_progress", *item[n:], "completed") is State.ENDED
        assert walk(*inside, "failed") is State.ENDED
        for name in ("completed", "incomplete", "created", *(other[0] for other in ITEMS)):
            with pytest.raises(WrongOrder):
                walk(*inside, name)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_comes_before_the_head_and_nothing_after_the_last_event(name: str) -> None:
    if name != "created":
        with pytest.raises(WrongOrder):
            walk(name)
    if name != "in_progress":
        with pytest.raises(WrongOrder):
            walk("created", name)
    with pytest.raises(WrongOrder):
        walk(*HEAD, "completed", name)


def test_every_state_can_be_reached_and_left() -> None:
    reached = {State.NEW}
    for _ in State:
        reached |= {state for known in reached for state in TABLE[known].values()}
    assert reached == set(State)
    assert [state for state in State if not TABLE[state]] == [State.ENDED]


class Driver:
    """A writer, and the misuse that it has to refuse."""

    def __init__(self) -> None:
        ids = iter(range(10_000))
        template = ResponseTemplate("resp_1", 0, {"model": "m"})
        self.writer = ResponseWriter(template, lambda prefix: f"{prefix}_{next(ids)}")

    def do(self, action: str) -> None:
        writer = self.writer
        if action in Kind.__members__:
            writer.call(RepairedCall(Kind[action], "f", None, "{}"), "c")
        elif action in Channel.__members__:
            writer.text(Channel[action], "x")
        elif action == "complete":
            writer.complete(writer.whole(UsageDelta(1, 1), now=1))
        elif action == "compaction":
            writer.compaction("sealed")
        elif action == "fail":
            writer.fail(stopping(), "server_error")
        else:
            getattr(writer, action)()


ACTIONS = [
    "start",
    "heartbeat",
    "end_item",
    "complete",
    "compaction",
    "fail",
    *Channel.__members__,
    # Calls of the editor become calls of other kinds before they are written.
    *Kind.__members__.keys() - {"EDITOR"},
]


@given(st.lists(st.sampled_from(ACTIONS), max_size=12))
def test_whatever_a_writer_is_told_it_writes_what_the_table_allows_or_raises(
    actions: list[str],
) -> None:
    driver, state = Driver(), State.NEW
    for action in actions:
        try:
            driver.do(action)
        except WrongOrder:
            break
        for written in driver.writer.take():
            state = after(state, written)


@pytest.mark.parametrize(
    "actions",
    [
        ["heartbeat"],
        ["MESSAGE"],
        ["FUNCTION"],
        ["complete"],
        ["fail"],
        ["start", "start"],
        ["start", "MESSAGE", "FUNCTION"],
        ["start", "MESSAGE", "compaction"],
        ["start", "MESSAGE", "complete"],
        ["start", "complete", "heartbeat"],
        ["start", "complete", "MESSAGE"],
        ["start", "fail", "complete"],
        ["start", "complete", "complete"],
    ],
    ids=" ".join,
)
def test_a_writer_refuses_misuse(actions: list[str]) -> None:
    driver = Driver()
    for action in actions[:-1]:
        driver.do(action)
    with pytest.raises(WrongOrder):
        driver.do(actions[-1])


def test_an_item_is_told_apart_by_its_type() -> None:
    assert event_name(event("output_item.done message")) == "output_item.done message"
    assert event_name(event("in_progress")) == "in_progress"
