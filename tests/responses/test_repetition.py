"""Answers that repeat themselves without an end are noticed, and no others."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codex_bridge.responses.repetition import Repetition
from tests.responses.loops import FINE, LOOPS, Loop


def tokens(text: str, size: int = 4) -> list[str]:
    return [text[n : n + size] for n in range(0, len(text), size)]


def read(pieces: Iterable[str], patience: int = 1) -> tuple[int | None, int]:
    """After how many characters the text was said to repeat itself, and how many are of use."""
    repetition, size = Repetition(patience), 0
    for piece in pieces:
        size += len(piece)
        if repetition.add(piece):
            return size, repetition.useful
    return None, repetition.useful


@pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS.keys())
def test_a_loop_is_noticed_early(loop: Loop) -> None:
    text = loop.beginning + loop.repetitions(9000)
    found, useful = read(tokens(text))
    assert found is not None
    assert found - len(loop.beginning) <= loop.found
    # Of lines with a counter those with one digit are kept, too: they are shorter.
    one_digit = 9 * len(loop.unit) if "{n}" in loop.unit else 0
    assert len(loop.beginning) < useful <= len(loop.beginning) + one_digit + len(loop.unit)


@pytest.mark.parametrize("text", FINE.values(), ids=FINE.keys())
def test_what_may_be_meant_is_no_loop(text: str) -> None:
    assert read(tokens(text)) == (None, len(text))
    assert read(tokens("Here it is:\n\n" + text, size=3))[0] is None


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 512, 1000])
def test_all_of_an_answer_without_a_loop_is_of_use(size: int) -> None:
    text = FINE["numbers"][:size]
    assert read(tokens(text)) == read([text]) == (None, size)


def test_an_answer_may_go_on_after_some_repetitions() -> None:
    text = 100 * "print('hello')\n" + "That was it.\n" + 100 * "print('bye')\n" + "And that.\n"
    assert read(tokens(5 * text)) == (None, 5 * len(text))


def test_a_file_in_the_arguments_of_a_call_may_hold_more_equal_lines() -> None:
    cells = '{"cmd": "cat > grid.html <<EOF\\n' + 400 * '<div class=\\"cell\\"></div>\\n'
    assert read(tokens(cells))[0] is not None
    assert read(tokens(cells), patience=4)[0] is None
    line = "The quick brown fox jumps over the lazy dog.\\n"
    assert read(tokens(90 * line), patience=4)[0] is None
    assert 6000 <= (read(tokens(300 * line), patience=4)[0] or 0) <= 6500
    counted = "".join(
        f"Step {n}: Run the tests again and look at the output. " for n in range(1000)
    )
    assert (read(tokens(counted))[0] or 0) < 4200
    assert 12000 < (read(tokens(counted), patience=4)[0] or 0) < 18500


@given(
    st.sampled_from([*LOOPS.values()]),
    st.lists(st.integers(1, 700), min_size=1, max_size=30),
)
def test_it_does_not_matter_how_the_text_is_cut(loop: Loop, sizes: list[int]) -> None:
    text = loop.beginning + loop.repetitions(9000)
    pieces, start = [], 0
    while start < len(text):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(text[start : start + size])
        start += size
    by_character, useful = read(text)
    found, same = read(pieces)
    assert same == useful
    assert found is not None
    assert by_character is not None
    assert 0 <= found - by_character < max(sizes)
    assert read([text])[1] == useful


few = st.text("ab\n", min_size=1, max_size=300)


@given(st.text(max_size=300) | few, st.text(min_size=1, max_size=300) | few)
def test_any_text_that_repeats_itself_is_noticed(beginning: str, unit: str) -> None:
    text = beginning + (5000 // len(unit) + 2) * unit
    found, useful = read(tokens(text))
    assert found is not None
    assert useful <= len(beginning) + len(unit)


@pytest.mark.parametrize("size", [255, 256, 511, 512, 1023, 1024])
def test_what_is_repeated_may_repeat_itself(size: int) -> None:
    unit = size * "a" + "b"
    found, useful = read(tokens("So: " + 12 * unit))
    assert found is not None
    assert useful <= len("So: ") + len(unit)


@pytest.mark.parametrize("alphabet", ["ab", "01 ", "etaoin shrdlu\n", "的一是在不了有和人这"])
def test_random_text_is_no_loop(alphabet: str) -> None:
    chance = random.Random(7)
    text = "".join(chance.choices(alphabet, k=60_000))
    assert read(tokens(text)) == (None, len(text))


def test_once_noticed_it_stays_so() -> None:
    repetition = Repetition()
    assert [repetition.add(piece) for piece in tokens(1000 * "ha ")][-1]
    useful = repetition.useful
    assert repetition.add("And now something else.")
    assert repetition.useful == useful


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (["Well", *25 * [" ha"]], True),
        (["Well", *24 * [" ha"]], False),
        ([*30 * ["ha"], "!"], False),
        (["ha", "\n"] * 40, False),
        (["ha", " ha", "ha ", "\nha\n", " ha "] * 5, True),
        (["\n", " ", "\t", "\n\n", "  "] * 5, True),
        (["a", *24 * ["b"], "a", *24 * ["b"]], False),
        ([], False),
    ],
)
def test_the_end_of_an_answer_of_equal_tokens(pieces: list[str], expected: bool) -> None:
    """Ollama ends such an answer, and says nothing."""
    repetition = Repetition()
    for piece in pieces:
        repetition.add(piece)
    assert repetition.ended_in_equal_pieces == expected
