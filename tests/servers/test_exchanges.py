"""One exchange after another with each kind of server: what it gets, what the client gets."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted

from tests.harness import CODEX, REQUEST
from tests.servers.conftest import Begin
from tests.servers.double import Double, Kind, one_token
from tests.servers.kinds import (
    CALLED,
    DONE,
    KINDS,
    LLAMA_SWAP,
    LM_STUDIO,
    LS,
    MODEL,
    OTHER,
    PWD,
    ROUTER,
    SPOKEN,
    VLLM,
    chunk,
    listed,
    routed,
)

Json = dict[str, Any]
EXEC = {
    "type": "function",
    "name": "exec_command",
    "parameters": {"type": "object", "properties": {"cmd": {"type": "string"}}},
}
HISTORY = [
    {"type": "message", "role": "user", "content": "go"},
    {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Files."}]},
    {"type": "function_call", "call_id": "c", "name": "exec_command", "arguments": LS},
    {"type": "function_call_output", "call_id": "c", "output": "a.txt"},
]
ASK: Json = {"model": MODEL, "tools": [EXEC], "input": HISTORY}
ALL = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def texts(response: Json) -> list[str]:
    return [
        item["arguments"]
        if item["type"] == "function_call"
        else (item.get("content") or item["summary"])[0]["text"]
        for item in response["output"]
    ]


@pytest.mark.parametrize(
    "change", [{"top_logprobs": 2}, {"include": ["message.output_text.logprobs"]}]
)
@pytest_twisted.ensureDeferred
async def test_a_server_without_probabilities_is_no_reason_to_leave_them_out_in_silence(
    begin: Begin, change: Json
) -> None:
    double, setup = await begin(LM_STUDIO, LM_STUDIO.stream(*SPOKEN["LM Studio"]))
    reply = await setup.ask(ASK | change)
    assert (reply.status, double.asked) == (400, [])
    error = reply.json["error"]
    assert (error["code"], error["param"]) == ("logprobs_unsupported", "top_logprobs")
    assert error["message"].startswith("LM Studio gives no probabilities of tokens.")


USAGE = {
    # input, cached, output, reasoning
    "vLLM": (21, 16, 6, 0),
    "SGLang": (21, 0, 6, 3),
    "LM Studio": (21, 0, 6, 0),
    "llama-swap": (21, 16, 6, 0),
    "mlx_lm.server": (21, 16, 6, 0),
    "llama.cpp": (21, 16, 6, 0),
}


@ALL
@pytest_twisted.ensureDeferred
async def test_reasoning_and_text_reach_the_client(begin: Begin, kind: Kind) -> None:
    double, setup = await begin(kind, kind.stream(*SPOKEN[kind.name]))
    response = (await setup.ask(ASK, CODEX)).response
    assert response["status"] == "completed", response["error"]
    assert [item["type"] for item in response["output"]] == ["reasoning", "message"]
    assert texts(response) == ["I look.", "It is done."]
    usage = response["usage"]
    counted = (
        usage["input_tokens"],
        usage["input_tokens_details"]["cached_tokens"],
        usage["output_tokens"],
        usage["output_tokens_details"]["reasoning_tokens"],
    )
    # A server that counts nothing is estimated.
    assert counted == USAGE.get(kind.name, counted)
    assert usage["input_tokens"] > 0
    assert len(double.asked) == 1
    health = (await setup.request("GET", "/__health")).json["models"][MODEL]
    told = None if kind.name == "mlx_lm.server" else 40960
    assert (health["api"], health["context"]) == ("chat", told)


@ALL
@pytest_twisted.ensureDeferred
async def test_calls_reach_the_client_however_they_are_cut(begin: Begin, kind: Kind) -> None:
    _, setup = await begin(kind, kind.stream(*CALLED[kind.name]))
    response = (await setup.ask(ASK, CODEX)).response
    assert [item["name"] for item in response["output"]] == ["exec_command", "exec_command"]
    assert texts(response) == [LS, PWD]
    assert (await setup.request("GET", "/__health")).json["repairs"] == {}


@ALL
@pytest_twisted.ensureDeferred
async def test_a_stream_that_ends_without_done_is_whole(begin: Begin, kind: Kind) -> None:
    events = [event for event in SPOKEN[kind.name] if "DONE" not in event]
    _, setup = await begin(kind, kind.stream(*events))
    assert texts((await setup.ask(ASK, CODEX)).response) == ["I look.", "It is done."]


OFF = {"chat_template_kwargs": {"enable_thinking": False, "thinking": False}}
WITHOUT_THINKING: dict[str, Json] = {
    "vLLM": OFF,
    "SGLang": OFF,
    "LM Studio": {"reasoning_effort": "none"},
    "llama-swap": OFF,
    "mlx_lm.server": OFF | {"max_tokens": 32768},
    "KoboldCpp": {"reasoning_effort": "none"},
    "llama.cpp": OFF | {"parallel_tool_calls": True},
}
WITH_EFFORT: dict[str, Json] = {name: {"reasoning_effort": "high"} for name in KINDS} | {
    "mlx_lm.server": {"reasoning_effort": "high", "max_tokens": 32768},
    "llama.cpp": {
        "reasoning_effort": "high",
        "chat_template_kwargs": {"reasoning_effort": "high"},
        "parallel_tool_calls": True,
    },
}
USUAL = {"model", "messages", "tools", "tool_choice", "stream", "stream_options"}


@pytest.mark.parametrize(
    ("effort", "fields"), [("none", WITHOUT_THINKING), ("high", WITH_EFFORT)], ids=["none", "high"]
)
@ALL
@pytest_twisted.ensureDeferred
async def test_a_server_gets_the_fields_that_it_knows(
    begin: Begin, kind: Kind, effort: str, fields: dict[str, Json]
) -> None:
    double, setup = await begin(kind, kind.stream(*CALLED[kind.name]))
    choice = {"type": "function", "name": "exec_command"}
    await setup.ask(ASK | {"reasoning": {"effort": effort}, "tool_choice": choice}, CODEX)
    (body,) = double.asked
    # Some servers refuse a choice that is an object, others take it for no choice.
    assert (body["model"], body["tool_choice"], len(body["tools"])) == (MODEL, "required", 1)
    assert (body["stream"], body["stream_options"]) == (True, {"include_usage": True})
    assert {key: body[key] for key in body if key not in USUAL} == fields[kind.name]


@ALL
@pytest_twisted.ensureDeferred
async def test_reasoning_goes_back_to_the_server_by_the_name_that_it_has_there(
    begin: Begin, kind: Kind
) -> None:
    double, setup = await begin(kind, kind.stream(*SPOKEN[kind.name]))
    await setup.ask(ASK, CODEX)
    (call,) = [each for each in double.asked[0]["messages"] if each["role"] == "assistant"]
    key = "reasoning" if kind.name in {"mlx_lm.server", "KoboldCpp"} else "reasoning_content"
    assert call.pop("tool_calls")[0]["function"] == {"name": "exec_command", "arguments": LS}
    assert call.pop(key) == "Files."
    assert call == {"role": "assistant", "content": ""}


FORMAT = {
    "type": "json_schema",
    "name": "x",
    "schema": {"type": "object", "properties": {"ok": {"type": "boolean"}}},
}


@ALL
@pytest_twisted.ensureDeferred
async def test_a_schema_for_the_answer_goes_to_the_server(begin: Begin, kind: Kind) -> None:
    double, setup = await begin(kind, kind.stream(*SPOKEN[kind.name]))
    await setup.ask({"model": MODEL, "tools": [], "text": {"format": FORMAT}})
    sent = double.asked[0]["response_format"]
    assert (sent["type"], sent["json_schema"]["schema"]) == ("json_schema", FORMAT["schema"])


PICTURE = {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="}
BLIND = {"SGLang", "LM Studio", "KoboldCpp"}
"""Doubles that say of their model that it does not see."""


@ALL
@pytest_twisted.ensureDeferred
async def test_a_picture_goes_to_a_server_unless_that_tells_that_its_model_sees_none(
    begin: Begin, kind: Kind
) -> None:
    double, setup = await begin(kind, kind.stream(*SPOKEN[kind.name]))
    await setup.ask({"model": MODEL, "input": [{"role": "user", "content": [PICTURE]}]})
    content = double.asked[0]["messages"][-1]["content"]
    note = "[An image was left out: this model sees none.]"
    url = {"url": PICTURE["image_url"]}
    shown = [{"type": "image_url", "image_url": url}]
    assert content == (note if kind.name in BLIND else shown)


@ALL
@pytest_twisted.ensureDeferred
async def test_the_next_request_begins_with_the_one_before(begin: Begin, kind: Kind) -> None:
    double, setup = await begin(kind, kind.stream(*SPOKEN[kind.name]))
    response = (await setup.ask(ASK, CODEX)).response
    more = {"type": "message", "role": "user", "content": "and now?"}
    await setup.ask(ASK | {"input": [*HISTORY, *response["output"], more]}, CODEX)
    first, second = double.asked
    assert len(second["messages"]) == len(first["messages"]) + 2
    assert second["messages"][: len(first["messages"])] == first["messages"]
    assert second["tools"] == first["tools"]
    # What is known of the server and of its model is not asked again.
    assert double.paths[-2:] == ["/v1/chat/completions"] * 2


@ALL
@pytest_twisted.ensureDeferred
async def test_a_client_that_hangs_up_ends_the_request(begin: Begin, kind: Kind) -> None:
    def endless(double: Double) -> bytes:
        double.closes = False
        return kind.stream(*SPOKEN[kind.name][:3]).removesuffix(b"0\r\n\r\n")

    double, setup = await begin(kind, endless)
    client = await setup.connect()
    client.post(REQUEST | ASK, headers=CODEX)
    await client.until(b"response.reasoning_summary_text.delta")
    (connection,) = double.open
    await client.close()
    await connection.lost
    assert len(double.asked) == 1


@pytest_twisted.ensureDeferred
async def test_a_limit_of_the_client_goes_before_that_of_the_bridge(begin: Begin) -> None:
    kind = KINDS["mlx_lm.server"]
    double, setup = await begin(kind, kind.stream(*SPOKEN[kind.name]))
    await setup.ask(ASK | {"max_output_tokens": 200})
    assert double.asked[0]["max_tokens"] == 200


@pytest_twisted.ensureDeferred
async def test_without_tools_no_field_for_tools_is_sent(begin: Begin) -> None:
    # vLLM refuses an empty list, and a choice without tools.
    double, setup = await begin(VLLM, VLLM.stream(*SPOKEN["vLLM"]))
    await setup.ask({"model": MODEL, "tools": [], "tool_choice": "auto"})
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & double.asked[0].keys()


def loaded_by_llama_cpp(double: Double) -> None:
    entries = routed(MODEL, "unloaded"), routed(OTHER, "loaded", meta={"n_ctx": 40960})
    double.routes["/v1/models"] = listed(*entries)


def loaded_by_llama_swap(double: Double) -> None:
    double.routes["/running"] = {"running": [{"model": OTHER, "state": "ready"}]}


def loaded_by_lm_studio(double: Double) -> None:
    entry = {"id": OTHER, "type": "llm", "state": "loaded", "loaded_context_length": 40960}
    double.routes["/api/v0/models"] = listed(entry)


@pytest.mark.parametrize(
    ("kind", "load"),
    [
        (ROUTER, loaded_by_llama_cpp),
        (LLAMA_SWAP, loaded_by_llama_swap),
        (LM_STUDIO, loaded_by_lm_studio),
    ],
    ids=["llama.cpp", "llama-swap", "LM Studio"],
)
@pytest_twisted.ensureDeferred
async def test_a_model_is_loaded_once_so_that_its_context_is_known(
    begin: Begin, kind: Kind, load: Any
) -> None:
    def loading(double: Double, body: Json) -> bytes:
        load(double)
        return one_token(double, body)

    double, setup = await begin(kind, kind.stream(*SPOKEN[kind.name]), on_short=loading)
    for _ in range(2):
        response = (await setup.ask(ASK | {"model": OTHER}, CODEX)).response
        assert texts(response) == ["I look.", "It is done."]
    assert double.short == [
        {
            "model": OTHER,
            "messages": [{"role": "user", "content": "hi"}],
            "max_tokens": 1,
            "stream": False,
        }
    ]
    first, second = double.asked
    assert first == second
    health = (await setup.request("GET", "/__health")).json["models"][OTHER]
    assert health["context"] == 40960


@pytest_twisted.ensureDeferred
async def test_a_prompt_that_certainly_does_not_fit_is_not_sent(begin: Begin) -> None:
    double, setup = await begin(VLLM, VLLM.stream(*SPOKEN["vLLM"]))
    double.routes["/v1/models"] = listed({"id": MODEL, "owned_by": "vllm", "max_model_len": 1000})
    reply = await setup.ask(ASK | {"input": "word " * 20_000, "stream": False})
    assert reply.json["error"]["code"] == "context_length_exceeded"
    assert "--max-model-len" in reply.json["error"]["message"]
    assert double.asked == []


@pytest_twisted.ensureDeferred
async def test_a_call_that_a_server_without_a_parser_leaves_in_the_text_is_made(
    begin: Begin,
) -> None:
    kind = KINDS["SGLang"]
    written = chunk({"content": f'<tool_call>\n{{"name": "exec_command", "arguments": {LS}}}\n'})
    events = written, chunk({"content": "</tool_call>"}), chunk({}, "stop"), DONE
    _, setup = await begin(kind, kind.stream(*events))
    response = (await setup.ask(ASK, CODEX)).response
    assert texts(response) == [LS]
