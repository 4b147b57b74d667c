"""Answers of any bytes, cut anywhere: the same deltas, or a failure of the upstream."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from codex_bridge.engines.engine import Decoder
from tests import fuzzing

# Drawn, since pytest-twisted wraps a test of hypothesis anew for each of its parameters.
decoders = st.sampled_from(list(fuzzing.ANSWERS))


@settings(max_examples=40)
@given(st.data(), decoders)
def test_what_is_decoded_does_not_depend_on_the_cuts(
    data: st.DataObject, decoder: Callable[[], Decoder]
) -> None:
    fuzzing.decoded_alike(decoder, data.draw(fuzzing.ANSWERS[decoder]), data.draw(fuzzing.cuts))


@settings(max_examples=40)
@given(st.one_of(*fuzzing.ANSWERS.values()), decoders)
def test_an_answer_in_another_dialect_is_a_failure_or_an_answer(
    answer: bytes, decoder: Callable[[], Decoder]
) -> None:
    fuzzing.decoded(decoder, answer, [])
