"""What each kind of server says when something is wrong, and what becomes of it."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, formatEvent

from codex_bridge.engines import retries
from tests.clocked import ClockedReactor
from tests.conftest import LogBook
from tests.harness import CODEX
from tests.servers.conftest import Begin
from tests.servers.double import Double, Kind, one_token
from tests.servers.kinds import (
    DONE,
    KOBOLD,
    LLAMA_SWAP,
    LM_STUDIO,
    LS,
    MLX,
    ROUTER,
    SGLANG,
    SPOKEN,
    VLLM,
    chunk,
    counts,
    sglang,
)
from tests.servers.test_exchanges import ASK, texts

Json = dict[str, Any]
RULES = dict(retries.RULES)
FIRST = chunk({"role": "assistant", "content": ""})


def error(message: str, kind: str, code: Any, **more: Any) -> Json:
    return {"error": {"message": message, "type": kind, "param": None, "code": code} | more}


def flat(message: str, kind: str, code: int) -> Json:
    """An error of SGLang."""
    return {"object": "error", "message": message, "type": kind, "param": None, "code": code}


def llama_error(message: str, kind: str, code: int, **more: Any) -> Json:
    return {"error": {"code": code, "message": message, "type": kind} | more}


VLLM_LONG = (
    "This model's maximum context length is 40960 tokens. However, your prompt contains at least "
    "40961 input tokens, which exceeds this limit even without any output tokens. Please reduce "
    "the length of the input prompt. (parameter=input_tokens, value=40961)"
)
VLLM_BUSY = (
    "The engine is currently busy and cannot accept new requests. Please try again later or on a "
    "different instance."
)
SGLANG_LONG = "The input (50000 tokens) is longer than the model's context length (40960 tokens)."
SGLANG_KV = "Request prompt exceeds the KV memory budget: input_len=50000."
SGLANG_LORA = "LoRA adapter '8b' was requested, but LoRA is not enabled. Launch with --enable-lora."
STUDIO_LONG = (
    "The number of tokens to keep from the initial prompt is greater than the context length "
    "(n_keep: 13055>= n_ctx: 4096). Try to load the model with a larger context length, or provide "
    "a shorter input."
)
STUDIO_NO_MODEL = (
    'Invalid model identifier "qwen3". Please specify a valid downloaded model (e.g., gemma).'
)
STUDIO_MEMORY = (
    'Failed to load model "qwen3". Error: Model loading was stopped due to insufficient system '
    "resources."
)
LLAMA_LONG = (
    "request (50000 tokens) exceeds the available context size (40960 tokens), try increasing it"
)
OLD_LLAMA_LONG = (
    "the request exceeds the available context size. try increasing the context size or enable "
    "context shift"
)


def swap_error(message: str, code: str) -> Json:
    return {"src": "llama-swap"} | error(message, "error", code)


LONG, BUSY, BROKEN = "context_length_exceeded", "upstream_busy", "upstream_broken"
GONE, DENIED, REFUSED = "model_not_found", "upstream_access_denied", "upstream_error"
ONCE, BUSY_TRIES, BROKEN_TRIES = 1, 5, 3
CASES: dict[str, tuple[Kind, bytes, str, str, int]] = {
    "vLLM, too long": (
        VLLM,
        VLLM.whole("400 Bad Request", error(VLLM_LONG, "BadRequestError", 400)),
        LONG,
        "40961 input tokens, which exceeds",
        ONCE,
    ),
    "vLLM, busy": (
        VLLM,
        VLLM.whole("503 Service Unavailable", error(VLLM_BUSY, "Service Unavailable", 503)),
        BUSY,
        "vLLM has too much to do: The engine is currently busy",
        BUSY_TRIES,
    ),
    "vLLM, no such model": (
        VLLM,
        VLLM.whole(
            "404 Not Found",
            error("The model `qwen3` does not exist. Valid aliases: a.", "NotFoundError", 404),
        ),
        GONE,
        "vLLM has no model qwen3.",
        ONCE,
    ),
    "vLLM, no key": (
        VLLM,
        VLLM.whole("401 Unauthorized", {"error": "Unauthorized"}),
        DENIED,
        "CODEX_BRIDGE_UPSTREAM_API_KEY",
        ONCE,
    ),
    "vLLM, in a stream": (
        VLLM,
        VLLM.stream(
            FIRST, error("Internal server error", "InternalServerError", 500), "data: [DONE]\n\n"
        ),
        BROKEN,
        "vLLM broke off its answer: Internal server error.",
        BROKEN_TRIES,
    ),
    "vLLM, anything else": (
        VLLM,
        VLLM.whole("400 Bad Request", error("Invalid grammar.", "BadRequestError", 400)),
        REFUSED,
        "vLLM refused the request (400): Invalid grammar",
        ONCE,
    ),
    "SGLang, too long": (
        SGLANG,
        SGLANG.whole("400 Bad Request", flat(SGLANG_LONG, "BadRequestError", 400)),
        LONG,
        "The input (50000 tokens) is longer",
        ONCE,
    ),
    "SGLang, too long for its memory": (
        SGLANG,
        SGLANG.whole("400 Bad Request", flat(SGLANG_KV, "BadRequestError", 400)),
        LONG,
        "exceeds the KV memory budget",
        ONCE,
    ),
    "SGLang, busy": (
        SGLANG,
        SGLANG.whole("503 Service Unavailable", flat("The request queue is full.", "503", 503)),
        BUSY,
        "SGLang has too much to do: The request queue is full.",
        BUSY_TRIES,
    ),
    "SGLang, busy in a stream": (
        SGLANG,
        SGLANG.stream(
            {"error": flat("The request queue is full.", "SERVICE_UNAVAILABLE", 503)}, DONE
        ),
        BUSY,
        "SGLang has too much to do: The request queue is full.",
        BUSY_TRIES,
    ),
    "SGLang, flat in a stream": (
        SGLANG,
        SGLANG.stream(
            sglang(role="assistant", content=""), flat("It died.", "InternalServerError", 500)
        ),
        BROKEN,
        "SGLang broke off its answer: It died.",
        BROKEN_TRIES,
    ),
    "SGLang, a name with a colon": (
        SGLANG,
        SGLANG.whole("400 Bad Request", flat(SGLANG_LORA, "BadRequestError", 400)),
        GONE,
        "SGLang has no model qwen3.",
        ONCE,
    ),
    "LM Studio, too long": (
        LM_STUDIO,
        LM_STUDIO.whole("400 Bad Request", {"error": STUDIO_LONG}),
        LONG,
        "the context length with which LM Studio loads it",
        ONCE,
    ),
    "LM Studio, no such model": (
        LM_STUDIO,
        LM_STUDIO.whole(
            "400 Bad Request", error(STUDIO_NO_MODEL, "invalid_request_error", "model_not_found")
        ),
        GONE,
        "LM Studio has no model qwen3.",
        ONCE,
    ),
    "LM Studio, no memory": (
        LM_STUDIO,
        LM_STUDIO.whole("400 Bad Request", {"error": STUDIO_MEMORY}),
        "out_of_memory",
        "LM Studio has too little memory for qwen3",
        ONCE,
    ),
    "LM Studio, in a stream": (
        LM_STUDIO,
        LM_STUDIO.stream(
            FIRST,
            'event: error\ndata: {"error":{"message":"Compute error."},"message":"Compute '
            'error."}\n\n',
        ),
        BROKEN,
        "LM Studio broke off its answer: Compute error.",
        BROKEN_TRIES,
    ),
    "LM Studio, a model that crashed": (
        LM_STUDIO,
        LM_STUDIO.whole(
            "400 Bad Request",
            {"error": "The model has crashed without additional information. (Exit code: 1)"},
        ),
        BROKEN,
        "LM Studio broke off its answer: The model has crashed",
        BROKEN_TRIES,
    ),
    "llama-swap, no such model": (
        LLAMA_SWAP,
        LLAMA_SWAP.whole(
            "404 Not Found", swap_error("no local server found for requested model", "not_found")
        ),
        GONE,
        "llama-swap has no model qwen3.",
        ONCE,
    ),
    "llama-swap, busy": (
        LLAMA_SWAP,
        LLAMA_SWAP.whole(
            "429 Too Many Requests", swap_error("Too many requests", "concurrency_limit")
        ),
        BUSY,
        "llama-swap has too much to do: Too many requests.",
        BUSY_TRIES,
    ),
    "llama-swap, a server that does not start": (
        LLAMA_SWAP,
        LLAMA_SWAP.whole(
            "500 Internal Server Error",
            swap_error("unspecific error: [qwen3] upstream exited unexpectedly", "error"),
        ),
        BROKEN,
        "upstream exited unexpectedly",
        BROKEN_TRIES,
    ),
    "llama-swap, a server that died": (
        LLAMA_SWAP,
        LLAMA_SWAP.whole("502 Bad Gateway", b""),
        BROKEN,
        "llama-swap broke off its answer: Bad Gateway.",
        BROKEN_TRIES,
    ),
    "llama-swap, an envelope in a stream": (
        LLAMA_SWAP,
        LLAMA_SWAP.stream(
            {"choices": [{"delta": {"reasoning_content": "loading"}}]},
            '{"src":"llama-swap","error":{"message":"unspecific error: [qwen3] upstream command '
            'exited prematurely","type":"error","param":null,"code":"error"}}',
        ),
        BROKEN,
        "upstream command exited prematurely",
        BROKEN_TRIES,
    ),
    "llama-swap, an answer that just ends": (
        LLAMA_SWAP,
        LLAMA_SWAP.stream(FIRST),
        BROKEN,
        "it ended without a finish reason",
        BROKEN_TRIES,
    ),
    "llama-swap, no key": (
        LLAMA_SWAP,
        LLAMA_SWAP.whole(
            "401 Unauthorized", swap_error("unauthorized: invalid or missing API key", "x")
        ),
        DENIED,
        "CODEX_BRIDGE_UPSTREAM_API_KEY",
        ONCE,
    ),
    "mlx_lm.server, anything": (
        MLX,
        MLX.whole("404 Not Found", {"error": "can only concatenate str"}),
        REFUSED,
        "mlx_lm.server refused the request (404): can only concatenate str",
        ONCE,
    ),
    "mlx_lm.server, no such model": (
        MLX,
        MLX.whole(
            "404 Not Found",
            {
                "error": "404 Client Error. (Request ID: Root=1)\n\nRepository Not Found for url: "
                "https://huggingface.co/api/models/qwen3/revision/main."
            },
        ),
        GONE,
        "mlx_lm.server has no model qwen3.",
        ONCE,
    ),
    "mlx_lm.server, a stream that is cut": (
        MLX,
        MLX.stream(FIRST),
        BROKEN,
        "mlx_lm.server broke off its answer",
        BROKEN_TRIES,
    ),
    "KoboldCpp, busy": (
        KOBOLD,
        KOBOLD.whole(
            "503 Service Unavailable",
            {
                "detail": {
                    "msg": "Server is busy; please try again later.",
                    "type": "service_unavailable",
                }
            },
        ),
        BUSY,
        "KoboldCpp has too much to do: Server is busy",
        BUSY_TRIES,
    ),
    "llama.cpp, too long": (
        ROUTER,
        ROUTER.whole(
            "400 Bad Request",
            llama_error(
                LLAMA_LONG, "exceed_context_size_error", 400, n_prompt_tokens=50000, n_ctx=40960
            ),
        ),
        LONG,
        "the option -c of llama.cpp's server",
        ONCE,
    ),
    "llama.cpp, no such model": (
        ROUTER,
        ROUTER.whole(
            "400 Bad Request", llama_error("model 'qwen3' not found", "invalid_request_error", 400)
        ),
        GONE,
        "llama.cpp has no model qwen3.",
        ONCE,
    ),
    "llama.cpp, busy": (
        ROUTER,
        ROUTER.whole(
            "500 Internal Server Error",
            llama_error("model limit reached, try again later", "server_error", 500),
        ),
        BUSY,
        "llama.cpp has too much to do: model limit reached",
        BUSY_TRIES,
    ),
    "llama.cpp, in a stream": (
        ROUTER,
        ROUTER.stream(FIRST, llama_error("Compute error.", "server_error", 500)),
        BROKEN,
        "llama.cpp broke off its answer: Compute error.",
        BROKEN_TRIES,
    ),
    "llama.cpp, a full cache in a stream": (
        ROUTER,
        ROUTER.stream(FIRST, llama_error("Context size has been exceeded.", "server_error", 500)),
        LONG,
        "Context size has been exceeded.",
        ONCE,
    ),
    "older llama.cpp, in a stream": (
        ROUTER,
        ROUTER.stream(
            FIRST, 'error: {"code":500,"message":"It died.","type":"server_error"}\n\n', DONE
        ),
        BROKEN,
        "llama.cpp broke off its answer: It died.",
        BROKEN_TRIES,
    ),
    "older llama.cpp, too long": (
        ROUTER,
        ROUTER.stream(
            f'error: {{"code":400,"message":"{OLD_LLAMA_LONG}","type":"server_error"}}\n\n',
            DONE,
        ),
        LONG,
        "the request exceeds the available context size",
        ONCE,
    ),
    "an answer that is no stream": (
        LM_STUDIO,
        LM_STUDIO.missing,
        BROKEN,
        "LM Studio broke off its answer: Unexpected endpoint or method.",
        BROKEN_TRIES,
    ),
}


@pytest.mark.parametrize(
    ("kind", "said", "code", "sentence", "requests"), CASES.values(), ids=CASES
)
@pytest_twisted.ensureDeferred
async def test_a_failure_is_told_with_the_name_of_the_server(
    begin: Begin, kind: Kind, said: bytes, code: str, sentence: str, requests: int
) -> None:
    double, setup = await begin(kind, said)
    reply = await setup.ask(ASK | {"stream": False})
    told = reply.json["error"]
    assert (told["code"], len(double.asked)) == (code, requests)
    assert sentence in told["message"]
    assert "ollama" not in told["message"].lower()


@pytest.mark.parametrize(
    ("kind", "said", "requests"),
    [(kind, said, requests) for kind, said, _, _, requests in CASES.values()],
    ids=CASES,
)
@pytest_twisted.ensureDeferred
async def test_codex_gets_a_failure_as_the_end_of_a_stream(
    begin: Begin, kind: Kind, said: bytes, requests: int
) -> None:
    _, setup = await begin(kind, said)
    response = (await setup.ask(ASK, CODEX)).response
    assert response["status"] == "failed"
    assert "ollama" not in response["error"]["message"].lower()


AGAIN = [
    name for name, case in CASES.items() if case[2] in {BUSY, BROKEN} and "is no stream" not in name
]


@pytest.mark.parametrize("name", AGAIN)
@pytest_twisted.ensureDeferred
async def test_what_passes_is_asked_again_and_not_seen(begin: Begin, name: str) -> None:
    kind, said, _, _, _ = CASES[name]
    double, setup = await begin(kind, said, kind.stream(*SPOKEN[kind.name]))
    response = (await setup.ask(ASK | {"stream": False})).json
    assert texts(response) == ["I look.", "It is done."]
    first, second = double.asked
    assert first == second


@pytest_twisted.ensureDeferred
async def test_an_empty_answer_is_asked_for_again(begin: Begin) -> None:
    # So LM Studio answers a prompt that does not fit.
    empty = LM_STUDIO.stream(chunk({"role": "assistant"}), chunk({}, "stop"), counts(), DONE)
    double, setup = await begin(LM_STUDIO, empty)
    response = (await setup.ask(ASK, CODEX)).response
    assert "answered with nothing" in response["error"]["message"]
    assert len(double.asked) == 2


NO_TOOLS: dict[str, tuple[Kind, bytes]] = {
    "vLLM": (
        VLLM,
        VLLM.whole(
            "400 Bad Request",
            error(
                '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to '
                "be set",
                "BadRequestError",
                400,
            ),
        ),
    ),
    "vLLM, a call that is required": (
        VLLM,
        VLLM.whole(
            "400 Bad Request",
            error(
                'tool_choice="required" requires --tool-call-parser to be set',
                "BadRequestError",
                400,
            ),
        ),
    ),
    "llama.cpp": (
        ROUTER,
        ROUTER.whole(
            "500 Internal Server Error",
            llama_error("tools param requires --jinja flag", "server_error", 500),
        ),
    ),
}
WRITTEN = f'<tool_call>\n{{"name": "exec_command", "arguments": {LS}}}\n</tool_call>'


@pytest.mark.parametrize(("kind", "said"), NO_TOOLS.values(), ids=NO_TOOLS)
@pytest_twisted.ensureDeferred
async def test_where_tools_are_refused_they_are_told_in_words_from_then_on(
    begin: Begin, kind: Kind, said: bytes
) -> None:
    written = kind.stream(chunk({"content": WRITTEN}), chunk({}, "stop"), DONE)
    double, setup = await begin(kind, said, written)
    for _ in range(2):
        response = (await setup.ask(ASK | {"tool_choice": "required"}, CODEX)).response
        assert [item["type"] for item in response["output"]] == ["function_call"]
        assert texts(response) == [LS]
    refused, second, third = double.asked
    assert refused["tools"][0]["function"]["name"] == "exec_command"
    assert second == third
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & second.keys()
    assert '"exec_command"' in second["messages"][0]["content"]


TRIED = pytest.mark.parametrize("kind", [VLLM, MLX], ids=["vLLM", "mlx_lm.server"])


@TRIED
@pytest_twisted.ensureDeferred
async def test_tools_that_a_template_does_not_show_are_told_in_words(
    begin: Begin, kind: Kind
) -> None:
    def dropped(double: Double, body: Json) -> bytes:
        # The prompt has the same length with a function as without.
        return one_token(double, {key: body[key] for key in body if key != "tools"})

    written = kind.stream(chunk({"content": WRITTEN}), chunk({}, "stop"), DONE)
    double, setup = await begin(kind, written, on_short=dropped)
    for _ in range(2):
        assert texts((await setup.ask(ASK, CODEX)).response) == [LS]
    first, second = double.asked
    assert first == second
    assert "tools" not in first
    assert '"exec_command"' in first["messages"][0]["content"]
    # It is tried once, with a function and without.
    assert [len(body.get("tools", [])) for body in double.short] == [1, 0]


@TRIED
@pytest_twisted.ensureDeferred
async def test_a_server_that_is_busy_for_a_moment_keeps_its_tools(begin: Begin, kind: Kind) -> None:
    def busy(double: Double, body: Json) -> bytes:
        if "tools" in body:
            return kind.whole("503 Service Unavailable", error(VLLM_BUSY, "x", 503))
        return one_token(double, body)

    double, setup = await begin(kind, kind.stream(*SPOKEN[kind.name]), on_short=busy)
    await setup.ask(ASK, CODEX)
    assert double.asked[0]["tools"][0]["function"]["name"] == "exec_command"


NO_VISION: dict[str, tuple[Kind, bytes]] = {
    "vLLM": (
        VLLM,
        VLLM.whole(
            "400 Bad Request", error("qwen3 is not a multimodal model", "BadRequestError", 400)
        ),
    ),
    "vLLM, a model of one picture less": (
        VLLM,
        VLLM.whole(
            "400 Bad Request",
            error("At most 0 image(s) may be provided in one prompt.", "BadRequestError", 400),
        ),
    ),
    "mlx_lm.server": (
        MLX,
        MLX.whole("404 Not Found", {"error": "Only 'text' content type is supported."}),
    ),
    "llama.cpp": (
        ROUTER,
        ROUTER.whole(
            "500 Internal Server Error",
            llama_error(
                "image input is not supported - hint: if this is unexpected, you may need to "
                "provide the mmproj",
                "server_error",
                500,
            ),
        ),
    ),
}
PICTURE = {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="}
SHOWN = {"type": "message", "role": "user", "content": [PICTURE]}


@pytest.mark.parametrize(("kind", "said"), NO_VISION.values(), ids=NO_VISION)
@pytest_twisted.ensureDeferred
async def test_where_pictures_are_refused_a_note_stands_in_their_place_from_then_on(
    begin: Begin, kind: Kind, said: bytes
) -> None:
    double, setup = await begin(kind, said, kind.stream(*SPOKEN[kind.name]))
    for _ in range(2):
        response = (await setup.ask(ASK | {"input": [SHOWN]}, CODEX)).response
        assert texts(response) == ["I look.", "It is done."]
    refused, second, third = double.asked
    assert refused["messages"][-1]["content"][0]["type"] == "image_url"
    assert second == third
    assert second["messages"][-1]["content"] == "[An image was left out: this model sees none.]"


@pytest_twisted.ensureDeferred
async def test_a_prompt_that_a_server_seems_to_cut_is_told_with_its_name(
    begin: Begin, logged: LogBook
) -> None:
    _, setup = await begin(LM_STUDIO, LM_STUDIO.stream(*SPOKEN["LM Studio"]))
    # 21 tokens are too few for a prompt of this length.
    await setup.ask(ASK | {"input": "some words " * 5000})
    (told,) = [str(formatEvent(event)) for event in logged.at(LogLevel.warn)]
    assert "it seems that LM Studio cut it" in told
    assert told.endswith("raise the context length with which LM Studio loads it")


LOADING = ROUTER.whole(
    "503 Service Unavailable", llama_error("Loading model", "unavailable_error", 503)
)


def waits(time: ClockedReactor) -> bool:
    """Whether somebody waits before the server is asked again."""
    return any("Deferred.callback" in repr(call) for call in time.clock.getDelayedCalls())


async def pass_seconds(time: ClockedReactor, seconds: int) -> None:
    """Let seconds pass, each as soon as somebody waits for it."""
    for _ in range(seconds):
        await time.until_scheduled(lambda: waits(time))
        time.clock.advance(1)


@pytest_twisted.ensureDeferred
async def test_an_exchange_waits_for_a_server_that_loads_its_model(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "RULES", RULES)
    time = ClockedReactor()
    # It says so whatever is asked, so the bridge does not know yet what it is.
    double, setup = await begin(
        ROUTER, ROUTER.stream(*SPOKEN["llama.cpp"]), clock=time, refuses_all=LOADING
    )
    asking = Deferred.fromCoroutine(setup.ask(ASK, CODEX))
    await pass_seconds(time, 60)
    await time.until_scheduled(lambda: waits(time))
    double.refuses_all = None
    time.clock.advance(1)
    assert texts((await asking).response) == ["I look.", "It is done."]
    assert len(double.asked) == 1


@pytest_twisted.ensureDeferred
async def test_to_wait_for_a_load_does_not_use_up_what_an_exchange_may_ask(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "RULES", RULES)
    time = ClockedReactor()
    # Another program keeps the connection open while the server behind it is started again.
    said = *([LOADING] * 25), ROUTER.stream(*SPOKEN["llama.cpp"])
    double, setup = await begin(ROUTER, *said, clock=time)
    asking = Deferred.fromCoroutine(setup.ask(ASK, CODEX))
    await pass_seconds(time, 25)
    assert texts((await asking).response) == ["I look.", "It is done."]
    assert len(double.asked) == 26


@pytest_twisted.ensureDeferred
async def test_a_client_is_told_that_a_server_loads_its_model(begin: Begin) -> None:
    _, setup = await begin(ROUTER, b"", refuses_all=LOADING)
    reply = await setup.ask(ASK | {"stream": False})
    assert reply.json["error"]["code"] == "upstream_loading"
    assert "still loads its model. Please try again in 10s." in reply.json["error"]["message"]
