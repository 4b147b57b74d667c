"""POST /v1/responses, from the client's bytes to the model and back."""

from __future__ import annotations

from functools import partial
from typing import Any

import orjson
import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel

from tests.conftest import LogBook, Start
from tests.fake_ollama import (
    Call,
    Calls,
    Die,
    FakeOllama,
    Finish,
    Fragments,
    Hold,
    Playlist,
    Refuse,
    Say,
    Think,
)
from tests.harness import CODEX, Json, RawClient
from tests.responses import grammar

LS = {"cmd": "ls"}


def shapes(response: Json) -> list[tuple[str, str]]:
    return [(item["type"], grammar.text_of(item)) for item in response["output"]]


ANSWERS: dict[str, tuple[list[Any], list[tuple[str, str]]]] = {
    "text": ([Say("Hello world")], [("message", "Hello world")]),
    "reasoning and text": (
        [Think("I should greet."), Say("Hi ✓")],
        [("reasoning", "I should greet."), ("message", "Hi ✓")],
    ),
    "one call": ([Call("exec_command", LS)], [("function_call", '{"cmd":"ls"}')]),
    "text, then a call": (
        [Say("I look."), Call("exec_command", LS)],
        [("message", "I look."), ("function_call", '{"cmd":"ls"}')],
    ),
    "two calls in one chunk": (
        [Think("Two."), Calls(Call("exec_command", LS), Call("exec_command", {"cmd": "pwd"}))],
        [
            ("reasoning", "Two."),
            ("function_call", '{"cmd":"ls"}'),
            ("function_call", '{"cmd":"pwd"}'),
        ],
    ),
    "two calls in two chunks": (
        [Call("exec_command", LS), Call("exec_command", {"cmd": "pwd"})],
        [("function_call", '{"cmd":"ls"}'), ("function_call", '{"cmd":"pwd"}')],
    ),
    "a call in fragments": (
        [Fragments("exec_command", ('{"cm', 'd":"l', 's"}'))],
        [("function_call", '{"cmd":"ls"}')],
    ),
}


@pytest.fixture(name="start", params=["chat", "ollama"])
def over_both_dialects(start: Start, request: pytest.FixtureRequest) -> Start:
    """Every test runs with Ollama asked in either of its dialects."""
    return partial(start, upstream_api=request.param)


@pytest.mark.parametrize("version", ["0.20.0", "0.33.0"])
@pytest.mark.parametrize("upstream_stream", [True, False])
@pytest.mark.parametrize(("answer", "expected"), ANSWERS.values(), ids=ANSWERS.keys())
@pytest_twisted.ensureDeferred
async def test_every_answer_becomes_the_same_items_from_every_upstream(
    start: Start,
    reactor_under_test: Any,
    answer: list[Any],
    expected: list[tuple[str, str]],
    upstream_stream: bool,
    version: str,
) -> None:
    fake = FakeOllama(reactor_under_test, model=Playlist(answer), version=version)
    setup = await start(fake=fake, upstream_stream=upstream_stream)
    reply = await setup.ask()
    assert reply.status == 200
    assert reply.header("content-type") == "text/event-stream; charset=utf-8"
    assert reply.response["status"] == "completed"
    assert shapes(reply.response) == expected
    assert reply.response["usage"]["input_tokens"] > 0
    assert fake.turns[0].json["stream"] is upstream_stream


@pytest_twisted.ensureDeferred
async def test_a_namespaced_call_goes_back_as_codex_routes_it(start: Start) -> None:
    setup = await start(Playlist([Call("multi_agent_v1__spawn_agent", {"message": "x"})]))
    (item,) = (await setup.ask()).response["output"]
    assert (item["name"], item["namespace"]) == ("spawn_agent", "multi_agent_v1")


@pytest_twisted.ensureDeferred
async def test_the_model_gets_one_system_message_and_only_functions(start: Start) -> None:
    setup = await start(Playlist([Say("ok")]), directives=False)
    developer = {"type": "message", "role": "developer", "content": "Be brief."}
    user = {"type": "message", "role": "user", "content": "hi"}
    await setup.ask({"input": [developer, user]})
    chat = setup.fake.turns[0].json
    assert [message["role"] for message in chat["messages"]] == ["system", "user"]
    assert chat["messages"][0]["content"] == "Be helpful.\n\nBe brief."
    assert [tool["type"] for tool in chat["tools"]] == ["function", "function"]
    if setup.fake.chats:
        assert chat["stream_options"] == {"include_usage": True}


@pytest_twisted.ensureDeferred
async def test_a_tool_round_is_accepted_by_the_upstream(start: Start) -> None:
    setup = await start(Playlist([Call("exec_command", LS)], [Say("Two files.")]))
    first = (await setup.ask()).response
    (call,) = first["output"]
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "a\nb"}
    second = await setup.ask({"input": [*_input("hi"), *first["output"], result]})
    assert shapes(second.response) == [("message", "Two files.")]
    messages = setup.fake.turns[1].json["messages"]
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "tool"]
    assert messages[3]["tool_call_id"] == messages[2]["tool_calls"][0]["id"]
    assert messages[3]["content"] == "a\nb"


def _input(text: str) -> list[Json]:
    return [{"type": "message", "role": "user", "content": text}]


@pytest_twisted.ensureDeferred
async def test_text_reaches_the_client_before_the_model_has_finished(start: Start) -> None:
    more: Deferred[None] = Deferred()
    setup = await start(Playlist([Say("Hello", pieces=("Hello",)), Hold(more), Say(" world")]))
    client = await setup.connect()
    client.post(_streaming())
    received = await client.until(b'"delta":"Hello"')
    assert b"world" not in received
    more.callback(None)
    await client.until(b"response.completed")


def _streaming() -> Json:
    return {"model": "qwen3:14b", "input": "hi", "stream": True}


@pytest_twisted.ensureDeferred
async def test_without_stream_the_answer_is_one_json_object(start: Start) -> None:
    setup = await start(Playlist([Think("hm"), Say("Hello")]))
    reply = await setup.ask({"stream": False})
    assert reply.header("content-type") == "application/json"
    assert reply.json["object"] == "response"
    assert shapes(reply.json) == [("reasoning", "hm"), ("message", "Hello")]


@pytest_twisted.ensureDeferred
async def test_codex_base_urls_without_v1_work(start: Start) -> None:
    setup = await start(Playlist([Say("ok")]))
    reply = await setup.request("POST", "/responses?x=1", _streaming())
    assert reply.response["status"] == "completed"


@pytest.mark.parametrize(("headers", "status"), [({}, "incomplete"), (CODEX, "completed")])
@pytest_twisted.ensureDeferred
async def test_length_is_told_as_each_client_understands_it(
    start: Start, headers: Json, status: str
) -> None:
    setup = await start(Playlist([Say("Once"), Finish("length")]))
    reply = await setup.ask(headers=headers)
    assert reply.response["status"] == status
    assert shapes(reply.response) == [("message", "Once")]


BAD = {
    "no JSON": (b"{", 400, "invalid_json"),
    "no object": (b"[]", 400, "invalid_type"),
    "no model": ({"input": "hi"}, 400, "missing_required_parameter"),
    "no input": ({"model": "m"}, 400, "missing_required_parameter"),
    "a wrong type": ({"model": "m", "input": 3}, 400, "invalid_type"),
    "an unknown model": ({"model": "nope:1b", "input": "hi"}, 404, "model_not_found"),
}


@pytest.mark.parametrize(("body", "status", "code"), BAD.values(), ids=BAD.keys())
@pytest_twisted.ensureDeferred
async def test_bad_input_is_told_and_the_next_request_works(
    start: Start, body: Any, status: int, code: str
) -> None:
    setup = await start(Playlist([Say("ok")]))
    reply = await setup.request("POST", "/v1/responses", body)
    assert reply.status == status
    error = reply.json["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == code
    assert (await setup.ask()).response["status"] == "completed"


@pytest.mark.parametrize(("body", "status", "code"), BAD.values(), ids=BAD.keys())
@pytest_twisted.ensureDeferred
async def test_codex_is_told_in_the_stream_where_it_shows_the_sentence_once(
    start: Start, body: Any, status: int, code: str
) -> None:
    setup = await start(Playlist())
    reply = await setup.request("POST", "/v1/responses", _with_stream(body), CODEX)
    assert reply.status == 200
    assert reply.response["status"] == "failed"
    assert reply.response["error"]["code"] == "invalid_prompt"


def _with_stream(body: Any) -> Any:
    return body | {"stream": True} if isinstance(body, dict) else body


@pytest.mark.parametrize("chunked", [False, True])
@pytest_twisted.ensureDeferred
async def test_a_body_over_the_limit_is_refused_and_the_connection_lives_on(
    start: Start, chunked: bool
) -> None:
    setup = await start(Playlist([Say("ok")]), max_body_size=2000)
    client = await setup.connect()
    payload = b"x" * 3000
    head = b"POST /v1/responses HTTP/1.1\r\nHost: localhost\r\n"
    if chunked:
        client.send(head + b"Transfer-Encoding: chunked\r\n\r\n")
        client.send(b"bb8\r\n" + payload + b"\r\n0\r\n\r\n")
    else:
        client.send(head + b"Content-Length: 3000\r\n\r\n" + payload)
    received = await client.until(b"request_too_large")
    assert received.startswith(b"HTTP/1.1 413 ")
    assert b"--max-body-size" in received
    client.post(_streaming())
    await client.until(b"response.completed")


@pytest_twisted.ensureDeferred
async def test_an_endless_body_is_cut_off(start: Start) -> None:
    setup = await start(Playlist(), max_body_size=2000)
    client = await setup.connect()
    client.send(b"POST /v1/responses HTTP/1.1\r\nHost: localhost\r\n")
    client.send(b"Transfer-Encoding: chunked\r\n\r\n" + (b"3e8\r\n" + b"x" * 1000 + b"\r\n") * 40)
    await client.lost


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/responses", 405),
        ("DELETE", "/responses", 405),
        ("GET", "/v1/responses/resp_1", 404),
        ("GET", "/v1/responses/resp_1/input_items", 404),
        ("GET", "/v1/responses/resp_1/nothing", 404),
        ("POST", "/v1/responses/resp_1", 405),
        ("GET", "/__nothing", 404),
        ("GET", "/%ff", 400),
    ],
)
@pytest_twisted.ensureDeferred
async def test_our_own_routes_answer_wrong_use_in_json(
    start: Start, method: str, path: str, status: int
) -> None:
    setup = await start(Playlist())
    reply = await setup.request(method, path)
    assert reply.status == status
    assert set(reply.json["error"]) == {"message", "type", "param", "code"}
    assert setup.fake.exchanges == []


DEATHS = {
    "clean end without finish": [Say("Wor"), Die("close")],
    "the empty chunk": [Say("Wor"), Die("empty-model")],
}


@pytest.mark.parametrize("answer", DEATHS.values(), ids=DEATHS.keys())
@pytest_twisted.ensureDeferred
async def test_an_answer_that_breaks_off_is_never_reported_as_success(
    start: Start, answer: list[Any]
) -> None:
    setup = await start(Playlist(answer))
    reply = await setup.ask(headers=CODEX)
    assert reply.response["status"] == "failed"
    assert reply.response["error"]["code"] == "server_error"
    assert "broke off" in reply.response["error"]["message"]


@pytest_twisted.ensureDeferred
async def test_a_reset_in_the_middle_is_a_failure(start: Start) -> None:
    seen: Deferred[None] = Deferred()
    setup = await start(Playlist([Say("Hello"), Hold(seen), Die("reset")]))
    client = await setup.connect()
    client.post(_streaming())
    await client.until(b"Hello")
    seen.callback(None)
    received = await client.until(b"response.failed")
    assert b"broke off" in received


@pytest.mark.parametrize("how", ["close", "empty-model", "ndjson"])
@pytest_twisted.ensureDeferred
async def test_an_empty_answer_is_a_failure(start: Start, how: str) -> None:
    setup = await start(Playlist([Die(how)]))
    assert (await setup.ask()).response["status"] == "failed"


@pytest_twisted.ensureDeferred
async def test_a_refusal_keeps_ollamas_sentence(start: Start) -> None:
    setup = await start(Playlist([Refuse(418, "the pot is too small")]))
    reply = await setup.ask()
    assert reply.status == 418
    assert "the pot is too small" in reply.json["error"]["message"]


@pytest_twisted.ensureDeferred
async def test_ollama_down_is_one_sentence_with_its_url(start: Start) -> None:
    setup = await start(Playlist())
    await setup.fake.stop()
    reply = await setup.ask()
    assert reply.status == 502
    assert setup.fake.url in reply.json["error"]["message"]
    assert "refused" in reply.json["error"]["message"]


@pytest_twisted.ensureDeferred
async def test_a_client_that_leaves_while_the_model_is_silent_stops_the_generation(
    start: Start,
) -> None:
    setup = await start(Playlist([Hold(Deferred()), Say("never")]))
    seen = setup.fake.chat_seen()
    client = await setup.connect()
    client.post(_streaming())
    chat = await seen
    await client.close()
    await chat.when_hung_up()


@pytest_twisted.ensureDeferred
async def test_a_client_that_leaves_mid_stream_stops_the_generation(start: Start) -> None:
    setup = await start(Playlist([Say("Hello"), Hold(Deferred()), Say("never")]))
    client = await setup.connect()
    client.post(_streaming())
    await client.until(b"Hello")
    await client.close()
    await setup.fake.turns[0].when_hung_up()


@pytest_twisted.ensureDeferred
async def test_a_client_that_leaves_a_whole_answer_stops_the_generation(start: Start) -> None:
    setup = await start(Playlist([Hold(Deferred()), Say("never")]), upstream_stream=False)
    seen = setup.fake.chat_seen()
    client = await setup.connect()
    client.post(_streaming())
    chat = await seen
    await client.close()
    await chat.when_hung_up()


@pytest_twisted.ensureDeferred
async def test_one_log_line_per_exchange_tells_what_happened(start: Start, logged: LogBook) -> None:
    setup = await start(Playlist([Call("exec_command", LS)]))
    reply = await setup.ask()
    (line,) = [event for event in logged.at(LogLevel.info) if "exchange" in event]
    assert line["exchange"] == reply.response["id"]
    assert line["model"] == "qwen3:14b"
    assert line["mode"] == "streamed"
    assert line["input"] == reply.response["usage"]["input_tokens"]
    assert line["output"] == reply.response["usage"]["output_tokens"]
    assert line["tools"] == "exec_command"
    assert line["outcome"] == "completed"
    assert "hi" not in line["log_format"]


@pytest_twisted.ensureDeferred
async def test_prompts_are_logged_only_for_debug(start: Start, logged: LogBook) -> None:
    for debug in (False, True):
        setup = await start(Playlist([Say("sesame")]), debug=debug)
        await setup.ask({"input": "open the door"})
        text = repr(logged.events)
        assert ("open the door" in text) is debug
        assert ("sesame" in text) is debug


@pytest_twisted.ensureDeferred
async def test_quiet_logs_no_exchange(start: Start, logged: LogBook) -> None:
    setup = await start(Playlist([Say("ok")]), quiet=True)
    await setup.ask()
    assert [event for event in logged.events if "exchange" in event] == []


@pytest.mark.expects_errors
@pytest_twisted.ensureDeferred
async def test_a_bug_fails_one_exchange_with_an_id_that_is_in_the_log(
    start: Start, logged: LogBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = await start(Playlist([Say("Hello")], [Say("ok")]))
    from codex_bridge.responses.attempt import Attempt

    with monkeypatch.context() as patch:
        patch.setattr(Attempt, "feed", lambda *_: 1 / 0)
        reply = await setup.ask()
    assert reply.response["error"]["code"] == "server_error"
    (event,) = logged.errors()
    assert event["exchange"] in reply.response["error"]["message"]
    assert (await setup.ask()).response["status"] == "completed"


@pytest_twisted.ensureDeferred
async def test_a_web_page_of_a_foreign_name_is_refused(start: Start) -> None:
    setup = await start(Playlist())
    client: RawClient = await setup.connect()
    client.send(b"POST /v1/responses HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 2\r\n\r\n{}")
    received = await client.until(b"foreign_host")
    assert received.startswith(b"HTTP/1.1 403 ")
    assert orjson.loads(received.split(b"\r\n\r\n")[1])["error"]["type"]
    assert setup.fake.exchanges == []


LEAK = '<tool_call>{"name": "bash", "arguments": {"cmd": "ls"}}</tool_call>'


@pytest.mark.parametrize("stream", [True, False])
@pytest_twisted.ensureDeferred
async def test_an_attempt_that_came_to_nothing_counts_neither_tokens_nor_repairs(
    start: Start, logged: LogBook, stream: bool
) -> None:
    used = {"prompt_tokens": 70, "completion_tokens": 7, "total_tokens": 77}
    broken = [Think("Hm."), Say(LEAK), Die("reset")]
    empty = [Finish(usage=used)]
    setup = await start(Playlist(broken, empty, [Say("Hello")]))
    reply = await setup.ask({"stream": stream})
    response = reply.response if stream else reply.json
    assert [item["type"] for item in response["output"]][-1] == "message"
    assert response["usage"]["input_tokens"] != 70
    health = (await setup.request("GET", "/__health")).json
    assert health["repairs"] == {"asked again told what was wrong": 1}
    (line,) = [event for event in logged.at(LogLevel.info) if "exchange" in event]
    assert (line["repairs"], line["tools"]) == ("asked again told what was wrong", "none")
    assert line["outcome"] == "completed, asked 3 times"


@pytest_twisted.ensureDeferred
async def test_a_whole_reply_holds_nothing_of_an_attempt_that_broke_off(start: Start) -> None:
    setup = await start(Playlist([Think("Hm."), Die("close")], [Say("Hello")]))
    reply = await setup.ask({"stream": False})
    assert shapes(reply.json) == [("message", "Hello")]


@pytest.mark.parametrize("stream", [True, False])
@pytest_twisted.ensureDeferred
async def test_reasoning_that_was_streamed_stays_and_is_followed_by_the_next_attempt(
    start: Start, stream: bool
) -> None:
    setup = await start(Playlist([Think("Hm."), Die("close")], [Think("Well."), Say("Hello")]))
    reply = await setup.ask({"stream": stream})
    response = reply.response if stream else reply.json
    dropped = [("reasoning", "Hm.")] if stream else []
    assert shapes(response) == [*dropped, ("reasoning", "Well."), ("message", "Hello")]


@pytest_twisted.ensureDeferred
async def test_an_effort_that_is_refused_is_left_out_and_asked_again(start: Start) -> None:
    refused = [Refuse(400, 'think value "high" is not supported for this model')]
    setup = await start(Playlist(refused, [Say("Hello")]))
    reply = await setup.ask({"reasoning": {"effort": "high"}})
    assert reply.response["status"] == "completed"
    first, second = (turn.json for turn in setup.fake.turns)
    assert "high" in (first.get("think"), first.get("reasoning_effort"))
    assert "high" not in (second.get("think"), second.get("reasoning_effort"))


@pytest_twisted.ensureDeferred
async def test_a_model_that_refuses_every_effort_is_told_once(start: Start) -> None:
    refused = [Refuse(400, "thinking is not supported for this model")]
    setup = await start(Playlist(refused, refused, refused))
    reply = await setup.ask({"reasoning": {"effort": "high"}})
    assert reply.status == 400
    assert len(setup.fake.turns) == 2
