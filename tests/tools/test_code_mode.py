"""How the model is shown code mode's `exec`."""

from __future__ import annotations

from typing import Any

import pytest

from codex_bridge.tools.code_mode import NestedTool, nested_tools, signature
from codex_bridge.tools.shown import ToolProfile
from codex_bridge.tools.toolbox import Toolbox
from tests.tools.declared import custom

Json = dict[str, Any]


def section(name: str, description: str, takes: str, returns: str = "unknown") -> str:
    """One tool inside of the description of exec, in the form that Codex gives it."""
    return (
        f"### `{name}`\n{description}\n\nexec tool declaration:\n```ts\n"
        f"declare const tools: {{ {name}({takes}): Promise<{returns}>; }};\n```\n\n"
    )


COMMAND = section(
    "exec_command",
    "Runs it. And more words on how it does.",
    """args: {
  // What to run; even this.
  cmd: string;
  // Two lines
  // of words: with { brackets.
  justification?: string;
  workdir?: string;
}""",
    """{
  // The exit code.
  exit_code?: number;
  output: string;
}""",
)
WAIT = section(
    "multi_agent_v1__wait_agent",
    "Waits for agents.\n\n### Some advice\n- Wait rarely.",
    "args: {\n  targets: Array<string>;\n  timeout_ms?: number;\n}",
    '{\n  status: { [key: string]: "a;b" | { done: string | null; }; };\n}',
)
PATCH = section("apply_patch", "Edits files.", "input: string")
RESUME = section("multi_agent_v1__resume_agent", "Reopens.", "args: {\n  id: string;\n}")
FIND = section(
    "mcp__demo__find", "Finds. " + "It does. " * 40, "args: {\n  q?: string;\n}", "CallToolResult"
)
GOAL = section("get_goal", "Reads.", "args: {}")
NEW = section("of_tomorrow", "Says " + "very " * 60 + "much.", "args: {\n  when?: Date;\n}")


def shown(description: str, profile: ToolProfile = ToolProfile.ESSENTIAL) -> str:
    """What the model reads of exec, where Codex describes it so."""
    tool = custom("exec") | {"description": description}
    (entry,) = Toolbox.from_request([tool], profile=profile).functions()
    text: str = entry["function"]["description"]
    return text


def of_code_mode(*sections: str) -> str:
    return "Runs JavaScript. Tools are on the global `tools` object.\n\n" + "".join(sections)


@pytest.mark.parametrize(
    ("declared", "optional", "expected"),
    [
        (COMMAND, {"workdir"}, "exec_command({cmd: string, workdir?: string}) -> "),
        (COMMAND, set(), "exec_command({cmd: string}) -> "),
        (COMMAND, None, "exec_command({cmd: string, justification?: string, workdir?: string}) "),
        (COMMAND, set(), "{exit_code?: number, output: string}"),
        (WAIT, set(), "multi_agent_v1__wait_agent({targets: Array<string>}) -> "),
        (WAIT, set(), '{status: { [key: string]: "a;b" | { done: string | null; }; }}'),
        (PATCH, None, "apply_patch(input: string)"),
        (GOAL, None, "get_goal()"),
        (FIND, None, "mcp__demo__find({q?: string})"),
        (FIND, set(), "mcp__demo__find()"),
        (
            section("f", "x", "args: {\n  a: 'x;y' | \"}\";\n  b?: Map<string, {c: 1;}>\n}"),
            None,
            "f({a: 'x;y' | \"}\", b?: Map<string, {c: 1;}>})",
        ),
        (section("f", "x", "args: { a: (b; c); d: [e; f]; }"), None, "f({a: (b; c), d: [e; f]})"),
        (section("f", "x", "x: number", "void"), None, "f(x: number)"),
        (section("f", "x", "x: number", "string"), None, "f(x: number) -> string"),
    ],
)
def test_a_signature_is_one_line_without_comments(
    declared: str, optional: set[str] | None, expected: str
) -> None:
    (nested,) = nested_tools(declared)
    line = signature(nested, optional)
    assert expected in line
    assert "\n" not in line
    assert "//" not in line


@pytest.mark.parametrize("returns", ["unknown", "void", "CallToolResult<{ a: 1; }>"])
def test_a_result_that_tells_nothing_is_left_out(returns: str) -> None:
    (nested,) = nested_tools(section("f", "x", "x: number", returns))
    assert signature(nested) == "f(x: number)"


def test_every_tool_is_found_with_its_description() -> None:
    found = nested_tools(of_code_mode(PATCH, COMMAND, WAIT, GOAL))
    assert [each.name for each in found] == [
        "apply_patch",
        "exec_command",
        "multi_agent_v1__wait_agent",
        "get_goal",
    ]
    assert found[0] == NestedTool("apply_patch", "Edits files.", "input: string", "unknown")
    assert found[2].description.startswith("Waits for agents.")


def test_tools_of_codex_are_described_in_few_words() -> None:
    text = shown(of_code_mode(COMMAND, WAIT, RESUME, NEW))
    assert "- exec_command({cmd: string, workdir?: string}) ->" in text
    assert "Run a shell command." in text
    assert "advice" not in text
    assert "timeout_ms" not in text
    assert "resume_agent" not in text
    assert 'await tools.exec_command({cmd: "ls"})' in text
    (line,) = [line for line in text.splitlines() if "very very" in line]
    assert len(line.strip()) <= 140
    assert "- of_tomorrow({when?: Date})" in text


def test_a_patch_is_explained_with_the_example() -> None:
    assert "*** Begin Patch\n*** Update File" in shown(of_code_mode(PATCH))


def test_a_tool_of_a_server_keeps_its_parameters_and_more_words() -> None:
    text = shown(of_code_mode(FIND))
    assert "- mcp__demo__find({q?: string})" in text
    assert text.count("It does.") == 40
    assert "isError" in text
    assert "isError" not in shown(of_code_mode(COMMAND))
    # Without commands there is nothing to run in an example.
    assert "exec_command" not in text


def test_without_declarations_the_tools_are_the_other_functions() -> None:
    assert "the other functions" in shown(of_code_mode())
    assert "the other functions" not in shown(of_code_mode(GOAL))


def test_a_small_model_is_shown_less() -> None:
    spawn = section("multi_agent_v1__spawn_agent", "x", "args: {}")
    assert "spawn_agent" in shown(of_code_mode(COMMAND, spawn))
    assert "spawn_agent" not in shown(of_code_mode(COMMAND, spawn), ToolProfile.SMALL)


@pytest.mark.parametrize(
    "broken",
    [
        "### `f`\nNo declaration.\n",
        section("f", "x", "x: number").replace("{ f(", "{ g("),
        section("f", "x", "x: number").replace("Promise<", ""),
        "### `f`\n" * 20_000,
        "### `f`\n" + "\n" * 50_000,
    ],
)
def test_what_is_no_declaration_is_left_out(broken: str) -> None:
    assert [each.name for each in nested_tools(broken + GOAL)] == ["get_goal"]


def test_compact_keeps_every_parameter_and_full_all_words() -> None:
    compact = shown(of_code_mode(COMMAND, RESUME), ToolProfile.COMPACT)
    assert "justification?: string" in compact
    assert "resume_agent({id: string})" in compact
    assert "Two lines" not in compact
    assert "Two lines" in shown(of_code_mode(COMMAND), ToolProfile.FULL)


def test_a_condition_of_codex_stays() -> None:
    asks = section("request_user_input", "Asks. It is only available in Plan mode.", "args: {}")
    assert "Ask the user. It is only available in Plan mode." in shown(of_code_mode(asks))


def test_another_tool_of_that_name_stays_as_it_is() -> None:
    assert "Runs what you say." in shown("Runs what you say.")
