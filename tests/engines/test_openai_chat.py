"""The chat completions dialect: bytes -> deltas, wherever the network cuts."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codex_bridge.engines.openai_chat import AnswerDecoder, StreamDecoder, encode
from codex_bridge.responses.events import frame
from codex_bridge.tools.toolbox import Toolbox
from codex_bridge.vocabulary import (
    ChatRequest,
    Delta,
    FailureKind,
    FinishDelta,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    UpstreamFailure,
    UsageDelta,
)
from tests.responses.streams import Stream

USAGE = {"prompt_tokens": 23, "completion_tokens": 4, "total_tokens": 27}
CALL = {
    "id": "call_yw3tq3k2",
    "index": 0,
    "type": "function",
    "function": {"name": "shell", "arguments": '{"command":"ls"}'},
}


def chunk(delta: Any = None, finish: str | None = None, **more: Any) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    body = {"id": "chatcmpl-1", "model": "m", "choices": choices} | more
    return b"data: " + orjson.dumps(body) + b"\n\n"


STREAM = b"".join(
    [
        chunk({"role": "assistant", "content": "", "reasoning": "Ich prüfe ✓"}),
        chunk({"content": "Hello 世界"}),
        chunk({"content": "", "tool_calls": [CALL]}),
        chunk({}, "tool_calls"),
        chunk(None, usage=USAGE),
        b"data: [DONE]\n\n",
    ]
)
DELTAS: list[Delta] = [
    ReasoningDelta("Ich prüfe ✓"),
    TextDelta("Hello 世界"),
    ToolCallDelta(0, "call_yw3tq3k2", "shell", '{"command":"ls"}'),
    FinishDelta("tool_calls"),
    UsageDelta(23, 4),
]


def decode(*pieces: bytes) -> list[Delta]:
    decoder = StreamDecoder()
    deltas = [delta for piece in pieces for delta in decoder.feed(piece)]
    return [*deltas, *decoder.eof()]


def test_a_stream_as_ollama_sends_it() -> None:
    assert decode(STREAM) == DELTAS


def test_every_single_cut_gives_the_same_deltas() -> None:
    for cut in range(len(STREAM) + 1):
        assert decode(STREAM[:cut], STREAM[cut:]) == DELTAS


def test_byte_by_byte_gives_the_same_deltas() -> None:
    assert decode(*(bytes([byte]) for byte in STREAM)) == DELTAS


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_cutting_the_bytes_anywhere_gives_the_same_events(cuts: list[int]) -> None:
    """From the bytes of the upstream to the bytes for the client, through both machines."""

    def events(pieces: list[bytes]) -> bytes:
        decoder = StreamDecoder()
        stream = Stream(Toolbox([]))
        out = stream.start()
        for piece in pieces:
            out += stream.feed(decoder.feed(piece))
        out += stream.feed(decoder.eof())
        return b"".join(map(frame, out + stream.end()))

    places = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[a:b] for a, b in pairwise(places)]
    assert events(pieces) == events([STREAM])


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        pytest.param(
            STREAM.replace(b"\n", b"\r\n"),
            DELTAS,
            id="CRLF",
        ),
        pytest.param(b": comment\nid: 1\nretry: 3\nevent: x\n" + STREAM, DELTAS, id="other fields"),
        pytest.param(STREAM.replace(b"data: ", b"data:"), DELTAS, id="no space"),
        pytest.param(STREAM.removesuffix(b"\n\n"), DELTAS, id="no last blank line"),
        pytest.param(STREAM.replace(b"data: [DONE]\n\n", b""), DELTAS, id="no DONE"),
        pytest.param(STREAM + b"data: nonsense behind the end\n\n", DELTAS, id="after DONE"),
        pytest.param(
            chunk({"reasoning_content": "a"}) + chunk({"thinking": "b"}) + chunk({}, "stop"),
            [ReasoningDelta("a"), ReasoningDelta("b"), FinishDelta("stop")],
            id="other servers' reasoning",
        ),
        pytest.param(
            chunk({"content": "x", "reasoning": "r", "tool_calls": [CALL, CALL]}, "stop"),
            [
                ReasoningDelta("r"),
                TextDelta("x"),
                ToolCallDelta(0, "call_yw3tq3k2", "shell", '{"command":"ls"}'),
                ToolCallDelta(0, "call_yw3tq3k2", "shell", '{"command":"ls"}'),
                FinishDelta("stop"),
            ],
            id="all in one chunk",
        ),
        pytest.param(
            chunk({"tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]}, "stop"),
            [ToolCallDelta(0, "", "f", '{"a":1}'), FinishDelta("stop")],
            id="arguments as an object, no index, no id",
        ),
        pytest.param(
            chunk({"content": None, "tool_calls": None}) + chunk({}, "stop", usage=None),
            [FinishDelta("stop")],
            id="nulls",
        ),
        pytest.param(
            chunk(
                {},
                "stop",
                usage=USAGE
                | {
                    "prompt_tokens_details": {"cached_tokens": 7},
                    "completion_tokens_details": {"reasoning_tokens": 2},
                },
            ),
            [FinishDelta("stop"), UsageDelta(23, 4, 7, 2)],
            id="token details",
        ),
    ],
)
def test_streams_of_other_shapes(stream: bytes, expected: list[Delta]) -> None:
    assert decode(stream) == expected


@pytest.mark.parametrize(
    ("stream", "kind", "says"),
    [
        (b"", FailureKind.BROKEN, "finish reason"),
        (chunk({"content": "Working."}), FailureKind.BROKEN, "finish reason"),
        (
            chunk({"content": "Working."}) + chunk({"content": ""}, None, model=""),
            FailureKind.BROKEN,
            "finish reason",
        ),
        (b"<html>no</html>\n", FailureKind.GARBLED, "no events"),
        (b"data: {\n\n", FailureKind.GARBLED, "not JSON"),
        (b"data: 3\n\n", FailureKind.GARBLED, "not a JSON object"),
        (
            chunk({"content": "a"}) + b'data: {"error":{"message":"some error"}}\n\n',
            FailureKind.BROKEN,
            "some error",
        ),
    ],
)
def test_success_is_a_finish_reason_that_arrived(
    stream: bytes, kind: FailureKind, says: str
) -> None:
    with pytest.raises(UpstreamFailure, match=says) as caught:
        decode(stream)
    assert caught.value.kind is kind


def test_a_decoder_is_over_at_done_and_at_an_error() -> None:
    for last in (b"data: [DONE]\n\n", b'data: {"error":"x"}\n\n'):
        decoder = StreamDecoder()
        assert not decoder.over
        decoder.feed(last)
        assert decoder.over


def test_a_large_delta_in_many_reads_takes_linear_time() -> None:
    """Counted in joined bytes, not in seconds: the line is joined once, not at every read."""
    decoder = StreamDecoder()
    data = chunk({"content": "x" * 1_000_000})
    for start in range(0, len(data) - 2, 1000):
        assert decoder.feed(data[start : min(start + 1000, len(data) - 2)]) == []
    assert max(map(len, decoder._partial)) <= 1000
    assert decoder.feed(b"\n\n") == [TextDelta("x" * 1_000_000)]


def whole(message: Any, finish: str | None = "stop", **more: Any) -> bytes:
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return orjson.dumps({"model": "m", "choices": [choice], "usage": USAGE} | more)


def test_one_json_answer_gives_the_deltas_of_the_same_stream() -> None:
    decoder = AnswerDecoder()
    message = {
        "role": "assistant",
        "content": "Hello 世界",
        "reasoning": "Ich prüfe ✓",
        "tool_calls": [CALL],
    }
    body = whole(message, "tool_calls")
    assert decoder.feed(body[:20]) == []
    assert decoder.feed(body[20:]) == []
    assert decoder.eof() == DELTAS


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", FailureKind.BROKEN),
        (b"<html>", FailureKind.GARBLED),
        (b"[]", FailureKind.GARBLED),
        (b'{"error":"x"}', FailureKind.BROKEN),
        (whole({"content": "x"}, None), FailureKind.BROKEN),
        (whole({"content": "x"}, "stop", model=""), FailureKind.BROKEN),
    ],
)
def test_an_answer_that_is_not_whole_is_a_failure(body: bytes, kind: FailureKind) -> None:
    decoder = AnswerDecoder()
    decoder.feed(body)
    with pytest.raises(UpstreamFailure) as caught:
        decoder.eof()
    assert caught.value.kind is kind


def test_what_the_client_did_not_say_is_not_sent() -> None:
    request = ChatRequest("m", [{"role": "user", "content": "x"}])
    assert orjson.loads(encode(request, stream=True)) == {
        "model": "m",
        "messages": [{"role": "user", "content": "x"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_every_setting_goes_out_under_the_name_that_ollama_reads() -> None:
    request = ChatRequest(
        "m",
        [],
        functions=[{"type": "function"}],
        temperature=0.0,
        top_p=0.5,
        presence_penalty=0.1,
        frequency_penalty=0.2,
        max_tokens=9,
        effort="low",
        tool_choice="required",
        response_format={"type": "json_object"},
    )
    assert orjson.loads(encode(request, stream=False)) == {
        "model": "m",
        "messages": [],
        "tools": [{"type": "function"}],
        "temperature": 0.0,
        "top_p": 0.5,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "max_tokens": 9,
        "reasoning_effort": "low",
        "tool_choice": "required",
        "response_format": {"type": "json_object"},
        "stream": False,
    }


SAID = b'data: {"model":"m","choices":[{"delta":{"content":"H%b"}}]}\n\n'
LAST = b'data: {"model":"m","choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
ODD: dict[str, tuple[bytes, str]] = {
    "a byte order mark": (b"\xef\xbb\xbf" + SAID % b"i", "Hi"),
    "CR LF": ((SAID % b"i").replace(b"\n", b"\r\n"), "Hi"),
    "CR": ((SAID % b"i").replace(b"\n", b"\r"), "Hi"),
    "a byte that is no UTF-8": (SAID % b"\xe9i", "H\ufffdi"),
    "a half of a character": (SAID % b"\\ud83d!", "H\ufffd!"),
    "the other half": (SAID % b"\\ude00!", "H\ufffd!"),
    "a control character": (SAID % b"\x01i", "H\x01i"),
    "NaN": ((SAID % b"i").replace(b'"m"', b'"m","p":NaN'), "Hi"),
    "an infinite number": ((SAID % b"i").replace(b'"m"', b'"m","p":-Infinity'), "Hi"),
}


@pytest.mark.parametrize(("odd", "text"), ODD.values(), ids=ODD)
def test_what_is_not_quite_a_stream_costs_a_character_at_most(odd: bytes, text: str) -> None:
    ends = b"\r" if odd.endswith(b"\r") else b"\r\n" if b"\r\n" in odd else b"\n"
    data = odd + LAST.replace(b"\n", ends)
    for size in (1, 2, 7, len(data)):
        decoder = StreamDecoder()
        deltas = [d for n in range(0, len(data), size) for d in decoder.feed(data[n : n + size])]
        assert [*deltas, *decoder.eof()] == [TextDelta(text), FinishDelta("stop")]


@pytest.mark.parametrize("ends", [b"\n", b"\r\n", b"\r"])
def test_an_event_is_told_when_it_is_whole(ends: bytes) -> None:
    decoder = StreamDecoder()
    whole = (SAID % b"i").replace(b"\n", ends)
    assert decoder.feed(whole) == [TextDelta("Hi")]


@pytest.mark.parametrize("data", [b'{"choices": [', b"\xff\xfe", b'{"a": "\xe9', b"NaN", b"[1]"])
def test_what_is_no_object_is_garbled(data: bytes) -> None:
    decoder = StreamDecoder()
    decoder.feed(b"data: " + data + b"\n\n")
    with pytest.raises(UpstreamFailure) as caught:
        decoder.eof()
    assert caught.value.kind is FailureKind.GARBLED


@pytest.mark.parametrize(
    ("decoder", "piece"),
    [
        pytest.param(StreamDecoder, b"data: " + b"x" * 94, id="a line"),
        pytest.param(StreamDecoder, b"data: " + b"x" * 93 + b"\n", id="an event"),
        pytest.param(AnswerDecoder, b" " * 99 + b"\n", id="a JSON answer"),
    ],
)
def test_what_has_no_end_yet_is_held(
    decoder: type[StreamDecoder | AnswerDecoder], piece: bytes
) -> None:
    reader = decoder()
    for _ in range(10):
        assert reader.feed(piece) == []
    assert 990 <= reader.held <= 1000


def test_nothing_is_held_of_events_that_end() -> None:
    decoder = StreamDecoder()
    for _ in range(100):
        decoder.feed(b'data: {"choices": []}\n\n')
    assert decoder.held == 0
