"""Which function a model means."""

from __future__ import annotations

import pytest

from codex_bridge.repair.names import function_for, stand_ins, undecorated
from codex_bridge.tools.toolbox import Toolbox
from tests.tools.declared import CODEX, EXEC, function, namespace

OFFERED = Toolbox.from_request(CODEX).offered


@pytest.mark.parametrize(
    ("written", "function"),
    [
        ("exec_command", "exec_command"),
        ("functions.exec_command", "exec_command"),
        ("functions.exec_command:0", "exec_command"),
        ("exec_command()", "exec_command"),
        ("tools/exec_command", "exec_command"),
        ("default_api.exec_command", "exec_command"),
        ("ns.exec_command", "exec_command"),
        ("ns/exec_command", "exec_command"),
        ("ns__exec_command", "exec_command"),
        ("Exec_Command", "exec_command"),
        ("exec-command", "exec_command"),
        ("execCommand", "exec_command"),
        ('"exec_command"', "exec_command"),
        ("exec_command<|channel|>commentary", "exec_command"),
        ("spawn_agent", "multi_agent_v1__spawn_agent"),
        ("multi_agent_v1.spawn_agent", "multi_agent_v1__spawn_agent"),
        ("multi_agent_v1/spawn_agent", "multi_agent_v1__spawn_agent"),
        ("multi_agent_v1__spawn_agent", "multi_agent_v1__spawn_agent"),
        ("mcp__demo.echo_text", "mcp__demo__echo_text"),
        ("mcp__demo__echo_text", "mcp__demo__echo_text"),
        ("mcp_demo_echo_text", "mcp__demo__echo_text"),
        ("echo-text", "mcp__demo__echo_text"),
        ("frobnicate", None),
        ("exec", None),
        ("command", None),
        ("", None),
        ("...", None),
        ("functions.", None),
    ],
)
def test_spellings(written: str, function: str | None) -> None:
    assert function_for(written, OFFERED) == function


def test_a_name_that_several_tools_have_means_none() -> None:
    offered = Toolbox.from_request(
        [namespace("mcp__a", function("find")), namespace("mcp__b", function("find"))]
    ).offered
    assert function_for("find", offered) is None
    assert function_for("mcp__b.find", offered) == "mcp__b__find"


def test_a_tool_of_one_server_never_stands_for_that_of_another() -> None:
    offered = Toolbox.from_request(
        [namespace("mcp__prod", function("delete"), EXEC), namespace("mcp__dev", function("list"))]
    ).offered
    assert function_for("mcp__dev__delete", offered) is None
    assert function_for("mcp__docker__exec_command", OFFERED) is None
    assert function_for("other.delete", offered) is None
    assert stand_ins("bash", offered) == []


def test_a_plain_tool_wins_over_one_of_a_namespace_by_its_exact_name() -> None:
    offered = Toolbox.from_request([namespace("mcp__a", EXEC), EXEC]).offered
    assert function_for("exec_command", offered) == "exec_command"


@pytest.mark.parametrize(
    "written", ["shell", "bash", "run_command", "container.exec", "local_shell", "Bash"]
)
def test_the_usual_names_of_a_shell_stand_for_the_one_that_is_offered(written: str) -> None:
    assert stand_ins(written, OFFERED) == ["exec_command"]
    other = Toolbox.from_request([function("shell_command", command="string")]).offered
    assert stand_ins(written, other) == ["shell_command"]
    assert stand_ins(written, Toolbox.from_request([function("calculator")]).offered) == []


def test_decoration_alone_leaves_nothing() -> None:
    assert undecorated("functions.x():3") == "x"
    assert undecorated("`x`") == "x"
