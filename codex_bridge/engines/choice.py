"""Which engine speaks to an upstream, by the user's word and by what the server says it is."""

from __future__ import annotations

from codex_bridge.engines.engine import ContextPolicy, Engine, Version
from codex_bridge.engines.ollama import OLDEST, OllamaEngine
from codex_bridge.engines.openai_chat import ChatEngine


def choose(policy: ContextPolicy, version: Version | None) -> Engine:
    """The engine, by the user's word and by Ollama's version; None: the server is another one."""
    if policy.api == "ollama" or (policy.api == "auto" and version is not None):
        return OllamaEngine(policy, version or OLDEST)
    return ChatEngine(policy, version)
