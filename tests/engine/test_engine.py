"""A real llama.cpp behind the bridge: what its tiny model says, and how the bridge passes it on.

README.md beside this file lists the key words; the last word of a message chooses the answer.
"""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_twisted
from attrs import evolve
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import formatEvent
from twisted.protocols.portforward import ProxyClient, ProxyClientFactory, ProxyFactory, ProxyServer

from codex_bridge.cli.llama_server import LlamaServer
from codex_bridge.engines import models
from codex_bridge.responses.loops import LoopWatch
from tests.conftest import LogBook
from tests.engine.conftest import Bridge
from tests.engine.llama import llama_server
from tests.harness import CODEX, Answer, Setup

Json = dict[str, Any]
TOOLS = [
    {
        "type": "function",
        "name": "exec_command",
        "parameters": {
            "type": "object",
            "properties": {"cmd": {"type": "string"}},
            "required": ["cmd"],
        },
    }
]
ENOUGH = 200
"""Tokens for the longest answer but `LOOP`, which ends at no other limit."""
FOREVER = 8_000
"""Tokens that the model does not write while a test runs."""
POLLS = 200
"""Requests, each of which takes some milliseconds."""


def user(text: str) -> Json:
    return {"type": "message", "role": "user", "content": text}


def request(*items: Json, **more: Any) -> Json:
    return {
        "model": "tiny",
        "instructions": "Help.",
        "input": list(items),
        "tools": TOOLS,
        "max_output_tokens": ENOUGH,
    } | more


async def ask(setup: Setup, *items: Json, **more: Any) -> Json:
    """The response to Codex, after its events were checked."""
    answer: Answer = await setup.ask(request(*items, **more), CODEX)
    assert answer.status == 200
    return answer.response


def kept(response: Json) -> list[Any]:
    """What the client got: (kind, text or arguments), in order."""
    return [
        (item["type"], item["arguments"])
        if item["type"] == "function_call"
        else (item["type"], (item.get("content") or item["summary"])[0]["text"])
        for item in response["output"]
    ]


CALL = ("function_call", '{"cmd": "ls /tmp"}')
SPEECH: dict[str, tuple[list[Any], dict[str, int]]] = {
    "": ([CALL], {}),
    "TALK": ([("message", "Hello! I am a tiny local model.")], {}),
    "THINK": ([("reasoning", "The user wants to see files. I will list them.\n"), CALL], {}),
    "REASON": (
        [("reasoning", "No tool is needed for this.\n"), ("message", "The answer is four.")],
        {},
    ),
    "MIXED": ([("message", "I will list the files first.\n"), CALL], {}),
    "TWO": ([CALL, ("function_call", '{"cmd": "pwd"}')], {}),
    "LEAK": ([CALL], {"leak: fence": 1}),
    "BARE": ([CALL], {"leak: json": 1}),
    "FUNC": ([("function_call", '{"cmd":"ls /tmp"}')], {"leak: function tag": 1}),
    # What is wrong in these four does not reach the bridge: as soon as the model begins a call,
    # llama.cpp's grammar lets it write only what the tool takes.
    "UNCLOSED": ([CALL], {}),
    "STRARGS": ([CALL], {}),
    "UNKNOWN": ([CALL], {}),
    "BROKEN": ([("function_call", '{"cmd": "ls /tmp"\n\n                  }')], {}),
    "ESC": (
        [("function_call", r"""{"cmd": "printf '%s\\n' \"a \\\"b\\\" \\\\ c\"\necho \t done"}""")],
        {},
    ),
    "UTF": ([("message", "Grüße 🌍 aus der Küche: 你好, мир, ½ € 👩\u200d💻!")], {}),
}
"""Key word -> what the client gets, and which repairs are counted."""


@pytest.mark.parametrize("word", SPEECH)
@pytest_twisted.ensureDeferred
async def test_what_the_model_says_reaches_the_client(
    llama: LlamaServer, bridge_to: Bridge, word: str
) -> None:
    setup = await bridge_to(llama.url)
    response = await ask(setup, user(f"go {word}".strip()))
    expected, repairs = SPEECH[word]
    assert response["status"] == "completed"
    assert kept(response) == expected
    health = (await setup.request("GET", "/__health")).json
    assert health["repairs"] == repairs
    assert health["models"]["tiny"]["api"] == "chat"


@pytest.mark.parametrize("alternatives", [0, 3])
@pytest_twisted.ensureDeferred
async def test_each_token_of_a_text_comes_with_its_probability(
    llama: LlamaServer, bridge_to: Bridge, alternatives: int
) -> None:
    setup = await bridge_to(llama.url)
    more = {"include": ["message.output_text.logprobs"], "top_logprobs": alternatives}
    answer = await setup.ask(request(user("go REASON"), tools=[], **more))
    (thought, message) = answer.response["output"]
    part = message["content"][0]
    assert "".join(each["token"] for each in part["logprobs"]).strip() == part["text"]
    assert all(each["logprob"] <= 0 for each in part["logprobs"])
    # llama.cpp gives one alternative at least.
    assert {len(each["top_logprobs"]) for each in part["logprobs"]} == {max(alternatives, 1)}
    deltas = [each for each in answer.events if each["type"] == "response.output_text.delta"]
    assert [token for each in deltas for token in each["logprobs"]] == part["logprobs"]
    assert len(deltas) > 2
    assert "logprobs" not in thought["summary"][0]
    refused = await setup.ask(request(user("go REASON"), **more))
    assert refused.status == 400
    assert "logprobs is not supported with tools + stream" in refused.json["error"]["message"]


@pytest.mark.parametrize("text", ["go", "Grüße 🌍 <tool_call> TALK"])
@pytest_twisted.ensureDeferred
async def test_the_tokens_of_a_prompt_are_counted_as_the_answer_counts_them(
    llama: LlamaServer, bridge_to: Bridge, llama_log: Path, text: str
) -> None:
    setup = await bridge_to(llama.url)
    await ask(setup, user("go TALK"))
    before = llama_log.read_text().count("launch_slot_")
    told = await setup.request("POST", "/v1/responses/input_tokens", request(user(text)))
    # Nothing was generated for it.
    assert llama_log.read_text().count("launch_slot_") == before
    response = await ask(setup, user(text))
    counted = response["usage"]["input_tokens"]
    assert told.json == {"object": "response.input_tokens", "input_tokens": counted}


@pytest_twisted.ensureDeferred
async def test_a_model_that_says_nothing_is_asked_to_go_on(
    llama: LlamaServer, bridge_to: Bridge, llama_log: Path
) -> None:
    setup = await bridge_to(llama.url)
    before = llama_log.read_text().count("launch_slot_")
    response = await ask(setup, user("go EMPTY"))
    # Asked again with the same bytes, it says nothing again.
    assert response["status"] == "completed"
    assert response["output"]
    assert llama_log.read_text().count("launch_slot_") - before == 2


@pytest_twisted.ensureDeferred
async def test_an_answer_without_an_end_ends_at_the_limit_of_the_client(
    llama: LlamaServer, bridge_to: Bridge
) -> None:
    setup = await bridge_to(llama.url)
    answer = await setup.ask(request(user("go LOOP"), max_output_tokens=24))
    assert answer.response["status"] == "incomplete"
    assert answer.response["incomplete_details"] == {"reason": "max_output_tokens"}
    assert answer.response["usage"]["output_tokens"] == 24
    assert kept(answer.response) == [("message", " ".join(["ha"] * 24))]


@pytest_twisted.ensureDeferred
async def test_an_answer_follows_the_schema_that_the_client_asks_for(
    llama: LlamaServer, bridge_to: Bridge
) -> None:
    properties = {"ok": {"type": "boolean"}, "colour": {"enum": ["red", "green"]}}
    schema = {
        "type": "object",
        "properties": properties,
        "required": [*properties],
        "additionalProperties": False,
    }
    wanted = {"type": "json_schema", "name": "choice", "strict": True, "schema": schema}
    setup = await bridge_to(llama.url)
    response = await ask(setup, user("go TALK"), tools=[], text={"format": wanted})
    ((kind, text),) = kept(response)
    value = orjson.loads(text)
    assert kind == "message"
    assert value.keys() == properties.keys()
    assert type(value["ok"]) is bool
    assert value["colour"] in {"red", "green"}


@pytest.mark.parametrize(
    "word",
    [
        "",
        "THINK",
    ],
)
@pytest_twisted.ensureDeferred
async def test_in_the_next_request_the_engine_reads_only_what_is_new(
    llama: LlamaServer, bridge_to: Bridge, word: str
) -> None:
    setup = await bridge_to(llama.url)
    question = user(f"go {word}".strip())
    first = await ask(setup, question)
    result = {
        "type": "function_call_output",
        "call_id": first["output"][-1]["call_id"],
        "output": "a.txt",
    }
    second = await ask(setup, question, *first["output"], result)
    assert [kind for kind, _ in kept(second)] == ["message"]
    # All that it read and wrote before, except for the last token, which ended its answer.
    whole = first["usage"]["input_tokens"] + first["usage"]["output_tokens"]
    assert second["usage"]["input_tokens_details"]["cached_tokens"] == whole - 1


@pytest_twisted.ensureDeferred
async def test_the_engine_tells_what_it_is_and_its_context(
    llama: LlamaServer, bridge_to: Bridge, logged: LogBook
) -> None:
    setup = await bridge_to(llama.url)
    await ask(setup, user("go"))
    health = (await setup.request("GET", "/__health")).json
    assert health["models"]["tiny"]["context"] == 16384
    assert any("upstream: llama.cpp" in str(formatEvent(event)) for event in logged.events)


@pytest_twisted.ensureDeferred
async def test_a_tool_that_the_client_names_is_called(
    llama: LlamaServer, bridge_to: Bridge
) -> None:
    setup = await bridge_to(llama.url)
    named = {"type": "function", "name": "exec_command"}
    # By itself the model would talk.
    response = await ask(setup, user("go TALK"), tool_choice=named)
    assert "exec_command" in [item.get("name") for item in response["output"]]


@pytest.mark.parametrize("effort", ["none", "high"])
@pytest_twisted.ensureDeferred
async def test_the_engine_takes_every_effort(
    llama: LlamaServer, bridge_to: Bridge, effort: str
) -> None:
    setup = await bridge_to(llama.url)
    response = await ask(setup, user("go"), reasoning={"effort": effort})
    assert response["status"] == "completed"


NATIVE = {"model": "tiny", "messages": [{"role": "user", "content": "go LOOP"}]}
ENDLESS: dict[str, tuple[Json, bytes]] = {
    # Path -> the request, and what stands in each piece of the answer.
    "/v1/responses": (
        {"stream": True} | request(user("go LOOP"), max_output_tokens=FOREVER),
        b"event: response.output_text.delta",
    ),
    "/api/chat": (NATIVE | {"options": {"num_predict": FOREVER}}, b'"done":false'),
}


@pytest.fixture
def loops_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that repeats itself is not ended by the bridge."""
    monkeypatch.setattr(LoopWatch, "feed", lambda self, deltas: None)


@pytest_twisted.ensureDeferred
async def test_an_answer_that_repeats_itself_is_ended(
    llama: LlamaServer, bridge_to: Bridge
) -> None:
    setup = await bridge_to(llama.url)
    response = await ask(setup, user("go LOOP"), max_output_tokens=FOREVER)
    assert response["status"] == "failed"
    assert "only repeated itself" in response["error"]["message"]
    polls = 0
    while await is_busy(setup):
        polls += 1
        assert polls < POLLS, "the engine goes on"


@pytest.mark.usefixtures("loops_go_on")
@pytest.mark.parametrize("path", ENDLESS)
@pytest_twisted.ensureDeferred
async def test_a_client_that_hangs_up_stops_the_engine(
    llama: LlamaServer, bridge_to: Bridge, path: str
) -> None:
    setup = await bridge_to(llama.url)
    client = await setup.connect()
    asked, piece = ENDLESS[path]
    client.post(asked, path)
    await client.until_count(piece, 5)
    assert await is_busy(setup)
    await client.close()
    polls = 0
    while await is_busy(setup):
        polls += 1
        assert polls < POLLS, "the engine goes on"


async def is_busy(setup: Setup) -> bool:
    """What llama.cpp says of its one slot; the request passes through the bridge."""
    ((slot),) = (await setup.request("GET", "/slots")).json
    busy: bool = slot["is_processing"]
    return busy


@pytest.mark.parametrize("headers", [CODEX, {}], ids=["codex", "sdk"])
@pytest_twisted.ensureDeferred
async def test_a_prompt_that_is_too_long_is_told_with_the_numbers_of_the_engine(
    llama: LlamaServer, bridge_to: Bridge, headers: Json
) -> None:
    setup = await bridge_to(llama.url)
    answer = await setup.ask(request(user("word " * 17_000)), headers)
    error = answer.response["error"] if headers else answer.json["error"]
    assert answer.status == (200 if headers else 400)
    assert error["code"] == "context_length_exceeded"
    assert "exceeds the available context size (16384 tokens)" in error["message"]
    assert re.search(r"request \(17\d\d\d tokens\)", error["message"])


@pytest_twisted.ensureDeferred
async def test_two_requests_at_once_are_both_answered_by_one_slot(
    llama: LlamaServer, bridge_to: Bridge
) -> None:
    setup = await bridge_to(llama.url)
    words = ("TALK", "REASON")
    both = [Deferred.fromCoroutine(ask(setup, user(f"go {word}"))) for word in words]
    for word, response in zip(words, await gatherResults(both), strict=True):
        assert kept(response) == SPEECH[word][0]


@pytest.mark.usefixtures("loops_go_on")
@pytest_twisted.ensureDeferred
async def test_an_engine_that_dies_in_mid_answer_is_one_failure(
    bridge_to: Bridge, tmp_path: Path
) -> None:
    with llama_server(tmp_path / "log") as engine:
        setup = await bridge_to(engine.url)
        client = await setup.connect()
        body = request(user("go LOOP"), max_output_tokens=FOREVER)
        client.post({"stream": True} | body, headers=CODEX)
        await client.until_count(b"event: response.output_text.delta", 5)
        engine.process.kill()
        stream = await client.until(b"0\r\n\r\n")
    assert stream.count(b"event: response.failed\n") == 1
    assert b"event: response.completed" not in stream
    assert b"llama.cpp broke off its answer" in stream
    assert engine.process.wait() == -signal.SIGKILL


class _Cut(ProxyClient):
    """Breaks off the first answer that has the mark, in the middle of it."""

    def dataReceived(self, data: bytes) -> None:
        relay = self.peer.factory
        before, mark, _ = data.partition(relay.mark)
        if relay.has_cut or not mark:
            super().dataReceived(data)
            return
        relay.has_cut = True
        super().dataReceived(before)
        self.peer.transport.loseConnection()
        self.transport.loseConnection()


class _CutFactory(ProxyClientFactory):
    protocol = _Cut


class _CutServer(ProxyServer):
    clientProtocolFactory = _CutFactory


@pytest_twisted.ensureDeferred
async def test_an_answer_that_breaks_off_in_mid_text_is_continued_by_the_engine(
    llama: LlamaServer, bridge_to: Bridge
) -> None:
    relay = ProxyFactory("127.0.0.1", int(llama.url.rpartition(":")[2]))
    relay.protocol, relay.has_cut, relay.mark = _CutServer, False, b" local"
    port = reactor.listenTCP(0, relay, interface="127.0.0.1")
    setup = await bridge_to(f"http://127.0.0.1:{port.getHost().port}")
    # An answer is continued only where no limit of the client's counts its tokens.
    response = await ask(setup, user("go TALK"), max_output_tokens=None)
    assert relay.has_cut
    assert response["status"] == "completed", response["error"]
    assert kept(response) == SPEECH["TALK"][0]
    repairs = (await setup.request("GET", "/__health")).json["repairs"]
    assert repairs == {"broken answer continued": 1}
    await port.stopListening()


SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}


@pytest_twisted.ensureDeferred
async def test_an_answer_that_does_not_fit_its_schema_is_given_again_with_a_grammar(
    llama: LlamaServer, bridge_to: Bridge
) -> None:
    setup = await bridge_to(llama.url)
    form = {"type": "json_schema", "name": "n", "schema": SCHEMA}
    response = await ask(setup, user("go TALK"), text={"format": form})
    assert response["status"] == "completed"
    text = response["output"][-1]["content"][0]["text"]
    assert list(orjson.loads(text)) == ["n"]
    health = (await setup.request("GET", "/__health")).json
    assert health["repairs"] == {"asked again constrained to the schema": 1}


@pytest_twisted.ensureDeferred
async def test_a_thought_that_is_too_long_is_ended_and_the_call_comes(
    llama: LlamaServer, bridge_to: Bridge
) -> None:
    setup = await bridge_to(llama.url, think_budget=3)
    assert kept(await ask(setup, user("go THINK")))[-1] == CALL
    health = (await setup.request("GET", "/__health")).json
    assert health["repairs"] == {"asked again to end its thought": 1}


OWN_WORDS = {
    # The chat route of llama.cpp holds all of them to `exec_command`.
    "SHELL": ("exec_command", "ls /tmp"),
    "PATCH": ("exec_command", "*** Begin Patch"),
    "BROKEN": ("exec_command", "ls /tmp"),
    "UNKNOWN": ("no_such_tool", '"x"'),
}


@pytest.mark.parametrize("word", OWN_WORDS)
@pytest_twisted.ensureDeferred
async def test_in_its_own_words_the_model_says_what_it_means(
    llama: LlamaServer, bridge_to: Bridge, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As after two calls that its server had dropped, which this one never does.
    monkeypatch.setattr(
        models, "_with_learned", lambda info, model: evolve(info, gives_own_words=True)
    )
    setup = await bridge_to(llama.url)
    (call,) = [
        item
        for item in (await ask(setup, user(f"go {word}")))["output"]
        if item["type"] == "function_call"
    ]
    name, part = OWN_WORDS[word]
    assert call["name"] == name
    assert part in call["arguments"]
