"""Regular expressions of JSON schemas, matched within a bounded time."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codex_bridge.repair.patterns import NotUnderstood, matches

MATCHES: list[tuple[str, str, bool]] = [
    ("", "", True),
    ("b", "abc", True),
    ("^b", "abc", False),
    ("^abc$", "abc", True),
    ("^abc$", "abc\n", False),
    (r"^[0-9]{3}-\d+$", "123-4", True),
    (r"^\d$", "٣", False),
    (r"^\w+$", "ü", False),
    (r"^\s$", "\u00a0", True),
    (r"^[^\d\s]+$", "ab", True),
    (r"^[^\d\s]+$", "a1", False),
    (r"^[a-f\-]+$", "a-f", True),
    (r"^[]$", "", False),
    (r"^[^]$", "\n", True),
    ("^.$", "\n", False),
    (r"^\.\/$", "./", True),
    (r"^\x41\u00e9\u{1F600}\t$", "Aé😀\t", True),
    ("^(ab|a)(bc|c)$", "abc", True),
    ("^(?:a|b)*$", "abba", True),
    ("^(?<year>[0-9]{4})$", "2024", True),
    ("^a{2,3}$", "aaaa", False),
    ("^a{2,}$", "aaaa", True),
    ("^a{0}$", "", True),
    ("^a{,2}$", "a{,2}", True),
    ("^a+?b??$", "aab", True),
    (r"\bfoo\b", "a foo.", True),
    (r"\Bfoo", "a foo", False),
    ("^(?=.*[0-9])(?!.*x).+$", "a1", True),
    ("^(?=.*[0-9])(?!.*x).+$", "a1x", False),
    ("^(a*)*$", "aab", False),
    ("a{", "a{", True),
]


@pytest.mark.parametrize(("pattern", "text", "expected"), MATCHES)
def test_a_pattern_matches(pattern: str, text: str, expected: bool) -> None:
    assert matches(pattern, text) is expected


UNKNOWN = [
    *("(a", "a)", "[a", "*a", "a**", "\\", "a\\", "(?", "(?#x)a", "(?<=a)b", "(?<!a)b", "(?i)a"),
    *(r"(a)\1", r"\p{L}", r"\ca", r"[z-a]", r"[\w-z]", r"\u{110000}", "(" * 40 + ")" * 40),
]


@pytest.mark.parametrize("pattern", UNKNOWN)
def test_what_is_not_understood_is_neither_a_match_nor_none(pattern: str) -> None:
    with pytest.raises(NotUnderstood):
        matches(pattern, "aab")


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("^(a+)+$", "a" * 200 + "b"),
        ("^(a|a)*$", "a" * 200 + "b"),
        ("^(a|aa)+$", "a" * 200 + "b"),
        ("^(.*)*x$", "a" * 200),
        ("^((a*)*)*$", "a" * 5_000 + "b"),
        ("(a{9999}){9999}", "a"),
        ("^(((a{999}){999}){999}){999}$", ""),
    ],
)
def test_what_python_would_try_for_years_is_decided(pattern: str, text: str) -> None:
    assert not matches(pattern, text)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("a", "b" * 300_000),
        ("^b*$", "b" * 150_000),
        ("(?=.*b)", "a" * 90_000),
        ("(a*b*){9999}c", "ab" * 500),
    ],
)
def test_what_takes_too_long_is_given_up(pattern: str, text: str) -> None:
    with pytest.raises(NotUnderstood):
        matches(pattern, text)


PIECES = (
    *("a", "b", "[ab]", "[^a]", r"\d", r"\w", r"\s", "^", r"\b", "a*", "b+", "(?:ab)", "(a|b)"),
    *("(a|ab)*", "(a*)*", "a{2}", "b{1,3}", "a?", "(?=b)", "(?!a)", "x|", r"\.", "[a-c]", "a{2,}"),
)


@given(st.lists(st.sampled_from(PIECES), max_size=5), st.text("abc1. \n-x", max_size=8))
def test_it_agrees_with_python(pieces: list[str], text: str) -> None:
    pattern = "".join(pieces)
    assert matches(pattern, text) is bool(re.search(pattern, text, re.ASCII))
