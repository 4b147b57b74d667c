"""Tools of other agents, translated where one command does exactly the same."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codex_bridge.repair.calls import repair_call
from codex_bridge.repair.judge import Judge
from codex_bridge.repair.other_tools import Equivalent, equivalent, is_known
from codex_bridge.repair.seen import Seen
from codex_bridge.tools.toolbox import Toolbox
from tests.tools.declared import CODEX, EXEC, function

NEW_IN_FOLDER = "mkdir -p -- d && set -C && printf %s '$x' > d/a"


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
        ("write_file", {"path": "a", "content": "x\ny"}, "printf %s 'x\ny' > a"),
        ("create_file", {"path": "d/a", "contents": "$x"}, NEW_IN_FOLDER),
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
        ("edit_file", {"path": "a", "code_edit": "// ... existing code ..."}, None),
        ("edit_file", {"path": "a", "old": "x", "new": "y", "replace_all": True}, None),
        ("edit_file", {"path": "a", "old": "x"}, None),
        ("edit_file", {"path": "a", "old": "", "new": "x"}, None),
        ("str_replace_editor", {"command": "undo_edit", "path": "a"}, None),
        ("str_replace_editor", {"command": "view", "path": "a"}, "cat -- a"),
        ("str_replace_editor", {"command": "view", "path": "a", "view_range": [1, 2]}, None),
        (
            "str_replace_based_edit_tool",
            {"command": "create", "path": "a", "file_text": "x"},
            "set -C && printf %s x > a",
        ),
        ("delete_file", {"path": "a"}, None),
    ],
)
def test_only_what_one_command_does_is_translated(
    name: str, arguments: Any, command: str | None
) -> None:
    made = equivalent(name, json.dumps(arguments), Seen())
    assert made == (None if command is None else Equivalent(command))


@pytest.mark.parametrize("arguments", ["", "[1]", "{", '"a.txt"'])
def test_arguments_that_are_no_object_mean_nothing(arguments: str) -> None:
    assert equivalent("read_file", arguments, Seen()) is None


def lines_of_file(n: int = 1) -> str:
    return "def greet():\n    name = ask()\n    print(name)\n" * n


READ = ("cat src/app.py", f"Process exited with code 0\nOutput:\n{lines_of_file()}")


def edited(old: str, new: str, *texts: tuple[str, str], name: str = "edit_file") -> Any:
    """What becomes of an edit of src/app.py after these calls and their results."""
    arguments = {"path": "src/app.py", "old_string": old, "new_string": new}
    return equivalent(name, json.dumps(arguments), Seen(texts or [READ]))


def body(*lines: str) -> Equivalent:
    frame = ["*** Begin Patch", "*** Update File: src/app.py", "@@", *lines, "*** End Patch", ""]
    return Equivalent(patch="\n".join(frame))


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        # A part of a line, the whole of one, several.
        (
            "ask()",
            "input()",
            [" def greet():", "-    name = ask()", "+    name = input()", "     print(name)"],
        ),
        (
            "    name = ask()\n",
            "    name = 1\n",
            [" def greet():", "-    name = ask()", "+    name = 1", "     print(name)"],
        ),
        (
            "name = ask()\n    print(",
            "x = 1\n    show(",
            [
                *(" def greet():", "-    name = ask()", "-    print(name)"),
                *("+    x = 1", "+    show(name)"),
            ],
        ),
        # What stays is context.
        (
            "def greet():\n    name = ask()\n    print(name)",
            "def greet():\n    name = 5\n    print(name)",
            [" def greet():", "-    name = ask()", "+    name = 5", "     print(name)"],
        ),
        # Lines that are taken away, and one that is added.
        ("    name = ask()\n", "", [" def greet():", "-    name = ask()", "     print(name)"]),
        (
            "name = ask()",
            "",
            [" def greet():", "-    name = ask()", "+    ", "     print(name)"],
        ),
        (
            "def greet():\n",
            "# new\ndef greet():\n",
            ["+# new", " def greet():", "     name = ask()", "     print(name)"],
        ),
    ],
)
def test_an_edit_of_a_text_that_was_read_is_a_patch_of_whole_lines(
    old: str, new: str, lines: list[str]
) -> None:
    assert edited(old, new) == body(*lines)
    assert edited(old, new, name="str_replace") == body(*lines)


@pytest.mark.parametrize(
    ("old", "new", "texts", "why"),
    [
        ("ask()", "x", [("cat src/app.py", "")], "No earlier result shows"),
        ("ask()", "x", [("cat app.py", lines_of_file(2))], "several places"),
        ("print(name)\n", "x", [READ], "ends with a line end"),
        ("name = ask()\n", "", [READ], "ends with a line end"),
        ("ask()", "ask()", [READ], "the same"),
    ],
)
def test_an_edit_that_could_go_wrong_fails_and_says_why(
    old: str, new: str, texts: list[tuple[str, str]], why: str
) -> None:
    made = edited(old, new, *texts)
    assert made is not None
    done = subprocess.run(["sh", "-c", made.command], capture_output=True, check=False)
    assert done.returncode == 1
    assert "Nothing was changed." in done.stderr.decode()
    assert why in done.stderr.decode()


def test_a_call_that_edits_goes_to_the_tool_for_patches() -> None:
    arguments = json.dumps({"path": "src/app.py", "old": "ask()", "new": "input()"})
    call = repair_call(
        "edit_file", arguments, Toolbox.from_request(CODEX), repair=True, seen=Seen([READ])
    )
    patch = body(
        " def greet():", "-    name = ask()", "+    name = input()", "     print(name)"
    ).patch
    assert (call.name, call.payload) == ("apply_patch", patch)
    assert call.steps == ["tool of another agent"]
    call = repair_call(
        "edit_file", arguments, Toolbox.from_request([EXEC]), repair=True, seen=Seen([READ])
    )
    assert call.name == "exec_command"
    assert json.loads(call.payload)["cmd"] == f"apply_patch <<'EOF'\n{patch}EOF"


@settings(max_examples=30)
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60))
def test_a_written_file_has_the_content_and_nothing_else_happens(content: str) -> None:
    made = equivalent("write_file", json.dumps({"path": "f", "content": content}), Seen())
    if made is not None and made.patch:
        lines = made.patch.split("\n")[2:-2]
        assert "".join(f"{line[1:]}\n" for line in lines) == content
    elif made is not None:
        shell = made.command.removesuffix(" > f")
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
        made = equivalent(name, json.dumps(arguments), Seen())
        assert made is not None
        done = subprocess.run(
            ["bash", "-c", made.command], cwd=tmp_path, capture_output=True, check=True
        )
        return done.stdout.decode()

    run("write_file", path="a/b c/d.txt", content="one $HOME\ntwo")
    assert run("read_file", path="a/b c/d.txt") == "one $HOME\ntwo"
    assert "d.txt" in run("list_dir", path="a/b c")
    assert run("grep", pattern="two", path="a") == "a/b c/d.txt:2:two\n"
