"""How many tokens a prompt has, before and after the server counted one of its conversation."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codex_bridge.engines.prompt_guard import MAX_CONVERSATIONS, Counted, Counts, bounds
from codex_bridge.engines.prompt_size import Prompt, PromptSize, measured
from codex_bridge.vocabulary import ChatRequest, Json

SIZES = st.integers(0, 10**6)


@st.composite
def sizes(draw: Any) -> PromptSize:
    text = draw(SIZES)
    dense, thought = draw(st.integers(0, text)), draw(SIZES)
    return PromptSize(text, dense, thought, draw(st.integers(0, 50)), draw(st.integers(0, 500)))


@given(sizes(), st.none() | st.builds(Counted, sizes(), SIZES, st.just("chat")))
def test_the_bounds_are_in_order(size: PromptSize, last: Counted | None) -> None:
    made = bounds(size, last)
    assert 0 <= made.least <= made.likely <= made.most


PROSE, DIGITS, RUSSIAN = "word ", "0123456789 ", "слово "


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        (5000 * PROSE, 5000),
        # Qwen takes every digit for a token.
        (2000 * DIGITS, 21_000),
        (2000 * RUSSIAN, 3000),
        (3000 * "思考", 4000),
        (500 * '{"a": [1, 2]}\n', 5500),
    ],
)
def test_what_a_text_really_has_lies_between_the_bounds(text: str, tokens: int) -> None:
    size = measured(ChatRequest("m", [{"role": "user", "content": text}])).size
    made = bounds(size)
    assert made.least <= tokens <= made.most


def test_after_a_count_only_what_is_new_is_uncertain() -> None:
    last = Counted(PromptSize(40_000, messages=5), 10_000, "chat")
    made = bounds(PromptSize(48_000, messages=7), last)
    assert (made.least, made.most) == (11_000, 14_032)
    assert made.likely == round(10_000 + 8_000 / 4.5)


def test_pictures_are_cheap_where_refusing_and_dear_where_a_cut_threatens() -> None:
    made = bounds(PromptSize(0, images=10))
    assert (made.least, made.most) == (640, 15_512)


def test_reasoning_counts_as_shown_only_where_a_cut_threatens() -> None:
    thinking = bounds(PromptSize(8000, thought=4000))
    silent = bounds(PromptSize(8000))
    assert thinking.least == silent.least
    assert thinking.most == silent.most + 4000


def test_reasoning_that_a_new_question_makes_vanish_is_not_held_against_the_prompt() -> None:
    last = Counted(PromptSize(8000, thought=60_000), 22_000, "chat")
    assert bounds(PromptSize(9000), last).least <= 2500
    # Within a turn all of it stays.
    assert bounds(PromptSize(9000, thought=60_000), last).least == 22_125


def messages(count: int) -> list[Json]:
    return [{"role": "user", "content": f"{n}"} for n in range(count)]


def prompt(count: int, text: int = 4000) -> Prompt:
    return Prompt(PromptSize(text), measured(ChatRequest("m", messages(count))).marks)


def test_a_prompt_goes_on_with_the_one_whose_messages_it_begins_with() -> None:
    counts = Counts()
    counts.learn("m", prompt(2), 1000, "chat")
    for longer in (prompt(2), prompt(3), prompt(9)):
        found = counts.before("m", longer)
        assert found is not None
        assert found.tokens == 1000
    assert counts.before("m", prompt(1)) is None
    assert counts.before("other", prompt(3)) is None
    fork = measured(ChatRequest("m", [*messages(1), {"role": "user", "content": "x"}]))
    assert counts.before("m", fork) is None


def test_a_conversation_takes_one_place_and_the_places_are_bounded() -> None:
    counts = Counts()
    for n in range(1, 5):
        counts.learn("m", prompt(n), 1000 * n, "chat")
    assert len(counts) == 1
    for n in range(MAX_CONVERSATIONS + 5):
        counts.learn(f"m{n}", prompt(1), 10, "chat")
    assert len(counts) == MAX_CONVERSATIONS
    assert counts.before("m", prompt(4)) is None
    counts.learn("m", Prompt(PromptSize(5)), 10, "chat")
    assert len(counts) == MAX_CONVERSATIONS


@pytest.mark.parametrize(
    ("later", "tokens", "is_cut"),
    [
        (prompt(3, 44_000), 10_900, False),
        (prompt(3, 44_000), 9_500, False),
        (prompt(3, 44_000), 8_900, True),
        (prompt(2, 40_000), 2_050, True),
        # Declarations that were left out this time.
        (prompt(3, 20_000), 5_000, False),
        (Prompt(PromptSize(40_000), (b"first",)), 3_400, False),
        (Prompt(PromptSize(40_000), (b"first",)), 3_300, True),
        (Prompt(PromptSize(1_900), (b"short",)), 10, False),
    ],
)
def test_a_count_that_fell_though_the_prompt_grew_is_of_a_cut_prompt(
    later: Prompt, tokens: int, is_cut: bool
) -> None:
    counts = Counts()
    counts.learn("m", prompt(2, 40_000), 10_000, "chat")
    assert counts.is_cut("m", later, tokens) is is_cut


def test_the_size_is_that_of_what_a_template_shows() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + 5000 * "A"}}
    call = {"id": "call_1", "function": {"name": "run", "arguments": '{"a":1}'}}
    made: list[Json] = [
        {"role": "user", "content": [{"type": "text", "text": "x"}, image]},
        {"role": "assistant", "content": "", "reasoning": 3000 * "思"},
        {"role": "user", "content": "yy"},
        {"role": "assistant", "content": "", "reasoning": 700 * "思", "tool_calls": [call]},
        {"role": "tool", "content": "5\n", "name": "run", "tool_call_id": "call_1"},
    ]
    size = measured(ChatRequest("m", made)).size
    # x, yy, run, {"a":1}, 5 and its line end.
    assert size == PromptSize(15, dense=7, thought=2100, images=1, messages=5)
    declared = measured(ChatRequest("m", made, [{"name": "run"}])).size
    assert declared.text == 15 + len('[{"name":"run"}]')
