"""The model servers as data: their heads, their routes, and how each writes a stream.

From the source of vLLM 0.33, SGLang 0.5.23, llama-swap of August 2026, mlx-lm 0.32, KoboldCpp 1.102
and llama.cpp of 2026. LM Studio's source is not public: its answers are those that its users have
shown in public reports.
"""

from __future__ import annotations

from typing import Any

from tests.servers.double import Event, Json, Kind

MODEL = "qwen3"
OTHER = "later"
"""A model that is not loaded, where a server has several."""
DONE = "data: [DONE]\n\n"
THINKS = "{% if enable_thinking %}<think>{% endif %} {{ reasoning_effort }}"


def answer(status: str, body: str, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body.encode()


def listed(*entries: Json) -> Json:
    return {"object": "list", "data": list(entries)}


UVICORN = ("date: Mon, 30 Nov 2026 10:00:00 GMT", "server: uvicorn")
NOT_FOUND = answer("404 Not Found", '{"detail":"Not Found"}', *UVICORN)
VLLM = Kind(
    "vLLM",
    UVICORN,
    NOT_FOUND,
    {
        "/version": {"version": "0.33.0"},
        "/v1/models": listed(
            {
                "id": MODEL,
                "object": "model",
                "created": 1796000000,
                "owned_by": "vllm",
                "root": "Qwen/Qwen3-14B",
                "parent": None,
                "max_model_len": 40960,
                "permission": [{"id": "modelperm-1", "object": "model_permission"}],
            }
        ),
    },
)
SGLANG = Kind(
    "SGLang",
    UVICORN,
    NOT_FOUND,
    {
        "/v1/models": listed(
            {
                "id": MODEL,
                "object": "model",
                "created": 1796000000,
                "owned_by": "sglang",
                "root": MODEL,
                "parent": None,
                "max_model_len": 40960,
            }
        ),
        "/model_info": {
            "model_path": "Qwen/Qwen3-14B",
            "is_generation": True,
            "reasoning_parser": "qwen3",
            "tool_call_parser": "qwen25",
            "has_image_understanding": False,
        },
        "/api/tags": {"models": [{"name": MODEL, "details": {"format": "sglang"}}]},
    },
)
EXPRESS = ("X-Powered-By: Express",)
LM_STUDIO = Kind(
    "LM Studio",
    EXPRESS,
    answer(
        "200 OK",
        '{"error":"Unexpected endpoint or method. (GET /x)"}',
        *EXPRESS,
        "Content-Type: application/json; charset=utf-8",
    ),
    {
        "/v1/models": listed(
            {"id": MODEL, "object": "model", "owned_by": "organization_owner"},
            {"id": OTHER, "object": "model", "owned_by": "organization_owner"},
        ),
        "/api/v0/models": listed(
            {
                "id": MODEL,
                "object": "model",
                "type": "llm",
                "arch": "qwen3",
                "compatibility_type": "gguf",
                "quantization": "Q4_K_M",
                "state": "loaded",
                "max_context_length": 131072,
                "loaded_context_length": 40960,
                "capabilities": ["tool_use"],
            },
            {"id": OTHER, "type": "llm", "state": "not-loaded", "max_context_length": 131072},
        ),
    },
)
LLAMA_HEADERS = ("Server: llama.cpp", "Access-Control-Allow-Origin: ")
LLAMA_PROPS = {
    "default_generation_settings": {"n_ctx": 40960},
    "modalities": {"vision": True, "audio": False},
    "chat_template": THINKS,
    "chat_template_caps": {"supports_tools": True},
    "build_info": "b7701-abcdef12",
}
RENDERED = {"prompt": "<tools>codex_bridge_probe</tools> hi"}


def routed(name: str, status: str, **more: Any) -> Json:
    return {
        "id": name,
        "aliases": [],
        "object": "model",
        "owned_by": "llamacpp",
        "created": 1796000000,
        "status": {"value": status, "args": ["llama-server"]},
        "architecture": {"input_modalities": ["text", "image"], "output_modalities": ["text"]},
    } | more


ROUTER = Kind(
    "llama.cpp",
    LLAMA_HEADERS,
    answer(
        "404 Not Found",
        '{"error":{"message":"File Not Found","type":"not_found_error","code":404}}',
        *LLAMA_HEADERS,
        "Content-Type: application/json; charset=utf-8",
    ),
    {
        "/props": {"role": "router", "default_generation_settings": {"n_ctx": 0}},
        "/v1/models": listed(
            routed(MODEL, "loaded", meta={"n_ctx": 40960}), routed(OTHER, "unloaded")
        ),
        f"/props?model={MODEL}": LLAMA_PROPS,
        f"/props?model={OTHER}": LLAMA_PROPS,
        "/apply-template": "see own_words.py",
    },
)


def swapped(name: str, **more: Any) -> Json:
    return {
        "id": name,
        "object": "model",
        "created": 1796000000,
        "owned_by": "llama-swap",
        "meta": {"llamaswap": {"type": "model"}},
        "status": {"value": "loaded"},
    } | more


def behind(name: str) -> Json:
    """The routes of the llama.cpp that llama-swap runs for a model."""
    entry = {"id": "m.gguf", "owned_by": "llamacpp", "meta": {"n_ctx": 40960}}
    return {
        f"/upstream/{name}/v1/models": listed(entry),
        f"/upstream/{name}/props?model=m.gguf": LLAMA_PROPS,
        f"/upstream/{name}/apply-template": RENDERED,
    }


LLAMA_SWAP = Kind(
    "llama-swap",
    ("X-Accel-Buffering: no",),
    answer("404 Not Found", "404 page not found\n", "Content-Type: text/plain; charset=utf-8"),
    {
        "/api/version": {"version": "v178", "commit": "0bdb372", "build_date": "2026-08-22"},
        "/v1/models": listed(swapped(MODEL), swapped(OTHER, status={"value": "unloaded"})),
        "/running": {"running": [{"model": MODEL, "state": "ready", "cmd": "llama-server"}]},
    }
    | behind(MODEL)
    | behind(OTHER),
)
PYTHON = ("Server: BaseHTTP/0.6 Python/3.12.4", "Date: Mon, 30 Nov 2026 10:00:00 GMT")
MLX = Kind(
    "mlx_lm.server",
    PYTHON,
    b"HTTP/1.0 404 Not Found\r\nContent-type: application/json\r\n\r\nNot Found",
    {
        "/v1/models": listed({"id": MODEL, "object": "model", "created": 1796000000}),
        "/health": {"status": "ok"},
    },
    is_http_1_0=True,
)
KOBOLD = Kind(
    "KoboldCpp",
    ("Server: ConcedoLlamaForKoboldServer ",),
    b"HTTP/1.0 404 Not Found\r\ncontent-type: text/html\r\n\r\nError: HTTP Server is running",
    {
        "/api/version": {"version": "0.7.0"},
        "/api/tags": {"models": [{"name": "koboldcpp", "details": {"family": "koboldcpp"}}]},
        "/api/extra/version": {"result": "KoboldCpp", "version": "1.102", "vision": False},
        "/api/extra/true_max_context_length": {"value": 40960},
        "/v1/models": listed({"id": MODEL, "object": "model", "owned_by": "koboldcpp"}),
    },
    is_http_1_0=True,
)


def chunk(delta: Json, finish: str | None = None, **more: Any) -> Json:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1796000000,
        "model": MODEL,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    } | more


def counts(**more: Any) -> Json:
    """The chunk that counts the tokens."""
    usage = {"prompt_tokens": 21, "completion_tokens": 6, "total_tokens": 27} | more
    return chunk({}, usage=usage) | {"choices": []}


def piece(index: int, function: Json, **more: Any) -> Json:
    """A delta with a piece of a call."""
    return {"tool_calls": [{"index": index, **more, "function": function}]}


def sglang(finish: str | None = None, **delta: Any) -> Json:
    """SGLang writes every field of a delta, and its own beside the finish reason."""
    names = ("role", "content", "reasoning_content", "tool_calls")
    body = chunk(dict.fromkeys(names) | delta, finish, usage=None)
    body["choices"][0] |= {"logprobs": None, "matched_stop": None}
    return body


def sglang_piece(index: int, name: str | None, arguments: str, call_id: str | None) -> Json:
    function = {"name": name, "arguments": arguments}
    call = {"id": call_id, "index": index, "type": "function", "function": function}
    return sglang(tool_calls=[call])


CACHED = {"prompt_tokens_details": {"cached_tokens": 16}}
LS, PWD = '{"cmd": "ls"}', '{"cmd": "pwd"}'
TIMINGS = {"cache_n": 16, "prompt_n": 5, "predicted_n": 6}
SPOKEN: dict[str, list[Event]] = {
    "vLLM": [
        chunk({"role": "assistant", "content": ""}, prompt_token_ids=None),
        chunk({"reasoning": "I look."}),
        chunk({"content": "It is "}),
        ": keep-alive\n\n",
        chunk({"content": "done."}),
        chunk({"content": ""}, "stop"),
        counts(**CACHED),
        DONE,
    ],
    "SGLang": [
        sglang(role="assistant", content=""),
        sglang(reasoning_content="I look."),
        sglang(content="It is "),
        sglang(content="done."),
        sglang("stop"),
        counts(prompt_tokens_details=None, reasoning_tokens=3),
        DONE,
    ],
    "LM Studio": [
        chunk({"role": "assistant", "reasoning_content": "I look."}, system_fingerprint=MODEL),
        chunk({"role": "assistant", "content": "It is "}),
        chunk({"role": "assistant", "content": "done."}),
        chunk({}, "stop"),
        counts(),
        DONE,
    ],
    "llama-swap": [
        {"choices": [{"delta": {"reasoning_content": "I "}}]},
        chunk({"role": "assistant", "content": None}),
        chunk({"reasoning_content": "look."}),
        chunk({"content": "It is done."}),
        chunk({}, "stop"),
        counts(**CACHED) | {"timings": TIMINGS},
        DONE,
    ],
    "mlx_lm.server": [
        ": keepalive 3/9\n\n",
        ": keepalive 9/9\n\n",
        chunk({"role": "assistant", "reasoning": "I look."}),
        chunk({"role": "assistant", "content": "It is "}),
        chunk({"role": "assistant", "content": "done."}),
        chunk({"role": "assistant", "content": ""}, "stop"),
        counts(**CACHED) | {"object": "chat.completion"},
        DONE,
    ],
    "KoboldCpp": [
        chunk({"role": "assistant", "content": "<think>I look.</think>It is "}),
        chunk({"role": "assistant", "content": "done."}),
        chunk({"role": "assistant", "content": ""}, "stop"),
        DONE,
    ],
    "llama.cpp": [
        ":\n\n",
        chunk({"role": "assistant", "content": None}),
        chunk({"reasoning_content": "I look."}),
        ":\n\n",
        chunk({"content": "It is done."}),
        chunk({}, "stop"),
        counts(**CACHED) | {"timings": TIMINGS},
        # Seen without the blank line.
        "data: [DONE]\n",
    ],
}
"""A short answer with reasoning, as each server writes it."""
CALLED: dict[str, list[Event]] = {
    "vLLM": [
        chunk({"role": "assistant", "content": ""}),
        chunk(piece(0, {"name": "exec_command"}, id="chatcmpl-tool-1", type="function")),
        chunk(piece(0, {"arguments": '{"cmd": '})),
        chunk(piece(0, {"arguments": '"ls"}'})),
        chunk(piece(1, {"name": "exec_command"}, id="chatcmpl-tool-2", type="function")),
        chunk(piece(1, {"arguments": PWD})),
        chunk({"content": ""}, "tool_calls"),
        DONE,
    ],
    "SGLang": [
        sglang(role="assistant", content=""),
        sglang_piece(0, "exec_command", "", "call_1"),
        sglang_piece(0, None, '{"cmd": ', None),
        sglang_piece(0, None, '"ls"}', None),
        sglang_piece(1, "exec_command", "", "call_2"),
        sglang_piece(1, None, PWD, None),
        sglang("tool_calls"),
        DONE,
    ],
    "LM Studio": [
        chunk(
            {"role": "assistant"}
            | piece(0, {"name": "exec_command", "arguments": ""}, id="1", type="function")
        ),
        chunk({"role": "assistant"} | piece(0, {"arguments": '{"cmd": '}, type="function")),
        chunk({"role": "assistant"} | piece(0, {"arguments": '"ls"}'}, type="function")),
        chunk(piece(1, {"name": "exec_command", "arguments": ""}, id="2", type="function")),
        chunk(piece(1, {"arguments": PWD}, type="function")),
        chunk({}, "tool_calls"),
        DONE,
    ],
    "mlx_lm.server": [
        chunk({"role": "assistant"} | piece(0, {"name": "exec_command", "arguments": LS}, id="a")),
        chunk({"role": "assistant"} | piece(1, {"name": "exec_command", "arguments": PWD}, id="b")),
        chunk({"role": "assistant", "content": ""}, "tool_calls"),
        DONE,
    ],
    "KoboldCpp": [
        chunk(
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "a", "function": {"name": "exec_command", "arguments": LS}},
                    {"id": "b", "function": {"name": "exec_command", "arguments": PWD}},
                ],
            },
            "tool_calls",
        ),
        DONE,
    ],
    "llama.cpp": [
        chunk({"role": "assistant", "content": None}),
        chunk(piece(0, {"name": "exec_command", "arguments": "{"}, id="a", type="function")),
        chunk(piece(0, {"arguments": '"cmd": "ls"}'})),
        chunk(piece(1, {"name": "exec_command", "arguments": "{"}, id="b", type="function")),
        chunk(piece(1, {"arguments": '"cmd": "pwd"}'})),
        chunk({}, "tool_calls"),
        counts(**CACHED),
        DONE,
    ],
}
"""Two calls, in the pieces in which each server sends them."""
CALLED["llama-swap"] = CALLED["llama.cpp"]
KINDS = {kind.name: kind for kind in (VLLM, SGLANG, LM_STUDIO, LLAMA_SWAP, MLX, KOBOLD, ROUTER)}
