"""Ollama's own routes before a real llama.cpp: what `codex --oss` and `ollama` read there."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
import pytest_twisted
from twisted.internet import reactor

from codex_bridge.cli.llama_server import LlamaServer
from tests.engine.conftest import Bridge
from tests.fake_ollama import FakeOllama, Playlist, Say
from tests.harness import CODEX, Answer, serve

FUNCTION = {
    "type": "function",
    "function": {
        "name": "exec_command",
        "parameters": {"type": "object", "properties": {"cmd": {"type": "string"}}},
    },
}


def lines(answer: Answer) -> list[Any]:
    return [orjson.loads(line) for line in answer.body.splitlines()]


def user(text: str) -> Any:
    return {"role": "user", "content": text}


@pytest_twisted.ensureDeferred
async def test_codex_finds_the_model_as_in_an_ollama(llama: LlamaServer, bridge_to: Bridge) -> None:
    setup = await bridge_to(llama.url)
    version = (await setup.request("GET", "/api/version")).json["version"]
    assert tuple(map(int, version.split("."))) >= (0, 13, 4)
    (model,) = (await setup.request("GET", "/api/tags")).json["models"]
    assert (model["name"], model["size"]) == ("tiny", 2763264)
    assert len(model["digest"]) >= 12


@pytest.mark.parametrize("name", ["tiny", "tiny:latest"])
@pytest_twisted.ensureDeferred
async def test_a_model_that_is_there_needs_no_download(
    llama: LlamaServer, bridge_to: Bridge, name: str
) -> None:
    setup = await bridge_to(llama.url)
    pulled = await setup.request("POST", "/api/pull", {"model": name, "stream": True})
    assert (pulled.status, lines(pulled)) == (200, [{"status": "success"}])


@pytest.mark.parametrize(
    ("path", "more", "status"),
    [
        ("/api/pull", {"stream": True}, 200),
        ("/api/pull", {"stream": False}, 404),
        ("/api/show", {}, 404),
        ("/api/chat", {"messages": [user("TALK")]}, 404),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_model_that_is_not_there_is_told_with_those_that_are(
    llama: LlamaServer, bridge_to: Bridge, path: str, more: Any, status: int
) -> None:
    setup = await bridge_to(llama.url)
    refused = await setup.request("POST", path, {"model": "qwen3:14b"} | more)
    assert refused.status == status
    assert refused.json["error"] == (
        "llama.cpp has no model qwen3:14b, and codex-bridge cannot get it one. Its models: tiny."
    )


@pytest_twisted.ensureDeferred
async def test_show_and_ps_tell_what_the_engine_tells(
    llama: LlamaServer, bridge_to: Bridge
) -> None:
    setup = await bridge_to(llama.url)
    shown = (await setup.request("POST", "/api/show", {"model": "tiny"})).json
    assert shown["capabilities"] == ["completion", "tools", "thinking"]
    assert shown["parameters"] == "num_ctx 16384"
    assert "<tool_call>" in shown["template"]
    (running,) = (await setup.request("GET", "/api/ps")).json["models"]
    assert (running["name"], running["context_length"]) == ("tiny", 16384)


@pytest_twisted.ensureDeferred
async def test_a_native_chat_has_thoughts_calls_and_counts(
    llama: LlamaServer, bridge_to: Bridge
) -> None:
    setup = await bridge_to(llama.url)
    asked = {"model": "tiny", "messages": [user("THINK")], "tools": [FUNCTION]}
    *told, call, last = lines(await setup.request("POST", "/api/chat", asked))
    assert "".join(line["message"]["thinking"] for line in told).startswith("The user wants")
    assert call["message"]["tool_calls"] == [
        {"function": {"name": "exec_command", "arguments": {"cmd": "ls /tmp"}}}
    ]
    assert [line["done"] for line in (*told, call, last)] == [False] * (len(told) + 1) + [True]
    assert last["done_reason"] == "stop"
    assert last["prompt_eval_count"] > 50
    assert last["eval_count"] > 10


@pytest_twisted.ensureDeferred
async def test_a_native_conversation_goes_on_behind_a_call(
    llama: LlamaServer, bridge_to: Bridge
) -> None:
    setup = await bridge_to(llama.url)
    call = {"function": {"name": "exec_command", "arguments": {"cmd": "ls"}}}
    history = [
        user("go"),
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "a.txt", "tool_name": "exec_command"},
    ]
    asked = {"model": "tiny", "messages": history, "tools": [FUNCTION], "stream": False}
    answer = (await setup.request("POST", "/api/chat", asked)).json
    assert answer["message"]["content"] == "The files are listed above."
    assert answer["done"] is True


@pytest.mark.parametrize("stream", [True, False])
@pytest_twisted.ensureDeferred
async def test_generate_answers_a_prompt(
    llama: LlamaServer, bridge_to: Bridge, stream: bool
) -> None:
    setup = await bridge_to(llama.url)
    asked = {"model": "tiny", "prompt": "TALK", "stream": stream}
    answer = lines(await setup.request("POST", "/api/generate", asked))
    assert "".join(line["response"] for line in answer) == "Hello! I am a tiny local model."
    assert answer[-1]["done"] is True


@pytest_twisted.ensureDeferred
async def test_a_native_answer_keeps_to_a_format_and_to_a_number_of_tokens(
    llama: LlamaServer, bridge_to: Bridge
) -> None:
    setup = await bridge_to(llama.url)
    schema = {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]}
    asked = {"model": "tiny", "messages": [user("TALK")], "stream": False}
    formed = await setup.request("POST", "/api/chat", asked | {"format": schema})
    assert type(orjson.loads(formed.json["message"]["content"])["a"]) is bool
    cut = await setup.request("POST", "/api/chat", asked | {"options": {"num_predict": 2}})
    assert (cut.json["done_reason"], cut.json["eval_count"]) == ("length", 2)


@pytest_twisted.ensureDeferred
async def test_without_a_prompt_a_request_only_asks_that_the_model_be_there(
    llama: LlamaServer, bridge_to: Bridge
) -> None:
    setup = await bridge_to(llama.url)
    (line,) = lines(await setup.request("POST", "/api/generate", {"model": "tiny"}))
    assert (line["response"], line["done"]) == ("", True)


@pytest.mark.parametrize("path", ["/api/create", "/api/delete", "/api/embed"])
@pytest_twisted.ensureDeferred
async def test_what_only_an_ollama_can_do_is_refused_with_the_reason(
    llama: LlamaServer, bridge_to: Bridge, path: str
) -> None:
    setup = await bridge_to(llama.url)
    refused = await setup.request("POST", path, {"model": "tiny"})
    assert refused.status == 501
    assert refused.json == {"error": f"{path} needs an Ollama, and the upstream is llama.cpp."}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", "not JSON"),
        (b"[]", "JSON object"),
        (b"{}", "model is missing"),
        (b'{"model": "tiny", "messages": 1}', "messages must be an array"),
        (b'{"model": "tiny", "messages": [{"tool_calls": [1]}]}', "tool_calls must hold"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_native_request_that_is_none_is_refused_with_the_reason(
    llama: LlamaServer, bridge_to: Bridge, body: bytes, says: str
) -> None:
    setup = await bridge_to(llama.url)
    refused = await setup.request("POST", "/api/chat", body)
    assert refused.status == 400
    assert says in refused.json["error"]


@pytest_twisted.ensureDeferred
async def test_the_ollama_command_finds_a_server_and_pages_of_elsewhere_do_not(
    llama: LlamaServer, bridge_to: Bridge
) -> None:
    setup = await bridge_to(llama.url)
    assert (await setup.request("HEAD", "/")).status == 200
    foreign = {"origin": "https://evil.example"}
    for path in ("/api/tags", "/v1/models", "/v1/chat/completions", "/props"):
        # llama.cpp itself would serve every page.
        assert (await setup.request("GET", path, headers=foreign)).status == 403


@pytest_twisted.ensureDeferred
async def test_other_routes_of_the_engine_still_pass_through(
    llama: LlamaServer, bridge_to: Bridge
) -> None:
    setup = await bridge_to(llama.url)
    assert (await setup.request("GET", "/props")).json["total_slots"] == 1
    assert (await setup.request("GET", "/api/other")).status == 404


@pytest_twisted.ensureDeferred
async def test_an_ollama_and_a_llama_cpp_behind_one_bridge_are_one_list(llama: LlamaServer) -> None:
    fake = FakeOllama(reactor, Playlist([Say("From Ollama.")]))
    fake.listen()
    setup = await serve(reactor, "", upstream=(("a", fake.url), ("b", llama.url)))
    try:
        for path, key in (("/api/tags", "models"), ("/v1/models", "data")):
            listed = (await setup.request("GET", path)).json[key]
            assert {model.get("name") or model["id"] for model in listed} == {"qwen3:14b", "tiny"}
        assert (await setup.request("GET", "/api/version")).json["version"] == "0.33.0"
        shown = (await setup.request("POST", "/api/show", {"model": "tiny"})).json
        assert shown["parameters"] == "num_ctx 16384"
        for model, says in (("qwen3:14b", "From Ollama."), ("tiny", "I am a tiny local model")):
            answer = await setup.ask({"model": model, "input": "TALK", "tools": []}, CODEX)
            assert says in answer.response["output"][0]["content"][0]["text"]
        asked = {"model": "tiny:latest", "prompt": "TALK", "stream": False}
        assert "tiny" in (await setup.request("POST", "/api/generate", asked)).json["response"]
        assert len(fake.turns) == 1
    finally:
        await setup.stop()
        await fake.stop()
