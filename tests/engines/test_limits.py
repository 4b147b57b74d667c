"""Extreme answers: read in full, or refused in words."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from codex_bridge.engines.engine import Decoder
from codex_bridge.engines.ollama_chat import LineDecoder
from codex_bridge.engines.openai_chat import AnswerDecoder, StreamDecoder
from codex_bridge.vocabulary import (
    FailureKind,
    FinishDelta,
    TextDelta,
    ToolCallDelta,
    UpstreamFailure,
    UsageDelta,
)
from tests.fuzzing import decoded

CHAT = b'{"model":"m","choices":[{"%b":{%b},"finish_reason":"stop"}],"usage":{%b}}'
LINE = b'{"message":{%b},"done":true,%b}\n'
LARGE = 2_000_000
SPELLINGS: dict[Callable[[], Decoder], Callable[[bytes, bytes], bytes]] = {
    StreamDecoder: lambda message, counts: b"data: %b\n\n" % (CHAT % (b"delta", message, counts)),
    AnswerDecoder: lambda message, counts: CHAT % (b"message", message, counts),
    LineDecoder: lambda message, counts: (
        LINE % (message, counts.replace(b"prompt_tokens", b"prompt_eval_count"))
    ),
}
decoders = pytest.mark.parametrize(
    ("decoder", "spell"), SPELLINGS.items(), ids=["stream", "answer", "lines"]
)


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


@decoders
@pytest.mark.parametrize("read", [64, 65536])
def test_one_huge_delta_is_read_in_full(
    decoder: Callable[[], Decoder], spell: Callable[[bytes, bytes], bytes], read: int
) -> None:
    answer = spell(b'"content":"%b"' % (b"x" * LARGE), b'"prompt_tokens":5')
    deltas, failure = decoded(decoder, answer, range(0, len(answer), read))
    assert failure is None
    assert deltas == [TextDelta("x" * LARGE), FinishDelta("stop"), UsageDelta(5, 0)]


@decoders
def test_a_huge_line_that_is_no_json_is_refused(
    decoder: Callable[[], Decoder], spell: Callable[[bytes, bytes], bytes]
) -> None:
    _, failure = decoded(decoder, b"x" * LARGE, range(0, LARGE, 65536))
    assert isinstance(failure, UpstreamFailure)
    assert failure.kind is FailureKind.GARBLED


@decoders
@pytest.mark.parametrize(("levels", "is_read"), [(200, True), (254, False), (600, False)])
def test_arguments_nested_too_deeply_are_refused_in_words(
    decoder: Callable[[], Decoder],
    spell: Callable[[bytes, bytes], bytes],
    levels: int,
    is_read: bool,
) -> None:
    call = b'{"function":{"name":"f","arguments":{"a":%b}}}' % nested(levels)
    deltas, failure = decoded(decoder, spell(b'"tool_calls":[%b]' % call, b'"a":1'), [])
    if is_read:
        arguments = b'{"a":%b}' % nested(levels)
        assert ToolCallDelta(0, "", "f", arguments.decode()) in deltas
    else:
        assert isinstance(failure, UpstreamFailure)
        assert failure.kind is FailureKind.GARBLED
        assert "nested too deeply" in failure.message


@decoders
def test_an_error_nested_too_deeply_is_one_all_the_same(
    decoder: Callable[[], Decoder], spell: Callable[[bytes, bytes], bytes]
) -> None:
    error = b'{"error":%b}' % nested(500)
    _, failure = decoded(
        decoder, b"data: %b\n\n" % error if decoder is StreamDecoder else error, []
    )
    assert isinstance(failure, UpstreamFailure)


@decoders
@pytest.mark.parametrize("count", [b"1e300", b"-5", b"99999999999999999999", b'"x"'])
def test_counts_that_are_none_are_zero(
    decoder: Callable[[], Decoder], spell: Callable[[bytes, bytes], bytes], count: bytes
) -> None:
    deltas, failure = decoded(decoder, spell(b'"content":"x"', b'"prompt_tokens":' + count), [])
    assert failure is None
    assert deltas[-1] == UsageDelta(0, 0)
