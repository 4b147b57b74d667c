"""Every knob of the service, with unit and default. Nothing else reads argv or the environment."""

from __future__ import annotations

from attrs import field, frozen

DEFAULT_PORT = 11434
DEFAULT_OLLAMA_URL = "http://localhost:11433"
DEFAULT_UPSTREAM_TIMEOUT = 1800
DEFAULT_GRACE = 0.5
DEFAULT_HEARTBEAT = 15
DEFAULT_DRAIN = 30
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
    allow_host: tuple[str, ...] = ()
    """Names in Host that are accepted besides those of this machine; "*": all."""
    allow_origin: tuple[str, ...] = ()
    """Origins whose pages may use the bridge besides local ones; a * stands for anything."""
    api_key: str | None = field(default=None, repr=False)
    """What a client has to show; None: nothing."""
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
    upstream_timeout: float = DEFAULT_UPSTREAM_TIMEOUT
    """Seconds of silence after which Ollama is given up in the middle of an exchange. A large
    model that loads, a long prompt on a CPU, and a long call, which comes whole, are silent."""
    grace: float = DEFAULT_GRACE
    """Seconds that a client waits for its stream to begin, so that a refusal can come first."""
    heartbeat: float = DEFAULT_HEARTBEAT
    """Seconds after which a stream on which nothing was sent gets an event that says so."""
    drain: float = DEFAULT_DRAIN
    """Seconds that running exchanges are given to finish when the bridge is stopped."""
    tool_profile: str = DEFAULT_TOOL_PROFILE
    """How much of each tool's declaration the model is shown: essential, compact or full."""
    directives: bool = True
    """Tell the model in a few sentences how to call functions."""
    repair: bool = True
    """Mend the calls that a model writes: those in its text, wrong names, broken arguments."""
