"""/api/chat refuses and drops what Ollama refuses and drops."""

from __future__ import annotations

import contextlib
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fake_ollama import prompt
from tests.fake_ollama.facts import ModelFacts, Rejected
from tests.fake_ollama.native import loading, read
from tests.fake_ollama.rules import check_chat

MODELS = {
    facts.name: facts
    for facts in (
        ModelFacts("qwen3:14b", template="keep"),
        ModelFacts("llama3:latest", capabilities=("completion", "tools")),
        ModelFacts("gemma3:4b", capabilities=("completion",)),
        ModelFacts("gpt-oss:20b", family="gptoss"),
    )
}
USER = {"role": "user", "content": "hi"}
WHERE = "json: cannot unmarshal {} into Go struct field ChatRequest.{}"


def check(version: str = "0.33.0", **change: Any) -> dict[str, Any]:
    request = {"model": "qwen3:14b", "messages": [USER]} | change
    return read(orjson.dumps(request), "chat", MODELS, version)


def refusal(version: str = "0.33.0", **change: Any) -> tuple[int, str]:
    with pytest.raises(Rejected) as caught:
        check(version, **change)
    return caught.value.status, caught.value.message


def saying(**fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": ""} | fields]}


def calling(arguments: Any) -> dict[str, Any]:
    return saying(tool_calls=[{"function": {"name": "f", "arguments": arguments}}])


TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "parts as content": (
        saying(content=[{"type": "text", "text": "x"}]),
        WHERE.format("array", "messages.content of type string"),
    ),
    "false as content": (
        saying(content=False),
        WHERE.format("bool", "messages.content of type string"),
    ),
    "a role that is a number": (
        saying(role=3),
        WHERE.format("number", "messages.role of type string"),
    ),
    "messages that are a text": (
        {"messages": "hi"},
        WHERE.format("string", "messages of type []api.Message"),
    ),
    "a message that is a text": (
        {"messages": ["hi"]},
        WHERE.format("string", "messages of type api.Message"),
    ),
    "thinking that is an object": (
        saying(thinking={}),
        WHERE.format("object", "messages.thinking of type string"),
    ),
    "an object as tool_calls": (
        saying(tool_calls={}),
        WHERE.format("object", "messages.tool_calls of type []api.ToolCall"),
    ),
    "arguments as a text": (
        calling("{}"),
        WHERE.format(
            "string",
            "messages.tool_calls.function.arguments of type api.ToolCallFunctionArguments",
        ),
    ),
    "an image that is no base64": (saying(images=["AA!A"]), "illegal base64 data at input byte 2"),
    "an image without padding": (saying(images=["AAA"]), "illegal base64 data at input byte 3"),
    "an image that is an object": (
        saying(images=[{}]),
        WHERE.format("object", "messages.images of type api.ImageData"),
    ),
    "a tool that Go does not take": (
        {"tools": ["f"]},
        WHERE.format("string", "tools of type api.Tool"),
    ),
    "options that are a list": (
        {"options": []},
        WHERE.format("array", "options of type map[string]interface {}"),
    ),
    "a context that is a text": (
        {"options": {"num_ctx": "8192"}},
        'option "num_ctx" must be of type integer',
    ),
    "a limit that is a bool": (
        {"options": {"num_predict": True}},
        'option "num_predict" must be of type integer',
    ),
    "a temperature that is a text": (
        {"options": {"temperature": "0.7"}},
        'option "temperature" must be of type float32',
    ),
    "one stop word": ({"options": {"stop": "x"}}, 'option "stop" must be of type array'),
    "a number to stop at": (
        {"options": {"stop": [3]}},
        'option "stop" must be of an array of strings',
    ),
    "a number as a flag": (
        {"options": {"use_mmap": 1}},
        'option "use_mmap" must be of type boolean',
    ),
    "a format that is none": (
        {"format": "xml"},
        'invalid format: "\\"xml\\""; expected "json" or a valid JSON Schema object',
    ),
    "a number of minutes": ({"keep_alive": "5"}, 'time: missing unit in duration "5"'),
    "no duration": ({"keep_alive": "soon"}, 'time: invalid duration "soon"'),
    "a flag as a duration": ({"keep_alive": True}, "Unsupported type: 'bool'"),
    "truncate as a text": ({"truncate": "no"}, WHERE.format("string", "truncate of type bool")),
    "stream as a text": ({"stream": "no"}, WHERE.format("string", "stream of type bool")),
    "no model": ({"model": ""}, "model is required"),
    "a model that is a number": ({"model": 3}, WHERE.format("number", "model of type string")),
    "tools without the capability": (
        {"model": "gemma3:4b", "tools": [TOOL]},
        "registry.ollama.ai/library/gemma3:4b does not support tools",
    ),
    "thinking without the capability": (
        {"model": "llama3", "think": True},
        '"llama3:latest" does not support thinking',
    ),
    "think as a number": (
        {"think": 1},
        'think must be a boolean or string ("high", "medium", "low", "max", true, or false)',
    ),
}


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_with_ollamas_words(change: dict[str, Any], message: str) -> None:
    assert refusal(**change) == (400, message)


def test_a_model_that_is_not_there_is_named() -> None:
    assert refusal(model="nope:1b") == (404, "model 'nope:1b' not found")


@pytest.mark.parametrize(
    ("version", "model", "think", "error"),
    [
        ("0.33.0", "qwen3:14b", True, None),
        ("0.33.0", "qwen3:14b", "max", None),
        ("0.33.0", "llama3", False, None),
        ("0.33.0", "llama3", "low", '"llama3:latest" does not support thinking'),
        (
            "0.21.2",
            "qwen3:14b",
            "max",
            'invalid think value: "max" (must be "high", "medium", "low", true, or false)',
        ),
        ("0.17.7", "qwen3:14b", "low", None),
        ("0.17.6", "qwen3:14b", True, None),
        ("0.17.6", "qwen3:14b", "low", 'think value "low" is not supported for this model'),
        ("0.17.6", "gpt-oss:20b", "low", None),
    ],
)
def test_thinking_by_version(version: str, model: str, think: Any, error: str | None) -> None:
    if error is None:
        check(version, model=model, think=think)
    else:
        assert refusal(version, model=model, think=think) == (400, error)


@pytest.mark.parametrize(
    ("model", "think", "effective"),
    [
        ("qwen3:14b", None, True),
        ("qwen3:14b", False, False),
        ("qwen3:14b", "low", "low"),
        ("llama3", None, None),
    ],
)
def test_a_model_that_can_think_does_unless_it_is_turned_off(
    model: str, think: Any, effective: Any
) -> None:
    assert check(model=model, think=think)["think"] == effective


@pytest.mark.parametrize("keep_alive", [0, -1, 1.5, "5m", "1h30m", "-1s", "0", "1.5h", None])
@pytest.mark.parametrize("form", ["json", {"type": "object"}, "", None])
def test_durations_and_formats_that_are_taken(keep_alive: Any, form: Any) -> None:
    effective = check(keep_alive=keep_alive, format=form)
    assert (effective["keep_alive"], effective["format"]) == (keep_alive, form)


def test_options_that_ollama_knows_are_kept_and_whole_numbers_made_whole() -> None:
    options = {"num_ctx": 8192.5, "temperature": 1, "top_k": None, "bogus": "x", "stop": ["a"]}
    effective = check(options=options)
    assert effective["options"] == {"num_ctx": 8192, "temperature": 1, "stop": ["a"]}
    assert effective["num_ctx"] == 8192


def test_what_ollama_does_not_know_is_dropped_without_a_word() -> None:
    effective = check(tool_choice="required", reasoning_effort="high", max_tokens="x")
    assert effective.keys() == {
        *("model", "stream", "messages", "tools", "options", "think", "format", "keep_alive"),
        *("constrained", "num_ctx", "prompt_tokens"),
    }
    assert effective["stream"] is True


def test_both_dialects_show_one_prompt() -> None:
    result = {"role": "tool", "content": "ok"}
    openai_call = {"id": "x", "function": {"name": "f", "arguments": '{"b": 1.0, "a": 2}'}}
    native_call = {
        "id": "x",
        "function": {"index": 0, "name": "f", "arguments": {"b": 1.0, "a": 2}},
    }
    turn = {"role": "Assistant", "content": "so"}
    openai = [
        {"role": "user", "content": [{"type": "image_url", "image_url": "data:;base64,AAAA"}]},
        turn | {"reasoning": "hm", "tool_calls": [openai_call]},
        result | {"tool_call_id": "x"},
    ]
    native = [
        {"role": "user", "content": "", "images": ["AAAA"]},
        turn | {"thinking": "hm", "tool_calls": [native_call]},
        result | {"tool_call_id": "x", "tool_name": "f"},
    ]
    request = orjson.dumps({"model": "qwen3:14b", "messages": openai})
    shown = check(messages=native)["messages"]
    assert shown == check_chat(request, MODELS, "0.33.0")["messages"]
    assert shown[1:] == [
        {
            "role": "assistant",
            "content": "so",
            "reasoning": "hm",
            "tool_calls": [{"id": "x", "name": "f", "arguments": {"b": 1, "a": 2}}],
        },
        {"role": "tool", "content": "ok", "name": "f", "tool_call_id": "x"},
    ]


def test_arguments_of_the_history_go_through_floats() -> None:
    arguments = {"z": 1.0, "o": {"b": 1, "a": 2}}
    (shown,) = check(**calling(arguments))["messages"]
    assert repr(shown["tool_calls"][0]["arguments"]) == "{'z': 1, 'o': {'a': 2, 'b': 1}}"


def test_arguments_of_the_history_are_sorted_before_0_14() -> None:
    (shown,) = check("0.13.5", **calling({"z": 1, "a": 2}))["messages"]
    assert list(shown["tool_calls"][0]["arguments"]) == ["a", "z"]


def test_results_are_not_named_after_their_call_as_they_are_on_the_openai_route() -> None:
    call = {"id": "x", "function": {"name": "f", "arguments": {}}}
    called = {"role": "assistant", "tool_calls": [call]}
    result = {"role": "tool", "content": "ok", "tool_call_id": "x"}
    assert check(messages=[called, result])["messages"][1] == result


def test_results_keep_their_names_and_ids() -> None:
    (result,) = check(**saying(tool_name="f", tool_call_id="x"))["messages"]
    assert (result["name"], result["tool_call_id"]) == ("f", "x")


@pytest.mark.parametrize(
    ("change", "reason"),
    [({}, "load"), ({"keep_alive": "5m"}, "load"), ({"keep_alive": 0}, "unload")],
)
def test_without_messages_it_only_loads_or_unloads(change: dict[str, Any], reason: str) -> None:
    (finish,) = loading(check(messages=[], **change)) or ()
    assert finish.reason == reason


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"3", b"null", b"\xff", b"true"])
@pytest.mark.parametrize("route", ["chat", "generate"])
def test_a_body_that_is_no_request_is_refused(body: bytes, route: Any) -> None:
    with pytest.raises(Rejected) as caught:
        read(body, route, MODELS, "0.33.0")
    assert caught.value.status == 400


SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(0, 1) | st.text(max_size=3)
FIELDS = ("role", "content", "thinking", "images", "tool_calls", "tool_name", "id", "function")
OPTION_NAMES = ("name", "arguments", "num_ctx", "temperature", "stop", "use_mmap")
KEYS = st.sampled_from((*FIELDS, *OPTION_NAMES))
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4)
)


@given(messages=st.lists(ANYTHING, max_size=3), tools=ANYTHING, more=ANYTHING)
def test_whatever_is_sent_is_taken_or_refused(messages: Any, tools: Any, more: Any) -> None:
    """Never another exception: it would look like a bug of the client under test."""
    with contextlib.suppress(Rejected):
        check(messages=messages, tools=[tools], options=more)
    for key in ("think", "format", "keep_alive", "truncate", "images", "stream"):
        with contextlib.suppress(Rejected):
            loading(check(messages=messages, **{key: more}))


@pytest.mark.parametrize(
    ("messages", "goes_on", "ends"),
    [
        ([{"role": "user", "content": "hi"}], True, "hi<|im_end|>\n<|im_start|>assistant\n"),
        ([{"role": "assistant", "content": "Hel"}], True, "<|im_start|>assistant\nHel"),
        (
            [{"role": "assistant", "content": "Hel"}],
            False,
            "Hel<|im_end|>\n<|im_start|>assistant\n",
        ),
    ],
)
def test_a_prompt_can_be_shown_in_place_of_an_answer(
    messages: list[dict[str, str]], goes_on: bool, ends: str
) -> None:
    assert prompt.rendered(messages, goes_on).endswith(ends)
