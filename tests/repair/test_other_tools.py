"""Tools of other agents, translated where one command does exactly the same."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codex_bridge.repair.calls import Judge, repair_call
from codex_bridge.repair.other_tools import as_command, is_known
from codex_bridge.tools.toolbox import Toolbox
from tests.tools.declared import CODEX, EXEC, function


@pytest.mark.parametrize(
    ("name", "arguments", "command"),
    [
        ("read_file", {"path": "a b.txt"}, "cat -- 'a b.txt'"),
        ("read_file", {"target_file": "-x", "explanation": "to see"}, "cat -- -x"),
        ("view-file", {"file_path": "/etc/hosts"}, "cat -- /etc/hosts"),
        ("list_dir", {}, "ls -la -- ."),
        ("list_dir", {"directory": "src"}, "ls -la -- src"),
        ("grep", {"pattern": "TODO"}, "grep -rnF -e TODO -- ."),
        ("grep_search", {"query": "-v x", "path": "src"}, "grep -rnF -e '-v x' -- src"),
        ("write_file", {"path": "a", "content": "x\n"}, "printf %s 'x\n' > a"),
        ("create_file", {"path": "d/a", "contents": "$x"}, "mkdir -p -- d && printf %s '$x' > d/a"),
        # What does more than one command, or what is not clear.
        ("read_file", {"path": "a", "start_line": 0, "end_line": 5}, None),
        ("read_file", {"path": "a", "file": "b"}, None),
        ("read_file", {"path": ["a"]}, None),
        ("read_file", {"path": ""}, None),
        ("read_file", {"path": "a\0b"}, None),
        ("read_file", {}, None),
        ("list_dir", {"path": ".", "recursive": True}, None),
        ("grep", {"pattern": "a.*b"}, None),
        ("grep", {"pattern": "x", "include": "*.py"}, None),
        ("write_file", {"path": "a", "content": "x", "append": True}, None),
        ("write_file", {"path": "a"}, None),
        ("write_file", {"path": "a", "content": 100_001 * "x"}, None),
        ("edit_file", {"path": "a", "old": "x", "new": "y"}, None),
        ("delete_file", {"path": "a"}, None),
    ],
)
def test_only_what_one_command_does_is_translated(
    name: str, arguments: Any, command: str | None
) -> None:
    assert as_command(name, json.dumps(arguments)) == command


@pytest.mark.parametrize("arguments", ["", "[1]", "{", '"a.txt"'])
def test_arguments_that_are_no_object_mean_nothing(arguments: str) -> None:
    assert as_command("read_file", arguments) is None


@settings(max_examples=30)
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60))
def test_a_written_file_has_the_content_and_nothing_else_happens(content: str) -> None:
    command = as_command("write_file", json.dumps({"path": "f", "content": content}))
    if command is not None:
        shell = command.removesuffix(" > f")
        done = subprocess.run(["sh", "-c", shell], capture_output=True, check=True)
        assert done.stdout.decode() == content


def test_a_translated_call_goes_to_the_tool_that_runs_commands() -> None:
    call = repair_call(
        "functions.read_file", '{"path": "a"}', Toolbox.from_request(CODEX), repair=True
    )
    assert (call.name, json.loads(call.payload)) == ("exec_command", {"cmd": "cat -- a"})
    assert call.steps == ["tool of another agent"]
    shell = function("shell", ["command"], command={"type": "array", "items": {"type": "string"}})
    call = repair_call("read_file", '{"path": "a"}', Toolbox.from_request([shell]), repair=True)
    assert json.loads(call.payload) == {"command": ["bash", "-lc", "cat -- a"]}


def test_a_tool_that_is_offered_is_never_translated() -> None:
    own = function("read_file", ["path"], path="string")
    call = repair_call("read_file", '{"path": "a"}', Toolbox.from_request([EXEC, own]), repair=True)
    assert (call.name, call.steps) == ("read_file", [])


def test_without_a_shell_nothing_is_translated() -> None:
    only = Toolbox.from_request([function("other", ["a"], a="string")])
    assert repair_call("read_file", '{"path": "a"}', only, repair=True).tool is None
    assert not Judge(only).known("read_file")
    assert Judge(Toolbox.from_request([EXEC])).known("read_file")
    assert is_known("Read_File")


def test_the_commands_do_what_the_tools_do(tmp_path: Path) -> None:
    def run(name: str, **arguments: str) -> str:
        command = as_command(name, json.dumps(arguments))
        assert command is not None
        done = subprocess.run(
            ["bash", "-c", command], cwd=tmp_path, capture_output=True, check=True
        )
        return done.stdout.decode()

    run("write_file", path="a/b c/d.txt", content="one $HOME\ntwo\n")
    assert run("read_file", path="a/b c/d.txt") == "one $HOME\ntwo\n"
    assert "d.txt" in run("list_dir", path="a/b c")
    assert run("grep", pattern="two", path="a") == "a/b c/d.txt:2:two\n"
