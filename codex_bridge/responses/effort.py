"""How hard a model should think: Codex's eight efforts -> what this model and Ollama accept."""

from __future__ import annotations

from typing import Any

from codex_bridge.vocabulary import ModelInfo

LEVELS = {
    "none": "none",
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "max",
    "max": "max",
    "ultra": "max",
}
"""Codex's word -> Ollama's. Anything else is left to the model."""
ALWAYS_THINK = frozenset({"gptoss", "gpt-oss"})
"""Families that cannot be kept from thinking, and know three levels."""
SINCE_LEVELS_FOR_ALL, SINCE_MAX = (0, 17, 7), (0, 21, 3)
"""Versions of Ollama: the first that takes levels for other families, and the first that takes
"max". Older ones refuse the request."""


def effort(asked: Any, info: ModelInfo) -> str | None:
    """The effort to ask for: none, low, medium, high or max. None: leave the effort out.

    `asked` is the client's word, which may be anything.
    """
    level = LEVELS.get(asked) if isinstance(asked, str) else None
    if level is None or not info.can("thinking"):
        return None
    version = info.server_version
    if version is None:
        # Servers other than Ollama know OpenAI's four words at most.
        return "high" if level == "max" else level
    always = info.family in ALWAYS_THINK
    if level == "none":
        return "low" if always else "none"
    if not always and version < SINCE_LEVELS_FOR_ALL:
        return None
    return "high" if level == "max" and (always or version < SINCE_MAX) else level
