"""Each fault at each moment: what each client is told, and how often the model is asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import orjson
import pytest
import pytest_twisted
from attrs import frozen
from twisted.internet import reactor

from tests.conftest import LogBook
from tests.harness import CODEX, Answer, Setup, serve
from tests.plays import Play, Stage
from tests.responses.grammar import text_of
from tests.upstream_bytes import END, HEAD, chunk, delta, event, status

FUNCTION = {"name": "exec_command", "arguments": '{"cmd":'}
TEXT = delta({"content": "Half"})
THOUGHT = delta({"reasoning": "Hm."})
CALL = delta({"tool_calls": [{"index": 0, "id": "c1", "function": FUNCTION}]})
STOP = delta({}, "stop")
USAGE = event({"model": "m", "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 1}})
DONE = event(b"[DONE]")
EMPTY_MODEL = delta({"content": ""}, model="")
GOOD = (HEAD + delta({"content": "Good."}) + STOP + USAGE + DONE + END,)


@frozen
class Case:
    """What the upstream does, and what comes of it.

    `codex` is the code that Codex is told, `sdk` the HTTP status that an SDK gets or, where its
    stream has begun, the code in it; both "completed" for success.
    """

    plays: tuple[Play, ...]
    codex: str
    sdk: int | str
    requests: int
    says: str = ""


CASES = {
    # After the connection was made, before the head of an answer.
    "closed without a word": Case(
        (("close",),), "invalid_prompt", 502, 6, "closed the connection without an answer"
    ),
    "reset without a word": Case((("reset",),), "invalid_prompt", 502, 6, "does not answer"),
    "half a head": Case(((b"HTTP/1.1 200 O", "close"),), "invalid_prompt", 502, 6),
    "no HTTP": Case(((b"SSH-2.0-x\r\n\r\n", "close"),), "invalid_prompt", 502, 1),
    # Refusals.
    "model missing": Case(
        ((status(404, "model 'qwen3:14b' not found"),),),
        "invalid_prompt",
        404,
        1,
        "has no model qwen3:14b",
    ),
    "no tools": Case(
        ((status(400, "gemma3 does not support tools"),),), "invalid_prompt", 400, 2, "tools"
    ),
    "prompt too long": Case(
        ((status(400, '{"error":{"message":"x exceeds the available context size"}}'),),),
        "context_length_exceeded",
        400,
        1,
    ),
    "queue full": Case(
        ((status(503, "server busy"),),), "rate_limit_exceeded", 503, 5, "try again in 10s"
    ),
    "queue full, then not": Case(
        ((status(503, "server busy"),), GOOD), "completed", "completed", 2
    ),
    "malformed call": Case(
        ((status(500, "XML syntax error on line 5"),),), "invalid_prompt", 502, 3, "line 5"
    ),
    "malformed call, then not": Case(
        ((status(500, "XML syntax error"),), GOOD), "completed", "completed", 2
    ),
    "runner died": Case(
        ((status(500, "llama-server process has terminated: signal: killed"),),),
        "invalid_prompt",
        502,
        3,
        "signal: killed",
    ),
    "no memory": Case(
        ((status(500, "model requires more system memory (30 GiB)"),),),
        "invalid_prompt",
        500,
        1,
        "30 GiB",
    ),
    "template fails": Case(((status(500, "jinja says no"),),), "invalid_prompt", 500, 1, "jinja"),
    # After the head.
    "head, then closed": Case(((HEAD, "close"),), "invalid_prompt", "server_error", 3),
    "head, then reset": Case(((HEAD, "reset"),), "invalid_prompt", "server_error", 3),
    "an answer without a body": Case(
        ((b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nContent-Length: 0\r\n\r\n",),),
        "invalid_prompt",
        "server_error",
        3,
    ),
    "the empty chunk": Case(((HEAD + EMPTY_MODEL + END,),), "invalid_prompt", "server_error", 3),
    "an error as the first event": Case(
        ((HEAD + event({"error": {"message": "boom"}}) + END,),),
        "invalid_prompt",
        "server_error",
        3,
        "boom",
    ),
    "no events at all": Case(
        ((HEAD + chunk(b"<html>\n") + END,),), "invalid_prompt", "server_error", 1
    ),
    "an event that is no JSON": Case(
        ((HEAD + event(b"{") + END,),), "invalid_prompt", "server_error", 1
    ),
    "head, then closed, then good": Case(((HEAD, "close"), GOOD), "completed", "completed", 2),
    # Inside of the answer.
    "mid-reasoning": Case(((HEAD + THOUGHT, "close"),), "invalid_prompt", "server_error", 3),
    "mid-reasoning, then good": Case(
        ((HEAD + THOUGHT, "close"), GOOD), "completed", "completed", 2
    ),
    "mid-text": Case(((HEAD + TEXT, "close"),), "server_error", "server_error", 1),
    "mid-text, reset": Case(((HEAD + TEXT, "reset"),), "server_error", "server_error", 1),
    "mid-text, ended without a finish reason": Case(
        ((HEAD + TEXT + END,),), "server_error", "server_error", 1, "finish reason"
    ),
    "mid-text, the empty chunk": Case(
        ((HEAD + TEXT + EMPTY_MODEL + END,),), "server_error", "server_error", 1
    ),
    "mid-call": Case(((HEAD + CALL, "close"),), "invalid_prompt", "server_error", 3),
    "mid-call, then good": Case(((HEAD + CALL, "close"), GOOD), "completed", "completed", 2),
    "finished, but no usage": Case(((HEAD + TEXT + STOP, "close"),), "completed", "completed", 1),
    "finished, but no mark": Case(
        ((HEAD + TEXT + STOP + USAGE, "reset"),), "completed", "completed", 1
    ),
    "nothing said": Case(
        ((HEAD + STOP + DONE + END,),), "invalid_prompt", "completed", 2, "asked again"
    ),
    "nothing said, then good": Case(
        ((HEAD + STOP + DONE + END,), GOOD), "completed", "completed", 2
    ),
}


Perform = Callable[..., Awaitable[tuple[Setup, Stage]]]


@pytest_twisted.async_yield_fixture
async def perform() -> AsyncIterator[Perform]:
    """A bridge before a stage; at the end nothing may be left of what was going on."""
    running: list[tuple[Setup, Stage]] = []

    async def start(*plays: Play, **more: Any) -> tuple[Setup, Stage]:
        stage = Stage(reactor, *plays, **more)
        setup = await serve(reactor, stage.url)
        running.append((setup, stage))
        return setup, stage

    yield start
    for setup, stage in running:
        told = (await setup.request("GET", "/__health")).json
        assert told["exchanges"]["open"] == 0
        await setup.stop()
        await stage.stop()
        assert not stage.open


def outcome(reply: Answer) -> int | str:
    if reply.status != 200:
        return reply.status
    response = reply.response
    return "completed" if response["status"] == "completed" else response["error"]["code"]


def sentence(reply: Answer) -> str:
    told = reply.json["error"] if reply.status != 200 else reply.response["error"] or {}
    return str(told.get("message", ""))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
@pytest_twisted.ensureDeferred
async def test_codex_is_told_each_fault_in_its_own_way(perform: Perform, case: Case) -> None:
    setup, stage = await perform(*case.plays)
    reply = await setup.ask(headers=CODEX)
    assert (outcome(reply), stage.requests) == (case.codex, case.requests)
    assert case.says in sentence(reply)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
@pytest_twisted.ensureDeferred
async def test_an_sdk_is_told_each_fault_by_status_or_in_its_stream(
    perform: Perform, case: Case
) -> None:
    setup, stage = await perform(*case.plays)
    reply = await setup.ask()
    assert (outcome(reply), stage.requests) == (case.sdk, case.requests)
    if case.sdk != "completed":
        assert case.says in sentence(reply)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
@pytest_twisted.ensureDeferred
async def test_a_client_that_wants_one_object_is_told_by_status_alone(
    perform: Perform, case: Case
) -> None:
    setup, stage = await perform(*case.plays)
    reply = await setup.ask({"stream": False})
    if case.sdk == "completed":
        assert reply.json["status"] == "completed"
    else:
        assert reply.status == case.sdk or (isinstance(case.sdk, str) and reply.status == 502)
    # What was not delivered can be asked for again, also when it broke off in the middle.
    assert stage.requests == (3 if case.codex == "server_error" else case.requests)


@pytest_twisted.ensureDeferred
async def test_a_server_that_is_not_there_is_told_in_one_sentence(perform: Perform) -> None:
    setup, stage = await perform(GOOD)
    await stage.stop_listening()
    codex, sdk = await setup.ask(headers=CODEX), await setup.ask()
    assert (outcome(codex), outcome(sdk)) == ("invalid_prompt", 502)
    assert "connection refused" in sentence(codex)
    assert sdk.header("x-should-retry") == "false"


@pytest_twisted.ensureDeferred
async def test_a_connection_that_answered_well_is_used_again(perform: Perform) -> None:
    setup, stage = await perform(GOOD)
    for _ in range(3):
        assert outcome(await setup.ask()) == "completed"
    # Four questions, what it is at the start and about the model, were closed by their answers.
    assert (stage.requests, stage.connections) == (3, 5)


@pytest_twisted.ensureDeferred
async def test_reasoning_of_an_attempt_that_broke_off_stays_and_the_answer_follows(
    perform: Perform,
) -> None:
    setup, _ = await perform((HEAD + THOUGHT + CALL, "close"), GOOD)
    output = (await setup.ask()).response["output"]
    assert [(item["type"], text_of(item)) for item in output] == [
        ("reasoning", "Hm."),
        ("message", "Good."),
    ]


@pytest_twisted.ensureDeferred
async def test_what_a_model_wrote_and_ollama_quotes_is_told_to_nobody(
    perform: Perform, logged: LogBook
) -> None:
    raw = """error parsing tool call: raw='{"cmd": "cat secret', err=unexpected end"""
    setup, _ = await perform((status(500, raw),))
    reply = await setup.ask(headers=CODEX)
    assert sentence(reply).startswith("The model server cannot read the tool call")
    assert "unexpected end" in sentence(reply)
    assert "secret" not in str([reply.body, logged.events])


@pytest_twisted.ensureDeferred
async def test_a_call_that_ollama_could_not_read_is_read_where_it_is_whole(
    perform: Perform,
) -> None:
    raw = """error parsing tool call: raw='{"message": "go"}', err=invalid character"""
    setup, stage = await perform((status(500, raw),))
    tools = [
        {
            "type": "function",
            "name": name,
            "parameters": {
                "type": "object",
                "properties": {key: {"type": "string"}},
                "required": [key],
                "additionalProperties": False,
            },
        }
        for name, key in (("send", "message"), ("exec_command", "cmd"))
    ]
    reply = await setup.ask({"tools": tools}, headers=CODEX)
    (item,) = reply.response["output"]
    assert (item["name"], item["arguments"], stage.requests) == ("send", '{"message":"go"}', 1)


@pytest_twisted.ensureDeferred
async def test_a_call_that_ollama_could_not_read_may_be_too_large(perform: Perform) -> None:
    arguments = {"cmd": "x" * 600_000}
    call = orjson.dumps({"name": "exec_command", "arguments": arguments}).decode()
    raw = f"error parsing tool call: raw='{call}', err=unexpected end"
    setup, _ = await perform((HEAD + event({"error": {"message": raw}}) + END,))
    reply = await setup.ask(headers=CODEX)
    assert outcome(reply) == "invalid_prompt"
    assert "too large" in sentence(reply)
