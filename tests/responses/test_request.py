"""Responses request -> chat request."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from codex_bridge.engines.openai_chat import encode
from codex_bridge.errors import ApiError
from codex_bridge.responses.events import ResponseTemplate, frame
from codex_bridge.responses.request import parse, read
from tests.responses.asked import translate

BASE: dict[str, Any] = {"model": "qwen3:14b", "input": "hi"}
RUN = {"type": "function", "name": "run", "parameters": {}}
FORMAT = {
    "format": {"type": "json_schema", "name": "n", "strict": True, "schema": {"type": "object"}}
}


def test_a_string_input_is_one_user_message() -> None:
    chat = translate(BASE).chat
    assert chat.model == "qwen3:14b"
    assert chat.messages == [{"role": "user", "content": "hi"}]
    assert chat.functions == []


def test_a_request_as_codex_sends_it_is_accepted_whole() -> None:
    translation = translate(
        {
            "model": "qwen3:14b",
            "input": [
                {
                    "type": "message",
                    "role": "developer",
                    "content": [{"type": "input_text", "text": "You are an agent."}],
                    "id": "msg_1",
                },
                {
                    "type": "message",
                    "role": "user",
                    "content": [{"type": "input_text", "text": "hi"}],
                },
            ],
            "tools": [RUN, {"type": "web_search", "external_web_access": False}],
            "tool_choice": "auto",
            "parallel_tool_calls": True,
            "reasoning": {"summary": "auto"},
            "store": False,
            "stream": True,
            "include": ["reasoning.encrypted_content"],
            "prompt_cache_key": "k",
            "client_metadata": {"a": "b"},
            "service_tier": "priority",
        }
    )
    assert translation.stream
    assert [entry["role"] for entry in translation.chat.messages] == ["system", "user"]
    assert len(translation.chat.functions) == 1
    assert translation.chat.tool_choice is None
    assert translation.chat.effort is None


def test_sampling_parameters_are_passed_on() -> None:
    chat = translate(BASE | {"temperature": 0, "top_p": 0.5, "max_output_tokens": 9}).chat
    assert (chat.temperature, chat.top_p, chat.max_tokens) == (0, 0.5, 9)


@pytest.mark.parametrize(
    ("reasoning", "effort"),
    [
        (None, None),
        ({}, None),
        ({"effort": None}, None),
        ({"effort": "low"}, "low"),
        ({"effort": "minimal"}, "low"),
        ({"effort": "xhigh"}, "high"),
        ({"effort": "none"}, "none"),
        ({"effort": "of tomorrow"}, None),
    ],
)
def test_effort_is_one_that_ollama_knows_or_none(reasoning: Any, effort: str | None) -> None:
    assert translate(BASE | {"reasoning": reasoning}).chat.effort == effort


@pytest.mark.parametrize(
    ("choice", "functions", "sent"),
    [
        ("auto", 1, None),
        (None, 1, None),
        ("none", 0, None),
        ("required", 1, "required"),
        ({"type": "function", "name": "run"}, 1, "required"),
    ],
)
def test_tool_choice(choice: Any, functions: int, sent: Any) -> None:
    chat = translate(BASE | {"tools": [RUN], "tool_choice": choice}).chat
    assert (len(chat.functions), chat.tool_choice) == (functions, sent)


def test_a_schema_without_tools_is_enforced_by_the_server() -> None:
    chat = translate(BASE | {"text": FORMAT}).chat
    assert chat.response_format == {
        "type": "json_schema",
        "json_schema": {"name": "n", "strict": True, "schema": {"type": "object"}},
    }


def test_a_schema_beside_tools_is_told_in_words_so_that_calls_stay_possible() -> None:
    chat = translate(BASE | {"text": FORMAT, "tools": [RUN]}).chat
    assert chat.response_format is None
    assert chat.messages[0]["role"] == "system"
    assert '{"type":"object"}' in chat.messages[0]["content"]


@pytest.mark.parametrize(
    "item",
    ["hi", {"content": "hi"}, {"type": "message", "role": 5, "content": "hi"}],
)
def test_an_odd_item_is_read_as_what_it_can_only_mean(item: Any) -> None:
    (message,) = translate({"model": "m", "input": [item]}).chat.messages
    assert message == {"role": "user", "content": "hi"}


def test_odd_names_and_ids_are_read_as_texts() -> None:
    items = [
        {"type": "function_call", "name": 1, "call_id": 2, "arguments": "{}", "namespace": 3},
        {"type": "function_call_output", "call_id": 2, "output": "done"},
    ]
    call, result = translate({"model": "m", "input": items}).chat.messages
    assert call["tool_calls"][0]["function"]["name"] == "3__1"
    assert result["content"] == "done"


@pytest.mark.parametrize(
    ("item", "left"),
    [
        (None, []),
        (5, ["<item>\n5\n</item>"]),
        (["x"], ['<item>\n["x"]\n</item>']),
        ({"type": None, "role": "user", "content": "hello"}, ["hello"]),
        ({"type": None, "a": 1}, ['<item>\n{"a":1}\n</item>']),
    ],
)
def test_what_is_no_item_is_no_reason_to_refuse_a_conversation(item: Any, left: list[str]) -> None:
    request = {"model": "m", "input": [item, "hi"]}
    made = translate(request).chat.messages
    assert [message["content"] for message in made] == [*left, "hi"]


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"model": 3}, "model"),
        ({"input": None}, "input"),
        ({"input": 3}, "input"),
        ({"input": ""}, "input"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input"),
        ({"input": "", "tools": [{"type": "function", "name": "run"}]}, "input"),
        ({"instructions": 1}, "instructions"),
        ({"stream": "yes"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"max_output_tokens": 1.5}, "max_output_tokens"),
        ({"parallel_tool_calls": "no"}, "parallel_tool_calls"),
        ({"parallel_tool_calls": 0}, "parallel_tool_calls"),
        ({"max_tool_calls": 0}, "max_tool_calls"),
        ({"max_tool_calls": -1}, "max_tool_calls"),
        ({"max_tool_calls": 1.0}, "max_tool_calls"),
        ({"max_tool_calls": True}, "max_tool_calls"),
        ({"reasoning": "high"}, "reasoning"),
        ({"text": []}, "text"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format.schema"),
        ({"tools": "run"}, "tools"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": -0.1}, "temperature"),
        ({"top_p": 1.1}, "top_p"),
        ({"top_p": -1}, "top_p"),
        ({"presence_penalty": 2.5}, "presence_penalty"),
        ({"presence_penalty": -2.5}, "presence_penalty"),
        ({"frequency_penalty": 3}, "frequency_penalty"),
        ({"frequency_penalty": -3}, "frequency_penalty"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"max_output_tokens": -1}, "max_output_tokens"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"top_logprobs": -1}, "top_logprobs"),
        ({"truncation": "middle"}, "truncation"),
        ({"truncation": 1}, "truncation"),
        ({"service_tier": 1}, "service_tier"),
        ({"user": 1}, "user"),
        ({"safety_identifier": ["x"]}, "safety_identifier"),
        ({"prompt_cache_key": {}}, "prompt_cache_key"),
        ({"store": "no"}, "store"),
        ({"background": 1}, "background"),
        ({"stream_options": "x"}, "stream_options"),
        ({"stream_options": {"include_obfuscation": 1}}, "stream_options.include_obfuscation"),
        ({"include": "x"}, "include"),
        ({"include": ["message.output_text.logprobs", 1]}, "include[1]"),
        ({"metadata": ["x"]}, "metadata"),
        ({"metadata": {str(n): "x" for n in range(17)}}, "metadata"),
        ({"metadata": {"k" * 65: "x"}}, "metadata"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"metadata": {"a": "x" * 513}}, "metadata.a"),
        ({"reasoning": {"effort": 1}}, "reasoning.effort"),
        ({"reasoning": {"max_tokens": "x"}}, "reasoning.max_tokens"),
        ({"text": {"verbosity": 1}}, "text.verbosity"),
        ({"text": {"format": "json"}}, "text.format"),
        ({"text": {"format": {"type": "grammar"}}}, "text.format.type"),
    ],
)
def test_a_bad_value_is_refused_by_its_name(change: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError) as caught:
        translate(BASE | change)
    error = caught.value.body()["error"]
    assert caught.value.status == 400
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"
    assert error["code"]
    assert error["message"].endswith(".")


EDGES: list[dict[str, Any]] = [
    {"temperature": 0, "top_p": 0, "presence_penalty": -2, "frequency_penalty": -2},
    {"temperature": 2.0, "top_p": 1, "presence_penalty": 2, "frequency_penalty": 2.0},
    {"max_output_tokens": 1, "max_tool_calls": 1, "top_logprobs": 20},
    {"truncation": "auto", "service_tier": "flex", "user": "u", "safety_identifier": "s"},
    {"truncation": "disabled", "store": True, "background": False, "prompt_cache_key": "k"},
    {"stream_options": {"include_obfuscation": False}, "include": ["of.tomorrow"]},
    {"metadata": {"k" * 63 + str(n % 10): "x" * 512 for n in range(16)}},
    {"metadata": {}, "stream_options": {}, "include": []},
    {"text": {"format": {"type": "text"}, "verbosity": "medium"}},
]


@pytest.mark.parametrize("change", [*EDGES, {key: None for edge in EDGES for key in edge}])
def test_values_at_the_edge_and_nulls_are_accepted(change: dict[str, Any]) -> None:
    assert translate(BASE | change).chat.messages == [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize(
    ("change", "logprobs"),
    [
        ({}, None),
        ({"top_logprobs": 0}, None),
        ({"include": ["reasoning.encrypted_content"]}, None),
        ({"top_logprobs": 3}, 3),
        ({"include": ["message.output_text.logprobs"]}, 0),
        ({"include": ["message.output_text.logprobs"], "top_logprobs": 5}, 5),
    ],
)
def test_two_fields_say_whether_probabilities_are_wanted(change: Any, logprobs: Any) -> None:
    assert read(BASE | change).logprobs == logprobs


@pytest.mark.parametrize(
    ("instructions", "told"),
    [
        ("Be short.", "Be short."),
        (["Be short.", "Be kind."], "Be short.\n\nBe kind."),
        (
            [
                {"type": "message", "role": "developer", "content": "Be short."},
                {"role": "user", "content": [{"type": "input_text", "text": "I am Ann."}]},
            ],
            "Be short.\n\nI am Ann.",
        ),
    ],
)
def test_instructions_may_be_items(instructions: Any, told: str) -> None:
    chat = translate(BASE | {"instructions": instructions}).chat
    assert chat.messages[0] == {"role": "system", "content": told}


def test_a_configuration_update_changes_what_the_request_says() -> None:
    form = {"type": "json_schema", "name": "n", "schema": {"type": "object"}}
    updates = [
        {"type": "configuration_update", "reasoning": {"effort": "high"}},
        {"type": "configuration_update", "reasoning": {"effort": "low"}, "text": {"format": form}},
        {"type": "configuration_update", "reasoning": None},
    ]
    items = [*updates, {"role": "user", "content": "hi"}]
    chat = translate(BASE | {"input": items, "reasoning": {"effort": "none"}}).chat
    assert chat.effort == "low"
    assert (chat.response_format or {})["json_schema"]["schema"] == {"type": "object"}


@pytest.mark.parametrize(
    ("change", "most"),
    [
        ({}, None),
        ({"parallel_tool_calls": None, "max_tool_calls": None}, None),
        ({"parallel_tool_calls": True}, None),
        ({"parallel_tool_calls": False}, 1),
        ({"max_tool_calls": 3}, 3),
        ({"parallel_tool_calls": True, "max_tool_calls": 1}, 1),
        ({"parallel_tool_calls": False, "max_tool_calls": 3}, 1),
    ],
)
def test_two_fields_say_how_many_calls_the_client_takes(change: Any, most: int | None) -> None:
    assert read(BASE | change).most_calls == most


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"3", b'"x"', b"\xff", b'{"a": NaN}'])
def test_a_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(ApiError, match="JSON"):
        parse(body)


WHOLE: dict[str, Any] = {
    "model": "m",
    "instructions": "x",
    "stream": True,
    "tool_choice": {"type": "function", "name": "a", "namespace": "n"},
    "reasoning": {"effort": "low"},
    "text": {"format": {"type": "json_schema", "schema": {"a": 1}, "name": "x"}},
    "max_output_tokens": 4,
    "temperature": 1,
    "tools": [
        {"type": "function", "name": "a", "description": "d", "parameters": {"type": "object"}},
        {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "a"}]},
    ],
    "input": [
        {
            "type": "message",
            "role": "user",
            "content": [
                {"type": "input_text", "text": "hi"},
                {"type": "input_image", "image_url": "data:x"},
                {"type": "input_file", "filename": "x", "file_data": "data:text/plain;base64,aGk="},
            ],
        },
        {"type": "message", "role": "developer", "content": "x"},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "t"}], "content": None},
        {"type": "function_call", "name": "a", "namespace": "n", "arguments": "{}", "call_id": "c"},
        {
            "type": "function_call_output",
            "call_id": "c",
            "output": [{"type": "input_text", "text": "x"}],
        },
    ],
    "metadata": {"a": "b"},
}
VALUES = [None, 0, 1.5, True, "", "x", [], [1], {}, {"a": 1}, [{"type": ["x"]}]]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value."""
    if path:
        yield path
    if isinstance(value, dict | list):
        for key, member in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(member, (*path, key))


@pytest.mark.parametrize("place", list(places(WHOLE)), ids=lambda place: ".".join(map(str, place)))
def test_a_wrong_type_anywhere_is_accepted_or_refused_but_never_a_fault(
    place: tuple[Any, ...],
) -> None:
    for value in VALUES:
        request = copy.deepcopy(WHOLE)
        holder: Any = request
        for key in place[:-1]:
            holder = holder[key]
        holder[place[-1]] = value
        try:
            translation = translate(request)
        except ApiError:
            continue
        encode(translation.chat, stream=True)
        frame({"type": "x", "response": ResponseTemplate("r", 0, request).response("x", [])})


PLAN_MODE = "<collaboration_mode># Plan Mode (Conversational)\n\nYou plan first."
ASK = {
    "type": "function",
    "name": "request_user_input",
    "description": "Asks. This tool is only available in Plan mode.",
    "parameters": {"type": "object", "properties": {"questions": {"type": "array"}}},
}


@pytest.mark.parametrize(
    ("role", "text", "is_shown"),
    [
        ("developer", PLAN_MODE, True),
        ("user", PLAN_MODE, False),
        ("developer", "<collaboration_mode># Collaboration Mode: Default\n\nNo Plan Mode.", False),
    ],
)
def test_the_tool_of_plan_mode_is_shown_once_codex_has_begun_to_plan(
    role: str, text: str, is_shown: bool
) -> None:
    items = [
        {"type": "message", "role": role, "content": [{"type": "input_text", "text": text}]},
        {"type": "message", "role": "user", "content": "hi"},
    ]
    request = read({"model": "m", "input": items, "tools": [ASK]})
    assert bool(request.toolbox.functions()) is is_shown
