"""llama.cpp's /apply-template and /completion: the prompt of a chat, and what a model writes behind
it. Measured on the server of October 2026.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import orjson

from tests.fake_ollama import ModelFacts, Say
from tests.fake_ollama.grammar import allows
from tests.fake_ollama.prompt import rendered
from tests.fake_ollama.raw_words import MARKS, raw_words
from tests.fake_ollama.script import Step
from tests.fake_ollama.wire import ending

if TYPE_CHECKING:
    from tests.servers.double import Double

Json = dict[str, Any]
NUMBERS = ("n_predict", "temperature", "top_p", "presence_penalty", "frequency_penalty")
WRONG_TYPE = "[json.exception.type_error.302] type must be {}, but is {}"


def prompt_of(body: Json) -> str:
    """The prompt of a chat's body, as ChatML; the last message stays open if it is the model's."""
    return rendered([_message(each) for each in body["messages"]], True, body.get("tools") or [])


def _message(given: Json) -> Json:
    content = given.get("content") or ""
    if isinstance(content, list):
        content = "".join(part.get("text", "") for part in content)
    calls = [
        function | {"arguments": orjson.loads(function["arguments"])}
        for function in (call["function"] for call in given.get("tool_calls") or ())
    ]
    reasoning = given.get("reasoning_content") or given.get("reasoning")
    return given | {"content": content, "tool_calls": calls, "reasoning": reasoning}


def refusal(body: Json) -> str | None:
    """Why a body of /completion is refused; None if it is not."""
    if "prompt" not in body:
        return "[json.exception.out_of_range.403] key 'prompt' not found"
    for key in NUMBERS:
        if isinstance(body.get(key), str):
            return f"Field '{key}': {WRONG_TYPE.format('number', 'string')}"
    if not all(isinstance(mark, str) for mark in body.get("preserved_tokens", ())):
        return f"Field 'preserved_tokens': {WRONG_TYPE.format('string', 'number')}"
    return None


def writes(*steps: Step, has_control_tokens: bool = False) -> Callable[[Double], bytes]:
    """What the model writes behind the prompt of the last request to /completion.

    `has_control_tokens`: its marks of thoughts and calls are control tokens, which are left out
    unless `preserved_tokens` names them. Raises AssertionError if the steps do not fit the
    `json_schema` of the request.
    """

    def say(double: Double) -> bytes:
        body = double.completions[-1]
        pieces = [
            piece
            for step in raw_words(steps, ModelFacts(template="keep"))
            if isinstance(step, Say)
            for piece in step.pieces
        ]
        if has_control_tokens:
            for mark in set(MARKS) - set(body.get("preserved_tokens", ())):
                pieces = [piece.replace(mark, "") for piece in pieces]
        text = "".join(pieces)
        schema = body.get("json_schema")
        assert schema is None or allows(schema, text), f"{schema} does not allow {text!r}"
        last = _last(body, len(pieces) + 1, ending(steps).reason)
        if not body.get("stream"):
            return double.kind.whole("200 OK", last | {"content": text})
        counted = {"tokens_evaluated": last["tokens_evaluated"], "id_slot": -1, "stop": False}
        events = [
            {"index": 0, "content": piece, "tokens": [n], "tokens_predicted": n} | counted
            for n, piece in enumerate(pieces, 1)
        ]
        return double.kind.stream(*events, last)

    return say


def _last(body: Json, tokens: int, reason: str) -> Json:
    """The last record of an answer, in which the whole prompt comes back."""
    count = math.ceil(len(body["prompt"]) / 4)
    return {
        "index": 0,
        "content": "",
        "tokens": [],
        "id_slot": 0,
        "stop": True,
        "model": body.get("model", ""),
        "tokens_predicted": tokens,
        "tokens_evaluated": count,
        "generation_settings": {"chat_format": "Content-only", "stream": body.get("stream")},
        "prompt": body["prompt"],
        "has_new_line": True,
        "truncated": False,
        "stop_type": "limit" if reason == "length" else "eos",
        "stopping_word": "",
        "tokens_cached": count + tokens - 1,
        "timings": {"cache_n": count - 1, "prompt_n": 1, "predicted_n": tokens},
    }
