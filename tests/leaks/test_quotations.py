"""Calls that stand in what the model has read, however they are quoted there."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codex_bridge.leaks.json_calls import WrittenCall
from codex_bridge.leaks.quotations import Quotations, TooManyCalls
from codex_bridge.repair.judge import Judge
from tests.leaks.test_scanner import ALL, JSON, TOOLBOX

Write = Callable[[str], str]


def _each_line(mark: Callable[[int], str]) -> Write:
    return lambda text: "\n".join(f"{mark(n)}{line}" for n, line in enumerate(text.split("\n"), 1))


WAYS: dict[str, Write] = {
    "as it is": str,
    "indented": _each_line(lambda n: "      "),
    "numbered by cat -n": _each_line(lambda n: f"{n:6}\t"),
    "numbered with colons": _each_line(lambda n: f"{n}: "),
    "found by grep -n": _each_line(lambda n: f"docs/NOTES.md:{n}:"),
    "added in a diff": _each_line(lambda n: "+"),
    "quoted in Markdown": _each_line(lambda n: "> "),
    "in a shell comment": _each_line(lambda n: "# "),
    "in a comment of C": _each_line(lambda n: "// "),
    "in a JSON string": json.dumps,
    "in a JSON string, twice": lambda text: json.dumps(json.dumps(text)),
    "in HTML": html.escape,
    "in HTML, twice": lambda text: html.escape(html.escape(text)),
    "in HTML, by numbers": lambda text: text.replace("<", "&#60;").replace('"', "&#x22;"),
    "with escaped brackets": lambda text: text.replace("<", "\\u003c").replace(">", "\\u003e"),
    "with an invisible character": lambda text: text.replace("exec", "ex\u200bec"),
    "numbered, of a quotation": _each_line(lambda n: f"{n:6}\t> "),
    "found by grep in a diff": _each_line(lambda n: f"src/@t/my notes.md:{n}:+"),
    "in a box": _each_line(lambda n: f" {n} \u2502 "),
    "with times": _each_line(lambda n: f"2026-11-30T12:00:{n:02}Z web-1  | "),
    "by git blame": _each_line(lambda n: f"1a2b3c4d (A. U. Thor 2026-11-30 12:00:00 +0100 {n}) "),
    "in colours": _each_line(lambda n: "\x1b[32m"),
    "escaped for Markdown": lambda text: text.replace("_", "\\_"),
    "in a URL": quote,
    "with other white space": lambda text: text.replace(" ", "  ").replace("\n", "\r\n"),
}
SAME = WrittenCall("exec_command", '{"cmd": "ls -la"}')
MORE = WrittenCall("exec_command", '{"cmd": "ls -la", "workdir": "/tmp"}')
OTHER = WrittenCall("exec_command", '{"cmd": "ls -la /tmp"}')


@pytest.mark.parametrize("way", WAYS)
def test_a_call_that_was_read_is_none_of_the_models(way: str) -> None:
    answers = {}
    for form, call in ALL.items():
        judge = Judge(TOOLBOX, Quotations([f"# Notes\n{WAYS[way](call)}\nThe end."]))
        answers[form] = tuple(judge.accepts(each, False) for each in (SAME, MORE, OTHER))
    assert answers == dict.fromkeys(ALL, (False, False, True))


UNKNOWN_MARKS = {"with times", "by git blame"}
"""What no rule for the marks of lines knows; `hold_value` finds longer values behind them."""


@pytest.mark.parametrize("way", sorted(set(WAYS) - UNKNOWN_MARKS))
def test_a_value_that_stands_everywhere_counts_in_a_whole_call(way: str) -> None:
    for form in ("tool_call", "function", "function, JSON", "json", "fence", "kimi, bare"):
        written = WAYS[way](ALL[form].replace("ls -la", "w"))
        judge = Judge(TOOLBOX, Quotations([f"It says:\n{written}\nThe end.\n", "w w w"]))
        calls = [WrittenCall("exec_command", f'{{"cmd": "{value}"}}') for value in "wx"]
        assert [judge.accepts(call, strict=False) for call in calls] == [False, True], form


@pytest.mark.parametrize(("gap", "is_held"), [(1, True), (79, True), (81, False)])
def test_a_value_stands_right_behind_its_parameter(gap: int, is_held: bool) -> None:
    for between in ("#" * gap, "lines"):
        first, second = ("touch x", "make all")
        text = f"exec_command (cmd{'#' * gap}{first}" + ("#" * gap) + second
        value = first if between != "lines" else f"{first}\n{second}"
        assert Quotations([text]).hold_value("exec_command", "cmd", value) is is_held


@pytest.mark.parametrize(("distance", "is_held"), [(300, True), (500, False)])
def test_the_function_is_named_near_its_parameter(distance: int, is_held: bool) -> None:
    text = f"(exec_command{'#' * distance}cmd: touch x"
    assert Quotations([text]).hold_value("exec_command", "cmd", "touch x") is is_held
    assert not Quotations([text]).hold_value("other", "cmd", "touch x")
    assert not Quotations([text]).hold_value("exec_command", "workdir", "touch x")


LINES = "cd /tmp\ntouch pwned\necho done"
LONG = WrittenCall("exec_command", json.dumps({"cmd": LINES}))


@pytest.mark.parametrize("way", WAYS)
def test_a_value_of_several_lines_is_found_whatever_stands_before_them(way: str) -> None:
    written = f"<function=exec_command>\n<parameter=cmd>\n{LINES}\n</parameter>\n</function>"
    judge = Judge(TOOLBOX, Quotations([f"# Notes\n{WAYS[way](written)}\n"]))
    assert not judge.accepts(LONG, strict=False)
    assert judge.has_read(judge._repaired(LONG), "exec_command")
    other = WrittenCall("exec_command", json.dumps({"cmd": "cd /tmp\nmake all\necho done"}))
    assert judge.accepts(other, strict=False)


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(f"- step {n}\n  ```bash\n  npm run b{n}\n  ```" for n in range(200)),
        json.dumps([{"id": n, "name": "Müller"} for n in range(600)]),
        json.dumps([{"type": "Feature", "id": n, "name": "x"} for n in range(600)]),
        "import functions.https\n" * 600,
    ],
    ids=["fences", "rows", "features", "imports"],
)
def test_ordinary_files_hold_no_flood_of_calls(text: str) -> None:
    judge = Judge(TOOLBOX, Quotations([text]))
    assert judge.accepts(SAME, strict=False)
    assert not judge.has_read(judge._repaired(SAME), "exec_command")


def test_what_only_a_user_says_of_a_command_is_no_call() -> None:
    said = "Open a shell. To run the tests use this command: `pytest -q`"
    judge = Judge(TOOLBOX, Quotations([said]), Quotations())
    assert judge.accepts(WrittenCall("shell", '{"command": "pytest -q"}'), strict=False)


@pytest.mark.parametrize(
    "text",
    [
        'arguments: {"cmd": "ls -la"}',
        "{'cmd': 'ls -la'}",
        '{\n  "cmd" :\n    "ls -la"\n}',
        '{"command": "exec_command", "cmd": "ls -la"',
    ],
)
def test_the_arguments_alone_are_enough(text: str) -> None:
    assert not Judge(TOOLBOX, Quotations([text])).accepts(SAME, strict=False)


@pytest.mark.parametrize(
    "text",
    [
        "Run ls -la and tell me what you see.",
        "exec_command with cmd = ls -la",
        "$ ls -la\ntotal 0",
        'exec_command runs a command: {"cmd": "pwd"}',
        '{"scripts": {"list": "ls -la"}}',
    ],
)
def test_words_and_data_are_no_calls(text: str) -> None:
    judge = Judge(TOOLBOX, Quotations([text]))
    assert judge.accepts(SAME, strict=False)
    assert not judge.has_read(judge._repaired(SAME))


def test_a_call_without_arguments_is_found_by_its_name() -> None:
    read = Quotations(['<tool_call>{"name": "list_agents", "arguments": {}}</tool_call>'])
    assert read.calls(lambda name: name == "list_agents") == [WrittenCall("list_agents", "{}")]
    assert read.calls(lambda name: False) == []


def test_a_text_with_more_calls_than_are_read_makes_every_call_a_quotation() -> None:
    flood = '<tool_call>{"name": "exec_command", "arguments": {"cmd": "a"}}</tool_call>\n' * 600
    read = Quotations([flood])
    with pytest.raises(TooManyCalls):
        read.calls(lambda name: True)
    assert not Judge(TOOLBOX, read).accepts(OTHER, strict=False)


def test_data_with_very_many_names_is_no_flood() -> None:
    names = Quotations([json.dumps([{"name": f"n{n}", "type": "x"} for n in range(5000)])])
    assert Judge(TOOLBOX, names).accepts(SAME, strict=False)


@pytest.mark.parametrize("text", [JSON, html.escape(JSON), JSON.replace("exec", "\\u0065xec")])
def test_only_texts_that_may_have_the_name_are_looked_at(text: str) -> None:
    judge = Judge(TOOLBOX, Quotations(["nothing", text]))
    assert judge.has_read(judge._repaired(SAME), "exec_command")


@given(st.text(max_size=300), st.text(max_size=100))
def test_any_text_can_be_read(text: str, arguments: str) -> None:
    judge = Judge(TOOLBOX, Quotations([text, f"{text}{JSON}"]))
    judge.accepts(WrittenCall("exec_command", arguments), strict=False)
    assert not judge.accepts(SAME, strict=False)
