"""How much of a tool the model is shown."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from codex_bridge.tools.declarations import Kind
from codex_bridge.tools.shown import ToolProfile, shorten
from codex_bridge.tools.toolbox import Toolbox
from tests.tools import declared
from tests.tools.declared import function, namespace

Json = dict[str, Any]
FIRST, OTHER = "First sentence here.", " Then a lot of prose follows, and goes on and on."
LONG = FIRST + OTHER * 40


def shown(tool: Json, profile: ToolProfile = ToolProfile.ESSENTIAL) -> Json:
    (entry,) = Toolbox.from_request([tool], profile=profile).functions()
    made: Json = entry["function"]
    return made


def parameters(tool: Json, profile: ToolProfile = ToolProfile.ESSENTIAL) -> set[str]:
    return set(shown(tool, profile)["parameters"]["properties"])


CODEX_TOOLS: dict[str, tuple[str, dict[str, str]]] = {
    "exec_command": (
        "Run a shell command. Returns its output, or a session_id if it still runs.",
        {"cmd": "one shell command line, not a list", "workdir": ""},
    ),
    "shell_command": ("Run a shell command.", {"command": "", "workdir": ""}),
    "shell": ("Run a program with arguments.", {"command": "", "workdir": ""}),
    "write_stdin": (
        "Type into a command that still runs, or poll it with empty chars.",
        {"session_id": "", "chars": ""},
    ),
    "view_image": ("Look at a local image file.", {"path": ""}),
    "update_plan": (
        "Keep a plan of steps; at most one is in_progress.",
        {"plan": "status: pending, in_progress or completed"},
    ),
    "request_user_input": ("Ask the user.", {"questions": "1 to 3"}),
    "spawn_agent": (
        "Start a sub-agent, only if the user wants agents. Returns its id.",
        {"message": "its task"},
    ),
    "send_input": ("Send a message to an agent.", {"target": "agent id", "message": ""}),
    "wait_agent": ("Wait until one of the agents is done.", {"targets": "agent ids"}),
    "close_agent": ("Close an agent.", {"target": "agent id"}),
    "create_goal": (
        "Set a goal, only if the user asks for one.",
        {"objective": "", "token_budget": ""},
    ),
    "update_goal": (
        "complete: all of the goal is done. blocked: stuck for three turns. paused: if the user "
        "asks.",
        {"status": ""},
    ),
    "wait": (
        "Wait for a program of exec that still runs.",
        {"cell_id": "", "terminate": "true stops it"},
    ),
}
"""What the model is shown of Codex's own tools: description, parameters and theirs."""


@pytest.mark.parametrize(
    ("name", "description", "wanted"), [(n, *own) for n, own in CODEX_TOOLS.items()]
)
def test_codex_own_tools_show_the_parameters_that_matter(
    name: str, description: str, wanted: dict[str, str]
) -> None:
    declared = {"type": "string", "description": "Long words of Codex."}
    properties = dict.fromkeys([*wanted, "yield_time_ms", "model", "timeout_ms"], declared)
    tool = function(name, **properties)
    for entry in (tool, namespace("multi_agent_v1", tool)):
        made = shown(entry)
        assert made["description"] == description
        assert made["parameters"]["properties"] == {
            parameter: {"type": "string"} | ({"description": text} if text else {})
            for parameter, text in wanted.items()
        }


def test_a_description_of_ours_replaces_those_of_the_parts_inside() -> None:
    step = {"type": "object", "properties": {"step": {"type": "string", "description": "Words."}}}
    plan = {"type": "array", "description": "Words.", "items": step}
    properties = shown(function("update_plan", plan=plan))["parameters"]["properties"]
    assert list(properties["plan"].items()) == [
        ("type", "array"),
        ("description", "status: pending, in_progress or completed"),
        ("items", {"type": "object", "properties": {"step": {"type": "string"}}}),
    ]


def test_a_parameter_without_a_type_is_described_all_the_same() -> None:
    either = {"anyOf": [{"type": "string", "description": "Words."}, declared.STEPS]}
    message = shown(function("spawn_agent", message=either))["parameters"]["properties"]["message"]
    assert message["description"] == "its task"
    assert message["anyOf"][0] == {"type": "string"}
    assert "description" not in message["anyOf"][1]


@pytest.mark.parametrize(
    "schema", [{}, {"properties": None}, {"properties": [], "required": "cmd"}, {"type": "string"}]
)
def test_a_tool_of_codex_without_parameters_shows_none(schema: Json) -> None:
    tool = {"type": "function", "name": "exec_command", "parameters": schema}
    assert shown(tool)["parameters"] == {"type": "object", "properties": {}}


def test_a_required_parameter_is_shown_whatever_the_table_says() -> None:
    assert parameters(
        function("exec_command", ["cmd", "reason"], cmd="string", reason="string")
    ) == {
        "cmd",
        "reason",
    }


def test_when_a_tool_may_be_called_is_told_in_the_words_of_codex() -> None:
    tool = function("request_user_input", questions="string")
    said = "Asks things. Use it well. This tool is only available in Plan or Default mode. Be kind."
    description = shown(tool | {"description": said})["description"]
    assert description == "Ask the user. This tool is only available in Plan or Default mode."


def test_a_newer_tool_of_codex_keeps_its_parameters_and_loses_its_prose() -> None:
    status = {"type": "string", "enum": ["complete", "blocked"], "description": "Required."}
    tool = function("change_theme", ["status"], status=status) | {"description": LONG}
    assert shown(tool)["description"] == FIRST + OTHER * 2
    assert shown(tool)["parameters"]["properties"]["status"]["enum"] == ["complete", "blocked"]


def test_a_tool_with_none_of_our_parameters_is_another_one_of_the_same_name() -> None:
    tool = function("wait", ["seconds"], seconds="number") | {"description": "Sleep a while."}
    assert shown(tool)["description"] == "Sleep a while."
    assert shown(tool)["parameters"]["properties"] == {"seconds": {"type": "number"}}


def hidden(profile: ToolProfile, *tools: Json, has_planned: bool = False) -> set[str]:
    """The tools that may be called, and are not shown."""
    toolbox = Toolbox.from_request(list(tools), profile=profile, has_planned=has_planned)
    return set(toolbox.offered) - {each["function"]["name"] for each in toolbox.functions()}


ASK = function("request_user_input", questions="string") | {
    "description": "Asks the user. This tool is only available in Plan mode."
}


def test_what_only_plan_mode_allows_is_shown_from_then_on() -> None:
    assert hidden(ToolProfile.ESSENTIAL, ASK) == {"request_user_input"}
    assert hidden(ToolProfile.ESSENTIAL, ASK, has_planned=True) == set()
    assert hidden(ToolProfile.COMPACT, ASK) == set()
    always = ASK | {"description": "Asks. This tool is only available in Default or Plan mode."}
    assert hidden(ToolProfile.ESSENTIAL, always) == set()


def test_an_agent_is_not_offered_to_be_reopened_but_can_be() -> None:
    resume = function("resume_agent", ["id"], id="string")
    agents = namespace("multi_agent_v1", resume, function("close_agent", target="string"))
    of_server = namespace("mcp__x", resume)
    assert hidden(ToolProfile.ESSENTIAL, agents, of_server) == {"multi_agent_v1__resume_agent"}
    assert hidden(ToolProfile.FULL, agents) == set()


def test_a_small_model_has_functions_for_files_in_place_of_patches() -> None:
    tools = [declared.EXEC, declared.PATCH, declared.GOAL, declared.AGENTS, declared.MCP]
    toolbox = Toolbox.from_request(tools, profile=ToolProfile.SMALL)
    declarations = [each["function"] for each in toolbox.functions()]
    assert [each["name"] for each in declarations] == [
        *("read_file", "edit_file", "write_file", "exec_command", "mcp__demo__echo_text")
    ]
    edit = declarations[1]["parameters"]
    assert list(edit["properties"]) == edit["required"] == ["path", "old", "new"]
    assert hidden(ToolProfile.SMALL, *tools) == {
        *("apply_patch", "update_goal", "multi_agent_v1__spawn_agent"),
        *("multi_agent_v1__wait_agent", "multi_agent_v1__close_agent"),
    }


@pytest.mark.parametrize(
    "tools",
    [
        # There is nothing to run a command with, or a client has such a tool itself.
        [declared.PATCH, declared.MCP],
        [declared.PATCH, declared.EXEC, function("edit_file", ["patch"], patch="string")],
    ],
)
def test_where_our_functions_cannot_stand_patches_stay(tools: list[Json]) -> None:
    toolbox = Toolbox.from_request(tools, profile=ToolProfile.SMALL)
    assert not toolbox.has_editor
    assert [tool.kind for tool in toolbox.offered.values() if tool.kind is Kind.EDITOR] == []
    assert len(toolbox.functions()) == len(tools)


def test_a_shell_that_comes_later_changes_nothing_for_a_small_model() -> None:
    later = {"type": "additional_tools", "tools": [declared.EXEC]}
    items = [{"type": "message"}, later]
    toolbox = Toolbox.from_request([declared.PATCH], items, profile=ToolProfile.SMALL)
    assert not toolbox.has_editor


def test_a_tool_that_the_client_chooses_is_shown() -> None:
    toolbox = Toolbox.from_request([ASK, declared.EXEC])
    toolbox.offer_only(["request_user_input"])
    assert [each["function"]["name"] for each in toolbox.functions()] == ["request_user_input"]


def test_an_mcp_tool_keeps_all_parameters_even_under_a_name_of_codex() -> None:
    tool = namespace(
        "mcp__x", function("exec_command", cmd="string", shell="string", tty="boolean")
    )
    assert parameters(tool) == {"cmd", "shell", "tty"}
    flat = function("mcp__x__exec_command", cmd="string", tty="boolean")
    assert parameters(flat) == {"cmd", "tty"}


def test_of_an_mcp_tool_only_the_bloat_goes() -> None:
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Args",
        "type": "object",
        "properties": {
            "q": {"type": "string", "title": "Q", "description": LONG, "examples": ["x"]},
            "n": {"type": "integer", "description": "How many."},
        },
        "required": ["q"],
    }
    tool = namespace(
        "mcp__x", {"type": "function", "name": "find", "description": LONG, "parameters": schema}
    )
    made = shown(tool)
    assert 100 < len(made["description"]) <= 800
    q, n = made["parameters"]["properties"]["q"], made["parameters"]["properties"]["n"]
    assert set(q) == {"type", "description"}
    assert len(q["description"]) <= 300
    assert n == {"type": "integer", "description": "How many."}
    assert made["parameters"]["required"] == ["q"]


def test_compact_shows_all_parameters_with_short_descriptions() -> None:
    tool = function("exec_command", cmd={"type": "string", "description": LONG}, tty="boolean")
    made = shown(tool, ToolProfile.COMPACT)
    assert set(made["parameters"]["properties"]) == {"cmd", "tty"}
    assert len(made["parameters"]["properties"]["cmd"]["description"]) <= 120


def test_full_shows_all_there_is() -> None:
    tool = function("exec_command", cmd={"type": "string", "description": LONG}, tty="boolean")
    made = shown(tool | {"description": LONG}, ToolProfile.FULL)
    assert made["description"] == LONG
    assert made["parameters"]["properties"]["cmd"]["description"] == LONG


@pytest.mark.parametrize("profile", ToolProfile)
def test_a_profile_gives_the_same_bytes_every_time(profile: ToolProfile) -> None:
    once, again = (
        orjson.dumps(Toolbox.from_request(declared.CODEX, profile=profile).functions())
        for _ in range(2)
    )
    assert once == again


@pytest.mark.parametrize("profile", ToolProfile)
def test_a_freeform_tool_is_one_string_explained_in_words(profile: ToolProfile) -> None:
    made = shown(declared.PATCH, profile)
    assert made["parameters"]["required"] == ["input"]
    assert made["parameters"]["properties"]["input"]["type"] == "string"
    assert "*** Begin Patch" in made["description"]
    assert "start:" not in made["description"]
    assert "start: /x/" in shown(declared.custom("other", "start: /x/"), profile)["description"]


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("Short.", 20, "Short."),
        ("One.  Two\n three.", 40, "One. Two three."),
        ("One two. Three four. Five.", 21, "One two. Three four."),
        ("Use it, e.g. for this. And more.", 25, "Use it, e.g. for this."),
        ("No sentence end anywhere in this", 20, "No sentence end…"),
        ("", 10, ""),
    ],
)
def test_prose_is_cut_at_a_sentence(text: str, limit: int, expected: str) -> None:
    assert shorten(text, limit) == expected


ROOM = {
    (ToolProfile.ESSENTIAL, "own"): (140, 80),
    (ToolProfile.COMPACT, "own"): (200, 120),
    (ToolProfile.ESSENTIAL, "mcp"): (800, 300),
    (ToolProfile.COMPACT, "mcp"): (200, 120),
}
"""Profile and tool -> longest descriptions of a tool and of a parameter."""


@pytest.mark.parametrize(("profile", "origin"), ROOM)
def test_descriptions_are_cut_at_the_documented_lengths(profile: ToolProfile, origin: str) -> None:
    limits = ROOM[profile, origin]
    inner = {"type": "object", "properties": {"p": {"type": "string", "description": ""}}}
    nested = {"l": {"type": "array", "items": inner}, "e": {"anyOf": [inner, declared.STRINGS]}}

    def sizes(of_tool: int, of_parameter: int) -> list[int]:
        inner["properties"]["p"]["description"] = "x" * of_parameter
        tool = function("new_tool", **nested) | {"description": "x" * of_tool}
        made = shown(namespace("mcp__x", tool) if origin == "mcp" else tool, profile)
        listed, either = made["parameters"]["properties"].values()
        parts = [listed["items"], either["anyOf"][0]]
        return [
            len(made["description"]),
            *(len(part["properties"]["p"]["description"]) for part in parts),
        ]

    assert sizes(*limits) == [limits[0], limits[1], limits[1]]
    # A text without a sentence end is cut one before the limit, with an ellipsis behind it.
    assert max(sizes(limits[0] + 1, limits[1])) == limits[0]
    assert sizes(5, limits[1] + 1) == [5, limits[1], limits[1]]


def test_a_profile_is_chosen_by_its_name() -> None:
    assert [profile.value for profile in ToolProfile] == [
        *("small", "essential", "compact", "full")
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Wow! Use it. Then go on", "Wow! Use it."),
        ("Is it? It is so and so on.", "Is it?"),
        ("One; two and three and four", "One;"),
        ("Files, i.e. all of these here", "Files, i.e.…"),
        ("Twelve chars. More of that", "Twelve chars."),
        ("v1.2.3.4.5.6.7.8", "v1.2.3.4.5.6…"),
    ],
)
def test_a_sentence_ends_at_its_mark_and_a_space(text: str, expected: str) -> None:
    assert shorten(text, 13) == expected
