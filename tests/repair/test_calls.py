"""A call as the model wrote it -> the call that Codex routes."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from codex_bridge.leaks.json_calls import WrittenCall
from codex_bridge.leaks.quotations import Quotations
from codex_bridge.repair.calls import RepairedCall, repair_call
from codex_bridge.repair.judge import Judge
from codex_bridge.repair.seen import Seen
from codex_bridge.tools.declarations import Kind
from codex_bridge.tools.shown import ToolProfile
from codex_bridge.tools.toolbox import Toolbox
from tests.tools.declared import CODE, CODEX, EXEC, MCP, PATCH, VALID_PATCH, function, namespace

TOOLBOX = Toolbox.from_request(CODEX)
SHELL = function("shell", ["command"], command={"type": "array", "items": {"type": "string"}})


def dump(value: Any) -> str:
    return orjson.dumps(value).decode()


@pytest.mark.parametrize(
    ("name", "arguments", "full_name", "payload"),
    [
        ("exec_command", {"cmd": "ls"}, "exec_command", {"cmd": "ls"}),
        ("echo_text", {"text": "x"}, "mcp__demo.echo_text", {"text": "x"}),
        ("bash", {"command": "ls"}, "exec_command", {"cmd": "ls"}),
        ("shell", {"command": ["bash", "-lc", "ls | wc"]}, "exec_command", {"cmd": "ls | wc"}),
        ("container.exec", {"cmd": ["ls", "-l"]}, "exec_command", {"cmd": "ls -l"}),
        ("search_tools", {"q": "x"}, "tool_search", {"query": "x"}),
        # Nothing in these arguments is a command.
        ("bash", {"language": "python"}, "bash", {"language": "python"}),
        ("read_mail", {"path": "x"}, "read_mail", {"path": "x"}),
    ],
)
def test_the_tool_that_is_meant(name: str, arguments: Any, full_name: str, payload: Any) -> None:
    call = repair_call(name, dump(arguments), TOOLBOX, repair=True)
    assert (call.full_name, orjson.loads(call.payload)) == (full_name, payload)


def test_a_freeform_tool_gets_its_raw_text() -> None:
    call = repair_call("apply_patch", dump({"patch": VALID_PATCH}), TOOLBOX, repair=True)
    assert (call.kind, call.payload, call.steps) == (
        Kind.CUSTOM,
        VALID_PATCH,
        ["input key"],
    )


def test_a_patch_inside_of_a_command_is_a_command() -> None:
    arguments = dump({"cmd": f"apply_patch <<'EOF'\n{VALID_PATCH}EOF"})
    call = repair_call("exec_command", arguments, Toolbox.from_request([EXEC, PATCH]), repair=True)
    assert (call.name, call.payload, call.steps) == ("exec_command", arguments, [])


BROKEN = VALID_PATCH.replace("*** Begin Patch", "*** Begin Patch ***")
COMMAND = f"apply_patch <<'EOF'\n{VALID_PATCH}EOF"


@pytest.mark.parametrize(
    ("command", "repaired", "step"),
    [
        (f"apply_patch <<'EOF'\n{BROKEN}EOF", COMMAND, "patch"),
        (f"cd src && apply_patch <<'EOF'\n{BROKEN}EOF", f"cd src && {COMMAND}", "patch"),
        (f"apply_patch <<'EOF'\n{BROKEN}", COMMAND, "patch"),
        (VALID_PATCH, COMMAND, "patch as command"),
        (BROKEN, COMMAND, "patch"),
    ],
)
def test_a_patch_in_a_command_is_repaired(command: str, repaired: str, step: str) -> None:
    toolbox = Toolbox.from_request([EXEC])
    call = repair_call("exec_command", dump({"cmd": command}), toolbox, repair=True)
    assert orjson.loads(call.payload) == {"cmd": repaired}
    assert call.steps == [step]
    assert call.fits
    of_server = Toolbox.from_request([namespace("mcp__x", EXEC)])
    call = repair_call("mcp__x__exec_command", dump({"cmd": command}), of_server, repair=True)
    assert orjson.loads(call.payload) == {"cmd": command}


@pytest.mark.parametrize(
    "command",
    [
        # What follows the patch would be lost, or become a part of a file.
        f"apply_patch <<'EOF'\n{BROKEN}EOF\npytest -q",
        f"cd sub && apply_patch <<'EOF'\n{BROKEN}EOF\nrm -f lock && pytest -q",
        "apply_patch <<'EOF'\n*** Begin Patch\n*** Add File: a.txt\nhello\nEOF\nmake",
        "apply_patch <<'EOF'\n*** Begin Patch\n*** Add File: a.txt\nhello\n",
        "*** Begin Patch\n*** Add File: a.py\nprint(1)\n```",
    ],
)
def test_a_command_that_does_more_than_a_patch_stays_as_it_is(command: str) -> None:
    call = repair_call(
        "exec_command", dump({"cmd": command}), Toolbox.from_request([EXEC]), repair=True
    )
    assert orjson.loads(call.payload) == {"cmd": command}


@pytest.mark.parametrize("digits", [10, 4400])
def test_line_numbers_of_very_many_digits_are_no_line_numbers(digits: int) -> None:
    patch = f"--- a/x\n+++ b/x\n@@ -1,{digits * '9'} +1 @@\n-x\n+y\n"
    payload = repair_call("apply_patch", dump({"input": patch}), TOOLBOX, repair=True).payload
    assert digits * "9" in payload


def test_lines_that_were_read_are_corrected_in_patches_and_commands() -> None:
    seen = Seen([("cat src/app.py", "def greet():\n\treturn  1\n")])
    patch = (
        "*** Begin Patch\n*** Update File: src/app.py\n@@\n def greet():\n-    return 1\n+x\n"
        "*** End Patch\n"
    )
    right = patch.replace("    return 1", "\treturn  1")
    toolbox = Toolbox.from_request([EXEC, PATCH])
    call = repair_call("apply_patch", dump({"input": patch}), toolbox, repair=True, seen=seen)
    assert (call.payload, call.steps) == (right, ["context line"])
    command = dump({"cmd": f"apply_patch <<'EOF'\n{patch}EOF"})
    call = repair_call("exec_command", command, toolbox, repair=True, seen=seen)
    assert orjson.loads(call.payload) == {"cmd": f"apply_patch <<'EOF'\n{right}EOF"}
    assert call.steps == ["context line"]


@pytest.mark.parametrize("shell", [EXEC, SHELL])
def test_a_patch_for_a_tool_that_is_only_a_command_becomes_one(shell: Any) -> None:
    toolbox = Toolbox.from_request([shell])
    call = repair_call("apply_patch", dump({"input": VALID_PATCH}), toolbox, repair=True)
    assert call.name == shell["name"]
    assert "apply_patch <<'EOF'" in call.payload
    assert call.steps[0] == "patch as command"
    nonsense = repair_call("apply_patch", dump({"input": "no patch"}), toolbox, repair=True)
    assert nonsense.name == "apply_patch"


def test_a_patch_is_applied_in_the_folder_named_with_it() -> None:
    toolbox = Toolbox.from_request([EXEC])
    written = dump({"input": VALID_PATCH, "cwd": "/src"})
    call = repair_call("apply_patch", written, toolbox, repair=True)
    assert orjson.loads(call.payload)["workdir"] == "/src"
    # What exec_command has no parameter for would be lost.
    odd = repair_call(
        "apply_patch", dump({"input": VALID_PATCH, "mode": "dry"}), toolbox, repair=True
    )
    assert odd.name == "apply_patch"


def test_without_repair_nothing_changes() -> None:
    for name, text in (("Exec_Command", "{}"), ("exec_command", "{'cmd': 'ls'}"), ("bash", "{}")):
        call = repair_call(name, text, TOOLBOX, repair=False)
        assert (call.name, call.payload, call.steps) == (name, text, [])


ENCRYPTED = function("send", message={"type": "string", "encrypted": True}, to="string")


def repaired(name: str, text: str, *tools: Any, repair: bool = True) -> RepairedCall:
    return repair_call(name, text, Toolbox.from_request([*tools]), repair=repair)


@pytest.mark.parametrize(
    ("name", "text", "steps", "readable", "fits"),
    [
        ("exec_command", '{"cmd": "ls"}', [], True, True),
        ("exec_command", '{"cmd": 5}', ["number as string"], True, True),
        ("exec_command", '{"workdir": "/"}', [], True, False),
        ("exec_command", "ls -la", [], False, False),
        ("exec_command", "[1]", [], False, False),
        ("Exec-Command", '{"command": "ls"}', ["name", "key"], True, True),
        ("bash", '{"command": "ls"}', ["stand-in name", "key"], True, True),
        ("apply_patch", VALID_PATCH, ["bare input"], True, True),
        ("apply_patch", "no patch", ["bare input"], True, False),
        ("applyPatch", VALID_PATCH, ["name", "bare input"], True, True),
        ("exec", "a()", ["bare input"], True, True),
        ("exec", dump({"input": " "}), [], False, False),
    ],
)
def test_a_call_says_what_was_repaired_and_whether_it_fits(
    name: str, text: str, steps: list[str], readable: bool, fits: bool
) -> None:
    call = repaired(name, text, EXEC, PATCH, CODE)
    assert call.tool
    assert (call.steps, call.readable, call.fits) == (steps, readable, fits)


QUOTED = {
    "without its end": '{"name": "write_file", "arguments": {"path": "/home/me/.rc", '
    '"content": "bad thing" and so on',
    "with marks": '12| {"name": "write_file", "arguments": {\n13| "path": "/home/me/.rc",\n'
    '14| "content": "bad thing"}}',
}


@pytest.mark.parametrize("text", QUOTED.values(), ids=QUOTED)
@pytest.mark.parametrize("profile", [ToolProfile.ESSENTIAL, ToolProfile.SMALL])
def test_a_translated_call_that_was_read_is_recognised(text: str, profile: ToolProfile) -> None:
    toolbox = Toolbox.from_request([EXEC, PATCH], profile=profile)
    arguments = dump({"path": "/home/me/.rc", "content": "bad thing"})
    call = repair_call("write_file", arguments, toolbox, repair=True)
    assert call.name == "exec_command"
    assert Judge(toolbox, Quotations([text])).has_read(call, "write_file", arguments)
    other = dump({"path": "other.txt", "content": "good"})
    call = repair_call("write_file", other, toolbox, repair=True)
    assert not Judge(toolbox, Quotations([text])).has_read(call, "write_file", other)


def test_the_tool_of_another_agent_is_known_under_a_decorated_name() -> None:
    judge = Judge(Toolbox.from_request([EXEC]))
    assert judge.known("functions.read_file")
    assert judge.known("read_file")
    assert not judge.known("functions.read_mail")


def test_a_call_of_no_offered_tool_keeps_name_and_arguments() -> None:
    for text, payload in ((" {'a': 1} ", "{'a': 1}"), ("", "{}")):
        for repair in (True, False):
            call = repaired("frobnicate", text, EXEC, repair=repair)
            assert (call.kind, call.name, call.namespace) == (Kind.FUNCTION, "frobnicate", None)
            assert (call.payload, call.steps, call.tool) == (payload, [], None)
            assert (call.readable, call.fits, call.declares_encryption) == (False, False, False)


def test_without_repair_a_declared_tool_is_routed_as_it_stands() -> None:
    call = repaired("mcp__demo__echo_text", " {'a'} ", MCP, repair=False)
    assert (call.full_name, call.payload, call.readable, call.fits) == (
        "mcp__demo.echo_text",
        "{'a'}",
        True,
        True,
    )
    assert repaired("exec_command", " ", EXEC, repair=False).payload == "{}"
    freeform = repaired("apply_patch", dump({"input": "x"}), PATCH, repair=False)
    assert (freeform.kind, freeform.payload, freeform.steps) == (Kind.CUSTOM, "x", [])
    assert (freeform.readable, freeform.fits) == (True, False)
    assert repaired("exec_command", "{}", EXEC, repair=False).tool
    assert repaired("bash", '{"command": "ls"}', EXEC, repair=False).tool is None


def test_the_first_stand_in_that_fits_is_taken() -> None:
    shell = function("shell", ["program"], program="string")
    call = repaired("bash", dump({"program": "ls"}), EXEC, shell)
    assert (call.name, call.steps) == ("shell", ["stand-in name"])


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ('{"a": 1}', {"a": 1}),
        ("oops", {"cmd": "oops"}),
        ("[1]", {"cmd": "[1]"}),
        ('{"a":' + "[" * 300 + "]" * 300 + "}", {"cmd": '{"a":' + "[" * 300 + "]" * 300 + "}"}),
    ],
)
def test_arguments_are_an_object_for_items_that_want_one(payload: str, expected: Any) -> None:
    tool = Toolbox.from_request([EXEC]).tool("exec_command")
    assert RepairedCall(Kind.FUNCTION, "f", None, payload, tool=tool).object == expected
    bare = RepairedCall(Kind.FUNCTION, "f", None, payload).object
    assert bare == ({"input": payload} if "cmd" in expected else expected)


def test_calls_mean_the_same_whatever_the_order_of_their_arguments() -> None:
    one, other, third = (
        RepairedCall(Kind.FUNCTION, "f", "n", payload).meaning
        for payload in ('{"a": 1, "b": 2}', '{"b":2,"a":1}', '{"a": 1}')
    )
    assert one == other != third
    assert RepairedCall(Kind.FUNCTION, "f", None, '{"a": 1}').meaning != third


def test_a_parameter_that_codex_wants_encrypted_is_known() -> None:
    assert repaired("send", "{}", ENCRYPTED).declares_encryption
    assert not repaired("exec_command", "{}", EXEC).declares_encryption
    plain = function("send", message={"type": "string", "encrypted": "no"}) | {}
    plain["parameters"]["properties"]["x"] = None
    assert not repaired("send", "{}", plain).declares_encryption


def test_a_patch_command_needs_a_shell_that_takes_all_of_it() -> None:
    patch = dump({"input": VALID_PATCH})
    assert repaired("apply_patch", patch, CODE).tool is None
    closed = function("shell", ["command", "reason"], command="string", reason="string")
    assert repaired("apply_patch", patch, closed).tool is None
    call = repaired("functions.apply_patch", patch, closed, EXEC)
    assert (call.name, call.steps) == ("exec_command", ["patch as command"])
    assert repaired("apply_patch".rjust(501), patch, EXEC).tool is None
    assert repaired("apply_patch".rjust(500), patch, EXEC).tool
    bare = repaired("apply_patch", VALID_PATCH, EXEC)
    assert list(orjson.loads(bare.payload)) == ["cmd"]
    listed = repaired("apply_patch", dump({"patch": VALID_PATCH, "cwd": "/"}), EXEC)
    assert listed.tool is None


@pytest.mark.parametrize(
    ("name", "text", "accepted", "strictly"),
    [
        ("exec_command", '{"cmd": "ls"}', True, True),
        ("bash", '{"command": "ls"}', True, True),
        ("exec_command", '{"cmd": "ls", "colour": 1}', True, False),
        ("exec_command", '{"workdir": "/"}', True, False),
        ("exec_command", "ls", False, False),
        ("frobnicate", "{}", False, False),
    ],
)
def test_a_call_in_a_text_has_to_name_a_tool_and_strictly_to_fit(
    name: str, text: str, accepted: bool, strictly: bool
) -> None:
    judge = Judge(Toolbox.from_request([EXEC]))
    call = WrittenCall(name, text)
    assert (judge.accepts(call, False), judge.accepts(call, True)) == (accepted, strictly)
    # Known is what may be a tool; whether it is one, the arguments decide.
    assert judge.known(name) is judge.known(name) is (name != "frobnicate")
