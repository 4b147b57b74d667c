"""JSON as small models write it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import json_repair
import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from codex_bridge.repair.lenient_json import can_be_written, loads


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
        ('{"a": "it\\\'s"}', {"a": "it's"}, {"bad escape"}),
        ('{"a": "x \\\n y"}', {"a": "x \\\n y"}, {"bad escape"}),
        ('{"a": "x" /* c */, "b": 1}', {"a": "x", "b": 1}, {"comment"}),
        ('{"a": 1, // c\n"b": 2}', {"a": 1, "b": 2}, {"comment"}),
        ('{"a": "x" // c\n}', {"a": "x"}, {"comment"}),
        ('{"a": "http://x/*y*/"}', {"a": "http://x/*y*/"}, set()),
        ("{\u201ca\u201d: \u201cx\u201d}", {"a": "x"}, {"curly quotes"}),
        ('{"a": .5, "b": +1, "c": 1_000}', {"a": 0.5, "b": 1, "c": 1000}, {"odd number"}),
        ("[-.5]", [-0.5], {"odd number"}),
        ("[1 2 3]", [1, 2, 3], {"missing comma"}),
        ('{"a": 1]', {"a": 1}, {"wrong bracket"}),
        ("[1}", [1], {"wrong bracket"}),
        ('"a": "ls -la"}', {"a": "ls -la"}, {"lost brace"}),
        ('a": "ls -la"}', {"a": "ls -la"}, {"lost brace"}),
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
        '"a": ',
        '"a" = "ls"',
        "a: ls",
        '{"a": 1}, "b": 2}',
        '{"a": 1], "b": 2}',
        '{"a": [1, 2}, "b": 3}',
        '{"a": 1} "b": 2}',
        "[10-20]",
        "[2024-10-12]",
        "[10 -2]",
        '{"a": """x \\"y\\" """}',
        '{"a": 007}',
        '{"a": 1__0}',
        '{"a": _1}',
        '{"a": "echo "x" // y"}',
        '["a" "b"]',
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


@pytest.mark.parametrize(
    ("written", "read", "slips"),
    [
        (r"\"", '"', set()),
        (r"\\", "\\", set()),
        (r"\/", "/", set()),
        (r"\b\f\n\r\t", "\b\f\n\r\t", set()),
        (r"\u0041\u00e9", "Aé", set()),
        (r"\u00g1", r"\u00g1", {"bad escape"}),
        (r"\x41", r"\x41", {"bad escape"}),
        (r"\x0041", r"\x0041", {"bad escape"}),
        (r"\d+\.", r"\d+\.", {"bad escape"}),
        ("a\\\nb", "a\\\nb", {"bad escape"}),
        ("a\nb", "a\nb", {"raw newline"}),
        ("a\rb", "a\rb", {"raw newline"}),
        ("a\0b", "a\0b", {"raw control character"}),
        ("a\x1fb", "a\x1fb", {"raw control character"}),
        ("a\x7f\u2028b", "a\x7f\u2028b", set()),
    ],
)
@pytest.mark.parametrize("quote", ['"', "'"])
def test_escapes_and_raw_characters_in_a_string(
    written: str, read: str, slips: set[str], quote: str
) -> None:
    # The bare key keeps orjson from reading it.
    value, found = loads(f"{{a: {quote}{written}{quote}}}")
    assert value == {"a": read}
    assert found == slips | {"bare key"} | ({"single quotes"} if quote == "'" else set())


@pytest.mark.parametrize(
    ("text", "value", "slips"),
    [
        ("{'a': 1, 'b': [2], 'c': '3' , 'd': 'x' }",
         {"a": 1, "b": [2], "c": "3", "d": "x"}, {"single quotes"}),
        ("[0, -1, 1.5, 2e3, 2E-1, -0.5,]", [0, -1, 1.5, 2000.0, 0.2, -0.5], {"trailing comma"}),
        ("{a: true, b: false, c: null,}", {"a": True, "b": False, "c": None},
         {"bare key", "trailing comma"}),
        ("[True, False, None]", [True, False, None], {"python literal"}),
        ("{a: 1", {"a": 1}, {"bare key", "unclosed"}),
        ("{a: 1,", {"a": 1}, {"bare key", "trailing comma", "unclosed"}),
        ("[1,", [1], {"trailing comma", "unclosed"}),
        ('{"a": [{"b": 1]}', {"a": [{"b": 1}]}, {"unclosed"}),
        ('{"a": [1 }', {"a": [1]}, {"unclosed"}),
        ('{"a": 1 \'b\': 1}', {"a": 1, "b": 1}, {"missing comma", "single quotes"}),
        ("{'a': 'say 'no' twice'}", {"a": "say 'no' twice"}, {"single quotes", "inner quotes"}),
        ('{"a": "x "y" z", "b": 1}', {"a": 'x "y" z', "b": 1}, {"inner quotes"}),
        ("{'a': \'\'\'x 'y' z\'\'\'}", {"a": "x 'y' z"}, {"single quotes", "triple quotes"}),
        ("{a-b_1: 1}", {"a-b_1": 1}, {"bare key"}),
        ("```python\n{'a': 1}\n```", {"a": 1}, {"fence", "single quotes"}),
        ("{'a': 1} {'a': 1}", {"a": 1}, {"single quotes", "repeated"}),
        ("[1][1]", [1], {"repeated"}),
        ("{'a': 1} ok", {"a": 1}, {"single quotes", "trailing text"}),
        ('"\\"[1]\\""', [1], {"double encoding"}),
        ('" {\\"a\\": 1}"', {"a": 1}, {"double encoding"}),
        ('"{oops}"', "{oops}", set()),
        ('"plain"', "plain", set()),
        ("'plain'", "plain", {"single quotes"}),
    ],
)  # fmt: skip
def test_slips_of_every_kind_are_read(text: str, value: Any, slips: set[str]) -> None:
    found, names = loads(text)
    assert (found, set(names)) == (value, slips)


@pytest.mark.parametrize(
    "text",
    ["{a 1}", "{1: 2}", "[01]", "[1.]", "[-]", "[truely]", "[1__0]",
     '{a: """x}', "{a: 'x}", "[1] [2]", '{"a": "say "hi, you"}', "[tru", "[nan]", "}"],
)  # fmt: skip
def test_what_leaves_the_value_open_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"character \d+$|^more than one value$"):
        loads(text)


def test_a_hundred_levels_are_read_and_no_more() -> None:
    loads("[" * 100 + "'x'" + "]" * 100)
    loads("[" + "{a: [1]}, " * 200 + "]")
    with pytest.raises(ValueError, match="nested too deeply"):
        loads("[" * 101 + "'x'" + "]" * 101)


def test_json_inside_of_strings_is_read_three_times() -> None:
    text = '{"a": 1}'
    for _ in range(3):
        text = orjson.dumps(text).decode()
    assert loads(text) == ({"a": 1}, frozenset({"double encoding"}))
    again = orjson.dumps(text).decode()
    assert loads(again) == ('{"a": 1}', frozenset({"double encoding"}))


def test_a_value_can_be_written_with_room_for_eight_levels_around_it() -> None:
    for levels, written in ((246, True), (247, False)):
        value: Any = orjson.loads("[" * levels + "]" * levels)
        assert can_be_written(value) is written


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


STRINGS = st.sampled_from(
    ["ls -la", "a 'b' c", 'say "hi"', "x\ny", "C:\\d", "", "it's", "/a//b", "#c", "{x}", "a, b: c"]
)
VALUES = st.recursive(
    st.one_of(STRINGS, st.integers(-9, 9), st.just(-1.5), st.booleans(), st.none()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["cmd", "workdir", "a b"]), inner, max_size=3),
    ),
    max_leaves=6,
)
SLIPS: dict[str, Callable[[str, int], str]] = {
    "a character lost": lambda text, at: text[:at] + text[at + 1 :],
    "the end lost": lambda text, at: text[: max(1, len(text) - at % 3)],
    "single quotes": lambda text, at: text.replace('"', "'"),
    "Python": lambda text, at: text.replace("true", "True").replace("null", "None"),
    "a comma too many": lambda text, at: text.replace("}", ",}", 1),
    "a fence": lambda text, at: f"```json\n{text}\n```",
    "a comment": lambda text, at: text.replace(", ", ", // c\n", 1),
    "a curly quote": lambda text, at: text.replace('"', "\u201c", 1),
    "twice": lambda text, at: 2 * text,
}
UNLIKE = frozenset({"unclosed", "lost brace", "inner quotes"})
"""Where the other reader leaves out what is empty, adds a quote, or reads nothing."""


def stripped(value: Any) -> Any:
    """A value without white space at the ends of its strings, which the other reader drops."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, list):
        return [stripped(entry) for entry in value]
    if isinstance(value, dict):
        return {key: stripped(entry) for key, entry in value.items()}
    return value


# The same examples in each run: the other reader has faults of its own, which others would find.
@settings(max_examples=200, derandomize=True)
@given(
    st.dictionaries(st.sampled_from(["cmd", "path"]), VALUES, min_size=1),
    st.lists(st.tuples(st.sampled_from(sorted(SLIPS)), st.integers(0, 60)), min_size=1, max_size=2),
)
def test_what_another_reader_reads_too_it_reads_the_same(
    value: Any, slips: list[tuple[str, int]]
) -> None:
    text = json.dumps(value)
    for slip, at in slips:
        text = SLIPS[slip](text, at)
    try:
        read, found = loads(text)
    except ValueError:
        return
    if not found & UNLIKE:
        assert stripped(read) == stripped(json_repair.loads(text))


@pytest.mark.parametrize(
    "text",
    [
        # What json_repair makes up stands behind each.
        '{"cmd": "rm -rf /home/me/ol',  # {"cmd": "rm -rf /home/me/ol"}
        '{"cmd": }',  # {"cmd": ""}
        '{"cmd" 5}{"cmd": 5}',  # [{"cmd": ""}, {"cmd": 5}]
        "{'cmd': 'a 'b' ",  # {"cmd": "a 'b'"}
        '["say \\"hi\\"" [-1.5, "C"]]',
        '["say "hi" [1", 2]',
    ],
)
def test_where_a_value_would_have_to_be_made_up_it_refuses(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        loads(text)
    assert json_repair.loads(text)


@example("[1}1")
@given(st.text(alphabet="{}[]\"',:\\ \n`ab1TrueNone", max_size=40))
def test_no_text_breaks_the_reader(text: str) -> None:
    try:
        value, _ = loads(text)
    except ValueError:
        return
    orjson.dumps(value)
