"""The fake refuses and drops what Ollama refuses and drops."""

from __future__ import annotations

import contextlib
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fake_ollama.facts import ModelFacts, Rejected
from tests.fake_ollama.rules import check_chat

MODELS = {
    facts.name: facts
    for facts in (
        ModelFacts("qwen3:14b"),
        ModelFacts("llama3:latest", capabilities=("completion", "tools")),
        ModelFacts("gemma3:4b", capabilities=("completion",)),
        ModelFacts("small:1b", num_ctx=60, template="keep"),
        ModelFacts("plain:1b", template="keep"),
        ModelFacts("coder:30b", template="qwen3-coder"),
    )
}
USER = {"role": "user", "content": "hi"}


def check(version: str = "0.33.0", **change: Any) -> dict[str, Any]:
    request = {"model": "qwen3:14b", "messages": [USER]} | change
    return check_chat(orjson.dumps(request), MODELS, version)


def tool(parameters: Any = None, **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", "parameters": parameters} | more}


def calling(arguments: Any) -> list[Any]:
    function = {"name": "f", "arguments": arguments}
    return [USER, {"role": "assistant", "content": "", "tool_calls": [{"function": function}]}]


REFUSED = {
    "an unknown model": ({"model": "nope:1b"}, 404, "model 'nope:1b' not found"),
    "a name that can be none": ({"model": "a b"}, 400, "invalid model name"),
    "no model": ({"model": ""}, 400, "model is required"),
    "no messages": ({"messages": []}, 400, "[] is too short - 'messages'"),
    "null messages": ({"messages": None}, 400, "[] is too short - 'messages'"),
    "a wrong type": (
        {"max_tokens": "9"},
        400,
        "json: cannot unmarshal string into Go struct field "
        "ChatCompletionRequest.max_tokens of type int",
    ),
    "a number with a fraction": (
        {"max_tokens": 1.5},
        400,
        "json: cannot unmarshal number 1.5 into Go struct field "
        "ChatCompletionRequest.max_tokens of type int",
    ),
    "an object as arguments": (
        {"messages": calling({})},
        400,
        "json: cannot unmarshal object into Go struct field "
        "ChatCompletionRequest.messages.tool_calls.function.arguments of type string",
    ),
    "an object as content": (
        {"messages": [{"role": "user", "content": {}}]},
        400,
        "invalid message content type: map[string]interface {}",
    ),
    "null content": (
        {"messages": [{"role": "assistant", "content": None}]},
        400,
        "invalid message content type: <nil>",
    ),
    "a Responses part": (
        {"messages": [{"role": "user", "content": [{"type": "input_text", "text": "x"}]}]},
        400,
        "invalid message format",
    ),
    "an image by URL": (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}],
                }
            ]
        },
        400,
        "image URLs are not currently supported, please use base64 encoded data instead",
    ),
    "a gif": (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": "data:image/gif;base64,AA"}],
                }
            ]
        },
        400,
        "invalid image input",
    ),
    "empty arguments": ({"messages": calling("")}, 400, "invalid tool call arguments"),
    "an array as arguments": ({"messages": calling("[]")}, 400, "invalid tool call arguments"),
    "cut arguments": ({"messages": calling('{"a":')}, 400, "invalid tool call arguments"),
    "tools without the capability": (
        {"model": "gemma3:4b", "tools": [tool()]},
        400,
        "registry.ollama.ai/library/gemma3:4b does not support tools",
    ),
    "effort without the capability": (
        {"model": "llama3", "reasoning_effort": "low"},
        400,
        '"llama3:latest" does not support thinking',
    ),
    "logprobs out of range": (
        {"top_logprobs": 21},
        400,
        "top_logprobs must be between 0 and 20",
    ),
}


@pytest.mark.parametrize(("change", "status", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_with_ollamas_words(change: dict[str, Any], status: int, message: str) -> None:
    with pytest.raises(Rejected) as caught:
        check(**change)
    assert (caught.value.status, caught.value.message) == (status, message)


@pytest.mark.parametrize(
    "change",
    [
        {"messages": calling({})},
        {"tools": [tool({"type": "object", "properties": {"a": True}})]},
        {"tools": [tool({"type": ["object"]})]},
        {"tools": [tool([])]},
        {"tools": [tool({"properties": []})]},
        {"tools": [tool({"properties": {"a": {"required": "x"}}})]},
        {"tools": [tool({"properties": {"a": {"description": 3}}})]},
        {"tools": [tool({"properties": {"a": {"type": 3}}})]},
        {"tools": [tool({"properties": {"a": {"anyOf": [False]}}})]},
        {"tools": [tool({}, description=3)]},
        {"reasoning_effort": "bogus"},
        {"tools": [tool({"properties": {"a": {"enum": "x"}}})]},
        {"tools": ["f"]},
        {"stream": "yes"},
        {"stream_options": True},
        {"response_format": "json"},
        {"seed": "1"},
        {"top_logprobs": -1},
        {"messages": ["hi"]},
        {"messages": "hi"},
        {"messages": [{"role": 3, "content": "hi"}]},
        {"messages": [{"role": "assistant", "content": "", "tool_calls": {}}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
        {"temperature": True},
    ],
)
def test_refused_for_a_type_that_go_does_not_take(change: dict[str, Any]) -> None:
    with pytest.raises(Rejected) as caught:
        check(**change)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("version", "effort", "accepted"),
    [
        ("0.33.0", "minimal", True),
        ("0.33.0", "xhigh", True),
        ("0.20.0", "minimal", False),
        ("0.20.0", "medium", True),
        ("0.20.0", "max", False),
        ("0.21.3", "max", True),
        ("0.13.4", "none", True),
        ("0.13.4", "minimal", False),
        ("0.13.4", "bogus", False),
        ("0.17.0", "medium", False),
        ("0.17.0", "none", True),
    ],
)
def test_effort_by_version(version: str, effort: str, accepted: bool) -> None:
    if accepted:
        check(version, reasoning_effort=effort)
    else:
        with pytest.raises(Rejected):
            check(version, reasoning_effort=effort)


def test_unknown_fields_and_schema_keywords_are_dropped_without_a_word() -> None:
    schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {"a": {"type": "string", "pattern": "x", "oneOf": []}},
        "required": ["a"],
    }
    effective = check(tools=[tool(schema)], tool_choice="required", num_ctx=9)
    assert "tool_choice" not in effective
    assert effective["num_ctx"] == 32768
    assert effective["tools"][0]["function"]["parameters"] == {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "required": ["a"],
    }


def test_sampling_that_is_left_out_is_forced() -> None:
    effective = check()
    assert (effective["temperature"], effective["top_p"]) == (1.0, 1.0)
    assert check(temperature=0)["temperature"] == 0


def test_parts_become_messages_of_their_own_and_lose_the_call_id() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    message = {"role": "tool", "tool_call_id": "x", "content": parts}
    effective = check(model="plain:1b", messages=[message])
    assert effective["messages"] == [
        {"role": "tool", "content": "a"},
        {"role": "tool", "content": "b"},
    ]


def test_a_prompt_over_the_context_loses_messages_from_the_front() -> None:
    system = {"role": "system", "content": "s" * 80}
    old = {"role": "user", "content": "o" * 80}
    effective = check(model="small:1b", messages=[system, old, old, USER])
    assert effective["messages"] == [system, old, USER]
    assert effective["prompt_tokens"] <= 60


def test_a_prompt_that_cannot_fit_is_cut_to_half_the_context_without_a_word() -> None:
    effective = check(model="small:1b", messages=[{"role": "system", "content": "s" * 999}, USER])
    assert effective["prompt_tokens"] == 60 - (60 - 4) // 2


def test_declared_tools_count_for_the_context() -> None:
    some = check(tools=[tool({}, description="d" * 400)])["prompt_tokens"]
    assert some > check()["prompt_tokens"] + 100


ROLES = ("system", "developer", "user", "system", "user")


def message(role: str, content: str, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


@pytest.mark.parametrize(
    ("model", "roles_and_texts"),
    [
        ("qwen3:14b", [("system", "a\n\nd"), ("user", "c"), ("user", "e")]),
        ("coder:30b", [("system", "a"), ("developer", "b"), ("user", "c"), ("user", "e")]),
        ("plain:1b", list(zip(ROLES, "abcde", strict=True))),
    ],
)
def test_what_a_template_shows_of_system_and_developer_messages(
    model: str, roles_and_texts: list[tuple[str, str]]
) -> None:
    roles = ("SYSTEM", "Developer", "user", "system", "user")
    sent = [message(role, text) for role, text in zip(roles, "abcde", strict=True)]
    shown = check(model=model, messages=sent)["messages"]
    assert [(m["role"], m["content"]) for m in shown] == roles_and_texts


def test_a_go_template_loses_the_calls_of_a_second_assistant_message() -> None:
    (call,) = calling("{}")[1]["tool_calls"]
    second = message("assistant", "b", tool_calls=[call])
    sent = [USER, message("assistant", "a"), second]
    assert check(messages=sent)["messages"][1:] == [message("assistant", "a\n\nb")]
    made = {"id": "", "name": "f", "arguments": {}}
    kept = message("assistant", "b", tool_calls=[made])
    assert check(model="plain:1b", messages=sent)["messages"][2] == kept


def test_a_result_gets_the_name_of_the_last_call_with_its_id() -> None:
    calls = [{"id": "x", "function": {"name": n, "arguments": "null"}} for n in ("f", "g")]
    sent = [message("assistant", "", tool_calls=calls), message("tool", "r", tool_call_id="x")]
    assert check(messages=sent)["messages"][-1]["name"] == "g"


def test_arguments_of_the_history_go_through_floats() -> None:
    arguments = '{"z": 12345678901234567890, "a": 1.0, "o": {"b": 1, "a": 2}}'
    (call,) = check(messages=calling(arguments))["messages"][-1]["tool_calls"]
    assert repr(call["arguments"]) == "{'z': 1.2345678901234567e+19, 'a': 1, 'o': {'a': 2, 'b': 1}}"


def test_null_content_is_taken_next_to_calls_even_if_there_are_none() -> None:
    sent = {"role": "assistant", "content": None, "tool_calls": []}
    assert check(messages=[sent])["messages"] == [message("assistant", "")]


def test_content_without_parts_leaves_no_message() -> None:
    assert check(messages=[{"role": "user", "content": []}])["messages"] == []


def test_an_image_becomes_a_message_of_its_own() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    sent = [message("user", "see"), {"role": "user", "content": [image]}]
    assert check(model="plain:1b", messages=sent)["messages"][1]["images"] == ["AAAA"]


@pytest.mark.parametrize(
    ("version", "schema", "survives"),
    [
        ("0.33.0", {"type": ["string", "null"]}, {"type": ["string", "null"]}),
        ("0.33.0", {"type": None, "const": 1, "$ref": "#/x"}, {}),
        ("0.33.0", {"items": True}, {"items": True}),
        ("0.33.0", {"anyOf": [{"format": "x"}]}, {"anyOf": [{}]}),
        ("0.13.4", {"anyOf": [{}]}, {"anyOf": [{}]}),
        ("0.19.0", {"properties": {"b": {}}, "required": ["b"]}, {"properties": {"b": {}}}),
        ("0.13.4", {"properties": {"b": {}}, "required": ["b"]}, {}),
        ("0.33.0", {"properties": None, "required": None}, {}),
    ],
)
def test_what_survives_of_a_property(version: str, schema: Any, survives: Any) -> None:
    effective = check(version, tools=[tool({"type": "object", "properties": {"a": schema}})])
    assert effective["tools"][0]["function"]["parameters"]["properties"]["a"] == survives


@pytest.mark.parametrize(("version", "names"), [("0.13.5", ["a", "z"]), ("0.14.0", ["z", "a"])])
def test_the_order_of_properties_is_kept_since_0_14(version: str, names: list[str]) -> None:
    effective = check(version, tools=[tool({"properties": {"z": {}, "a": {}}})])
    assert list(effective["tools"][0]["function"]["parameters"]["properties"]) == names


@pytest.mark.parametrize(("version", "names"), [("0.13.5", ["a", "z"]), ("0.14.0", ["z", "a"])])
def test_the_order_of_arguments_is_kept_since_0_14(version: str, names: list[str]) -> None:
    call = {"id": "x", "function": {"name": "f", "arguments": '{"z": 1, "a": 2}'}}
    sent = {"role": "assistant", "content": "", "tool_calls": [call]}
    (shown,) = check(version, messages=[sent])["messages"]
    assert list(shown["tool_calls"][0]["arguments"]) == names


@pytest.mark.parametrize(
    ("effort", "think"), [(None, True), ("none", False), ("minimal", "low"), ("xhigh", "max")]
)
def test_the_level_that_an_effort_asks_for(effort: str | None, think: Any) -> None:
    assert check(reasoning_effort=effort)["think"] == think


def test_reasoning_wins_over_reasoning_effort() -> None:
    assert check(reasoning={"effort": "low"}, reasoning_effort="high")["think"] == "low"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"3", b"null", b"\xff", b"true"])
def test_a_body_that_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(Rejected) as caught:
        check_chat(body, MODELS, "0.33.0")
    assert caught.value.status == 400


SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(0, 1) | st.text(max_size=3)
PART_KEYS = ("role", "content", "type", "text", "image_url", "url", "tool_calls", "function")
SCHEMA_KEYS = ("name", "arguments", "parameters", "properties", "required", "anyOf", "enum", "id")
KEYS = st.sampled_from((*PART_KEYS, *SCHEMA_KEYS, "effort"))
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4)
)


@given(messages=st.lists(ANYTHING, max_size=3), tools=ANYTHING, more=ANYTHING)
def test_whatever_is_sent_is_taken_or_refused(messages: Any, tools: Any, more: Any) -> None:
    """Never another exception: it would look like a bug of the client under test."""
    with contextlib.suppress(Rejected):
        check(messages=messages, tools=[tools], reasoning=more, response_format=more)
