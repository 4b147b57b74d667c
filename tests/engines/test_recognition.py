"""Which server is recognised by what it answers, what it tells of its models, and what is asked."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from attrs import define, field

from codex_bridge.engines import chat_servers, llama_cpp
from codex_bridge.engines.engine import ContextPolicy, called
from codex_bridge.engines.recognition import recognise
from codex_bridge.vocabulary import Json, ModelInfo

VLLM_ENTRY = {"id": "m", "object": "model", "owned_by": "vllm", "root": "m", "max_model_len": 40960}
SGLANG_ENTRY = {"id": "m", "object": "model", "owned_by": "sglang", "max_model_len": 65536}
LLAMA_ENTRY = {
    "id": "m.gguf",
    "aliases": ["coder"],
    "object": "model",
    "owned_by": "llamacpp",
    "meta": {
        "n_ctx": 16384,
        "n_ctx_train": 131072,
        "n_params": 14768307200,
        "size": 8988106752,
        "ftype": "Q4_K - Medium",
    },
}
THINKS = "{% if enable_thinking %}<think>{% endif %}"
LLAMA_PROPS = {
    "default_generation_settings": {"n_ctx": 16384},
    "total_slots": 1,
    "modalities": {"vision": True, "audio": False},
    "chat_template": THINKS,
    "chat_template_caps": {"supports_tools": True},
    "build_info": "b7701-abcdef12",
}
WITH_TOOLS = {"prompt": "<tools>codex_bridge_probe</tools> hi"}


def listed(*entries: Json) -> Json:
    return {"object": "list", "data": list(entries)}


def routed(name: str, status: str, **more: Any) -> Json:
    """An entry of llama.cpp's server that has several models."""
    entry = {"id": name, "object": "model", "owned_by": "llamacpp", "status": {"value": status}}
    return entry | {"architecture": {"input_modalities": ["text", "image"]}} | more


def swapped(name: str, **more: Any) -> Json:
    """An entry of llama-swap."""
    entry = {"id": name, "object": "model", "owned_by": "llama-swap", "status": {"value": "loaded"}}
    return entry | {"meta": {"llamaswap": {"type": "model"}}} | more


LLAMA = {"/v1/models": listed(LLAMA_ENTRY), "/props": LLAMA_PROPS}
ROUTER = {
    "/v1/models": listed(
        routed("big", "loaded", meta={"n_ctx": 32768}),
        routed("other", "unloaded"),
        routed("asleep", "sleeping", meta={"n_ctx": 8192}),
    ),
    "/props": {
        "role": "router",
        "build_info": "b7701",
        "default_generation_settings": {"n_ctx": 0},
    },
}
SWAP = {
    "/api/version": {"version": "v178", "commit": "0bdb372", "build_date": "2026-08-22T00:00:00Z"},
    "/v1/models": listed(
        swapped("big", meta={"llamaswap": {"type": "model", "aliases": ["gpt-5"]}}),
        swapped(
            "other",
            capabilities={"function_calling": True},
            context_length=24576,
            meta={"llamaswap": {"type": "model"}, "n_ctx": 24576},
        ),
        swapped("listed", meta={"llamaswap": {"type": "alias", "modelID": "big"}}),
        swapped("box/far", meta={"llamaswap": {"type": "peer", "peerID": "box"}}),
        # As in versions before August 2026.
        swapped("far", meta={"llamaswap": {"peerID": "box"}}),
    ),
    "/running": {
        "running": [
            {"model": "big", "state": "ready", "cmd": "llama-server -c 16384"},
            {"model": "other", "state": "starting", "cmd": "secret"},
        ]
    },
}
for name in ("big", "gpt-5", "listed"):
    behind = f"/upstream/{name}"
    SWAP |= {
        f"{behind}/v1/models": listed(LLAMA_ENTRY),
        f"{behind}/props?model=m.gguf": LLAMA_PROPS,
        f"{behind}/apply-template": WITH_TOOLS,
    }
LM_STUDIO = {
    "/v1/models": listed({"id": "m", "object": "model", "owned_by": "organization_owner"}),
    "/api/v0/models": listed(
        {"id": "m", "type": "llm", "state": "not-loaded", "max_context_length": 262144},
        {
            "id": "m",
            "type": "vlm",
            "arch": "qwen3",
            "quantization": "Q4_K_M",
            "state": "loaded",
            "max_context_length": 262144,
            "loaded_context_length": 4096,
        },
        {"id": "later", "type": "llm", "state": "not-loaded", "max_context_length": 8192},
        {"id": "bge", "type": "embeddings", "state": "loaded", "capabilities": ["tool_use"]},
    ),
}
MLX = {
    "/v1/models": listed({"id": "mlx-community/m", "object": "model"}),
    "/health": {"status": "ok"},
}
KOBOLD = {
    "/api/version": {"version": "0.7.0"},
    "/api/extra/version": {"result": "KoboldCpp", "version": "1.102", "vision": False},
    "/api/extra/true_max_context_length": {"value": 12288},
    # It also answers this, as an Ollama does.
    "/api/tags": {"models": [{"name": "koboldcpp", "model": "koboldcpp"}]},
    "/v1/models": listed({"id": "koboldcpp/m", "object": "model", "owned_by": "koboldcpp"}),
}
SGLANG = {
    "/v1/models": listed(SGLANG_ENTRY),
    # It also answers this, as an Ollama does.
    "/api/tags": {"models": [{"name": "m", "details": {"format": "sglang"}}]},
    "/model_info": {"reasoning_parser": "qwen3", "has_image_understanding": False},
}
VLLM = {"/v1/models": listed(VLLM_ENTRY), "/version": {"version": "0.33.0"}}
OLLAMA = {"/api/version": {"version": "0.33.0"}}
UNKNOWN = {"/v1/models": listed({"id": "m", "owned_by": "somebody"})}
SEVERAL = {"/v1/models": listed(VLLM_ENTRY, LLAMA_ENTRY)}


@define
class Server:
    """Answers from a table; None, as for a refusal, to all that is not in it."""

    answers: dict[str, Json]
    asked: list[str] = field(factory=list)

    async def ask(self, method: str, path: str, body: Json | None) -> Json | None:
        self.asked.append(path)
        return self.answers.get(path)

    async def describe(self, model: str, api: str = "auto") -> ModelInfo:
        return await (await recognise(ContextPolicy(api=api), self.ask)).describe(model, self.ask)


SERVERS: dict[str, tuple[dict[str, Json], str]] = {
    "Ollama": (OLLAMA, "Ollama 0.33.0"),
    "an old Ollama": ({"/api/version": {"version": "0.7.0"}}, "Ollama 0.7.0"),
    "Ollama built from source": ({"/api/version": {"version": "0.0.0"}}, "Ollama 0.0.0"),
    "llama.cpp": (LLAMA, "llama.cpp b7701-abcdef12"),
    "llama.cpp with several models": (ROUTER, "llama.cpp b7701"),
    "llama.cpp without a model": (
        {"/v1/models": listed(), "/props": ROUTER["/props"], "/health": {"status": "ok"}},
        "The model server",
    ),
    "vLLM": (VLLM, "vLLM 0.33.0"),
    "SGLang": (SGLANG, "SGLang"),
    # To a route that it does not have it answers 200 with an error, which `ask` tells as None.
    "LM Studio": (LM_STUDIO, "LM Studio"),
    "llama-swap": (SWAP, "llama-swap v178"),
    "llama-swap before it told its version": (
        {"/v1/models": SWAP["/v1/models"]},
        "llama-swap",
    ),
    "mlx_lm.server": (MLX, "mlx_lm.server"),
    "mlx_lm.server with a model in one file": (
        {"/v1/models": listed(), "/health": {"status": "ok"}},
        "mlx_lm.server",
    ),
    "KoboldCpp": (KOBOLD, "KoboldCpp 1.102"),
    "a server of an unknown owner": (UNKNOWN, "The model server"),
    "a server without an owner that is not healthy in mlx_lm's words": (
        {"/v1/models": listed({"id": "m"}), "/health": {"status": "healthy"}},
        "The model server",
    ),
    "a server in front of several": (SEVERAL, "The model server"),
    "a server that tells nothing": ({"/health": {"status": "ok"}}, "The model server"),
}


@pytest.mark.parametrize("api", ["auto", "chat"])
@pytest.mark.parametrize(("answers", "name"), SERVERS.values(), ids=SERVERS)
@pytest_twisted.ensureDeferred
async def test_a_server_is_recognised(answers: dict[str, Json], name: str, api: str) -> None:
    engine = await recognise(ContextPolicy(api=api), Server(answers).ask)
    assert called(engine) == name
    is_native = api == "auto" and name.startswith("Ollama")
    assert engine.path == ("/api/chat" if is_native else "/v1/chat/completions")
    assert engine.is_ollama is name.startswith("Ollama")
    assert engine.words("http://u").name == engine.server


@pytest.mark.parametrize("answers", [pair[0] for pair in SERVERS.values()], ids=SERVERS)
@pytest_twisted.ensureDeferred
async def test_with_upstream_api_ollama_every_server_is_taken_for_one(
    answers: dict[str, Json],
) -> None:
    server = Server(answers)
    engine = await recognise(ContextPolicy(api="ollama"), server.ask)
    assert (engine.server, engine.path) == ("Ollama", "/api/chat")
    assert server.asked == ["/api/version"]


ASKED: dict[str, tuple[dict[str, Json], list[str]]] = {
    "Ollama": (OLLAMA, ["/api/version"]),
    "llama.cpp": (LLAMA, ["/api/version", "/v1/models", "/props"]),
    "llama.cpp with several models": (ROUTER, ["/api/version", "/v1/models", "/props"]),
    "vLLM": (VLLM, ["/api/version", "/v1/models", "/version"]),
    "SGLang": (SGLANG, ["/api/version", "/v1/models"]),
    "LM Studio": (LM_STUDIO, ["/api/version", "/v1/models"]),
    "llama-swap": (SWAP, ["/api/version"]),
    "mlx_lm.server": (MLX, ["/api/version", "/v1/models", "/health", "/props"]),
    "KoboldCpp": (KOBOLD, ["/api/version", "/api/extra/version"]),
    "unknown": (UNKNOWN, ["/api/version", "/v1/models"]),
}


@pytest.mark.parametrize(("answers", "asked"), ASKED.values(), ids=ASKED)
@pytest_twisted.ensureDeferred
async def test_nothing_is_asked_that_loads_a_model(
    answers: dict[str, Json], asked: list[str]
) -> None:
    server = Server(answers)
    await recognise(ContextPolicy(), server.ask)
    assert server.asked == asked


def told(*capabilities: str) -> frozenset[str]:
    return frozenset({"completion", *capabilities})


LLAMA_TOLD = {
    "capabilities": told("tools", "vision", "thinking"),
    "template": THINKS,
    "trained_context": 131072,
    "allocated_context": 16384,
    "is_loaded": True,
    "size": 8988106752,
    "parameters": 14768307200,
    "quantization": "Q4_K - Medium",
}
PROPS = "/props?model=m.gguf"
DESCRIBED: dict[str, tuple[dict[str, Json], str, Json]] = {
    "llama.cpp": (
        LLAMA | {PROPS: LLAMA_PROPS, "/apply-template": WITH_TOOLS},
        "m.gguf",
        LLAMA_TOLD,
    ),
    "llama.cpp by another name of its model": (
        LLAMA | {"/props?model=coder": LLAMA_PROPS, "/apply-template": WITH_TOOLS},
        "coder",
        LLAMA_TOLD,
    ),
    "llama.cpp by a name that its only model does not have": (
        LLAMA | {"/props?model=x": LLAMA_PROPS, "/apply-template": WITH_TOOLS},
        "x",
        LLAMA_TOLD,
    ),
    "llama.cpp with a template that drops tools": (
        LLAMA | {PROPS: LLAMA_PROPS, "/apply-template": {"prompt": "hi"}},
        "m.gguf",
        LLAMA_TOLD | {"capabilities": told("vision", "thinking")},
    ),
    "llama.cpp of an age in which only /props has the context": (
        {
            "/v1/models": listed(
                {"id": "m", "owned_by": "llamacpp", "meta": {"n_ctx_train": 8192}}
            ),
            "/props?model=m": {"default_generation_settings": {"n_ctx": 4096}},
        },
        "m",
        {
            "capabilities": told(),
            "trained_context": 8192,
            "allocated_context": 4096,
            "is_loaded": True,
        },
    ),
    "a model that llama.cpp has loaded besides others": (
        ROUTER | {"/props?model=big": LLAMA_PROPS, "/apply-template": WITH_TOOLS},
        "big",
        {
            "capabilities": told("tools", "vision", "thinking"),
            "template": THINKS,
            "allocated_context": 32768,
            "is_loaded": True,
        },
    ),
    "a model that llama.cpp would have to load": (ROUTER, "other", {"is_loaded": False}),
    "a model that llama.cpp does not have": (ROUTER, "nope", {}),
    "vLLM": (VLLM, "m", {"allocated_context": 40960}),
    "a model that vLLM does not have": (VLLM, "nope", {}),
    "SGLang": (
        SGLANG,
        "m",
        {"allocated_context": 65536, "capabilities": told("tools", "thinking")},
    ),
    "SGLang by its older route": (
        {
            "/v1/models": listed(SGLANG_ENTRY),
            "/get_model_info": {"reasoning_parser": None, "has_image_understanding": True},
        },
        "m",
        {"allocated_context": 65536, "capabilities": told("tools", "vision")},
    ),
    "LM Studio": (
        LM_STUDIO,
        "m",
        {
            "allocated_context": 4096,
            "trained_context": 262144,
            "capabilities": told("tools", "vision", "thinking"),
            "family": "qwen3",
            "quantization": "Q4_K_M",
            "is_loaded": True,
        },
    ),
    "a model that LM Studio would have to load": (
        LM_STUDIO,
        "later",
        {"trained_context": 8192, "capabilities": told("tools", "thinking"), "is_loaded": False},
    ),
    "an embedding model of LM Studio": (
        LM_STUDIO,
        "bge",
        {"capabilities": frozenset(), "is_loaded": True},
    ),
    "a model that LM Studio does not have": (LM_STUDIO, "nope", {}),
    "llama-swap": (SWAP, "big", LLAMA_TOLD),
    "llama-swap by an alias": (SWAP, "gpt-5", LLAMA_TOLD),
    "llama-swap by an alias in its list": (SWAP, "listed", LLAMA_TOLD),
    "a model that llama-swap starts": (
        SWAP,
        "other",
        {
            "allocated_context": 24576,
            "capabilities": told("tools", "thinking"),
            "is_loaded": False,
        },
    ),
    "a model of another machine": (SWAP, "box/far", {}),
    "a model of another machine, told in the older way": (SWAP, "far", {}),
    "a model that llama-swap does not list": (SWAP, "hidden", {"is_loaded": False}),
    "mlx_lm.server": (MLX, "mlx-community/m", {}),
    "KoboldCpp": (
        KOBOLD,
        "koboldcpp/m",
        {"allocated_context": 12288, "capabilities": told("tools", "thinking")},
    ),
    "KoboldCpp with a model that sees": (
        KOBOLD | {"/api/extra/version": {"result": "KoboldCpp", "vision": True}},
        "koboldcpp/m",
        {"allocated_context": 12288, "capabilities": told("tools", "thinking", "vision")},
    ),
    "KoboldCpp that does not tell whether it sees": (
        KOBOLD | {"/api/extra/version": {"result": "KoboldCpp"}},
        "koboldcpp/m",
        {"allocated_context": 12288},
    ),
    "unknown": (UNKNOWN, "m", {}),
}


@pytest.mark.parametrize("api", ["auto", "chat"])
@pytest.mark.parametrize(("answers", "model", "facts"), DESCRIBED.values(), ids=DESCRIBED)
@pytest_twisted.ensureDeferred
async def test_a_server_tells_of_a_model(
    answers: dict[str, Json], model: str, facts: Json, api: str
) -> None:
    assert await Server(answers).describe(model, api) == ModelInfo(model, **facts)


@pytest.mark.parametrize("model", ["other", "nope", "hidden", "box/far", "later"])
@pytest.mark.parametrize("answers", [ROUTER, SWAP, LM_STUDIO], ids=["llama.cpp", "swap", "studio"])
@pytest_twisted.ensureDeferred
async def test_a_model_that_is_not_loaded_is_not_asked_about_itself(
    answers: dict[str, Json], model: str
) -> None:
    server = Server(answers)
    await server.describe(model)
    # Each of these would load the model.
    assert not [path for path in server.asked if "?model=" in path or "/upstream/" in path]
    assert "/apply-template" not in server.asked


@pytest_twisted.ensureDeferred
async def test_a_model_that_sleeps_is_not_woken() -> None:
    properties = LLAMA_PROPS | {"is_sleeping": True}
    server = Server(ROUTER | {"/props?model=asleep": properties, "/apply-template": WITH_TOOLS})
    info = await server.describe("asleep")
    assert (info.allocated_context, info.is_loaded, info.can("tools")) == (8192, True, True)
    assert "/apply-template" not in server.asked


@pytest_twisted.ensureDeferred
async def test_what_llama_swap_is_configured_with_counts_where_its_server_tells_nothing() -> None:
    entry = swapped("big", capabilities={"vision": True}, context_length=24576)
    server = Server(SWAP | {"/v1/models": listed(entry), "/upstream/big/v1/models": listed()})
    assert await server.describe("big") == ModelInfo(
        "big",
        capabilities=told("vision", "thinking"),
        allocated_context=24576,
        is_loaded=True,
    )


@pytest_twisted.ensureDeferred
async def test_each_server_behind_llama_swap_tells_what_it_can() -> None:
    entries = {"vllm": VLLM_ENTRY, "sglang": SGLANG_ENTRY}
    contexts = {}
    for name, entry in entries.items():
        server = Server(SWAP | {"/upstream/big/v1/models": listed(entry)})
        contexts[name] = (await server.describe("big")).allocated_context
    assert contexts == {"vllm": 40960, "sglang": 65536}


@pytest.mark.parametrize("odd", [5, [], {}, [[1]], None, "x"])
def test_entries_of_any_type_are_read(odd: Any) -> None:
    entry = {
        "id": "m",
        "aliases": odd,
        "architecture": {"input_modalities": odd},
        "status": {"value": odd},
        "meta": {"n_ctx": odd, "llamaswap": {"aliases": odd, "type": odd, "modelID": odd}},
    }
    assert llama_cpp.listed_info("m", entry).name == "m"
    assert llama_cpp.names_of(entry)[0] == "m"
    assert chat_servers._swapped("m", [entry]) == entry
