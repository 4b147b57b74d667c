"""The same value as another JSON type."""

from __future__ import annotations

from typing import Any

import pytest

from codex_bridge.repair.conversions import command_line, converted

IN_A_STRING, WHOLE = "number in a string", "whole number"


@pytest.mark.parametrize(
    ("value", "kind", "expected", "step"),
    [
        ("5", "integer", 5, IN_A_STRING),
        (" 5\n", "integer", 5, IN_A_STRING),
        ("\u00a05", "integer", 5, IN_A_STRING),
        ("-5", "integer", -5, IN_A_STRING),
        ("5.0", "integer", 5, IN_A_STRING),
        ("1e3", "integer", 1000, IN_A_STRING),
        ("1E+3", "integer", 1000, IN_A_STRING),
        ("2.5", "number", 2.5, IN_A_STRING),
        ("25e-1", "number", 2.5, IN_A_STRING),
        ("9007199254740991.0", "integer", 2**53 - 1, IN_A_STRING),
        ("9007199254740992.0", "number", 2.0**53, IN_A_STRING),
        ("9007199254740993", "integer", 2**53 + 1, IN_A_STRING),
        (5.0, "integer", 5, WHOLE),
        (-5.0, "number", -5, WHOLE),
        (float(2**53 - 1), "integer", 2**53 - 1, WHOLE),
        (5, "string", "5", "number as string"),
        ("true", "boolean", True, "boolean in a string"),
        (" TRUE ", "boolean", True, "boolean in a string"),
        ("False", "boolean", False, "boolean in a string"),
        ('{"a": 1}', "object", {"a": 1}, "double encoding"),
        (" {'a': 1}", "object", {"a": 1}, "double encoding"),
        ('["a"]', "array", ["a"], "double encoding"),
        (["ls", "-l"], "string", "ls -l", "word list"),
    ],
)
def test_the_same_value_is_written_as_another_type(
    value: Any, kind: str, expected: Any, step: str
) -> None:
    result, name = converted(value, kind, "cmd")
    assert (result, type(result), name) == (expected, type(expected), step)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("2.5", "integer"),
        ("007", "integer"),
        ("5 apples", "integer"),
        ("", "number"),
        ("5", "string"),
        ("5", "boolean"),
        ("yes", "boolean"),
        ("ls", "object"),
        ('"{}"', "object"),
        ("[1, 2", "object"),
        ('["a"]', "object"),
        ('{"a": 1}', "array"),
        ("[oops]", "array"),
        (2.5, "integer"),
        (2.5, "string"),
        (2.0**53, "integer"),
        (5, "boolean"),
        (5, "array"),
        (True, "integer"),
        (True, "string"),
        (None, "string"),
        ({"a": 1}, "string"),
        ([], "string"),
        (["a b", "c"], "string"),
        (["x"], "integer"),
    ],
)
def test_what_would_be_another_value_stays(value: Any, kind: str) -> None:
    result, step = converted(value, kind, "cmd")
    assert result is value or result == value.strip()
    assert step == ""


@pytest.mark.parametrize("name", ["", "text", "commands"])
def test_a_list_of_words_is_a_command_only_where_a_command_is_wanted(name: str) -> None:
    assert converted(["ls", "-l"], "string", name) == (["ls", "-l"], "")
    assert converted(["ls", "-l"], "string", "command") == ("ls -l", "word list")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["ls"], "ls"),
        (["ls | wc > x"], "ls | wc > x"),
        (["ls", "a b"], "ls 'a b'"),
        *(
            ([shell, "-lc", "ls | wc"], "ls | wc")
            for shell in ["bash", "sh", "zsh", "/bin/bash", "/bin/sh", "/bin/zsh", "/usr/bin/bash"]
        ),
        *((["sh", option, "a; b"], "a; b") for option in ("-c", "-lc", "-cl")),
        (["fish", "-c", "a; b"], None),
        (["bash", "-x", "a"], "bash -x a"),
        (["bash", "-lcx", "a; b"], None),
        (["bash", "-lc", "a", "b"], "bash -lc a b"),
        (["bash", "-c"], "bash -c"),
        ([], None),
        (["ls", 5], None),
        (["cd /tmp", "ls"], None),
        *((["echo", f"a{char}b"], None) for char in "*?$~<>|;&`"),
    ],
)
def test_words_become_a_command_line_where_a_shell_would_read_the_same(
    words: list[Any], line: str | None
) -> None:
    assert command_line(words) == line
