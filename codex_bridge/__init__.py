"""Lets the Codex CLI work with local models, by way of Ollama.

A request comes in through `codex_bridge.web`, `codex_bridge.responses` makes a chat request of
it, and `codex_bridge.engines` sends that to the server that runs the model. The answer goes the
same way back, chunk by chunk.
"""

__version__ = "0.2.0"
