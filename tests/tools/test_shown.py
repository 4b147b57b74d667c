"""How much of a tool the model is shown."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from codex_bridge.tools.shown import ToolProfile, shorten
from codex_bridge.tools.toolbox import Toolbox
from tests.tools import declared
from tests.tools.declared import function, namespace

Json = dict[str, Any]
LONG = "First sentence here. " + "Then a lot of prose follows, and goes on and on. " * 40


def shown(tool: Json, profile: ToolProfile = ToolProfile.ESSENTIAL) -> Json:
    (entry,) = Toolbox.from_request([tool], profile=profile).functions()
    made: Json = entry["function"]
    return made


def parameters(tool: Json, profile: ToolProfile = ToolProfile.ESSENTIAL) -> set[str]:
    return set(shown(tool, profile)["parameters"]["properties"])


def test_codex_own_tools_show_the_parameters_that_matter() -> None:
    table = {
        "exec_command": {"cmd", "workdir"},
        "write_stdin": {"session_id", "chars"},
        "spawn_agent": {"agent_type", "items", "message"},
        "view_image": {"path"},
        "update_plan": {"plan"},
        "request_user_input": {"questions"},
        "send_input": {"target", "message", "items"},
        "resume_agent": {"id"},
        "wait_agent": {"targets"},
        "close_agent": {"target"},
    }
    for name, wanted in table.items():
        properties = dict.fromkeys(
            [*sorted(wanted), "yield_time_ms", "model", "timeout_ms"], "string"
        )
        for tool in (
            function(name, **properties),
            namespace("multi_agent_v1", function(name, **properties)),
        ):
            assert parameters(tool) == wanted, name


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
    tool = declared.GOAL | {"description": LONG}
    assert len(shown(tool)["description"]) <= 140
    assert shown(tool)["description"].startswith("First sentence here.")
    assert shown(tool)["parameters"]["properties"]["status"]["enum"] == ["complete", "blocked"]


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
