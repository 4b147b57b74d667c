"""Short names for the shell: `alias cx14='codex -p bridge -m qwen3:14b'`."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterable
from itertools import chain, count

from codex_bridge.cli.codex_config import NAME
from codex_bridge.clients.catalog import parameters

PREFIX = "cx"


def aliases(models: Iterable[str]) -> list[str]:
    """One line for each model. Each name means one model only, and is as short as that allows."""
    names = {model: _names(model) for model in models}
    # A name that fits two models is given to neither.
    uses = Counter(name for candidates in names.values() for name in set(candidates))
    taken: set[str] = set()
    lines = []
    for model, candidates in names.items():
        unique = (name for name in candidates if uses[name] == 1)
        # Even the longest name may fit two models: "a/b" and "a-b" give the same one.
        numbered = (f"{candidates[-1]}-{number}" for number in count(1))
        free = (name for name in numbered if name not in uses and name not in taken)
        name = next(chain(unique, free))
        taken.add(name)
        command = f"codex -p {NAME} -m {shlex.quote(model)}"
        lines.append(f"alias {name}={shlex.quote(command)}")
    return lines


def _names(model: str) -> list[str]:
    """Possible names for a model, the shortest first: cx14, cxqwen14, cxqwen3-14b."""
    family, _, _ = model.rpartition("/")[2].lower().partition(":")
    letters = re.sub("[^a-z]", "", family)
    billions = parameters(model)
    size = f"{billions:g}" if billions else ""
    slug = re.sub("[^a-z0-9.]+", "-", model.lower().removesuffix(":latest")).strip("-.")
    return [PREFIX + name for name in (size, letters + size, slug) if name] or [PREFIX]
