"""Short names for the shell: `alias cx14='codex -p bridge -m qwen3:14b'`."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterable
from itertools import chain, count

from codex_bridge.cli.profile import NAME
from codex_bridge.clients.catalog import parameters

PREFIX = "cx"


def aliases(models: Iterable[str]) -> list[str]:
    """One line for each model, each with a name of its own, as short as the others let it be."""
    forms = {model: _forms(model) for model in models}
    # A name that could mean two models is given to neither.
    uses = Counter(form for own in forms.values() for form in set(own))
    taken: set[str] = set()
    lines = []
    for model, own in forms.items():
        # Even the longest may clash: "a/b" and "a-b" look alike.
        numbered = (f"{own[-1]}-{number}" for number in count(1))
        free = (form for form in numbered if form not in uses and form not in taken)
        name = next(chain((form for form in own if uses[form] == 1), free))
        taken.add(name)
        command = f"codex -p {NAME} -m {shlex.quote(model)}"
        lines.append(f"alias {name}={shlex.quote(command)}")
    return lines


def _forms(model: str) -> list[str]:
    """Names for a model, the shortest first: cx14, cxqwen14, cxqwen3-14b."""
    family, _, _ = model.rpartition("/")[2].lower().partition(":")
    letters = re.sub("[^a-z]", "", family)
    billions = parameters(model)
    size = f"{billions:g}" if billions else ""
    slug = re.sub("[^a-z0-9.]+", "-", model.lower().removesuffix(":latest")).strip("-.")
    forms = [PREFIX + form for form in (size, letters + size, slug) if form]
    return forms or [PREFIX]
