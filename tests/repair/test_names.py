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


FUNCTIONS = ["exec_command", "write_stdin", "view_image", "update_plan", "apply_patch",
             "tool_search", "spawn_agent", "wait_agent"]  # fmt: skip
ELSEWHERE = {
    "exec_command": "shell bash sh zsh terminal run exec execute command cmd run_command run_shell "
    "run_shell_command run_terminal_cmd run_in_terminal run_bash bash_command shell_command "
    "shell_exec exec_shell execute_command execute_shell execute_bash execute_shell_command "
    "container.exec local_shell exec_command command_line terminal_exec",
    "view_image": "read_image open_image show_image image_view see_image",
    "write_stdin": "send_stdin write_to_stdin send_keys stdin",
    "update_plan": "plan set_plan todo_write write_todos",
    "tool_search": "search_tools find_tools tool_search_tool",
    "spawn_agent": "create_agent start_agent spawn_subagent new_agent",
    "wait_agent": "wait wait_for_agent wait_agents",
    "apply_patch": "patch applypatch apply_diff edit_file_patch",
}


@pytest.mark.parametrize("function", ELSEWHERE)
def test_names_from_other_programs_stand_for_codex_tools(function: str) -> None:
    offered = Toolbox.from_request([{"type": "function", "name": name} for name in FUNCTIONS])
    for written in ELSEWHERE[function].split():
        assert stand_ins(written, offered.offered) == [function], written


def test_the_best_of_several_shells_comes_first() -> None:
    shells = ["local_shell", "shell", "shell_command", "exec_command"]
    offered = Toolbox.from_request([{"type": "function", "name": name} for name in shells]).offered
    assert stand_ins("bash", offered) == shells[::-1]


@pytest.mark.parametrize(
    "prefix",
    ["functions", "function", "tools", "tool", "default_api", "api", "namespace"],
)
@pytest.mark.parametrize("separator", [".", "/", ":", "::", " . "])
def test_a_prefix_is_no_part_of_a_name(prefix: str, separator: str) -> None:
    assert undecorated(f"{prefix}{separator}x") == "x"


@pytest.mark.parametrize(
    ("written", "bare"),
    [
        ("x()", "x"),
        ("x ( ) ", "x"),
        ("x:12", "x"),
        ("x:a", "x:a"),
        ("x<|channel|>json", "x"),
        ("'x'", "x"),
        ("`x`", "x"),
        (" x\n", "x"),
        ('tools.functions."x"():0', "x"),
        ("mytools.x", "mytools.x"),
        ("x.y", "x.y"),
    ],
)
def test_what_models_put_around_a_name_is_taken_off(written: str, bare: str) -> None:
    assert undecorated(written) == bare


def test_a_name_of_five_hundred_characters_is_examined_and_no_longer_one() -> None:
    fits, too_long = ("exec_command".rjust(size) for size in (500, 501))
    assert function_for(fits, OFFERED) == "exec_command"
    assert function_for(too_long, OFFERED) is None
    assert stand_ins("bash".rjust(500), OFFERED) == ["exec_command"]
    assert stand_ins("bash".rjust(501), OFFERED) == []


def test_a_longer_name_that_is_offered_exactly_is_found() -> None:
    assert function_for("x" * 600, {"x" * 600: OFFERED["exec_command"]}) == "x" * 600


def test_a_bare_name_wins_over_the_same_letters() -> None:
    tools = [function("exec_command"), function("execcommand"), function("Exec-Command")]
    offered = Toolbox.from_request(tools).offered
    assert function_for("functions.execcommand", offered) == "execcommand"
    assert function_for("EXEC_COMMAND", offered) is None


@pytest.mark.parametrize("separator", [".", "/", ":", "__"])
def test_a_namespace_that_is_none_is_left_out_for_a_plain_tool(separator: str) -> None:
    offered = Toolbox.from_request([EXEC, namespace("agents", function("spawn"))]).offered
    assert function_for(f"other{separator}exec_command", offered) == "exec_command"
    assert function_for(f"other{separator}spawn", offered) is None
    assert function_for(f"mcp{separator}exec_command", offered) is None
    assert function_for(f"MCP_x{separator}exec_command", offered) is None
    assert function_for(f"other{separator}", offered) is None


def test_the_full_name_wins_over_the_short_one() -> None:
    offered = Toolbox.from_request(
        [namespace("a", function("b_c")), namespace("x", function("ab_c")), function("other")]
    ).offered
    assert function_for("A.B.C", offered) == "a__b_c"
    assert function_for("b-c", offered) == "a__b_c"
