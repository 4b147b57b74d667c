"""A client that takes one call, or some, gets no more: over the wire, in both dialects."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import pytest_twisted

from tests.conftest import LogBook, Start
from tests.fake_ollama import Call, Playlist, Say
from tests.tools.declared import EXEC
from tests.web.test_quotations import HISTORY, QUOTED, output
from tests.web.test_tools import line

A, B, C = (Call("exec_command", {"cmd": name}) for name in "abc")
ONE = {"parallel_tool_calls": False}
GO = {"input": "Go on."}
LEFT_OUT = "call beyond the limit left out"


@pytest.fixture(name="start", params=["chat", "ollama"])
def over_both_dialects(start: Start, request: pytest.FixtureRequest) -> Start:
    """Every test runs with Ollama asked in either of its dialects."""
    return partial(start, upstream_api=request.param)


@pytest.mark.parametrize(
    ("limit", "calls", "left_out"),
    [
        ({}, ["a", "b", "c"], ""),
        ({"parallel_tool_calls": True}, ["a", "b", "c"], ""),
        ({"max_tool_calls": 3}, ["a", "b", "c"], ""),
        ({"max_tool_calls": 2}, ["a", "b"], LEFT_OUT),
        (ONE, ["a"], f"{LEFT_OUT} x2"),
        (ONE | {"max_tool_calls": 2}, ["a"], f"{LEFT_OUT} x2"),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
@pytest_twisted.ensureDeferred
async def test_the_first_calls_are_passed_on(
    start: Start, logged: LogBook, limit: Any, calls: list[str], left_out: str, stream: bool
) -> None:
    setup = await start(Playlist([Say("I look."), A, B, C]))
    assert await output(setup, **GO, **limit, stream=stream) == ["I look.", *calls]
    assert len(setup.fake.turns) == 1
    told = f"tools: {', '.join(['exec_command'] * len(calls))}; repairs: {left_out or 'none'}"
    assert line(logged) == told
    counted = (await setup.request("GET", "/__health")).json["repairs"]
    assert counted.get(LEFT_OUT, 0) == 3 - len(calls)


@pytest_twisted.ensureDeferred
async def test_a_call_that_is_made_twice_is_not_one_too_many(start: Start, logged: LogBook) -> None:
    written = '<tool_call>\n{"name": "exec_command", "arguments": {"cmd": "a"}}\n</tool_call>'
    setup = await start(Playlist([Say(f"I look.\n{written}"), A]))
    assert await output(setup, **GO, **ONE) == ["I look.\n", "a"]
    assert line(logged) == "tools: exec_command; repairs: none"


@pytest.mark.parametrize("repair", [True, False])
@pytest_twisted.ensureDeferred
async def test_calls_in_the_text_and_unrepaired_ones_count_like_others(
    start: Start, repair: bool
) -> None:
    written = "".join(
        f'<tool_call>\n{{"name": "exec_command", "arguments": {{"cmd": "{name}"}}}}\n</tool_call>\n'
        for name in "ab"
    )
    answer = [Say(written)] if repair else [A, B]
    setup = await start(Playlist(answer), repair=repair)
    assert await output(setup, **GO, **ONE) == ["a"]


@pytest.mark.parametrize("calls", [[A, QUOTED], [QUOTED, A]], ids=["behind", "before"])
@pytest_twisted.ensureDeferred
async def test_the_model_is_not_asked_about_a_call_that_there_is_no_room_for(
    start: Start, logged: LogBook, calls: list[Any]
) -> None:
    setup = await start(Playlist(calls, [QUOTED]))
    assert await output(setup, **ONE) == ["a"]
    assert len(setup.fake.turns) == 1
    assert line(logged) == f"tools: exec_command; repairs: {LEFT_OUT}"


@pytest_twisted.ensureDeferred
async def test_where_there_is_room_the_model_is_asked(start: Start) -> None:
    setup = await start(Playlist([A, QUOTED], [QUOTED]))
    assert await output(setup, max_tool_calls=2) == ["a", "touch PWNED"]
    assert len(setup.fake.turns) == 2


@pytest_twisted.ensureDeferred
async def test_calls_before_and_behind_the_question_count_together(
    start: Start, logged: LogBook
) -> None:
    setup = await start(Playlist([A, QUOTED], [QUOTED, B]))
    assert await output(setup, max_tool_calls=2) == ["a", "touch PWNED"]
    repairs = f"quoted call confirmed, {LEFT_OUT}"
    assert line(logged) == f"tools: exec_command, exec_command; repairs: {repairs}"


@pytest_twisted.ensureDeferred
async def test_of_two_calls_that_are_confirmed_the_first_is_made(start: Start) -> None:
    other = Call("exec_command", {"cmd": "touch PWNED too"})
    read = HISTORY[-1]["output"]
    result = HISTORY[-1] | {"output": read + read.replace("PWNED", "PWNED too")}
    setup = await start(Playlist([QUOTED, other], [other, QUOTED]))
    asked = {"input": [*HISTORY[:-1], result], "tools": [EXEC]}
    assert await output(setup, **asked, **ONE) == ["touch PWNED too"]


@pytest.mark.parametrize("field", ["parallel_tool_calls", "max_tool_calls"])
@pytest_twisted.ensureDeferred
async def test_a_limit_that_is_none_is_refused(start: Start, field: str) -> None:
    setup = await start(Playlist([A]))
    answer = await setup.ask({field: "one"})
    assert answer.status == 400
    assert answer.json["error"]["param"] == field
    assert setup.fake.turns == []
