"""JSON as small models write it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codex_bridge.repair.lenient_json import loads


@pytest.mark.parametrize(
    ("text", "value", "slips"),
    [
        ('{"a": 1}', {"a": 1}, set()),
        (' {"a": [true, null, "x"]} ', {"a": [True, None, "x"]}, set()),
        ("{'a': 'b'}", {"a": "b"}, {"single quotes"}),
        ("{'a': 'it\\'s'}", {"a": "it's"}, {"single quotes"}),
        ("{'a': 'it's'}", {"a": "it's"}, {"single quotes", "inner quotes"}),
        ('{"a": 1,}', {"a": 1}, {"trailing comma"}),
        ('{"a": [1, 2,],}', {"a": [1, 2]}, {"trailing comma"}),
        ('{"a": "x\ny"}', {"a": "x\ny"}, {"raw newline"}),
        ('{"a": "x\ty"}', {"a": "x\ty"}, {"raw control character"}),
        ('{"a": True, "b": None}', {"a": True, "b": None}, {"python literal"}),
        ('{a: 1, b_c: "x"}', {"a": 1, "b_c": "x"}, {"bare key"}),
        ('```json\n{"a": 1}\n```', {"a": 1}, {"fence"}),
        ('```{"a": 1}```', {"a": 1}, {"fence"}),
        ('{"a": 1} That lists the files.', {"a": 1}, {"trailing text"}),
        ('{"a": 1}}', {"a": 1}, {"trailing text"}),
        ('{"a": 1}{"a": 1}', {"a": 1}, {"repeated"}),
        ('"{\\"a\\": 1}"', {"a": 1}, {"double encoding"}),
        ('"\\"{\\\\\\"a\\\\\\": 1}\\""', {"a": 1}, {"double encoding"}),
        ('{"a": {"b": [1', {"a": {"b": [1]}}, {"unclosed"}),
        ('{"a": "x"', {"a": "x"}, {"unclosed"}),
        ('{"a": [1, 2}', {"a": [1, 2]}, {"unclosed"}),
        ('{"a": 1 "b": 2}', {"a": 1, "b": 2}, {"missing comma"}),
        ('{"a": "grep "x" f"}', {"a": 'grep "x" f'}, {"inner quotes"}),
        ('{"a": "grep \\.py \\d"}', {"a": "grep \\.py \\d"}, {"bad escape"}),
        ('{"a": """x "y"\nz"""}', {"a": 'x "y"\nz'}, {"triple quotes"}),
        ("{'a': '\\ud83d\\ude00'}", {"a": "\U0001f600"}, {"single quotes"}),
    ],
)
def test_slips_are_read_and_named(text: str, value: Any, slips: set[str]) -> None:
    assert loads(text) == (value, slips)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ls -la",
        '{"a": }',
        '{"a":',
        '{"a"',
        '{"a": "rm -rf /home/me/old',
        '{"a": [1, "x',
        '{"a": "echo "x", "y""}',
        '{"a": 1}{"a": 2}',
        '{"a": ls}',
        '{"a": 12abc}',
        "{" * 200,
        "[" * 5000,
        '{"a": NaN}',
    ],
)
def test_what_is_not_there_is_never_guessed(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        loads(text)


def test_half_a_surrogate_can_still_be_encoded() -> None:
    value, _ = loads("{'a': '\\ud83d'}")
    assert orjson.dumps(value)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=5), values))
def test_valid_json_is_read_as_it_is(value: dict[str, Any]) -> None:
    assert loads(orjson.dumps(value).decode()) == (value, frozenset())


@given(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), values))
def test_python_literals_are_read(value: dict[str, Any]) -> None:
    """repr() differs from JSON in quotes, literals and escapes; \\x and \\U escapes aside."""
    text = repr(value)
    if "\\x" not in text and "\\U" not in text and "\\u" not in text:
        assert loads(text)[0] == value


@given(st.text(alphabet="{}[]\"',:\\ \n`ab1TrueNone", max_size=40))
def test_no_text_breaks_the_reader(text: str) -> None:
    try:
        value, _ = loads(text)
    except ValueError:
        return
    orjson.dumps(value)
