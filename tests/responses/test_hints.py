"""What the model is told behind a call that Codex says has failed."""

from __future__ import annotations

from typing import Any

import pytest

from codex_bridge.responses.hints import hint
from codex_bridge.responses.messages import to_messages
from codex_bridge.tools.shown import ToolProfile
from codex_bridge.tools.toolbox import Toolbox
from tests.responses.items import call, result
from tests.tools.declared import EXEC, MCP, PATCH, PLAN, STDIN, function, namespace

Json = dict[str, Any]
TOOLS = [EXEC, STDIN, PLAN, PATCH, MCP]
TOOLBOX = Toolbox.from_request(TOOLS)
FAILED = "apply_patch verification failed: "


@pytest.mark.parametrize(
    ("function", "told", "expected"),
    [
        (
            "run",
            "unsupported call: run",
            "There is no function run. The functions are: exec_command, write_stdin, update_plan, "
            "apply_patch, mcp__demo__echo_text.",
        ),
        ("run", "unsupported custom tool call: run", "There is no function run. The functions"),
        (
            "exec_command",
            "failed to parse function arguments: missing field `cmd` at line 1 column 13",
            'The arguments of exec_command have this form: {"cmd":"…"}',
        ),
        (
            "update_plan",
            "failed to parse function arguments: invalid type: integer `5`, expected a sequence",
            'form: {"plan":[{"step":"…","status":"…"}]}',
        ),
        (
            "apply_patch",
            f"{FAILED}Failed to find expected lines in /a/b.py:\nx",
            "Copy them exactly",
        ),
        ("exec_command", f"{FAILED}Failed to find expected lines in /a/b.py:\nx", "Copy them"),
        ("apply_patch", f"{FAILED}Failed to find context 'x' in /a/b.py", "Behind @@ stands one"),
        ("apply_patch", f"{FAILED}Failed to read file to update /a: No such file", "with ls"),
        ("apply_patch", f"{FAILED}invalid hunk at line 4, Unexpected line", "*** Begin Patch"),
        ("apply_patch", f"{FAILED}invalid patch: The first line", "*** Begin Patch"),
        ("write_stdin", "write_stdin failed: Unknown process id 99", "has ended"),
    ],
)
def test_a_failure_is_followed_by_the_right_form(function: str, told: str, expected: str) -> None:
    assert expected in hint(told, function, TOOLBOX)
    # A result that only mentions the failure is none.
    assert hint(f"Output:\n{told}", function, TOOLBOX) == ""


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("exec_command", "Process exited with code 1\nOutput:\nls: cannot access"),
        ("nobody", "failed to parse function arguments: x"),
        ("apply_patch", "failed to parse function arguments: x"),
        ("exec_command", f"{FAILED}something of tomorrow"),
    ],
)
def test_other_results_say_enough(name: str, told: str) -> None:
    assert hint(told, name, TOOLBOX) == ""


STRINGS: Json = {"type": "array", "items": {"type": "string"}}
SCHEMAS: list[tuple[Json, str]] = [
    ({"a": {"type": "integer"}, "b": {"type": "boolean"}}, '{"a":1,"b":true}'),
    ({"a": {"type": ["null", "string"]}}, '{"a":"…"}'),
    ({"a": {"enum": ["x", "y"]}}, '{"a":"x"}'),
    ({"a": {"anyOf": [{"type": "array", "items": {"type": "number"}}]}}, '{"a":[1]}'),
    ({"a": {"type": "array"}, "b": {"type": "object"}, "c": {}}, '{"a":[],"b":{},"c":{}}'),
    ({"a": True}, '{"a":"…"}'),
    (
        {"a": {"type": "object", "properties": {"b": {"properties": {"c": {"type": "null"}}}}}},
        '{"a":{"b":{"c":"…"}}}',
    ),
    (
        {"a": {"type": "array", "items": {"type": "array", "items": {"type": "boolean"}}}},
        '{"a":[[true]]}',
    ),
    ({"a": {"type": "array", "items": STRINGS | {"items": STRINGS}}}, '{"a":[[["…"]]]}'),
]


@pytest.mark.parametrize(("properties", "example"), SCHEMAS)
def test_the_form_of_arguments_has_a_value_of_each_type(properties: Json, example: str) -> None:
    toolbox = Toolbox.from_request([function("f", **properties)])
    told = hint("failed to parse function arguments: x", "f", toolbox)
    assert told == f"The arguments of f have this form: {example}"


def test_a_schema_inside_of_itself_ends() -> None:
    node: Json = {"type": "object", "properties": {}}
    node["properties"]["child"] = node
    told = hint(
        "failed to parse function arguments: x", "f", Toolbox.from_request([function("f", n=node)])
    )
    assert told.endswith("}")


def test_a_small_model_is_told_of_its_own_functions() -> None:
    toolbox = Toolbox.from_request([EXEC, PATCH], profile=ToolProfile.SMALL)
    told = hint(f"{FAILED}Failed to find expected lines in /a:\nx", "edit_file", toolbox)
    assert "copy the old text" in told
    assert "apply_patch" not in hint("unsupported call: x", "x", toolbox)


def test_of_very_many_functions_those_of_codex_are_named() -> None:
    many = namespace("mcp__x", *(function(f"f{n}") for n in range(60)))
    told = hint("unsupported call: x", "x", Toolbox.from_request([EXEC, many, PLAN]))
    assert told.endswith("The functions are: exec_command, update_plan.")


def history(*items: Json, hints: bool = True) -> list[Json]:
    toolbox = Toolbox.from_request([EXEC], items)
    return to_messages(None, list(items), toolbox, hints=hints)


def test_a_hint_is_the_same_after_more_tools_were_found() -> None:
    failed = [call("1"), result("1", "unsupported call: run")]
    found = {
        "type": "tool_search_output",
        "call_id": "2",
        "tools": [{"type": "function", "name": "late", "parameters": {}}],
    }
    before = history(*failed)
    after = history(*failed, found)
    assert after[: len(before)] == before
    assert before[-1]["content"] == (
        "unsupported call: run\nThere is no function run. The functions are: exec_command."
    )


def test_a_hint_is_the_same_after_codex_has_planned() -> None:
    ask = function("request_user_input", questions="string")
    ask |= {"description": "Asks. This tool is only available in Plan mode."}
    before, after = (
        Toolbox.from_request([EXEC, ask], has_planned=planned) for planned in (False, True)
    )
    told = "unsupported call: run"
    assert hint(told, "run", before) == hint(told, "run", after)


def test_of_a_tool_that_was_found_later_nothing_is_told() -> None:
    late = {"type": "function", "name": "late", "parameters": EXEC["parameters"]}
    found = {"type": "tool_search_output", "tools": [late]}
    toolbox = Toolbox.from_request([EXEC], [found])
    assert hint("failed to parse function arguments: x", "late", toolbox) == ""


def test_tools_that_an_item_declares_first_are_named() -> None:
    tools = {"type": "additional_tools", "tools": [{"type": "function", "name": "f"}]}
    toolbox = Toolbox.from_request(None, [tools, {"type": "message"}, tools])
    assert hint("unsupported call: x", "x", toolbox).endswith("The functions are: f.")
    nothing = Toolbox.from_request(None, [])
    assert hint("unsupported call: x", "x", nothing) == ""


def test_without_directives_a_result_stays_as_it_is() -> None:
    failed = [call("1"), result("1", "unsupported call: run")]
    assert history(*failed, hints=False)[-1]["content"] == "unsupported call: run"
