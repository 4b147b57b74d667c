"""Ollama's own API, read and written for the models of another server."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from codex_bridge.clients import ollama_api
from codex_bridge.errors import ApiError
from codex_bridge.vocabulary import (
    Delta,
    FinishDelta,
    ModelInfo,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    UsageDelta,
)

KNOWN = ModelInfo(
    "big",
    capabilities=frozenset({"completion", "tools"}),
    trained_context=131072,
    size=8_000_000_000,
    parameters=14_800_000_000,
    quantization="Q4_K_M",
)


def read(body: Any, path: str = "/api/chat") -> ollama_api.Native:
    return ollama_api.read(path, orjson.dumps({"model": "m"} | body))


def written(native: ollama_api.Native, *deltas: Delta) -> list[Any]:
    """The lines for an answer whose deltas come one by one."""
    lines = ollama_api.Lines(native)
    said = b"".join(b"".join(lines.feed([delta])) for delta in deltas) + b"".join(lines.end())
    return [orjson.loads(line) for line in said.splitlines()]


@pytest.mark.parametrize(
    ("count", "text"),
    [(14_800_000_000, "14.8B"), (135_000_000, "135M"), (1_378_944, "1.38M"), (42, "42")],
)
def test_a_number_of_weights_is_written_as_ollama_writes_it(count: int, text: str) -> None:
    (model,) = ollama_api.tags([ModelInfo("m", parameters=count)])["models"]
    assert model["details"]["parameter_size"] == text


def test_of_a_model_of_which_nothing_is_told_nothing_is_made_up() -> None:
    shown = ollama_api.shown(ModelInfo("m"), None)
    assert "capabilities" not in shown
    assert shown["parameters"] == ""
    assert shown["model_info"] == {"general.architecture": "unknown"}


def test_what_is_told_of_a_model_is_shown() -> None:
    shown = ollama_api.shown(KNOWN, 32768)
    assert shown["capabilities"] == ["completion", "tools"]
    assert shown["parameters"] == "num_ctx 32768"
    assert shown["model_info"]["unknown.context_length"] == 131072
    assert shown["model_info"]["general.parameter_count"] == 14_800_000_000


def test_where_a_model_is_loaded_is_not_claimed() -> None:
    (model,) = ollama_api.running([(KNOWN, 32768)])["models"]
    # The `ollama` command calls it 100% CPU for 0, and 100% GPU for the size itself.
    assert model["size_vram"] not in (0, model["size"])


@pytest.mark.parametrize(
    ("name", "meant"), [("a", "a"), ("a:latest", "a"), ("b:latest", "b:latest"), ("b", None)]
)
def test_a_name_may_have_the_tag_that_ollama_adds(name: str, meant: str | None) -> None:
    assert ollama_api.named(name, ["a", "b:latest"]) == meant


def test_the_options_that_other_servers_know_are_kept() -> None:
    options = {"temperature": 0, "num_predict": 9, "num_ctx": 4096, "top_p": "much"}
    chat = read({"messages": [], "options": options}).chat
    assert (chat.temperature, chat.max_tokens, chat.top_p) == (0, 9, None)


@pytest.mark.parametrize("unlimited", [-1, -2, 0])
def test_an_answer_without_a_limit_has_none(unlimited: int) -> None:
    assert read({"options": {"num_predict": unlimited}}).chat.max_tokens is None


@pytest.mark.parametrize(
    ("think", "effort"), [(False, "none"), (True, None), ("high", "high"), (None, None)]
)
def test_how_hard_a_model_is_to_think(think: Any, effort: str | None) -> None:
    assert read({"think": think}).chat.effort == effort


@pytest.mark.parametrize(
    ("wanted", "kind"), [("json", "json_object"), ({"type": "object"}, "json_schema")]
)
def test_a_format_becomes_one_of_chat_completions(wanted: Any, kind: str) -> None:
    form = read({"format": wanted}).chat.response_format
    assert form is not None
    assert form["type"] == kind


def test_results_belong_to_their_calls_in_order() -> None:
    calls = [{"function": {"name": name, "arguments": {"x": 1}}} for name in ("a", "b")]
    messages = [
        {"role": "assistant", "content": "", "tool_calls": calls, "thinking": "Hm."},
        {"role": "tool", "content": "first", "tool_name": "a"},
        {"role": "tool", "content": "second", "tool_name": "b"},
    ]
    assistant, *results = read({"messages": messages}).chat.messages
    ids = [call["id"] for call in assistant["tool_calls"]]
    assert len(set(ids)) == 2
    assert [result["tool_call_id"] for result in results] == ids
    assert assistant["reasoning"] == "Hm."
    assert assistant["tool_calls"][0]["function"]["arguments"] == '{"x":1}'


def test_a_result_without_a_call_is_no_bug() -> None:
    (message,) = read({"messages": [{"role": "tool", "content": "alone"}]}).chat.messages
    assert message["content"] == "alone"


def test_pictures_stand_in_the_message() -> None:
    (message,) = read({"messages": [{"content": "see", "images": ["AAAA"]}]}).chat.messages
    text, image = message["content"]
    assert text["text"] == "see"
    assert image["image_url"]["url"].endswith("base64,AAAA")


def test_a_prompt_and_a_system_message_make_a_chat() -> None:
    native = read({"prompt": "hi", "system": "Be brief."}, "/api/generate")
    assert [message["content"] for message in native.chat.messages] == ["Be brief.", "hi"]


@pytest.mark.parametrize("more", [{"raw": True}, {"suffix": "x"}])
def test_what_needs_ollamas_own_prompts_is_refused(more: Any) -> None:
    with pytest.raises(ApiError, match="need an Ollama"):
        read({"prompt": "hi"} | more, "/api/generate")


def test_a_model_without_tools_is_given_none() -> None:
    chat = read({"tools": [{"type": "function"}]}).chat
    with pytest.raises(ApiError, match="big does not support tools"):
        ollama_api.for_model(chat, ModelInfo("big", capabilities=frozenset({"completion"})))


def test_a_stream_has_a_line_for_each_piece_and_calls_as_a_whole() -> None:
    deltas = [
        ReasoningDelta("Hm."),
        TextDelta("Go"),
        ToolCallDelta(0, "1", "a", '{"x"'),
        ToolCallDelta(0, "", "", ":1}"),
        ToolCallDelta(1, "2", "b", "{}"),
        FinishDelta("tool_calls"),
        UsageDelta(7, 3),
    ]
    thought, text, calls, last = written(read({}), *deltas)
    assert thought["message"]["thinking"] == "Hm."
    assert text["message"]["content"] == "Go"
    functions = [call["function"] for call in calls["message"]["tool_calls"]]
    assert functions == [{"name": "a", "arguments": {"x": 1}}, {"name": "b", "arguments": {}}]
    assert [line["done"] for line in (thought, text, calls, last)] == [False, False, False, True]
    assert (last["prompt_eval_count"], last["eval_count"]) == (7, 3)


def test_an_answer_that_is_not_streamed_is_one_line() -> None:
    deltas = [TextDelta("Go"), TextDelta("od."), FinishDelta("length")]
    (line,) = written(read({"prompt": "x", "stream": False}, "/api/generate"), *deltas)
    assert (line["response"], line["done"], line["done_reason"]) == ("Good.", True, "length")


@pytest.mark.parametrize("arguments", ["", "{", "[1]", "null"])
def test_arguments_that_are_no_object_become_an_empty_one(arguments: str) -> None:
    call = ToolCallDelta(0, "1", "a", arguments)
    (line,) = written(read({"stream": False}), call, FinishDelta("stop"))
    assert line["message"]["tool_calls"][0]["function"]["arguments"] == {}


def test_a_new_id_under_a_known_index_is_a_new_call() -> None:
    deltas = [
        ToolCallDelta(0, "1", "a", '{"x":1}'),
        ToolCallDelta(0, "2", "b", '{"y"'),
        ToolCallDelta(0, "", "", ":2}"),
    ]
    (line,) = written(read({"stream": False}), *deltas, FinishDelta("stop"))
    functions = [call["function"] for call in line["message"]["tool_calls"]]
    assert functions == [
        {"name": "a", "arguments": {"x": 1}},
        {"name": "b", "arguments": {"y": 2}},
    ]


@pytest.mark.parametrize(
    "odd",
    [
        {"tools": 5},
        {"messages": [{"tool_calls": 5}]},
        {"messages": [{"images": 5}]},
    ],
)
def test_a_field_of_another_type_is_named(odd: Any) -> None:
    with pytest.raises(ApiError, match="must be an array"):
        read(odd)


def test_a_request_that_could_not_be_sent_on_is_refused() -> None:
    body = b'{"model": "m", "format": ' + b"[" * 400 + b"]" * 400 + b"}"
    with pytest.raises(ApiError, match="nested too deeply"):
        ollama_api.read("/api/chat", body)
