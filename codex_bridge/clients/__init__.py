"""How the clients of the bridge differ, and what Codex is told of models."""
