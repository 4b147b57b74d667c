"""Ollama's own dialect: what is sent, and what comes back in lines."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codex_bridge.engines.ollama_chat import LineDecoder, encode
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

USER = {"role": "user", "content": "hi"}
RUN = {"type": "function", "function": {"name": "run", "parameters": {"type": "object"}}}


def encoded(request: ChatRequest, **options: Any) -> Any:
    return orjson.loads(encode(request, stream=True, **options))


def line(**message: Any) -> bytes:
    record = {"model": "m", "message": {"role": "assistant", "content": "", **message}}
    return orjson.dumps(record | {"done": False}) + b"\n"


DONE = (
    b'{"model":"m","message":{"role":"assistant","content":""},"done":true,'
    b'"done_reason":"stop","prompt_eval_count":23,"eval_count":4}\n'
)


def test_what_only_this_dialect_can_say() -> None:
    body = encoded(ChatRequest("m", [USER]), thinks=True, num_ctx=32768, keep_alive="30m")
    assert body == {
        "model": "m",
        "messages": [USER],
        "think": True,
        "keep_alive": "30m",
        "truncate": False,
        "options": {"num_ctx": 32768},
        "stream": True,
    }


@pytest.mark.parametrize(
    ("effort", "thinks", "think"),
    [(None, False, None), (None, True, True), ("none", True, False), ("high", True, "high")],
)
def test_thinking(effort: str | None, thinks: bool, think: Any) -> None:
    assert encoded(ChatRequest("m", [USER], effort=effort), thinks=thinks).get("think") == think


@pytest.mark.parametrize(("given", "sent"), [("-1", -1), ("600", 600), ("1h30m", "1h30m")])
def test_seconds_are_sent_as_a_number(given: str, sent: Any) -> None:
    assert encoded(ChatRequest("m", [USER]), keep_alive=given)["keep_alive"] == sent


def test_settings_are_options_and_none_is_left_to_the_model() -> None:
    request = ChatRequest("m", [USER], temperature=0.2, top_p=0.9, max_tokens=50)
    options = {"temperature": 0.2, "top_p": 0.9, "num_predict": 50}
    assert encoded(request, truncate=True)["options"] == options
    assert "truncate" not in encoded(request, truncate=True)
    assert encoded(ChatRequest("m", [USER]))["options"] == {}


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"type": "json_object"}, "json"),
        (
            {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}},
            {"type": "object"},
        ),
    ],
)
def test_the_form_of_the_answer(given: Any, sent: Any) -> None:
    assert encoded(ChatRequest("m", [USER], response_format=given))["format"] == sent


def test_messages_in_ollamas_words() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "run", "arguments": '{"x": 1}'}}
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    text = {"type": "text", "text": "see"}
    messages = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": [text, image]},
        {"role": "assistant", "content": "", "reasoning": "hm", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "name": "run", "content": "done"},
    ]
    body = encoded(ChatRequest("m", messages, functions=[RUN]))
    assert body["tools"] == [RUN]
    assert body["messages"] == [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "see", "images": ["AAAA"]},
        {
            "role": "assistant",
            "content": "",
            "thinking": "hm",
            "tool_calls": [{"id": "a", "function": {"name": "run", "arguments": {"x": 1}}}],
        },
        {"role": "tool", "content": "done", "tool_name": "run", "tool_call_id": "a"},
    ]


ANSWER = b"".join(
    [
        line(thinking="Hm"),
        line(content="Hé"),
        line(
            tool_calls=[{"id": "a", "function": {"index": 0, "name": "x", "arguments": {"y": 1}}}]
        ),
        line(tool_calls=[{"function": {"name": "x", "arguments": {}}}]),
        DONE,
    ]
)
DELTAS: list[Delta] = [
    ReasoningDelta("Hm"),
    TextDelta("Hé"),
    ToolCallDelta(0, "a", "x", '{"y":1}'),
    ToolCallDelta(1, "", "x", "{}"),
    FinishDelta("stop"),
    UsageDelta(23, 4),
]


@given(st.integers(1, 200))
def test_deltas_do_not_depend_on_the_cuts(size: int) -> None:
    decoder = LineDecoder()
    deltas: list[Delta] = []
    for at in range(0, len(ANSWER), size):
        deltas += decoder.feed(ANSWER[at : at + size])
    assert deltas + decoder.eof() == DELTAS
    assert decoder.over


def test_one_whole_answer_is_a_line_without_its_end() -> None:
    decoder = LineDecoder()
    assert decoder.feed(DONE.rstrip()) == []
    assert decoder.eof() == [FinishDelta("stop"), UsageDelta(23, 4)]


def test_the_time_until_the_model_was_ready_is_told_in_seconds() -> None:
    decoder = LineDecoder()
    (_, usage) = decoder.feed(b'{"done":true,"load_duration":2940000000}\n')
    assert usage == UsageDelta(0, 0, load_seconds=2.94)


@pytest.mark.parametrize(
    ("data", "kind", "message"),
    [
        (line(content="Hi"), FailureKind.BROKEN, "without a finish reason"),
        (b"", FailureKind.BROKEN, "without a finish reason"),
        (
            line(content="Hi") + b'{"error":"the model fell over"}\n',
            FailureKind.BROKEN,
            "fell over",
        ),
        (b"<html>\n", FailureKind.GARBLED, "not JSON"),
        (b"[1]\n", FailureKind.GARBLED, "not a JSON object"),
    ],
)
def test_an_answer_that_is_not_whole(data: bytes, kind: FailureKind, message: str) -> None:
    decoder = LineDecoder()
    decoder.feed(data)
    with pytest.raises(UpstreamFailure, match=message) as caught:
        decoder.eof()
    assert caught.value.kind is kind


def test_nothing_behind_the_end_counts() -> None:
    decoder = LineDecoder()
    decoder.feed(DONE)
    assert decoder.feed(line(content="more")) == []
    assert decoder.eof() == []
