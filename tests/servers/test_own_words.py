"""The double of llama.cpp: the prompt of a chat, and what the model writes behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import orjson
import pytest
import pytest_twisted
from treq.client import HTTPClient
from twisted.internet import reactor
from twisted.web.client import Agent, ResponseNeverReceived

from tests.conftest import LogBook
from tests.fake_ollama import Call, Finish, Say, Think
from tests.harness import Answer
from tests.servers.double import Double, Said
from tests.servers.kinds import LLAMA_SWAP, ROUTER, VLLM
from tests.servers.own_words import writes

Json = dict[str, Any]
Serve = Callable[..., Awaitable[Double]]
SHELL = Call("shell", {"command": "ls"})
WRITTEN = '<tool_call>\n{"name": "shell", "arguments": {"command":"ls"}}\n</tool_call>'
THOUGHT_AND_CALL = f"<think>\nFiles.\n</think>\n\n{WRITTEN}"


@pytest_twisted.async_yield_fixture
async def serve() -> AsyncIterator[Callable[..., Double]]:
    """Start a double of llama.cpp that writes this behind prompts."""
    running: list[Double] = []

    def start(*own_words: Said, kind: Any = ROUTER) -> Double:
        double = Double(reactor, kind, b"")
        double.own_words = own_words
        running.append(double)
        return double

    yield start
    for double in running:
        await double.stop()


async def post(double: Double, path: str, body: Json) -> Answer:
    client = HTTPClient(Agent(reactor))
    response = await client.post(double.url + path, data=orjson.dumps(body))
    return Answer(response.code, response.headers, await response.content())


def events(answer: Answer) -> list[Json]:
    records = answer.body.split(b"\n\n")[:-1]
    return [orjson.loads(record.removeprefix(b"data: ")) for record in records]


@pytest_twisted.ensureDeferred
async def test_the_prompt_of_a_chat_has_its_messages_calls_and_tools(serve: Any) -> None:
    call = {"id": "c", "function": {"name": "shell", "arguments": '{"command":"ls"}'}}
    chat = {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "go"}]},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": "a.txt"},
        ],
        "tools": [{"type": "function", "function": {"name": "exec_command"}}],
    }
    double = serve()
    prompt = (await post(double, "/apply-template", chat)).json["prompt"]
    assert prompt.startswith("<|im_start|>system\nBe brief.\n\n<tools>\n")
    assert '"exec_command"' in prompt
    assert f"user\ngo<|im_end|>\n<|im_start|>assistant\n{WRITTEN}<|im_end|>" in prompt
    assert prompt.endswith("a.txt\n</tool_response><|im_end|>\n<|im_start|>assistant\n")
    assert double.renderings == [chat]


@pytest_twisted.ensureDeferred
async def test_own_words_come_as_a_stream_without_an_end_mark(serve: Any) -> None:
    double = serve(writes(Think("Files."), SHELL))
    body = {"prompt": "x" * 400, "stream": True}
    answer = await post(double, "/completion", body)
    *pieces, last = events(answer)
    assert answer.header("content-type") == "text/event-stream"
    assert "".join(piece["content"] for piece in pieces) == THOUGHT_AND_CALL
    assert [piece["stop"] for piece in pieces] == [False] * len(pieces)
    assert (last["stop"], last["stop_type"], last["content"]) == (True, "eos", "")
    assert (last["prompt"], last["tokens_evaluated"]) == ("x" * 400, 100)
    assert last["tokens_predicted"] == len(pieces) + 1
    assert last["timings"]["cache_n"] == 99
    assert double.completions == [body]


@pytest_twisted.ensureDeferred
async def test_own_words_come_whole_where_no_stream_is_asked_for(serve: Any) -> None:
    double = serve(writes(Say("One"), Finish("length")), writes(Say("two")))
    first = await post(double, "/completion", {"prompt": "x"})
    assert (first.json["content"], first.json["stop_type"]) == ("One", "limit")
    for _ in range(2):
        assert (await post(double, "/completion", {"prompt": "x"})).json["content"] == "two"


@pytest.mark.parametrize(
    ("named", "text"),
    [
        ([], '\nFiles.\n\n\n\n{"name": "shell", "arguments": {"command":"ls"}}\n'),
        (["<think>", "</think>", "<tool_call>", "</tool_call>"], THOUGHT_AND_CALL),
    ],
)
@pytest_twisted.ensureDeferred
async def test_control_tokens_are_left_out_unless_they_are_named(
    serve: Any, named: list[str], text: str
) -> None:
    double = serve(writes(Think("Files."), SHELL, has_control_tokens=True))
    answer = await post(double, "/completion", {"prompt": "x", "preserved_tokens": named})
    assert answer.json["content"] == text


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "[json.exception.out_of_range.403] key 'prompt' not found"),
        (
            {"prompt": "x", "n_predict": "9"},
            "Field 'n_predict': [json.exception.type_error.302] type must be number, but is string",
        ),
        (
            {"prompt": "x", "preserved_tokens": [5]},
            "Field 'preserved_tokens': [json.exception.type_error.302] "
            "type must be string, but is number",
        ),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_is_refused(serve: Any, body: Json, message: str) -> None:
    answer = await post(serve(writes(SHELL)), "/completion", body)
    error = {"code": 400, "message": message, "type": "invalid_request_error"}
    assert (answer.status, answer.json) == (400, {"error": error})


@pytest_twisted.ensureDeferred
async def test_a_server_that_has_no_such_way_says_so(serve: Any) -> None:
    for kind in (VLLM, LLAMA_SWAP):
        double = serve(kind=kind)
        for path in ("/completion", "/apply-template"):
            assert (await post(double, path, {"prompt": "x"})).status == 404


@pytest_twisted.ensureDeferred
async def test_a_grammar_is_kept(serve: Any) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    double = serve(writes(Say('{"n": 1}')))
    answer = await post(double, "/completion", {"prompt": "x", "json_schema": schema})
    assert answer.json["content"] == '{"n": 1}'


@pytest.mark.expects_errors
@pytest_twisted.ensureDeferred
async def test_a_script_that_breaks_its_grammar_fails(serve: Any, logged: LogBook) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    double = serve(writes(Say("One.")))
    with pytest.raises(ResponseNeverReceived):
        await post(double, "/completion", {"prompt": "x", "json_schema": schema})
    (error,) = logged.errors()
    assert "does not allow 'One.'" in str(error)
