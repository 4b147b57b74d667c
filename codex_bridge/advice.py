"""Commands that messages advise, with the addresses that the user really has."""

from __future__ import annotations

from urllib.parse import urlsplit

from codex_bridge.settings import DEFAULTS

LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


def is_local(url: str) -> bool:
    """Whether a URL names this machine."""
    return urlsplit(url).hostname in LOCAL_NAMES


def address(url: str) -> tuple[str, int]:
    """Host and port of a URL, with one name for this machine."""
    parts = urlsplit(url)
    host = "127.0.0.1" if is_local(url) else parts.hostname or ""
    return host, parts.port or (443 if parts.scheme == "https" else 80)


def serve(url: str) -> str:
    """The command that starts Ollama at a base URL, given on the machine that it names."""
    parts = urlsplit(url)
    if parts.scheme == "https" or parts.path:
        # Another server stands before it, and only its user knows where Ollama itself listens.
        return "ollama serve"
    host = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname or ""
    port = parts.port or 80
    return f"OLLAMA_HOST={f'[{host}]' if ':' in host else host}:{port} ollama serve"


def ollama(command: str, url: str, usual: str = f"http://127.0.0.1:{DEFAULTS.port}") -> str:
    """A command of the `ollama` program for the Ollama at `url`.

    Without OLLAMA_HOST that program asks at the bridge's usual port. `usual`: the address for which
    it needs no other.
    """
    is_usual = address(url) == address(usual)
    return f"ollama {command}" if is_usual else f"OLLAMA_HOST={url} ollama {command}"


def run(url: str) -> str:
    """The command that starts a bridge at a base URL, given on the machine that it names."""
    port = address(url)[1]
    return "codex-bridge run" + (f" --port {port}" if port != DEFAULTS.port else "")
