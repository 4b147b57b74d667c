"""Requests and answers of any shape: taken or refused, and what comes out obeys its grammar."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from codex_bridge.errors import ApiError
from codex_bridge.responses.request import parse
from codex_bridge.tools.shown import ToolProfile
from codex_bridge.tools.toolbox import Toolbox
from codex_bridge.vocabulary import ModelInfo
from tests import fuzzing

profiles = st.sampled_from(list(ToolProfile))


@settings(max_examples=40)
@given(fuzzing.requests, fuzzing.infos, profiles)
def test_any_request_is_refused_or_can_be_sent_in_both_dialects(
    request: Any, info: ModelInfo, profile: ToolProfile
) -> None:
    fuzzing.translated(request, info, profile)


@settings(max_examples=40)
@given(fuzzing.raw | st.binary(max_size=30))
def test_any_bytes_are_parsed_or_refused(body: bytes) -> None:
    with suppress(ApiError):
        assert isinstance(parse(body), dict)


@settings(max_examples=40)
@given(fuzzing.answers, fuzzing.toolboxes, fuzzing.failures, st.booleans())
def test_any_deltas_in_any_order_become_a_stream_that_obeys_the_grammar(
    reads: Any, tools: list[Any], failure: ApiError | None, repair: bool
) -> None:
    fuzzing.streamed(reads, Toolbox.from_request(tools), failure, repair=repair)


@settings(max_examples=40)
@given(fuzzing.texts, fuzzing.cuts)
def test_what_a_text_becomes_does_not_depend_on_the_cuts(text: str, cuts: list[int]) -> None:
    fuzzing.streamed_alike(text, cuts)
