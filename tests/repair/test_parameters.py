"""Keys that the tool does not declare."""

from __future__ import annotations

import pytest

from codex_bridge.repair.parameters import is_spelling, is_synonym

GROUPS = [
    "cmd command cmdline command_line bash_command shell_command",
    "path file_path filepath file filename file_name absolute_path image_path",
    "workdir cwd working_directory working_dir directory dir",
    "chars input stdin text characters",
    "session_id session id process_id",
    "target agent_id id agent",
    "targets ids agent_ids agents target id agent_id",
    "message prompt task instructions input text",
    "query q search search_query",
    "plan steps todos tasks",
]


@pytest.mark.parametrize("group", GROUPS)
def test_models_use_these_names_for_one_parameter(group: str) -> None:
    names = group.split()
    assert all(is_synonym(key, name) for key in names for name in names)


@pytest.mark.parametrize(
    ("key", "name"),
    [("filePath", "path"), ("File-Path", "path"), ("path", "filePath"), ("WorkingDir", "cwd")],
)
def test_a_synonym_may_be_spelled_in_other_ways(key: str, name: str) -> None:
    assert is_synonym(key, name)


@pytest.mark.parametrize(
    ("key", "name"), [("cmd", "path"), ("session", "target"), ("x", "y"), ("", "")]
)
def test_names_of_different_parameters_are_none(key: str, name: str) -> None:
    assert not is_synonym(key, name)


@pytest.mark.parametrize(
    ("text", "name", "same"),
    [
        ("yieldTimeMs", "yield_time_ms", True),
        ("YIELD-TIME MS", "yield_time_ms", True),
        ("Straße", "STRASSE", True),
        ("yield_time", "yield_time_ms", False),
        ("!=", "=", False),
        ("a.b", "ab", False),
    ],
)
def test_case_and_separators_make_no_other_name(text: str, name: str, same: bool) -> None:
    assert is_spelling(text, name) is same
