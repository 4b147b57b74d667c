"""Makes local models first-class citizens of the Codex CLI.

A request walks in through `codex_bridge.web`, is turned into a chat request by
`codex_bridge.translate` and goes out through `codex_bridge.upstream`; the answer
walks the same three rooms the other way, chunk by chunk.
"""

__version__ = "0.1.0"
