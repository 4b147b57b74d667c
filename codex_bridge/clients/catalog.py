"""What Codex is told of a model: an entry of its catalog that every version of Codex accepts.

Codex refuses a whole catalog if one entry lacks a key, or has null where that version needs a
value. So every key that 0.130, 0.145 or 0.169 needs is always there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from codex_bridge.clients.instructions import INSTRUCTIONS
from codex_bridge.vocabulary import Json, ModelInfo

COMPACT_PERCENT = 80
"""Percentage of the context at which Codex compacts. The rest is for one more answer, for the
results of its calls, and for the error in Codex's estimate of both."""
PROMPT_PERCENT = 93
"""Percentage of the context that a prompt may take. Codex does not send a longer one."""
OUTPUT_BYTES, OUTPUT_CONTEXT = 10_000, 32_768
"""Codex shows a model at most OUTPUT_BYTES of a tool's output, and proportionally less where the
context is below OUTPUT_CONTEXT tokens."""
LEAST_OUTPUT_BYTES = 1_000
LEVELS = [
    {"effort": "low", "description": "Thinks briefly"},
    {"effort": "medium", "description": "Thinks as much as most tasks need"},
    {"effort": "high", "description": "Thinks long, for hard tasks"},
]
SIZE = re.compile(r"(?<![\w.])(?:(\d+)x)?(\d+(?:\.\d+)?)([bm])(?![a-z0-9])", re.IGNORECASE)
SHORT_WORD = 3
"""A word of a name with at most this many letters is taken for an abbreviation: GPT, OSS, GLM."""


def catalog(models: Iterable[tuple[ModelInfo, int | None]]) -> list[Json]:
    """The entries for models and their contexts (in tokens, None: unknown), the best first.

    A model is better if it can call tools, then if it runs on this machine, then if its name
    tells more parameters, then if it has more context. Models that only embed are left out.
    """
    chatting = [(info, context) for info, context in models if info.can("completion")]
    chatting.sort(key=lambda each: _merit(*each), reverse=True)
    return [entry(info, context, place) for place, (info, context) in enumerate(chatting, 1)]


def entry(info: ModelInfo, context: int | None, priority: int = 1) -> Json:
    """The entry for one model; `priority` is its place in Codex's list, from 1."""
    thinks = info.capabilities is not None and info.can("thinking")
    size = f"{context:,} tokens of context" if context else "unknown context"
    return {
        "slug": info.name,
        "display_name": display_name(info.name),
        "description": f"{info.name} in Ollama, {size}",
        "default_reasoning_level": "medium" if thinks else None,
        "supported_reasoning_levels": LEVELS if thinks else [],
        "supports_reasoning_summaries": thinks,
        "default_reasoning_summary": "auto",
        "shell_type": "unified_exec",
        "apply_patch_tool_type": "freeform" if info.can("tools") else None,
        "supports_parallel_tool_calls": True,
        # Tools of MCP servers, often hundreds, are then found by a search when they are needed.
        "supports_search_tool": info.can("tools"),
        "experimental_supported_tools": [],
        "input_modalities": ["text", "image"] if info.can("vision") else ["text"],
        "truncation_policy": {"mode": "bytes", "limit": output_bytes(context)},
        "base_instructions": INSTRUCTIONS,
        "support_verbosity": False,
        "default_verbosity": None,
        "visibility": "list",
        "supported_in_api": True,
        "priority": priority,
        "availability_nux": None,
        "upgrade": None,
        **_window(context),
    }


def alias_entry(model: Json, alias: str, priority: int) -> Json:
    """The entry for another name of the model that has the entry `model`."""
    return model | {"slug": alias, "display_name": display_name(alias), "priority": priority}


def _window(context: int | None) -> Json:
    if context is None:
        return {"context_window": None}
    return {
        "context_window": context,
        "max_context_window": context,
        "auto_compact_token_limit": context * COMPACT_PERCENT // 100,
        "effective_context_window_percent": PROMPT_PERCENT,
    }


def output_bytes(context: int | None) -> int:
    """The limit for a tool's output in bytes: about a tenth of the context at most."""
    share = OUTPUT_BYTES * (context or OUTPUT_CONTEXT) // OUTPUT_CONTEXT
    return min(OUTPUT_BYTES, max(LEAST_OUTPUT_BYTES, share))


def _merit(info: ModelInfo, context: int | None) -> tuple[float, ...]:
    return info.can("tools"), not info.is_remote, parameters(info.name) or 0, context or 0


def parameters(name: str) -> float | None:
    """Billions of parameters by a model's name: "qwen3:14b" -> 14.0; None if it tells none."""
    found = SIZE.search(name)
    if not found:
        return None
    size = float(found[2]) * int(found[1] or 1)
    return size / 1000 if found[3] in "mM" else size


def display_name(name: str) -> str:
    """A name for people: "qwen3-coder:30b" -> "Qwen3 Coder 30B"."""
    family, _, tag = name.rpartition("/")[2].partition(":")
    words = [_word(word) for word in family.split("-") if word]
    if tag and tag != "latest":
        words += [_size_word(word) for word in tag.split("-") if word]
    return " ".join(words)


def _word(word: str) -> str:
    if SIZE.fullmatch(word) or (word.isalpha() and len(word) <= SHORT_WORD):
        return word.upper()
    return word[0].upper() + word[1:]


def _size_word(word: str) -> str:
    return word.upper() if re.fullmatch(r"[ae]?[\dx.]+[bm]", word) else word
