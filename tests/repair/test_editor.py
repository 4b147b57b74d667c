"""The functions for small models, and the calls of Codex's tools that they become."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codex_bridge.repair.calls import repair_call
from codex_bridge.repair.editor import as_written
from codex_bridge.repair.seen import Seen
from codex_bridge.tools.shown import ToolProfile
from codex_bridge.tools.toolbox import Toolbox
from tests.tools.declared import EXEC, PATCH, STDIN

Json = dict[str, Any]
ONLY_COMMANDS = Toolbox.from_request([EXEC, STDIN], profile=ToolProfile.SMALL)
WITH_PATCHES = Toolbox.from_request([PATCH, EXEC], profile=ToolProfile.SMALL)
FILE = "one\n  two\nthree\n"
SEEN = Seen(
    [("cat -- src/a.py", f"Output:\n{FILE}"), ("sed -n 5p part.py", f"Output:\n{FILE[4:9]}")]
)


def sent(name: str, arguments: Any, toolbox: Toolbox, repair: bool = True) -> tuple[str, Json]:
    """The call that Codex gets: its tool, and its arguments as the history has them."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    call = repair_call(name, text, toolbox, repair=repair, seen=SEEN)
    if call.name == "apply_patch":
        return call.name, {"input": call.payload}
    return call.name, json.loads(call.payload)


PRINTED = """printf %s '$x '"'"'y'"'"'
"z"' > 'it'"'"'s'"""
CALLS = [
    ("read_file", {"path": "a b.py"}, "cat -- 'a b.py'"),
    ("read_file", {"path": "a", "start_line": 2, "end_line": 5}, "sed -n 2,5p -- a"),
    ("read_file", {"path": "a", "start_line": 2}, "sed -n '2,$p' -- a"),
    ("write_file", {"path": "d/a", "content": "x"}, "mkdir -p -- d && printf %s x > d/a"),
    ("write_file", {"path": "a", "content": ""}, "printf %s '' > a"),
    ("write_file", {"path": "it's", "content": "$x 'y'\n\"z\""}, PRINTED),
]
PATCHES = [
    ("write_file", {"path": "d/a", "content": "x\n\n y\n"}, ["Add File: d/a", "+x", "+", "+ y"]),
    (
        "edit_file",
        {"path": "src/a.py", "old": "  two", "new": "  2"},
        ["Update File: src/a.py", "@@", " one", "-  two", "+  2", " three"],
    ),
    (
        "edit_file",
        {"path": "src/a.py", "old": "  two", "new": "  2\n  3"},
        ["Update File: src/a.py", "@@", " one", "-  two", "+  2", "+  3", " three"],
    ),
    (
        "edit_file",
        {"path": "src/a.py", "old": "  two\nthree\n", "new": ""},
        ["Update File: src/a.py", "@@", " one", "-  two", "-three"],
    ),
    # What stays is context. A new line alone needs some.
    (
        "edit_file",
        {"path": "src/a.py", "old": "one", "new": "one\nmore"},
        ["Update File: src/a.py", "@@", " one", "+more", "   two", " three"],
    ),
    (
        "edit_file",
        {"path": "src/a.py", "old": "one", "new": "more\none"},
        ["Update File: src/a.py", "@@", "+more", " one", "   two", " three"],
    ),
]


@pytest.mark.parametrize("toolbox", [ONLY_COMMANDS, WITH_PATCHES])
@pytest.mark.parametrize(("name", "arguments", "command"), CALLS)
def test_a_call_becomes_a_command_and_comes_back(
    name: str, arguments: Json, command: str, toolbox: Toolbox
) -> None:
    assert sent(name, arguments, toolbox) == ("exec_command", {"cmd": command})
    assert as_written("exec_command", {"cmd": command}) == (name, arguments)


def test_a_command_for_a_tool_that_takes_words_comes_back_too() -> None:
    words = {"command": ["bash", "-lc", "cat -- a"]}
    assert as_written("shell", words) == ("read_file", {"path": "a"})
    for other in (["cat", "--", "a"], ["bash", "-lc", "cat -- a", "x"], ["sh", "-c", "cat -- a"]):
        assert as_written("shell", {"command": other}) is None


def test_what_cannot_be_put_into_a_command_is_told() -> None:
    _, called = sent("write_file", {"path": "a", "content": "x\0y"}, ONLY_COMMANDS)
    assert "number 0" in called["cmd"]


@pytest.mark.parametrize(("name", "arguments", "lines"), PATCHES)
def test_a_call_becomes_a_patch_and_comes_back(
    name: str, arguments: Json, lines: list[str]
) -> None:
    patch = "\n".join(["*** Begin Patch", f"*** {lines[0]}", *lines[1:], "*** End Patch"])
    tool, called = sent(name, arguments, WITH_PATCHES)
    assert (tool, called) == ("apply_patch", {"input": f"{patch}\n"})
    assert as_written(tool, called) == (name, arguments)
    tool, called = sent(name, arguments, ONLY_COMMANDS)
    assert (tool, called) == ("exec_command", {"cmd": f"apply_patch <<'EOF'\n{patch}\nEOF"})
    assert as_written(tool, called) == (name, arguments)


@pytest.mark.parametrize(
    ("name", "arguments", "why"),
    [
        ("edit_file", {"path": "src/a.py", "old": "four", "new": "4"}, "No earlier result shows"),
        ("edit_file", {"path": "src/a.py", "old": "t", "new": "T"}, "several places"),
        ("edit_file", {"path": "src/a.py", "old": "two", "new": "two"}, "the same"),
        ("edit_file", {"path": "src/a.py", "old": "", "new": "x"}, "is empty"),
        ("edit_file", {"path": "a\n+evil", "old": "two", "new": "x"}, "cannot be printed"),
        ("edit_file", {"path": " src/a.py", "old": "two", "new": "x"}, "spaces at an end"),
        ("edit_file", {"path": "part.py", "old": "two", "new": "x"}, "Too little of the file"),
        ("edit_file", {"path": "b.py", "old": "two", "new": "x"}, "No earlier result shows"),
        ("edit_file", {"path": "src/a.py", "old": "two"}, "edit_file takes path, old, new."),
        ("edit_file", "{broken", "edit_file takes path, old, new."),
        ("read_file", {}, "read_file takes path."),
        ("write_file", {"path": "a", "content": 100_001 * "x"}, "too long"),
        ("write_file", {"path": "a", "content": 50_001 * "é"}, "too long"),
    ],
)
def test_what_cannot_be_done_fails_with_the_reason_and_comes_back(
    name: str, arguments: Any, why: str
) -> None:
    tool, called = sent(name, arguments, WITH_PATCHES)
    assert tool == "exec_command"
    done = subprocess.run(["sh", "-c", called["cmd"]], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (1, b"")
    assert why in done.stderr.decode()
    assert why in called["cmd"]
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    # A very long call does not come back: the command would be too long for the system.
    assert as_written(tool, called) == (None if "too long" in why else (name, text))
    assert len(called["cmd"]) < 5_000


def test_the_text_of_such_a_call_is_no_call_if_its_arguments_do_not_fit() -> None:
    call = repair_call("edit_file", '{"path": "a"}', WITH_PATCHES, repair=True)
    assert not call.fits
    assert repair_call("read_file", '{"path": "a"}', WITH_PATCHES, repair=True).fits


def test_slips_in_such_calls_are_repaired_and_counted() -> None:
    call = repair_call("Read_File", "{'file_path': 'a'}", WITH_PATCHES, repair=True)
    assert json.loads(call.payload) == {"cmd": "cat -- a"}
    assert call.steps == ["name", "single quotes", "key"]
    assert repair_call("read_file", '{"path": "a"}', WITH_PATCHES, repair=True).steps == []


def test_without_repair_they_work_all_the_same() -> None:
    expected = ("exec_command", {"cmd": "cat -- a"})
    assert sent("read_file", {"path": "a"}, WITH_PATCHES, repair=False) == expected


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("exec_command", {"cmd": "cat a.py"}),
        ("exec_command", {"cmd": "cat -- a.py | head"}),
        ("exec_command", {"cmd": "cat -- a.py b.py"}),
        ("exec_command", {"cmd": "cat -- a.py", "workdir": "/"}),
        ("exec_command", {"cmd": "cat -- 'a"}),
        ("exec_command", {"cmd": "sed -n 2,5p a.py"}),
        ("exec_command", {"cmd": "printf %s x > a && ls"}),
        ("exec_command", {"cmd": "printf '%s\\n' x >&2; exit 1 # no call"}),
        ("exec_command", {"cmd": "printf '%s\\n' x >&2; exit 1 # [1, 2]"}),
        ("exec_command", {"cmd": "cd src && apply_patch <<'EOF'\n*** Begin Patch\nEOF"}),
        ("exec_command", {"cmd": "sed -n 1,99999999999999999999p -- f"}),
        ("exec_command", {"cmd": "sed -n 1," + 5000 * "9" + "p -- f"}),
        ("exec_command", {"cmd": "printf '%s\\n' x >&2; exit 1 # 5"}),
        ("exec_command", {"cmd": 5}),
        ("exec_command", {}),
        ("write_stdin", {"chars": "cat -- a"}),
        ("apply_patch", {"input": "*** Begin Patch\n*** Delete File: a\n*** End Patch\n"}),
        (
            "apply_patch",
            {"input": "*** Begin Patch\n*** Update File: a\n@@ x\n-b\n+c\n*** End Patch\n"},
        ),
        (
            "apply_patch",
            {
                "input": "*** Begin Patch\n*** Update File: a\n@@\n-b\n+c\n"
                "*** Add File: b\n+x\n*** End Patch\n"
            },
        ),
    ],
)
def test_all_other_calls_are_the_models_own(name: str, arguments: Json) -> None:
    assert as_written(name, arguments) is None


LINES = st.lists(st.text("ab +-@*", max_size=4), min_size=1, max_size=6)


@given(LINES, LINES)
def test_an_edit_comes_back_as_one_of_the_lines_that_it_changes(
    old: list[str], new: list[str]
) -> None:
    file = "\n".join(["above", *old, "below", ""])
    arguments = {"path": "f", "old": "\n".join(old), "new": "\n".join(new)}
    seen = Seen([("cat f", file)])
    call = repair_call("edit_file", json.dumps(arguments), WITH_PATCHES, repair=True, seen=seen)
    if call.name == "apply_patch":
        written = as_written("apply_patch", {"input": call.payload})
        assert written
        name, edit = written
        assert name == "edit_file"
        assert isinstance(edit, dict)
        results = {
            file[:n] + edit["new"] + file[n + len(edit["old"]) :]
            for n in range(len(file))
            if file.startswith(edit["old"], n)
        }
        assert file.replace(arguments["old"], arguments["new"], 1) in results


def test_the_commands_do_what_the_functions_say(tmp_path: Path) -> None:
    def run(name: str, **arguments: Any) -> str:
        _, called = sent(name, arguments, ONLY_COMMANDS)
        command = ["bash", "-c", called["cmd"]]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
        return done.stdout.decode()

    run("write_file", path="d/$a 'b'.txt", content="one\ntwo\n$three")
    assert run("read_file", path="d/$a 'b'.txt") == "one\ntwo\n$three"
    assert run("read_file", path="d/$a 'b'.txt", start_line=2) == "two\n$three"
    assert run("read_file", path="d/$a 'b'.txt", start_line=1, end_line=2) == "one\ntwo\n"
