"""What the scripted model of `codex-bridge demo` says, and what its server answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
import pytest_twisted
from treq.client import HTTPClient
from twisted.internet import reactor
from twisted.web.client import Agent

from codex_bridge.cli.scripted_ollama import ScriptedOllama, scripted_answer
from tests.harness import Answer

SHELL = [{"type": "function", "function": {"name": "shell"}}]
EXEC = [{"type": "function", "function": {"name": "exec_command"}}, *SHELL]


def asked(role: str, content: str, **more: Any) -> Any:
    return {"messages": [{"role": role, "content": content}], **more}


def said(key: str, request: Any) -> str:
    return "".join(message.get(key, "") for message in scripted_answer(request))


@pytest.mark.parametrize(
    ("words", "tools", "runner", "command"),
    [
        ("run `uname -a`", EXEC, "exec_command", "uname -a"),
        ("run `uname -a`", SHELL, "shell", "uname -a"),
        ("list files", EXEC, "exec_command", "ls /tmp"),
    ],
)
def test_the_model_calls_for_the_command_in_backquotes(
    words: str, tools: Any, runner: str, command: str
) -> None:
    thought, *_, call = scripted_answer(asked("user", words, tools=tools))
    assert "thinking" in thought
    function = {"name": runner, "arguments": {"cmd": command}}
    assert call == {"tool_calls": [{"function": function}]}


@pytest.mark.parametrize(
    ("output", "report"),
    [
        ("a\nb\n", "It worked. I see: a, b"),
        ("Exit code: 0\nOutput:\na\n", "It worked. I see: a"),
        ("Exit code: 0\nOutput:\n", "It worked. I see: nothing"),
    ],
)
def test_the_model_reports_the_output_of_the_command(output: str, report: str) -> None:
    assert said("content", asked("tool", output, tools=EXEC)) == report


def test_without_a_tool_that_runs_commands_the_model_just_answers() -> None:
    request = asked("user", "run `ls`")
    assert said("content", request).startswith("Hello!")
    assert not any("tool_calls" in message for message in scripted_answer(request))


@pytest.mark.parametrize(
    ("form", "answer"),
    [
        ("json", {"title": "A demonstration"}),
        (
            {
                "properties": {"a": {"type": "array"}, "b": {"type": "string"}, "c": {}},
                "required": ["a", "b"],
            },
            {"a": [], "b": "A demonstration"},
        ),
    ],
)
def test_the_model_answers_in_the_format_that_is_asked_for(form: Any, answer: Any) -> None:
    request = asked("user", "name it", tools=EXEC, format=form)
    assert orjson.loads(said("content", request)) == answer


@pytest_twisted.async_yield_fixture
async def ollama() -> AsyncIterator[ScriptedOllama]:
    running = ScriptedOllama(reactor)
    yield running
    await running.stop()


async def ask(ollama: ScriptedOllama, method: str, path: str, body: Any = None) -> Answer:
    data = None if body is None else orjson.dumps(body)
    client = HTTPClient(Agent(reactor))
    response = await client.request(method, ollama.url + path, data=data)
    return Answer(response.code, response.headers, await response.content())


@pytest_twisted.ensureDeferred
async def test_a_chat_is_kept_and_answered_word_by_word(ollama: ScriptedOllama) -> None:
    request = asked("user", "list files", model="m", tools=EXEC)
    answer = await ask(ollama, "POST", "/api/chat", request)
    *lines, last = [orjson.loads(line) for line in answer.body.splitlines()]
    assert answer.headers.getRawHeaders("content-type") == ["application/x-ndjson"]
    words = [line["message"]["content"] for line in lines if line["message"]["content"]]
    assert words == ["Let", " me", " look."]
    assert not any(line["done"] for line in lines)
    assert (last["done"], last["done_reason"], last["eval_count"]) == (True, "stop", len(lines))
    assert last["prompt_eval_count"] > 0
    assert ollama.chats == [request]


@pytest_twisted.ensureDeferred
async def test_codex_finds_a_server_and_may_pull_any_model(ollama: ScriptedOllama) -> None:
    """What `codex --oss` asks at its start, and what it asks for a model that is not there."""
    assert (await ask(ollama, "HEAD", "/")).status == 200
    assert (await ask(ollama, "GET", "/v1/models")).json["data"][0]["id"] == "qwen3:14b"
    assert (await ask(ollama, "GET", "/api/version")).json.keys() == {"version"}
    assert (await ask(ollama, "GET", "/api/tags")).json["models"][0]["name"] == "qwen3:14b"
    pull = await ask(ollama, "POST", "/api/pull", {"model": "m", "stream": True})
    assert orjson.loads(pull.body.splitlines()[-1]) == {"status": "success"}
    for method in ("GET", "POST"):
        assert (await ask(ollama, method, "/nope", {})).status == 404
