"""Names of models as Ollama reads them, and those of models that `prepare` derives. Pure."""

from __future__ import annotations

import re

from codex_bridge.engines.ollama import canonical

CONTEXT_SUFFIX = re.compile(r"(?:^|-)ctx(\d+)(k?)$", re.IGNORECASE)


def split(model: str) -> tuple[str, str]:
    """A name and its tag. A colon before the last slash belongs to a registry's port."""
    place, slash, last = model.rpartition("/")
    name, _, tag = last.partition(":")
    return place + slash + name, tag


def same_model(one: str, other: str) -> bool:
    """Whether two names mean the same model to Ollama."""
    return canonical(one) == canonical(other)


def derived_name(model: str, num_ctx: int) -> str:
    """The name for `model` with a context of `num_ctx` tokens.

    qwen3:14b -> qwen3:14b-ctx32k, qwen3 and qwen3:latest -> qwen3:ctx32k. A model that is
    derived from a derived one is named after the first: qwen3:14b-ctx32k -> qwen3:14b-ctx64k.
    """
    base, tag = split(origin(model))
    size = f"{num_ctx // 1024}k" if num_ctx % 1024 == 0 else str(num_ctx)
    return f"{base}:{f'{tag}-' if tag not in {'', 'latest'} else ''}ctx{size}"


def named_context(name: str) -> int | None:
    """The context in a derived name, in tokens; None for all other names."""
    found = CONTEXT_SUFFIX.search(split(name)[1])
    return int(found[1]) * (1024 if found[2] else 1) if found else None


def origin(name: str) -> str:
    """The model behind a derived name."""
    base, tag = split(name)
    tag = CONTEXT_SUFFIX.sub("", tag)
    return f"{base}:{tag}" if tag else base
