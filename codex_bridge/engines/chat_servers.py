"""Servers of chat completions besides Ollama and llama.cpp: what each tells of its models.

The facts are from the source of vLLM 0.33, SGLang 0.5.23, llama-swap of August 2026, mlx-lm 0.32
and KoboldCpp 1.102, and from the documentation of LM Studio 0.4, whose source is not public.
"""

from __future__ import annotations

from collections.abc import Awaitable
from urllib.parse import quote

from attrs import evolve, frozen

from codex_bridge.engines.engine import Ask
from codex_bridge.engines.llama_cpp import LlamaCppEngine
from codex_bridge.engines.openai_chat import PATH, ChatEngine, listed_models, shortest_request
from codex_bridge.engines.parsing import object_in, objects_in, whole_number
from codex_bridge.vocabulary import ChatRequest, Json, ModelInfo

MLX_TOKENS = 32768
"""Tokens of an answer that mlx_lm.server is asked to allow; by itself it cuts at 512."""


@frozen
class VllmEngine(ChatEngine):
    """It tells a model's context, and by a refusal that it was started without tools.

    vllm/entrypoints/openai: `max_model_len` in /v1/models, `chat_template_kwargs`,
    `reasoning_content` in a message (newer versions call it `reasoning` and take both).
    """

    release: str = ""
    server = "vLLM"
    can_read_ahead = True
    remedy = "vLLM's option --max-model-len"
    reasoning_key = "reasoning_content"
    has_template_options = True
    cuts_in_silence = False
    counts_whole_prompt = True

    async def describe(self, model: str, ask: Ask) -> ModelInfo:
        return ModelInfo(model, **_told_length(await _entry(model, ask)))

    def tool_trial(self, info: ModelInfo) -> tuple[str, bytes, bytes] | None:
        return _tool_trial(info)


@frozen
class SglangEngine(ChatEngine):
    """It tells a model's context, and by /model_info which parsers it was started with.

    python/sglang/srt/entrypoints: a call that no parser reads stays in the text.
    """

    server = "SGLang"
    can_read_ahead = True
    remedy = "SGLang's option --context-length"
    reasoning_key = "reasoning_content"
    has_template_options = True
    cuts_in_silence = False
    counts_whole_prompt = True

    async def describe(self, model: str, ask: Ask) -> ModelInfo:
        info = ModelInfo(model, **_told_length(await _entry(model, ask)))
        # The older name of the route is still there, and is going to be removed.
        told = await ask("GET", "/model_info", None) or await ask("GET", "/get_model_info", None)
        if not told:
            return info
        can = {
            "thinking": told.get("reasoning_parser") is not None,
            "vision": told.get("has_image_understanding") is True,
        }
        found = {capability for capability in can if can[capability]}
        return evolve(info, capabilities=frozenset({"completion", "tools"} | found))


@frozen
class LmStudioEngine(ChatEngine):
    """It loads models when they are asked for, and tells of them by /api/v0/models.

    A prompt that is too long may be cut, or end in an empty answer.
    """

    server = "LM Studio"
    remedy = "the context length with which LM Studio loads it"
    reasoning_key = "reasoning_content"
    gives_logprobs = False
    counts_whole_prompt = True

    async def describe(self, model: str, ask: Ask) -> ModelInfo:
        told = await ask("GET", "/api/v0/models", None) or {}
        entries = [each for each in objects_in(told.get("data")) if each.get("id") == model]
        # One model may stand there twice: as it was downloaded, and as it is loaded.
        entries.sort(key=lambda entry: entry.get("state") != "loaded")
        if not entries:
            return ModelInfo(model)
        entry, kind = entries[0], entries[0].get("type")
        can = {
            "completion": kind != "embeddings",
            # LM Studio describes tools in the prompt of every other model by itself.
            "tools": kind != "embeddings",
            "vision": kind == "vlm",
            "thinking": kind != "embeddings",
        }
        return ModelInfo(
            model,
            capabilities=frozenset(each for each in can if can[each]),
            family=str(entry.get("arch") or ""),
            trained_context=whole_number(entry.get("max_context_length")) or None,
            allocated_context=whole_number(entry.get("loaded_context_length")) or None,
            is_loaded=entry.get("state") == "loaded",
            quantization=str(entry.get("quantization") or ""),
        )


@frozen
class MlxEngine(ChatEngine):
    """mlx_lm.server tells nothing of its models, and has no limit for a prompt."""

    server = "mlx_lm.server"
    has_template_options = True
    gives_logprobs = False

    def extras(self, request: ChatRequest, info: ModelInfo) -> Json:
        return {"max_tokens": request.max_tokens or MLX_TOKENS} | super().extras(request, info)

    def tool_trial(self, info: ModelInfo) -> tuple[str, bytes, bytes] | None:
        return _tool_trial(info)


@frozen
class KoboldCppEngine(ChatEngine):
    """It also answers Ollama's routes, but without streams, tools and facts on models.

    It makes calls of what any model writes.
    """

    release: str = ""
    server = "KoboldCpp"
    gives_logprobs = False
    remedy = "KoboldCpp's option --contextsize"

    async def describe(self, model: str, ask: Ask) -> ModelInfo:
        told = await ask("GET", "/api/extra/true_max_context_length", None) or {}
        info = ModelInfo(model, allocated_context=whole_number(told.get("value")) or None)
        sees = (await ask("GET", "/api/extra/version", None) or {}).get("vision")
        if not isinstance(sees, bool):
            return info
        can = {"completion", "tools", "thinking"} | ({"vision"} if sees else set())
        return evolve(info, capabilities=frozenset(can))


@frozen
class LlamaSwapEngine(ChatEngine):
    """It starts another server for each model; that one tells the rest while it runs.

    internal/server/api.go: /running has the state of each, /upstream/MODEL/ leads to its server,
    and would start it.
    """

    release: str = ""
    server = "llama-swap"
    can_read_ahead = True
    remedy = "the command for it in llama-swap's configuration"
    reasoning_key = "reasoning_content"
    has_template_options = True

    async def describe(self, model: str, ask: Ask) -> ModelInfo:
        entry = _swapped(model, listed_models(await ask("GET", "/v1/models", None)))
        configured = _configured(model, entry)
        own = object_in(object_in(entry.get("meta")).get("llamaswap"))
        if str(own.get("type", "model")) not in {"model", "alias"} or "peerID" in own:
            # It runs on another machine, or stands for whichever of several models is loaded.
            return configured
        running = await ask("GET", "/running", None) or {}
        states = {
            str(each.get("model")): each.get("state") for each in objects_in(running.get("running"))
        }
        if states.get(str(own.get("modelID") or entry.get("id") or model)) != "ready":
            return evolve(configured, is_loaded=False)

        def ask_behind(method: str, path: str, body: Json | None) -> Awaitable[Json | None]:
            return ask(method, f"/upstream/{quote(model, safe='')}{path}", body)

        listed = listed_models(await ask_behind("GET", "/v1/models", None))
        owner = listed[0].get("owned_by") if listed else None
        engine = BY_OWNER.get(str(owner), ChatEngine)(self.policy)
        info = await engine.describe(listed[0]["id"] if listed else model, ask_behind)
        return evolve(
            info,
            name=model,
            is_loaded=True,
            allocated_context=info.allocated_context or configured.allocated_context,
            capabilities=info.capabilities or configured.capabilities,
        )


BY_OWNER: dict[str, type[ChatEngine]] = {
    "llamacpp": LlamaCppEngine,
    "vllm": VllmEngine,
    "sglang": SglangEngine,
    "organization_owner": LmStudioEngine,
    "koboldcpp": KoboldCppEngine,
    "llama-swap": LlamaSwapEngine,
}
"""`owned_by` of the entries in /v1/models -> the engine for the server that writes it."""


def _tool_trial(info: ModelInfo) -> tuple[str, bytes, bytes]:
    with_function = shortest_request(info.name, has_function=True)
    return PATH, with_function, shortest_request(info.name)


async def _entry(model: str, ask: Ask) -> Json:
    """The entry of a model in /v1/models; {} where it has none."""
    entries = listed_models(await ask("GET", "/v1/models", None))
    return next((entry for entry in entries if entry["id"] == model), {})


def _told_length(entry: Json) -> Json:
    """Facts in an entry of vLLM or SGLang: the context that it was started with."""
    return {"allocated_context": whole_number(entry.get("max_model_len")) or None}


def _swapped(model: str, entries: list[Json]) -> Json:
    """The entry of llama-swap for a model, which may be asked for by another name that it has."""
    named = {entry["id"]: entry for entry in entries}
    for entry in entries:
        own = object_in(object_in(entry.get("meta")).get("llamaswap"))
        aliases = own.get("aliases")
        for alias in aliases if isinstance(aliases, list) else []:
            named.setdefault(str(alias), entry)
    return named.get(model, {})


def _configured(model: str, entry: Json) -> ModelInfo:
    """What llama-swap's configuration says of a model in its entry, if it says anything."""
    told, capabilities = entry.get("capabilities"), None
    if isinstance(told, dict):
        can = {"tools": told.get("function_calling"), "vision": told.get("vision")}
        found = {capability for capability in can if can[capability] is True}
        capabilities = frozenset({"completion", "thinking"} | found)
    context = whole_number(entry.get("context_length")) or None
    return ModelInfo(model, capabilities=capabilities, allocated_context=context)
