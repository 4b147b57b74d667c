"""Which engine speaks to an upstream, by the user's word and by what the server says it is."""

from __future__ import annotations

from codex_bridge.engines.chat_servers import (
    BY_OWNER,
    KoboldCppEngine,
    LlamaSwapEngine,
    MlxEngine,
    VllmEngine,
)
from codex_bridge.engines.engine import Ask, ContextPolicy, Engine, Version
from codex_bridge.engines.llama_cpp import LlamaCppEngine
from codex_bridge.engines.ollama import OLDEST, OllamaEngine, OllamaThroughChat, version_of
from codex_bridge.engines.openai_chat import ChatEngine, listed_models
from codex_bridge.vocabulary import Json


async def recognise(policy: ContextPolicy, ask: Ask) -> Engine:
    """Ask the server what it is. Raises UpstreamFailure where it does not answer.

    Nothing is asked that loads a model.
    """
    told = await ask("GET", "/api/version", None) or {}
    version, release = version_of(told), str(told.get("version") or "")
    if policy.api == "ollama":
        return engine_for(policy, version, release)
    if "build_date" in told:
        return LlamaSwapEngine(policy, release)
    if version is not None:
        # KoboldCpp says that it is an Ollama of this age.
        if (0, 0, 0) < version < OLDEST:
            known = await ask("GET", "/api/extra/version", None) or {}
            if known.get("result") == "KoboldCpp":
                return KoboldCppEngine(policy, str(known.get("version") or ""))
        return engine_for(policy, version, release)
    return await _other(policy, ask)


async def _other(policy: ContextPolicy, ask: Ask) -> Engine:
    """The engine for a server that is no Ollama."""
    listed = await ask("GET", "/v1/models", None)
    owners = {str(entry.get("owned_by")) for entry in listed_models(listed)}
    kinds = {BY_OWNER[owner] for owner in owners if owner in BY_OWNER}
    # A server that lists the models of several servers stands in front of them.
    kind = kinds.pop() if len(kinds) == 1 else ChatEngine
    if kind is LlamaCppEngine:
        properties = await ask("GET", "/props", None) or {}
        return LlamaCppEngine(policy, str(properties.get("build_info") or ""))
    if kind is VllmEngine:
        told = await ask("GET", "/version", None) or {}
        return VllmEngine(policy, str(told.get("version") or ""))
    # mlx_lm.server names no owner, and lists no model whose weights are one file.
    if "data" in (listed or {}) and owners <= {"None"} and await _is_mlx(ask):
        return MlxEngine(policy)
    return kind(policy)


async def _is_mlx(ask: Ask) -> bool:
    """Whether a server that names no owner of a model is mlx_lm.server."""
    health: Json | None = await ask("GET", "/health", None)
    # llama.cpp's server with a folder that has no models says the same of its health.
    return health == {"status": "ok"} and await ask("GET", "/props", None) is None


def engine_for(policy: ContextPolicy, version: Version | None, release: str = "") -> Engine:
    """The engine that `policy` asks for.

    `version` and `release`: Ollama's, as numbers and as it writes it. None: it is not Ollama.
    """
    if policy.api == "ollama" or (policy.api == "auto" and version is not None):
        return OllamaEngine(policy, version or OLDEST, release)
    return ChatEngine(policy) if version is None else OllamaThroughChat(policy, version, release)
