"""What is stored is found again by its owner, whole, as long as the bounds allow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codex_bridge.storage.database import StorageError
from codex_bridge.storage.store import ResponseStore
from codex_bridge.vocabulary import Json
from tests.storage.stores import DAY, Calendar, got, response, said, started, user

ME, OTHER = "me", "other"
QUESTION, ANSWER = user("2+2?"), said("4", "msg_1")


def ids(items: list[Json] | None) -> list[str]:
    assert items is not None
    return [item["id"] for item in items]


def without_ids(items: list[Json] | None) -> list[Json]:
    assert items is not None
    return [{k: v for k, v in item.items() if k != "id"} for item in items]


def counted(store: ResponseStore) -> tuple[int, int]:
    stats = got(store.stats())
    return stats.responses, stats.items


def test_a_response_is_read_as_it_was_saved() -> None:
    store = started()
    saved = {"id": "resp_1", "output": [ANSWER], "a": 1, "usage": None, "text": {"b": [0.1, 1e300]}}
    got(store.save(ME, saved, [QUESTION]))
    read = got(store.response(ME, "resp_1"))
    assert read == saved
    assert list(read or {}) == list(saved)


def test_the_context_is_the_input_and_then_the_output() -> None:
    store = started()
    more = user("and 3+3?", id="msg_u")
    got(store.save(ME, response("resp_1", ANSWER, said("6", "msg_2")), [QUESTION, more]))
    assert without_ids(got(store.context(ME, "resp_1"))) == without_ids(
        [QUESTION, more, ANSWER, said("6", "msg_2")]
    )
    assert got(store.input_items(ME, "resp_1")) == [QUESTION | {"id": "msg_new1"}, more]


def test_a_response_without_input_or_output_is_kept_too() -> None:
    store = started()
    got(store.save(ME, response("resp_1", ANSWER), []))
    got(store.save(ME, response("resp_2"), [QUESTION]))
    got(store.save(ME, response("resp_3"), []))
    assert got(store.input_items(ME, "resp_1")) == []
    assert got(store.context(ME, "resp_1")) == [ANSWER]
    assert got(store.response(ME, "resp_2")) == response("resp_2")
    assert len(got(store.context(ME, "resp_2")) or []) == 1
    assert got(store.context(ME, "resp_3")) == []


@pytest.mark.parametrize(
    ("kind", "prefix"),
    [
        ("message", "msg"),
        ("reasoning", "rs"),
        ("function_call", "fc"),
        ("custom_tool_call", "ctc"),
        ("tool_search_call", "tsc"),
        ("local_shell_call", "lsc"),
        ("function_call_output", "fco"),
        ("something_new", "item"),
    ],
)
@pytest.mark.parametrize("no_id", [{}, {"id": None}, {"id": ""}, {"id": ["x"]}])
def test_an_item_without_an_id_gets_one_of_its_kind(kind: str, prefix: str, no_id: Json) -> None:
    store = started()
    got(store.save(ME, response("resp_1"), [{"type": kind, **no_id, "call_id": "c"}]))
    assert got(store.input_items(ME, "resp_1")) == [
        {"id": f"{prefix}_new1", "type": kind, "call_id": "c"}
    ]
    assert got(store.items(ME, [f"{prefix}_new1"])) == {
        f"{prefix}_new1": {"id": f"{prefix}_new1", "type": kind, "call_id": "c"}
    }


def test_a_conversation_that_is_sent_again_adds_only_what_is_new() -> None:
    store = started()
    history: list[Json] = []
    for turn in range(10):
        history.append(user(f"question {turn}"))
        answer = said(f"answer {turn}", f"msg_{turn}")
        got(store.save(ME, response(f"resp_{turn}", answer), history))
        history.append(answer)
    assert counted(store) == (10, 20)
    assert ids(got(store.context(ME, "resp_3"))) == ids(got(store.context(ME, "resp_9")))[:8]


def test_a_conversation_that_goes_on_from_its_context_adds_only_what_is_new() -> None:
    store = started()
    got(store.save(ME, response("resp_1", ANSWER), [QUESTION]))
    context = got(store.context(ME, "resp_1")) or []
    got(store.save(ME, response("resp_2", said("6", "msg_2")), [*context, user("3+3?")]))
    assert counted(store) == (2, 4)


def test_a_conversation_without_its_beginning_stores_no_item_twice() -> None:
    store = started()
    history = [user(f"question {n}") for n in range(10)]
    got(store.save(ME, response("resp_1"), history))
    got(store.save(ME, response("resp_2"), history[3:]))
    assert counted(store) == (2, 10)
    got(store.delete(ME, "resp_1"))
    assert counted(store) == (1, 7)


def test_equal_items_of_a_conversation_have_ids_of_their_own_whenever_they_are_sent() -> None:
    store = started()
    again = user("go on")
    got(store.save(ME, response("resp_1"), [again, again]))
    first = ids(got(store.input_items(ME, "resp_1")))
    assert len(set(first)) == 2
    got(store.save(ME, response("resp_2"), [again, again]))
    assert ids(got(store.input_items(ME, "resp_2"))) == first
    # The third is new, also where the others come with the ids that they were given.
    context = got(store.context(ME, "resp_1")) or []
    got(store.save(ME, response("resp_3"), [again, *context]))
    third = ids(got(store.input_items(ME, "resp_3")))
    assert third[1:] == first
    assert len(set(third)) == 3


def test_items_of_the_same_content_and_different_ids_stay_different() -> None:
    store = started()
    got(store.save(ME, response("resp_1", said("4", "msg_1"), said("4", "msg_2")), []))
    assert ids(got(store.context(ME, "resp_1"))) == ["msg_1", "msg_2"]


def test_of_items_with_the_same_id_the_newest_is_found() -> None:
    store = started()
    got(store.save(ME, response("resp_1", said("old", "msg_1")), []))
    got(store.save(ME, response("resp_2", said("new", "msg_1")), []))
    assert got(store.items(ME, ["msg_1", "msg_?"])) == {"msg_1": said("new", "msg_1")}
    assert got(store.context(ME, "resp_1")) == [said("old", "msg_1")]


def test_one_owner_sees_nothing_of_another() -> None:
    store = started()
    got(store.save(ME, response("resp_1", ANSWER), [QUESTION]))
    assert got(store.response(OTHER, "resp_1")) is None
    assert got(store.context(OTHER, "resp_1")) is None
    assert got(store.input_items(OTHER, "resp_1")) is None
    assert got(store.items(OTHER, ["msg_1", "msg_new1"])) == {}
    assert got(store.delete(OTHER, "resp_1")) is False
    # The same content is stored for each, so deleting one of them changes nothing for the other.
    got(store.save(OTHER, response("resp_1", ANSWER), [QUESTION]))
    assert counted(store) == (2, 4)
    assert ids(got(store.input_items(OTHER, "resp_1"))) == ["msg_new2"]
    assert got(store.delete(ME, "resp_1")) is True
    assert got(store.response(OTHER, "resp_1")) == response("resp_1", ANSWER)


def test_a_deleted_response_is_gone_with_its_items() -> None:
    store = started()
    got(store.save(ME, response("resp_1", ANSWER), [QUESTION]))
    assert got(store.delete(ME, "resp_1")) is True
    assert got(store.response(ME, "resp_1")) is None
    assert got(store.items(ME, ["msg_1"])) == {}
    assert counted(store) == (0, 0)
    assert got(store.delete(ME, "resp_1")) is False


def test_what_others_have_outlives_a_deleted_response() -> None:
    store = started()
    got(store.save(ME, response("resp_1", ANSWER), [QUESTION]))
    context = got(store.context(ME, "resp_1")) or []
    got(store.save(ME, response("resp_2", said("6", "msg_2")), [*context, user("3+3?")]))
    got(store.delete(ME, "resp_1"))
    assert counted(store) == (1, 4)
    assert (got(store.context(ME, "resp_2")) or [])[:2] == context
    got(store.delete(ME, "resp_2"))
    assert counted(store) == (0, 0)


def test_a_response_is_replaced_by_one_with_the_same_id() -> None:
    store = started()
    got(store.save(ME, response("resp_1", status="in_progress"), [QUESTION]))
    got(store.save(ME, response("resp_1", ANSWER, status="completed"), [QUESTION]))
    assert got(store.response(ME, "resp_1")) == response("resp_1", ANSWER, status="completed")
    assert ids(got(store.context(ME, "resp_1"))) == ["msg_new1", "msg_1"]
    assert counted(store) == (1, 2)


def test_a_response_that_is_saved_again_as_it_is_keeps_its_items() -> None:
    store = started()
    for _ in range(3):
        got(store.save(ME, response("resp_1", ANSWER), [QUESTION]))
        assert ids(got(store.context(ME, "resp_1"))) == ["msg_new1", "msg_1"]
    assert counted(store) == (1, 2)


def test_a_response_is_kept_for_its_time_by_the_calendar() -> None:
    calendar = Calendar()
    store = started(now=calendar, max_age=30 * DAY)
    got(store.save(ME, response("resp_1", ANSWER), []))
    calendar.seconds += 10 * DAY
    got(store.save(ME, response("resp_2"), [ANSWER]))
    calendar.seconds += 20 * DAY
    assert got(store.response(ME, "resp_1")) is not None
    calendar.seconds += 1
    assert got(store.response(ME, "resp_1")) is None
    assert got(store.items(ME, ["msg_1"])) == {"msg_1": ANSWER}
    calendar.seconds += 10 * DAY
    assert got(store.items(ME, ["msg_1"])) == {}
    assert counted(store) == (0, 0)


def filled(store: ResponseStore, count: int) -> list[str]:
    """Save `count` responses of 10 kB each, one second apart; return their ids."""
    for n in range(count):
        got(store.save(ME, response(f"resp_{n}", said(f"{n:010}" * 1000, f"msg_{n}")), []))
    return [f"resp_{n}" for n in range(count)]


def test_the_oldest_responses_make_room_for_new_ones() -> None:
    store = started(max_bytes=1 << 20)
    names = filled(store, 300)
    kept = [name for name in names if got(store.response(ME, name)) is not None]
    assert kept == names[-len(kept) :]
    # A little more than 10 kB each.
    assert 90 <= len(kept) <= 102
    assert got(store.stats()).bytes <= 1 << 20


def test_the_oldest_is_by_the_calendar_the_one_saved_first() -> None:
    store = started(max_bytes=1 << 20)
    filled(store, 60)
    # Saved anew, so it is not the oldest any more.
    got(store.save(ME, response("resp_0", said("x" * 10_000, "msg_0")), []))
    for n in range(60, 120):
        got(store.save(ME, response(f"resp_{n}", said(f"{n:010}" * 1000, f"msg_{n}")), []))
    assert got(store.response(ME, "resp_0")) is not None
    assert got(store.response(ME, "resp_1")) is None


def test_a_response_that_is_larger_than_the_bound_is_refused_and_nothing_is_lost_for_it() -> None:
    store = started(max_bytes=1 << 20)
    names = filled(store, 20)
    with pytest.raises(StorageError, match=r"larger than .*1048576 bytes \(--store-size\)"):
        got(store.save(ME, response("resp_x", said("x" * (1 << 20), "msg_x")), []))
    assert got(store.response(ME, "resp_x")) is None
    assert all(got(store.response(ME, name)) is not None for name in names)
    # The one that it would have replaced is left, too.
    with pytest.raises(StorageError):
        got(store.save(ME, response("resp_3", said("x" * (1 << 20), "msg_x")), []))
    assert got(store.response(ME, "resp_3")) is not None


@pytest.mark.parametrize(
    "value", ["\ud800", 1 << 70, {1: 2}, object()], ids=["surrogate", "integer", "key", "object"]
)
def test_what_json_cannot_carry_is_refused(value: Any) -> None:
    store = started()
    got(store.save(ME, response("resp_1", ANSWER), []))
    for bad, items in (
        (response("resp_1", metadata=value), [QUESTION]),
        (response("resp_1", said("x", "msg_2") | {"text": value}), [QUESTION]),
        (response("resp_1"), [QUESTION, user("x", metadata=value)]),
    ):
        with pytest.raises(StorageError, match="cannot be written as JSON"):
            got(store.save(ME, bad, items))
    assert got(store.response(ME, "resp_1")) == response("resp_1", ANSWER)
    assert counted(store) == (1, 1)


def test_a_closed_store_says_so() -> None:
    store = started()
    got(store.close())
    got(store.close())
    for asked in (store.stats(), store.save(ME, response("resp_1"), [])):
        with pytest.raises(StorageError, match="closed"):
            got(asked)


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
numbers = st.integers(-(1 << 63), (1 << 64) - 1) | st.floats(allow_nan=False, allow_infinity=False)
values: Any = st.recursive(
    st.none() | st.booleans() | numbers | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(text, values), st.lists(st.dictionaries(text, values), max_size=3))
def test_every_json_value_comes_back(fields: Json, contents: list[Json]) -> None:
    store = started()
    output = [{**content, "id": f"msg_{n}"} for n, content in enumerate(contents)]
    saved = {**fields, "id": "resp_1", "output": output}
    got(store.save(ME, saved, output))
    assert repr(got(store.response(ME, "resp_1"))) == repr(saved)
    assert repr(got(store.input_items(ME, "resp_1"))) == repr(output)
    got(store.close())


def work(store: ResponseStore, act: Callable[[], object]) -> int:
    """How many hundreds of SQLite's instructions `act` takes."""
    steps: list[None] = []
    database = store._database
    database.run(lambda db: db.set_progress_handler(lambda: steps.append(None), 100))
    act()
    database.run(lambda db: db.set_progress_handler(None, 0))
    return len(steps)


def test_the_work_for_a_response_depends_on_its_conversation_and_not_on_the_store() -> None:
    store = started()

    def turn(number: int, history: list[Json]) -> None:
        answer = said("Done.", f"msg_{number}_{len(history)}")
        got(store.save(ME, response(f"resp_{number}_{len(history)}", answer), history))

    def conversation(number: int) -> list[Json]:
        # The same words in each: only the calls have ids, and the first item differs.
        history = [user(f"{number}")]
        for each in range(100):
            call = {"type": "function_call", "id": f"fc_{number}_{each}", "name": "x"}
            history += [call, user("go on"), said("Done.", f"msg_{number}_{each}")]
            if each % 25 == 0:
                turn(number, history)
        return history

    def measured(number: int) -> tuple[int, int, int, int]:
        history = conversation(number)
        name = f"resp_{number}_{len(history)}"
        return (
            work(store, lambda: turn(number, history)),
            work(store, lambda: got(store.context(ME, name))),
            work(store, lambda: got(store.items(ME, [f"msg_{number}_7", f"fc_{number}_3"]))),
            work(store, lambda: got(store.delete(ME, name))),
        )

    first = measured(0)
    for number in range(1, 40):
        conversation(number)
    for small, large in zip(first, measured(40), strict=True):
        assert large <= small * 1.2 + 2


def test_many_equal_items_take_time_in_proportion_to_their_number() -> None:
    store = started()

    def saving(count: int) -> int:
        name = f"resp_{count}"
        first = [user(name)]
        asked = response(name, *(said("ok", "msg_1") for _ in range(count)))
        return work(store, lambda: got(store.save(ME, asked, first + [user("go on")] * count)))

    few = saving(100)
    assert saving(2000) <= few * 30
