"""The fake refuses and drops what Ollama refuses and drops."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from codex_bridge.fake_ollama.rules import ModelFacts, Rejected, check_chat

MODELS = {
    facts.name: facts
    for facts in (
        ModelFacts("qwen3:14b"),
        ModelFacts("llama3:latest", capabilities=("completion", "tools")),
        ModelFacts("gemma3:4b", capabilities=("completion",)),
        ModelFacts("small:1b", num_ctx=60),
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
    "no model": ({"model": ""}, 400, "model is required"),
    "no messages": ({"messages": []}, 400, "[] is too short - 'messages'"),
    "null messages": ({"messages": None}, 400, "[] is too short - 'messages'"),
    "a wrong type": (
        {"max_tokens": "9"},
        400,
        "json: cannot unmarshal string into Go struct field "
        "ChatCompletionRequest.max_tokens of type int",
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
        {"stream": "yes"},
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
    assert "num_ctx" not in effective
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
    effective = check(messages=[{"role": "tool", "tool_call_id": "x", "content": parts}])
    assert effective["messages"] == [
        {"role": "tool", "content": "a"},
        {"role": "tool", "content": "b"},
    ]


def test_a_prompt_over_the_context_loses_messages_from_the_front() -> None:
    system = {"role": "system", "content": "s" * 80}
    old = {"role": "user", "content": "o" * 80}
    effective = check(model="small:1b", messages=[system, old, old, USER])
    assert [m["content"][0] for m in effective["messages"]] == ["s", "o", "h"] or [
        m["content"][0] for m in effective["messages"]
    ] == ["s", "h"]
    assert effective["messages"][0]["role"] == "system"
    assert effective["messages"][-1] == USER
    assert len(effective["messages"]) < 4
