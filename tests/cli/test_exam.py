"""`codex-bridge exam`: its checks, its sums and its report; tests/codex/test_exam.py runs it."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from codex_bridge.cli.blocking_http import Server
from codex_bridge.cli.exam import Codex, can_be_done, report
from codex_bridge.cli.exam.bridges import Work, events_in, running_bridge, work_in
from codex_bridge.cli.exam.codex_runs import lay_out
from codex_bridge.cli.exam.mcp_server import answered
from codex_bridge.cli.exam.outcomes import (
    Check,
    Outcome,
    called_server,
    compiles,
    every,
    holds,
    is_gone,
    is_json,
    is_unchanged,
    planned,
    ran_nothing,
    ran_something,
    says,
    says_json,
    says_number,
    says_only,
)
from codex_bridge.cli.exam.results import Exam, Pair, Result, Worth
from codex_bridge.cli.exam.tasks import TASKS, Task
from tests.cli.command import Done, run
from tests.conftest import Start
from tests.fake_ollama import Playlist, Refuse, Say
from tests.harness import REQUEST

Json = dict[str, Any]
BY_NAME = {task.name: task for task in TASKS}


def item(kind: str, **more: Any) -> Json:
    """An event of `codex exec --json`."""
    return {"type": "item.completed", "item": {"type": kind, **more}}


def test_there_are_enough_tasks_and_each_has_a_name_of_its_own() -> None:
    assert len(BY_NAME) == len(TASKS) >= 30
    assert not any("," in name for name in BY_NAME)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
@pytest.mark.parametrize("message", ["", "Done.", "I will look at the files now:"])
def test_no_task_is_passed_by_doing_nothing(task: Task, message: str, tmp_path: Path) -> None:
    lay_out(task.files, tmp_path)
    assert task.check(Outcome(tmp_path, message)) is not None


@pytest.mark.parametrize(
    ("check", "message", "is_right"),
    [
        (says("Rome"), "It is ROME.", True),
        (says("Rome", "over"), "It is Rome.", False),
        (says_number(42), "The answer is **42**.", True),
        (says_number(42), "17 + 25 = 42", True),
        (says_number(6217), "It is 6,217.", True),
        (says_number(42), "It is 142, 421 or 42.5.", False),
        (says_number(7), "", False),
        (says_only("READY"), "`Ready`.", True),
        (says_only("READY"), "I am READY", False),
        (says_json({"n": 1, "names": ["a", "b"]}), '{"names": ["b", "a"], "n": 1}', True),
        (says_json({"n": 1}), '```json\n{"n": 1}\n```', False),
        (says_json({"n": 1}), '{"n": 2}', False),
    ],
)
def test_the_last_message_is_checked(check: Check, message: str, is_right: bool) -> None:
    assert (check(Outcome(Path("none"), message)) is None) is is_right


@pytest.mark.parametrize(
    ("check", "is_right"),
    [
        (holds("a.txt", "one\ntwo"), True),
        (holds("a.txt", "one\nTWO"), False),
        (holds("none.txt", ""), False),
        (is_unchanged({"a.txt": "one\ntwo\n", "b.json": "?"}, "b.json"), True),
        (is_unchanged({"a.txt": "one\ntwo\n", "b.json": "?"}), False),
        (is_gone("none.txt"), True),
        (is_gone("none.txt", "a.txt"), False),
        (is_json("b.json", {"n": [1]}), True),
        (is_json("b.json", {"n": [2]}), False),
        (is_json("a.txt", "one"), False),
        (compiles("c.py"), True),
        (compiles("a.txt"), True),
        (compiles("b.txt"), False),
        (every(holds("a.txt", "one\ntwo"), is_gone("c.py")), False),
    ],
)
def test_the_files_are_checked(check: Check, is_right: bool, tmp_path: Path) -> None:
    files = {"a.txt": "one  \n\ntwo\n", "b.json": '{"n":[1]}', "b.txt": "a b", "c.py": "x = 1\n"}
    lay_out(files, tmp_path)
    assert (check(Outcome(tmp_path)) is None) is is_right


def test_what_codex_did_is_checked_by_its_events() -> None:
    def why(check: Check, *events: Json) -> str | None:
        return check(Outcome(Path("none"), events=list(events)))

    command = item("command_execution", command="ls", exit_code=0)
    assert why(ran_nothing, item("agent_message", text="hi")) is None
    assert why(ran_nothing, command) == "it ran ls"
    assert why(ran_nothing, item("file_change", changes=[])) == "it ran a patch"
    call = item("mcp_tool_call", server="exam", tool="price_of", status="completed")
    assert why(called_server("price_of"), call) is None
    assert why(called_server("file_ticket"), call) is not None
    failed = item("mcp_tool_call", server="exam", tool="price_of", status="failed")
    assert why(called_server("price_of"), failed) is not None
    started = {"type": "item.started", "item": {"type": "command_execution", "command": "ls"}}
    assert why(ran_something, started) is None
    assert why(ran_something, item("agent_message", text="It ran.")) is not None
    plan = {"type": "item.started", "item": {"type": "todo_list", "items": [{}, {}]}}
    assert why(planned(2), plan) is None
    assert why(planned(3), plan) is not None


@pytest.mark.parametrize("name", ["injection", "quoted call"])
def test_an_injection_that_was_obeyed_fails_the_task(name: str, tmp_path: Path) -> None:
    said = "It has two switches; the kettle boils in four minutes."
    lay_out(BY_NAME[name].files, tmp_path)
    assert BY_NAME[name].check(Outcome(tmp_path, said)) is None
    (tmp_path / "pwned.txt").touch()
    assert BY_NAME[name].check(Outcome(tmp_path, said)) == "pwned.txt is there"


def test_a_test_that_was_changed_in_place_of_the_code_fails_the_task(tmp_path: Path) -> None:
    task = BY_NAME["fix a test"]
    lay_out(task.files, tmp_path)
    (tmp_path / "calc.py").write_text("def add(a, b):\n    return a + b\n")
    assert task.check(Outcome(tmp_path)) is None
    (tmp_path / "test_calc.py").write_text("print('passed')\n")
    assert task.check(Outcome(tmp_path)) is not None


def test_the_server_gives_a_ticket_for_the_right_arguments_only() -> None:
    def ticket(**arguments: Any) -> str:
        params = {"name": "file_ticket", "arguments": arguments}
        return str(answered("tools/call", params)["content"][0]["text"])

    right: Json = {"title": "x", "labels": ["red", "urgent"], "place": {"floor": 3, "room": "B"}}
    assert ticket(**right).startswith("filed as T-")
    assert "not filed" in ticket(**right | {"labels": "red, urgent"})
    assert "not filed" in ticket(**right | {"place": {"floor": "3", "room": "B"}})


def test_the_log_tells_how_often_the_model_was_asked() -> None:
    log = [
        {"log_format": "upstream: {server}", "server": "Ollama"},
        {"exchange": "resp_1", "outcome": "completed", "input": 100, "output": 5},
        {"exchange": "resp_2", "kind": "malformed call", "wait": 0.0, "why": "…"},
        {"exchange": "resp_2", "outcome": "completed, asked 2 times", "input": 200, "output": 6},
        {"exchange": "resp_3", "outcome": "client gone", "input": "?", "output": "?"},
    ]
    assert work_in(log, Counter({"key": 1, "name": 0})) == Work(4, 300, 11, Counter({"key": 1}))


def test_lines_that_are_no_events_are_left_out() -> None:
    assert events_in('\x1e{"exchange": "resp_1"}\n\x1eno event\n[1]\n') == [{"exchange": "resp_1"}]


@pytest_twisted.ensureDeferred
async def test_a_bridge_of_the_exam_tells_what_it_did(start: Start, tmp_path: Path) -> None:
    refused = [Refuse(500, "error parsing tool call: raw='{', err=unexpected end")]
    setup = await start(Playlist(refused, [Say("hi")], [Say("hi")]))

    def examine() -> tuple[list[Work], list[Json]]:
        with (
            running_bridge(tmp_path, setup.fake.url, mends=True) as mending,
            running_bridge(tmp_path, setup.fake.url, mends=False) as plain,
        ):
            for bridge in (mending, plain):
                answer = Server(bridge.url).ask("POST", "/v1/responses", REQUEST)
                assert b"response.completed" in answer.body
            works = [mending.work_done(), plain.work_done(), plain.work_done()]
            return works, [mending.health(), plain.health()]

    (work, plain, nothing), healths = await deferToThread(examine)
    assert (work.generations, plain.generations, nothing.generations) == (2, 1, 0)
    assert list(work.mending) == ["asked again told what was wrong"]
    assert work.input_tokens > 0
    assert work.output_tokens > 0
    assert [health["exchanges"]["served"] for health in healths] == [1, 1]


def result(*mending: str, reason: str | None = None) -> Result:
    return Result(reason, 1.5, Work(2, 100, 10, Counter(mending)))


EXAM = Exam(
    "qwen3:14b",
    "Ollama 0.33.0",
    "0.169.0",
    (
        Pair(BY_NAME["create"], result("name", "key"), result(reason="hello.txt is missing")),
        Pair(BY_NAME["rename"], result("key", "key"), result()),
        Pair(BY_NAME["delete"], result("name", reason="old.log is there"), result(reason="no")),
    ),
)


def test_mending_is_worth_the_tasks_that_fail_without_it() -> None:
    assert EXAM.worth == {"key": Worth(passed=2, gained=1), "name": Worth(passed=1, gained=1)}
    assert (EXAM.passed, EXAM.passed_plain) == (2, 1)


def test_a_person_reads_a_line_for_each_task_and_why_it_failed() -> None:
    first, last = report.line(EXAM.pairs[0]), report.line(EXAM.pairs[2])
    assert first.split()[:4] == ["create", "passed", "FAILED", "2/2"]
    assert "key, name" in first
    assert "without: hello.txt is missing" in first
    assert "with: old.log is there" in last
    assert "key x2" in report.line(EXAM.pairs[1])


def test_a_person_reads_the_sums() -> None:
    text = "\n".join(report.summary(EXAM))
    for shown in (
        "qwen3:14b on Ollama 0.33.0, Codex 0.169.0, 3 tasks",
        "with mending    2 passed, 6 generations, 300 tokens in, 30 out, 4 s",
        "without         1 passed, 6 generations",
        "2 passed with it,   1 of them only so",
    ):
        assert shown in text


def test_a_row_has_the_columns_of_the_table() -> None:
    row = report.row(EXAM)
    measured = "Ollama 0.33.0 | 0.169.0 | 2 of 3 | 1 of 3 | 6 | 330 | 4"
    assert row == f"| qwen3:14b | {measured} | key (1), name (1) |"
    assert row.count("|") == len(report.COLUMNS) + 1


def test_the_json_has_every_result() -> None:
    told = json.loads(orjson.dumps(report.as_json(EXAM)))
    assert told["tasks"][0] == {
        "name": "create",
        "mended": {
            "passed": True,
            "reason": None,
            "generations": 2,
            "input_tokens": 100,
            "output_tokens": 10,
            "seconds": 1.5,
            "mending": {"name": 1, "key": 1},
        },
        "plain": {
            "passed": False,
            "reason": "hello.txt is missing",
            "generations": 2,
            "input_tokens": 100,
            "output_tokens": 10,
            "seconds": 1.5,
            "mending": {},
        },
    }
    assert told["mended"]["passed"] == 2
    assert told["worth"]["name"] == {"passed": 1, "gained": 1}


def test_a_task_is_left_out_where_codex_or_the_model_lacks_what_it_needs() -> None:
    older, newer = Codex("codex", (0, 130, 0)), Codex("codex", (0, 169, 0))
    sees, reads = {"input_modalities": ["text", "image"]}, {"input_modalities": ["text"]}
    assert can_be_done(BY_NAME["plan"], older, reads)
    assert not can_be_done(BY_NAME["plan"], newer, reads)
    assert can_be_done(BY_NAME["picture"], newer, sees)
    assert not can_be_done(BY_NAME["picture"], newer, reads)
    assert can_be_done(BY_NAME["MCP"], newer, reads)


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without settings of a bridge."""
    for name in list(os.environ):
        if name.startswith("CODEX_"):
            monkeypatch.delenv(name)


def exam(codex: Path, *arguments: str) -> Done:
    return run("exam", "qwen3:14b", "--codex", str(codex), *arguments)


def failure(done: Done) -> str:
    """The one line of a command that failed."""
    assert (done.code, done.out) == (1, "")
    (line,) = done.err.splitlines()
    return line


@pytest.mark.usefixtures("clean")
class TestWhatIsMissing:
    def test_codex(self, tmp_path: Path) -> None:
        assert "install Codex" in failure(exam(tmp_path / "none"))

    def test_the_model_server(self, codex: Path) -> None:
        line = failure(exam(codex, "--no-sandbox", "--upstream-url", "http://127.0.0.1:1"))
        assert "no model server answers at http://127.0.0.1:1" in line
        assert "Start one" in line

    @pytest_twisted.ensureDeferred
    async def test_the_model(self, codex: Path, start: Start) -> None:
        setup = await start()
        done: Done = await deferToThread(
            run, "exam", "qwen9", "--codex", str(codex), "--upstream-url", setup.fake.url
        )
        assert "has no model qwen9; it has qwen3:14b" in failure(done)

    def test_the_sandbox(self, codex: Path) -> None:
        codex.write_text('#!/bin/sh\n[ "$1" = sandbox ] && exit 1\necho codex-cli 0.169.0\n')
        assert "give --no-sandbox" in failure(exam(codex, "--upstream-url", "http://127.0.0.1:1"))


@pytest.mark.usefixtures("clean")
@pytest_twisted.ensureDeferred
async def test_a_bridge_is_not_taken_for_a_model_server(codex: Path, start: Start) -> None:
    setup = await start()
    done = await deferToThread(exam, codex, "--upstream-url", setup.url)
    assert f"{setup.url} is a codex-bridge" in failure(done)
    assert setup.fake.url in failure(done)


def test_a_task_that_is_not_there_is_wrong_usage(codex: Path) -> None:
    done = exam(codex, "--tasks", "create, juggle")
    assert done.code == 2
    assert "there is no task 'juggle'" in done.err
