"""The bytes of every version."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.fake_ollama import Call, Calls, Finish, Fragments, Say, Think, demo_model, wire
from tests.fake_ollama.script import Answer

NEW, OLD = "0.33.0", "0.32.5"
LS = '{"command":"ls"}'


def deltas(version: str, *steps: Any) -> list[Any]:
    """The deltas of an answer, its finish reason last."""
    stream = wire.ChatStream("m", version)
    data = b"".join(record for step in steps for record in stream.step(step))
    data += stream.finish(wire.ending(steps).reason)
    choices = [orjson.loads(r.removeprefix(b"data: "))["choices"] for r in data.split(b"\n\n")[:-1]]
    return [choice["delta"] for (choice,) in choices] + [choices[-1][0]["finish_reason"]]


def called(name: str = "shell", arguments: str = LS, index: int = 0) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"id": "call_1", "index": index, "type": "function", "function": function}


SHELL = Call("shell", {"command": "ls"}, id="call_1")
A = {"role": "assistant"}
SHAPES: dict[str, tuple[str, Answer, list[Any]]] = {
    "new text": (
        NEW,
        [Say("", pieces=("Hello", " world"))],
        [A | {"content": "Hello"}, {"content": " world"}, {}, "stop"],
    ),
    "old text": (
        OLD,
        [Say("Hello world")],
        [
            A | {"content": "Hello"},
            A | {"content": " world"},
            A | {"content": ""},
            "stop",
        ],
    ),
    "new reasoning": (
        NEW,
        [Think("I should"), Say("Hi")],
        [
            A | {"content": "", "reasoning": "I"},
            {"content": "", "reasoning": " should"},
            {"content": "Hi"},
            {},
            "stop",
        ],
    ),
    "old reasoning": (
        OLD,
        [Think("hm"), Say("Hi")],
        [
            A | {"content": "", "reasoning": "hm"},
            A | {"content": "Hi"},
            A | {"content": ""},
            "stop",
        ],
    ),
    "a call": (
        NEW,
        [Say("Now"), SHELL],
        [A | {"content": "Now"}, {"content": "", "tool_calls": [called()]}, {}, "tool_calls"],
    ),
    "two calls in two chunks": (
        NEW,
        [SHELL, SHELL],
        [
            A | {"content": "", "tool_calls": [called()]},
            {"content": "", "tool_calls": [called(index=1)]},
            {},
            "tool_calls",
        ],
    ),
    "two calls in one chunk": (
        NEW,
        [Calls(SHELL, SHELL)],
        [A | {"content": "", "tool_calls": [called(), called(index=1)]}, {}, "tool_calls"],
    ),
    "an index repeated by an old parser": (
        "0.20.0",
        [SHELL, Call("shell", LS, id="call_1", index=0)],
        [
            A | {"content": "", "tool_calls": [called()]},
            A | {"content": "", "tool_calls": [called()]},
            A | {"content": ""},
            "tool_calls",
        ],
    ),
    "arguments verbatim": (
        NEW,
        [Call("f", "{broken", id="call_1")],
        [A | {"content": "", "tool_calls": [called("f", "{broken")]}, {}, "tool_calls"],
    ),
    "arguments in fragments": (
        NEW,
        [Fragments("f", ("{", "}"), id="call_1")],
        [
            A | {"tool_calls": [called("f", "")]},
            {"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]},
            {"tool_calls": [{"index": 0, "function": {"arguments": "}"}}]},
            {},
            "tool_calls",
        ],
    ),
    "an empty turn": (NEW, [], [A | {"content": ""}, {}, "stop"]),
    "an empty turn, old": (OLD, [], [A | {"content": ""}, "stop"]),
}


@pytest.mark.parametrize(("version", "steps", "wanted"), SHAPES.values(), ids=SHAPES.keys())
def test_shape_of_a_stream(version: str, steps: Answer, wanted: list[Any]) -> None:
    assert deltas(version, *steps) == wanted


@pytest.mark.parametrize(("version", "reason"), [(NEW, "length"), (OLD, "tool_calls")])
def test_the_reason_of_an_answer_cut_after_a_call(version: str, reason: str) -> None:
    assert deltas(version, SHELL, Finish("length"))[-1] == reason


def test_the_exact_bytes_of_a_record() -> None:
    (record,) = wire.ChatStream("m", NEW).step(Say("<a & b>", pieces=("<a & b>",)))
    head, rest = record.split(b',"created":')
    assert head.startswith(b'data: {"id":"chatcmpl-')
    assert head.endswith(b'"object":"chat.completion.chunk"')
    assert rest.split(b",", 1)[1] == (
        b'"model":"m","system_fingerprint":"fp_ollama","choices":[{"index":0,"delta":'
        b'{"role":"assistant","content":"\\u003ca \\u0026 b\\u003e"},"finish_reason":null}]}\n\n'
    )


def test_the_chunk_of_an_error_inside_a_stream_names_no_model() -> None:
    stream = wire.ChatStream("m", NEW)
    list(stream.step(Say("Working.")))
    assert stream.empty_model().endswith(
        b'"model":"","system_fingerprint":"fp_ollama",'
        b'"choices":[{"index":0,"delta":{"content":""},"finish_reason":null}]}\n\n'
    )


def test_the_chunk_of_usage_has_no_choice() -> None:
    record = wire.ChatStream("m", NEW).usage({"prompt_tokens": 1})
    assert record.endswith(b'"choices":[],"usage":{"prompt_tokens":1}}\n\n')


def test_a_whole_answer_has_text_reasoning_and_calls() -> None:
    steps = [Think("hm"), Say("Now"), SHELL]
    answer = orjson.loads(wire.whole_answer("m", steps, wire.token_counts(steps, 20)))
    (choice,) = answer["choices"]
    assert answer["object"] == "chat.completion"
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"] == {
        "role": "assistant",
        "content": "Now",
        "reasoning": "hm",
        "tool_calls": [called()],
    }
    assert answer["usage"] == {"prompt_tokens": 20, "completion_tokens": 3, "total_tokens": 23}


def test_a_script_may_name_its_token_counts() -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    assert wire.token_counts([Say("x"), Finish("stop", usage)], 99) == usage


@pytest.mark.parametrize(
    ("status", "version", "kind"),
    [
        (400, NEW, "invalid_request_error"),
        (404, NEW, "not_found_error"),
        (503, NEW, "api_error"),
        (404, "0.17.7", "api_error"),
    ],
)
def test_an_error_body(status: int, version: str, kind: str) -> None:
    assert wire.error_body(status, "no <x>", version) == (
        b'{"error":{"message":"no \\u003cx\\u003e","type":"' + kind.encode() + b'",'
        b'"param":null,"code":null}}\n'
    )


def test_pieces_say_the_whole_text() -> None:
    text = "  Two words\nand\n\na line \n"
    assert "".join(Say(text).pieces) == text
    assert len(Say(text).pieces) > 4


RUNNER = [{"type": "function", "function": {"name": "shell"}}]
SCHEMA = {"properties": {"title": {"type": "string"}}}


def test_the_demo_model_thinks_speaks_and_calls() -> None:
    asked = {"messages": [{"role": "user", "content": "run `uname -a`"}], "tools": RUNNER}
    answer = demo_model(asked)
    assert [type(step) for step in answer[-2:]] == [Say, Call]
    assert answer[-1] == Call("shell", {"cmd": "uname -a"})
    assert wire.texts(answer, Say) == "Let me look."
    assert "uname -a" in wire.texts(answer, Think)


@pytest.mark.parametrize("form", [SCHEMA, "json"])
def test_the_demo_model_answers_in_json(form: Any) -> None:
    asked = {"messages": [{"role": "user", "content": "name it"}], "tools": RUNNER, "format": form}
    assert demo_model(asked) == [Say('{"title":"A demonstration"}')]
