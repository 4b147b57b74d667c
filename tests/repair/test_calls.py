"""A call as the model wrote it -> the call that Codex routes."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from codex_bridge.repair.calls import repair_call
from codex_bridge.tools.declarations import Kind
from codex_bridge.tools.toolbox import Toolbox
from tests.tools.declared import CODEX, EXEC, PATCH, VALID_PATCH, function

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
        ("read_file", {"path": "x"}, "read_file", {"path": "x"}),
    ],
)
def test_the_tool_that_is_meant(name: str, arguments: Any, full_name: str, payload: Any) -> None:
    settled = repair_call(name, dump(arguments), TOOLBOX, repair=True)
    assert (settled.full_name, orjson.loads(settled.payload)) == (full_name, payload)


def test_a_freeform_tool_gets_its_raw_text() -> None:
    settled = repair_call("apply_patch", dump({"patch": VALID_PATCH}), TOOLBOX, repair=True)
    assert (settled.kind, settled.payload, settled.steps) == (
        Kind.CUSTOM,
        VALID_PATCH,
        ["input key"],
    )


def test_a_patch_inside_of_a_command_is_a_command() -> None:
    arguments = dump({"cmd": f"apply_patch <<'EOF'\n{VALID_PATCH}EOF"})
    settled = repair_call(
        "exec_command", arguments, Toolbox.from_request([EXEC, PATCH]), repair=True
    )
    assert (settled.name, settled.payload, settled.steps) == ("exec_command", arguments, [])


@pytest.mark.parametrize("shell", [EXEC, SHELL])
def test_a_patch_for_a_tool_that_is_only_a_command_becomes_one(shell: Any) -> None:
    toolbox = Toolbox.from_request([shell])
    settled = repair_call("apply_patch", dump({"input": VALID_PATCH}), toolbox, repair=True)
    assert settled.name == shell["name"]
    assert "apply_patch <<'EOF'" in settled.payload
    assert settled.steps[0] == "patch as command"
    nonsense = repair_call("apply_patch", dump({"input": "no patch"}), toolbox, repair=True)
    assert nonsense.name == "apply_patch"


def test_a_patch_is_applied_in_the_folder_named_with_it() -> None:
    toolbox = Toolbox.from_request([EXEC])
    written = dump({"input": VALID_PATCH, "cwd": "/src"})
    settled = repair_call("apply_patch", written, toolbox, repair=True)
    assert orjson.loads(settled.payload)["workdir"] == "/src"
    # What exec_command has no parameter for would be lost.
    odd = repair_call(
        "apply_patch", dump({"input": VALID_PATCH, "mode": "dry"}), toolbox, repair=True
    )
    assert odd.name == "apply_patch"


def test_without_repair_nothing_changes() -> None:
    for name, text in (("Exec_Command", "{}"), ("exec_command", "{'cmd': 'ls'}"), ("bash", "{}")):
        settled = repair_call(name, text, TOOLBOX, repair=False)
        assert (settled.name, settled.payload, settled.steps) == (name, text, [])
