"""Probabilities of tokens: how both dialects ask for them, and how they are read."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from twisted.web.http_headers import Headers

from codex_bridge.engines import ollama_chat, openai_chat
from codex_bridge.vocabulary import ChatRequest, Delta, FinishDelta, ReasoningDelta, TextDelta

Json = dict[str, Any]
HI = [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize("wanted", [None, 0, 5])
def test_they_are_asked_for_in_both_dialects_only_where_they_are_wanted(wanted: int | None) -> None:
    request = ChatRequest("m", HI, logprobs=wanted)
    bodies = [
        ollama_chat.encode(request, stream=True),
        ollama_chat.encode_own_words(request, "hi", stream=True),
        openai_chat.encode(request, stream=True),
    ]
    for body in map(orjson.loads, bodies):
        asked = (body.get("logprobs"), body.get("top_logprobs"))
        assert asked == ((None, None) if wanted is None else (True, wanted))


SENT = {
    "token": "é",
    "logprob": -0.5,
    "bytes": [195, 169],
    "top_logprobs": [{"token": "e", "logprob": -1, "bytes": [101], "id": 7}, "odd"],
    "id": 3,
}
READ = {
    "token": "é",
    "logprob": -0.5,
    "bytes": [195, 169],
    "top_logprobs": [{"token": "e", "logprob": -1.0, "bytes": [101]}],
}
SHORT, FILLED = (
    {"token": "é"},
    {"token": "é", "logprob": -9999.0, "bytes": [195, 169], "top_logprobs": []},
)


def of_ollama(*records: Json) -> list[Delta]:
    decoder = ollama_chat.LineDecoder()
    lines = [orjson.dumps(each) + b"\n" for each in (*records, {"done": True})]
    return [
        each for line in lines for each in decoder.feed(line) if not isinstance(each, FinishDelta)
    ][:-1]


def test_ollama_sends_them_beside_the_message() -> None:
    read = of_ollama(
        {"message": {"content": "é"}, "logprobs": [SENT]},
        {"message": {"content": "é"}, "logprobs": [SHORT]},
        {"message": {"content": "x"}},
    )
    assert read == [TextDelta("é", (READ,)), TextDelta("é", (FILLED,)), TextDelta("x")]


def test_those_of_text_that_a_parser_holds_back_come_with_the_text() -> None:
    read = of_ollama(
        {"message": {"content": ""}, "logprobs": [SHORT]},
        {"message": {"content": "éé"}, "logprobs": [SENT]},
    )
    assert read == [TextDelta("éé", (FILLED, READ))]


def test_those_of_reasoning_are_left_out() -> None:
    read = of_ollama(
        {"message": {"content": "", "thinking": "hm"}, "logprobs": [SENT]},
        {"message": {"content": "é"}, "logprobs": [SHORT]},
    )
    assert read == [ReasoningDelta("hm"), TextDelta("é", (FILLED,))]


@pytest.mark.parametrize("stream", [True, False])
def test_chat_completions_have_them_in_the_choice(stream: bool) -> None:
    key = "delta" if stream else "message"
    choice = {
        key: {"content": "é"},
        "logprobs": {"content": [SENT, SHORT]},
        "finish_reason": "stop",
    }
    body = orjson.dumps({"model": "m", "choices": [choice]})
    decoder = openai_chat.decoder(Headers(), stream=stream)
    deltas = [*decoder.feed(b"data: %b\n\n" % body if stream else body), *decoder.eof()]
    assert deltas[0] == TextDelta("é", (READ, FILLED))


@pytest.mark.parametrize("odd", [None, 5, "x", {}, [5], {"content": None}, {"content": ["x"]}])
def test_what_makes_no_sense_is_passed_over(odd: Any) -> None:
    assert of_ollama({"message": {"content": "x"}, "logprobs": odd}) == [TextDelta("x")]
    choice = {"delta": {"content": "x"}, "logprobs": odd}
    (delta,) = openai_chat.chunk_deltas({"model": "m", "choices": [choice]}, "delta")
    assert delta == TextDelta("x")
