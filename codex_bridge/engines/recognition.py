"""Which engine speaks to an upstream, by the user's word and by what the server says it is."""

from __future__ import annotations

from codex_bridge.engines.engine import Ask, ContextPolicy, Engine, Version
from codex_bridge.engines.ollama import OLDEST, OllamaEngine, OllamaThroughChat, version_of
from codex_bridge.engines.openai_chat import ChatEngine


async def recognise(policy: ContextPolicy, ask: Ask) -> Engine:
    """Ask the server what it is. Raises UpstreamFailure where it does not answer."""
    return engine_for(policy, version_of(await ask("GET", "/api/version", None)))


def engine_for(policy: ContextPolicy, version: Version | None) -> Engine:
    """The engine that `policy` asks for. `version`: Ollama's; None if the server is not Ollama."""
    if policy.api == "ollama" or (policy.api == "auto" and version is not None):
        return OllamaEngine(policy, version or OLDEST)
    return ChatEngine(policy) if version is None else OllamaThroughChat(policy, version)
