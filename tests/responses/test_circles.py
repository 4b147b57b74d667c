"""What the model is told when it makes the same calls again and gets the same results."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codex_bridge.responses.messages import to_messages
from codex_bridge.tools.shown import ToolProfile
from codex_bridge.tools.toolbox import Toolbox
from tests.responses.items import IMAGE, call, message, reasoning, result
from tests.tools.declared import CODEX, EXEC, PATCH

Json = dict[str, Any]
TOOLBOX = Toolbox.from_request(CODEX)
THIRD = (
    "\nYou made this call 3 times with the same result. If you expected another one, do not repeat "
    "the call: try another command or other arguments, or tell the user what is in the way."
)
FOURTH = (
    "\nYou made this call 4 times with the same result, and will most likely get it again. Do not "
    "repeat the call: do something else now, or end your turn and tell the user what is in the way."
)
FIFTH = FOURTH.replace("4 times", "5 times")


def command(output: str, chunk: str = "f77fce", wall: str = "0.0512", tokens: int = 7) -> str:
    """The result of exec_command, as Codex 0.130 and 0.169 give it."""
    return (
        f"Chunk ID: {chunk}\nWall time: {wall} seconds\nProcess exited with code 1\n"
        f"Original token count: {tokens}\nOutput:\n{output}"
    )


def round_of(name: str, arguments: Json, output: Any, **more: Any) -> list[Json]:
    """A call and its result."""
    call_id = f"{name}-{orjson.dumps(arguments).decode()}"
    made = call(call_id, orjson.dumps(arguments).decode(), name=name, **more)
    return [made, result(call_id, output)]


def told(*items: Json, toolbox: Toolbox = TOOLBOX, hints: bool = True) -> list[str]:
    """The results as the model reads them."""
    messages = to_messages(None, list(items), toolbox, hints=hints)
    return [each["content"] for each in messages if each["role"] == "tool"]


def added(*items: Json, toolbox: Toolbox = TOOLBOX) -> list[str]:
    """What stands behind each result."""
    plain = told(*items, toolbox=toolbox, hints=False)
    return [
        with_hint.removeprefix(result)
        for with_hint, result in zip(told(*items, toolbox=toolbox), plain, strict=True)
    ]


TESTS = {"cmd": "python -m pytest -q"}


def test_the_third_time_and_each_further_one_is_told() -> None:
    same = round_of("exec_command", TESTS, "1 failed")
    assert added(*same * 5) == ["", "", THIRD, FOURTH, FIFTH]


RESULTS: dict[str, list[Any]] = {
    "a command": [
        command("ls: no such file\n", "f77fce", "0.0000"),
        command("ls: no such file\n", "fc86bd", "0.0001"),
        command("ls: no such file\n", "60b1aa", "12.5000"),
    ],
    "tests that take their time": [
        command("1 failed, 2 passed in 0.12s\n", "f77fce", "0.9000", 9),
        command("1 failed, 2 passed in 10.01s\n", "fc86bd", "10.9000", 10),
        command("1 failed, 2 passed in 1.1 seconds\n", "fc86bd", "1.9000", 10),
    ],
    "a tool of a server": [
        "Wall time: 0.0019 seconds\nOutput:\nreversed: cba",
        "Wall time: 0.0006 seconds\nOutput:\nreversed: cba",
        "Wall time: 1.0000 seconds\nOutput:\nreversed: cba",
    ],
    "a patch by a command": [
        'Wall time: 0.0000 seconds\nOutput:\n{"output":"Success.","metadata":{"exit_code":0,'
        '"duration_seconds":0.0}}',
        'Wall time: 0.0010 seconds\nOutput:\n{"output":"Success.","metadata":{"exit_code":0,'
        '"duration_seconds":0.1}}',
        'Wall time: 0.0010 seconds\nOutput:\n{"output":"Success.","metadata":{"exit_code":0,'
        '"duration_seconds":1.5e-3}}',
    ],
    "a patch": [
        f"Exit code: 0\nWall time: {n} seconds\nOutput:\nSuccess. Updated the following files:\nA b"
        for n in (0, 1, 10)
    ],
    "a program": [
        "Script completed\nWall time 0.1 seconds\nOutput:\n\n"
        '{"chunk_id":"81a38c","wall_time_seconds":0.000007201,"exit_code":0,'
        '"original_token_count":2,"output":"js-25\\n"}',
        "Script completed\nWall time 0.0 seconds\nOutput:\n\n"
        '{"chunk_id":"fce4dd","wall_time_seconds":7.3e-6,"exit_code":0,'
        '"original_token_count":2,"output":"js-25\\n"}',
        "Script completed\nWall time 0.2 seconds\nOutput:\n\n"
        '{"chunk_id":"1c9d84","wall_time_seconds":0.1,"exit_code":0,'
        '"original_token_count":2,"output":"js-25\\n"}',
    ],
    "a list of parts": 3 * [[{"type": "input_text", "text": "nothing found"}]],
    "the same picture": 3 * [[IMAGE]],
    "an aborted call": 3 * ["aborted"],
    "nothing": 3 * [""],
}


@pytest.mark.parametrize("results", RESULTS.values(), ids=RESULTS.keys())
def test_what_always_differs_makes_no_other_result(results: list[Any]) -> None:
    items = [each for output in results for each in round_of("exec_command", TESTS, output)]
    assert added(*items) == ["", "", THIRD]


OTHERS: dict[str, list[Any]] = {
    "another output": [command("1 failed\n"), command("1 failed\n"), command("1 passed\n")],
    "more output": [command("a\n"), command("a\n"), command("a\nb\n")],
    "another code": [command("a\n")] * 2 + [command("a\n").replace("code 1", "code 0")],
    "an age": [command(f"Up {n} seconds\n") for n in (1, 2, 3)],
    "a counter": [command(f"{n} % done\n") for n in (1, 2, 3)],
    "another picture": [[IMAGE], [IMAGE], [IMAGE | {"image_url": "data:image/png;base64,AAAA"}]],
    "another session": [f"Process running with session ID {n}\nOutput:\n" for n in (1, 2, 3)],
}


@pytest.mark.parametrize("results", OTHERS.values(), ids=OTHERS.keys())
def test_results_that_differ_are_no_loop(results: list[Any]) -> None:
    items = [each for output in results for each in round_of("exec_command", TESTS, output)]
    assert added(*items) == ["", "", ""]


def test_other_arguments_and_other_functions_are_other_calls() -> None:
    one = round_of("exec_command", TESTS, "1 failed")
    other = round_of("exec_command", {"cmd": "ls"}, "1 failed")
    plan = round_of("update_plan", TESTS, "1 failed")
    assert not any(added(*one, *one, *other, *one, *one, *plan, *one, *one))


WAITS = [
    ("write_stdin", {"session_id": 7, "chars": ""}, {}),
    ("write_stdin", {"session_id": 7}, {}),
    ("wait", {"cell_id": "5"}, {}),
    ("wait_agent", {"targets": ["a"]}, {"namespace": "multi_agent_v1"}),
    ("exec_command", {"cmd": "sleep 10 && gh run view"}, {}),
    ("exec_command", {"cmd": "gh run view\nsleep 10"}, {}),
    ("shell", {"command": ["bash", "-lc", "sleep 10; gh run view"]}, {}),
]


@pytest.mark.parametrize(("name", "arguments", "more"), WAITS)
def test_waiting_is_no_loop(name: str, arguments: Json, more: Json) -> None:
    waiting = round_of(name, arguments, command(""), **more)
    assert not any(added(*waiting * 5))
    look = round_of("exec_command", {"cmd": "gh run view"}, "in progress")
    assert not any(added(*(look + waiting) * 5))
    # Once it waits no more, it goes in circles.
    assert added(*look, *waiting, *look * 3) == ["", "", "", "", THIRD]


def test_what_is_typed_into_a_program_counts() -> None:
    typed = round_of("write_stdin", {"session_id": 7, "chars": "y\n"}, command("Yes or no? "))
    assert added(*typed * 3) == ["", "", THIRD]
    asleep = round_of("exec_command", {"cmd": "grep sleepy notes.txt"}, "")
    assert added(*asleep * 3) == ["", "", THIRD]


def test_a_failure_keeps_its_own_hint() -> None:
    failed = round_of("run", {}, "unsupported call: run")
    first, _, third = added(*failed * 3)
    assert first.startswith("\nThere is no function run.")
    assert third == first + THIRD


def test_calls_that_follow_each_other_over_and_over() -> None:
    read = round_of("exec_command", {"cmd": "cat a"}, "a")
    look = round_of("exec_command", {"cmd": "ls"}, "a b")
    test = round_of("exec_command", TESTS, "1 failed")
    plan = round_of("update_plan", {"plan": []}, "Plan updated")
    assert added(*(read + look) * 4) == [*5 * [""], THIRD, THIRD, FOURTH]
    assert added(*(read + look + test + plan) * 3) == [*11 * [""], THIRD]
    assert not any(added(*(read + look + test + plan) * 2, *read, *look, *test))
    more = round_of("exec_command", {"cmd": "pwd"}, "/")
    assert not any(added(*(read + look + test + plan + more) * 3))


def test_the_same_calls_in_each_answer_are_a_cycle() -> None:
    answer = [
        call("a", '{"cmd":"ls"}', name="exec_command"),
        call("b", '{"cmd":"pwd"}', name="exec_command"),
        result("a", "x"),
        result("b", "/"),
    ]
    assert added(*answer * 3) == [*5 * [""], THIRD]


def test_equal_calls_in_one_answer_count_one_by_one() -> None:
    calls = [call(each, '{"cmd":"ls"}', name="exec_command") for each in "abcd"]
    results = [result(each, "x") for each in "abcd"]
    assert added(*calls, *results) == ["", "", THIRD, FOURTH]
    assert added(*calls[:2], *results[:2], calls[2], results[2]) == ["", "", THIRD]


def test_thoughts_and_words_in_between_change_nothing() -> None:
    same = round_of("exec_command", TESTS, "1 failed")
    again = [reasoning("Hm."), message("assistant", "I try again."), *same]
    note = message("developer", "The network is off.")
    assert added(*same, *again, note, *again) == ["", "", THIRD]


def test_the_users_word_begins_a_new_count() -> None:
    same = round_of("exec_command", TESTS, "1 failed")
    assert not any(added(*same, *same, message("user", "Try again."), *same, *same))
    again = [message("user", "Go on."), *same * 3]
    assert added(*same * 2, *again) == ["", "", "", "", THIRD]


def test_a_warning_of_codex_between_a_call_and_its_result_changes_nothing() -> None:
    made, output = round_of("exec_command", TESTS, "1 failed")
    warned = [made, message("user", "Warning: apply_patch was requested via exec_command."), output]
    assert added(*warned * 3) == ["", "", THIRD]


def test_two_results_of_one_call_count_once() -> None:
    made, output = round_of("exec_command", TESTS, "1 failed")
    assert not any(added(made, output, output, output))


def test_the_model_is_told_of_its_own_functions_for_files() -> None:
    toolbox = Toolbox.from_request([EXEC, PATCH], profile=ToolProfile.SMALL)
    read = round_of("exec_command", {"cmd": "cat notes.txt"}, command("a\n"))
    assert added(*read * 3, toolbox=toolbox) == ["", "", THIRD]
    waiting = round_of("exec_command", {"cmd": "sleep 9"}, command(""))
    assert not any(added(*waiting * 3, toolbox=toolbox))


def test_without_directives_nothing_is_told() -> None:
    same = round_of("exec_command", TESTS, "1 failed")
    assert told(*same * 3, hints=False) == 3 * ["1 failed"]


few_rounds = st.builds(
    round_of,
    st.just("exec_command"),
    st.sampled_from([{"cmd": "ls"}, {"cmd": "sleep 1"}]),
    st.sampled_from(["a", command("a"), command("a", "60b1aa", "0.3")]),
)
pair = st.builds(
    lambda one, other: [one[0], other[0] | {"call_id": "b"}, one[1]], few_rounds, few_rounds
)
spoken = st.builds(lambda each: [message("assistant", "Again."), *each], few_rounds)
user = st.just([message("user", "Go on.")])


@given(st.lists(few_rounds | few_rounds | spoken | pair | user, max_size=14))
def test_more_rounds_only_append_to_what_was_told(rounds: list[list[Json]]) -> None:
    """The model's prompt cache lives on this."""
    items: list[Json] = [message("user", "Run the tests.")]
    before: list[Json] = []
    for each in rounds:
        items += each
        now = to_messages(None, items, TOOLBOX)
        assert now[: len(before)] == before
        before = now
