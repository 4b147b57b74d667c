from twisted.application.service import ServiceMaker

codex_bridge = ServiceMaker(
    "codex-bridge",
    "codex_bridge.tap",
    "Codex CLI on local models: Responses API in, Ollama's chat API out.",
    "codex-bridge",
)
