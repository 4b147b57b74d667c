"""Every knob of the service, with unit and default. Nothing else reads argv or the environment."""

from __future__ import annotations

from attrs import field, frozen

DEFAULT_PORT = 11434
DEFAULT_OLLAMA_URL = "http://localhost:11433"
DEFAULT_MAX_BODY_SIZE = 64 * 1024 * 1024
DEFAULT_CLIENT_TIMEOUT = 30

UPSTREAM_APIS = ("auto", "chat", "ollama")
DEFAULT_UPSTREAM_API = UPSTREAM_APIS[0]
TOOL_PROFILES = ("essential", "compact", "full")
DEFAULT_TOOL_PROFILE = TOOL_PROFILES[0]


@frozen
class Settings:
    """What one bridge does. Made by `codex_bridge.options` from flags and environment."""

    port: int = DEFAULT_PORT
    """TCP port to listen on; 0 takes any free one."""
    interface: str = "127.0.0.1"
    """Address to listen on."""
    ollama_url: str = DEFAULT_OLLAMA_URL
    """Where Ollama listens: scheme, host, port and perhaps a path prefix; no trailing slash."""
    debug: bool = False
    """Log both bodies of every exchange."""
    quiet: bool = False
    """Log errors only."""
    max_body_size: int = field(default=DEFAULT_MAX_BODY_SIZE)
    """Largest accepted body of /v1/responses, in bytes."""
    client_timeout: int = DEFAULT_CLIENT_TIMEOUT
    """Seconds within which a client must have sent the headers of a request, and then its body."""
    upstream_stream: bool = True
    """Ask Ollama for a stream; else for one JSON answer, streamed on when it is whole."""
    upstream_api: str = DEFAULT_UPSTREAM_API
    """How Ollama is spoken to: chat (completions), ollama (/api/chat), or auto."""
    num_ctx: int | None = None
    """Context that Ollama is asked to allocate, in tokens; None: 32768 where its own is less."""
    keep_alive: str | None = None
    """How long Ollama keeps a model in memory, in its own words (30m, -1); None: as it likes."""
    context_guard: bool = True
    """Refuse a prompt that does not fit the context, in place of letting Ollama cut it."""
    tool_profile: str = DEFAULT_TOOL_PROFILE
    """How much of each tool's declaration the model is shown: essential, compact or full."""
    directives: bool = True
    """Tell the model in a few sentences how to call functions."""
    repair: bool = True
    """Mend the calls that a model writes: those in its text, wrong names, broken arguments."""
