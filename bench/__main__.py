"""`python -m bench VERB …`, from a checkout: measures the bridge, or looks for what breaks it."""

from __future__ import annotations

import sys
from importlib import import_module

VERBS = {
    "ttft": "what the bridge adds to the time to the first token",
    "read_ahead": "what a first turn waits less for, where the model has read ahead",
    "prompt_cache": "what a prompt cache can reuse over a session",
    "tool_tokens": "what Codex's tools cost a model, by Codex version and tool profile",
    "limits": "how the time for extreme requests and answers grows with their size",
    "extremes": "the time of each such case, once",
    "fuzz": "the random tests, for longer than a test may run",
    "torture": "requests that no decent client sends, and upstreams that no decent server is",
    "soak": "many clients of every kind, before an upstream that comes and goes",
    "spread": "how a balancer spreads conversations over bridges or engines",
    "mutation": "how many small changes of the code the tests notice",
    "capture": "what goes over the wire, of two checkouts, compared",
}
"""Each verb is a module of this package with a function `main`, which reads sys.argv."""


def main() -> None:
    """Run the module that the first argument names."""
    verb = sys.argv[1] if len(sys.argv) > 1 else ""
    if verb not in VERBS:
        lines = [f"  {name:<14}{what}" for name, what in VERBS.items()]
        sys.exit("\n".join(["usage: python -m bench VERB [--help]", *lines]))
    sys.argv = [f"bench {verb}", *sys.argv[2:]]
    import_module(f"bench.{verb}").main()


if __name__ == "__main__":
    main()
