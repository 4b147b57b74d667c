"""How many tokens a prompt has, by its bytes and by what was counted before it."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from codex_bridge.engines.prompts import Conversations, Prompt, measured
from codex_bridge.vocabulary import ChatRequest, FailureKind, Json, UpstreamFailure

SIZES = st.integers(0, 10**6)
PROMPTS = st.builds(Prompt, SIZES, SIZES, st.integers(0, 50), st.just((b"1",)))
CONTEXT = 32768


def after(last: Prompt, tokens: int) -> Conversations:
    """A conversation whose last prompt had so many tokens."""
    conversations = Conversations()
    conversations.learn("m", evolve(last, digests=(b"1",)), tokens)
    return conversations


def prompt(text: int, **more: Any) -> Prompt:
    return Prompt(text, digests=(b"1", b"2"), **more)


@given(PROMPTS, st.none() | st.tuples(PROMPTS, SIZES))
def test_what_is_likely_is_not_less_than_the_least(
    sent: Prompt, last: tuple[Prompt, int] | None
) -> None:
    conversations = after(*last) if last else Conversations()
    assert 0 <= conversations.bounds("m", sent)[0] <= conversations.bounds("m", sent)[1]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        (5000 * "word ", 5000),
        # Qwen takes every digit for a token.
        (2000 * "0123456789 ", 21_000),
        (2000 * "слово ", 3000),
        (3000 * "思考", 4000),
        (500 * '{"a": [1, 2]}\n', 5500),
    ],
)
def test_no_text_has_less_than_the_least(text: str, tokens: int) -> None:
    sent = measured(ChatRequest("m", [{"role": "user", "content": text}]))
    assert Conversations().bounds("m", sent)[0] <= tokens


def test_after_a_count_only_what_is_new_is_uncertain() -> None:
    conversations = after(Prompt(40_000), 10_000)
    sent = prompt(48_000)
    assert conversations.bounds("m", sent)[0] == 11_000
    assert conversations.bounds("m", sent)[1] == round(10_000 + 8_000 / 4.5)


def test_reasoning_that_a_new_question_makes_vanish_is_not_held_against_the_prompt() -> None:
    conversations = after(Prompt(8000, reasoning_bytes=60_000), 22_000)
    assert conversations.bounds("m", prompt(9000))[0] <= 2500
    # Within a turn all of it stays.
    assert conversations.bounds("m", prompt(9000, reasoning_bytes=60_000))[0] == 22_125


@pytest.mark.parametrize(
    ("sent", "is_strict", "fits"),
    [
        # 30,720 tokens are left for a prompt: 8 bytes each at the least, 4.5 likely.
        (prompt(245_000), False, True),
        (prompt(246_500), False, False),
        (prompt(138_000), True, True),
        (prompt(138_500), True, False),
        # A picture has 64 tokens at the least, 1000 likely.
        (prompt(100, image_count=470), False, True),
        (prompt(100, image_count=500), False, False),
        (prompt(100, image_count=30), True, True),
        (prompt(100, image_count=31), True, False),
        (prompt(100_000, reasoning_bytes=100_000), False, True),
        (prompt(100_000, reasoning_bytes=100_000), True, False),
    ],
)
def test_a_prompt_has_to_leave_room_for_the_answer(
    sent: Prompt, is_strict: bool, fits: bool
) -> None:
    conversations = Conversations()
    if fits:
        conversations.check("m", sent, CONTEXT, is_strict=is_strict)
        return
    with pytest.raises(UpstreamFailure, match=r"about \d+ tokens.* 32768") as caught:
        conversations.check("m", sent, CONTEXT, is_strict=is_strict)
    assert caught.value.kind is FailureKind.TOO_LONG


def test_what_was_counted_of_one_conversation_is_not_held_against_another() -> None:
    dense = after(Prompt(30_000), 29_000)
    for model, sent in (("m", Prompt(60_000, digests=(b"other",))), ("n", prompt(60_000))):
        dense.check(model, sent, CONTEXT, is_strict=False)
    with pytest.raises(UpstreamFailure):
        dense.check("m", prompt(60_000), CONTEXT, is_strict=False)


def messages(count: int) -> list[Json]:
    return [{"role": "user", "content": f"{n}"} for n in range(count)]


def conversation(count: int) -> Prompt:
    return measured(ChatRequest("m", messages(count)))


def test_a_prompt_goes_on_from_the_one_whose_messages_it_begins_with() -> None:
    conversations = Conversations()
    conversations.learn("m", conversation(2), 1000)
    for count in (2, 3, 9):
        assert conversations.bounds("m", conversation(count))[0] >= 1000
    fork = measured(ChatRequest("m", [*messages(1), {"role": "user", "content": "x"}]))
    for model, sent in (("m", conversation(1)), ("n", conversation(3)), ("m", fork)):
        assert conversations.bounds(model, sent)[0] < 10


def test_a_conversation_takes_one_place_and_the_places_are_bounded() -> None:
    conversations = Conversations()
    for count in range(1, 5):
        conversations.learn("m", conversation(count), 1000 * count)
    assert len(conversations) == 1
    for n in range(70):
        conversations.learn(f"m{n}", conversation(1), 1000)
    assert len(conversations) == 64
    assert conversations.bounds("m", conversation(4))[0] < 10
    conversations.learn("m", Prompt(5), 10)
    assert len(conversations) == 64


@pytest.mark.parametrize(
    ("later", "tokens", "is_cut"),
    [
        (prompt(44_000), 10_900, False),
        (prompt(44_000), 9_500, False),
        (prompt(44_000), 8_900, True),
        (prompt(40_000), 2_050, True),
        # Declarations that were left out this time.
        (prompt(20_000), 5_000, False),
        (Prompt(40_000, digests=(b"first",)), 3_400, False),
        (Prompt(40_000, digests=(b"first",)), 3_300, True),
        (Prompt(1_900, digests=(b"short",)), 10, False),
    ],
)
def test_a_count_that_fell_though_the_prompt_grew_is_of_a_cut_prompt(
    later: Prompt, tokens: int, is_cut: bool
) -> None:
    assert after(Prompt(40_000), 10_000).is_cut("m", later, tokens) is is_cut


def test_the_size_is_that_of_what_a_template_shows() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + 5000 * "A"}}
    call = {"id": "call_1", "function": {"name": "run", "arguments": '{"a":1}'}}
    sent: list[Json] = [
        {"role": "user", "content": [{"type": "text", "text": "x"}, image]},
        {"role": "assistant", "content": "", "reasoning": 3000 * "思"},
        {"role": "user", "content": "yy"},
        {"role": "assistant", "content": "", "reasoning": 700 * "思", "tool_calls": [call]},
        {"role": "tool", "content": "5\n", "name": "run", "tool_call_id": "call_1"},
    ]
    plain = measured(ChatRequest("m", sent))
    # x, yy, run, {"a":1}, 5 and its line end.
    assert (plain.text_bytes, plain.reasoning_bytes, plain.image_count, len(plain.digests)) == (
        15,
        2100,
        1,
        5,
    )
    declared = measured(ChatRequest("m", sent, [{"name": "run"}]))
    assert declared.text_bytes == 15 + len('[{"name":"run"}]')
