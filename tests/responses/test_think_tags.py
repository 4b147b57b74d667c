"""Reasoning between tags at the beginning of an answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codex_bridge.responses.think_tags import ThinkSplitter


def split(text: str, size: int = 1000, *, thought: bool = False) -> tuple[str, str]:
    """All reasoning and all text, fed in pieces of `size`."""
    splitter = ThinkSplitter()
    if thought:
        splitter.note_reasoning()
    pieces = [splitter.feed(text[at : at + size]) for at in range(0, len(text), size)]
    pieces.append(splitter.end())
    return "".join(piece[0] for piece in pieces), "".join(piece[1] for piece in pieces)


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
@pytest.mark.parametrize(
    ("answer", "reasoning", "text"),
    [
        ("<think>\nHm.\n</think>\n\nHello", "Hm.", "Hello"),
        ("\n <think>a < b</th</think>Hello", "a < b</th", "Hello"),
        ("<think></think>Hello", "", "Hello"),
        ("<think>Never ended", "Never ended", ""),
        ("<think>Never ended</thi", "Never ended</thi", ""),
        ("Hello <think>x</think>", "", "Hello <think>x</think>"),
        ("<thinking>x", "", "<thinking>x"),
        ("</think>Hello", "", "</think>Hello"),
        ("  Hello", "", "  Hello"),
        ("<th", "", "<th"),
        ("", "", ""),
    ],
)
def test_split(answer: str, reasoning: str, text: str, size: int) -> None:
    assert split(answer, size) == (reasoning, text)


@pytest.mark.parametrize("size", [1, 1000])
def test_an_end_tag_behind_proper_reasoning_is_left_out(size: int) -> None:
    assert split("\n</think>\n\nHello", size, thought=True) == ("", "Hello")
    assert split("Hello</think>", size, thought=True) == ("", "Hello</think>")


@given(st.text(st.sampled_from("<think>/ \nab")), st.integers(1, 5))
def test_the_split_does_not_depend_on_the_cuts(answer: str, size: int) -> None:
    assert split(answer, size) == split(answer)


@given(st.text())
def test_an_answer_without_the_tag_is_all_text(answer: str) -> None:
    if not answer.lstrip().startswith("<think>"):
        assert split(answer, 3) == ("", answer)


def test_plain_text_is_not_held_back() -> None:
    splitter = ThinkSplitter()
    assert splitter.feed("H") == ("", "H")
    assert splitter.feed("<think>") == ("", "<think>")
