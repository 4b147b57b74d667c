from twisted.application.service import ServiceMaker

codex_bridge = ServiceMaker(
    "codex-bridge",
    "codex_bridge.tap",
    "Codex CLI on local models: Responses API in, Ollama chat completions out.",
    "codex-bridge",
)
