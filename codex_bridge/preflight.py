"""Checks before the service starts: what would make it useless is told in one line.

Runs once, before the reactor and before twistd leaves the terminal, so it may block.
"""

from __future__ import annotations

import errno
import http.client
import socket
import sys
from urllib.parse import urlsplit

from codex_bridge.settings import Settings

PATIENCE = 5.0
"""Seconds that Ollama has to answer."""


def preflight(settings: Settings) -> None:
    """Return if the port is free and Ollama answers; else end the process, exit code 1."""
    trouble = port_trouble(settings.interface, settings.port) or upstream_trouble(
        settings.ollama_url
    )
    if trouble:
        sys.exit(f"codex-bridge: {trouble}")


def port_trouble(interface: str, port: int) -> str | None:
    """Why `interface`:`port` cannot be listened on, or None if it can."""
    family = socket.AF_INET6 if ":" in interface else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((interface, port))
            # Two sockets may be bound to one port with SO_REUSEADDR; only one may listen.
            probe.listen(1)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return (
                f"port {port} on {interface} is taken. If that is Ollama, move it "
                f"(OLLAMA_HOST=127.0.0.1:11433 ollama serve); else give another --port"
            )
        if error.errno in {errno.EACCES, errno.EPERM}:
            return f"port {port} needs privileges that this user lacks; give a --port above 1023"
        return f"cannot listen on {interface}: {error.strerror or error}; check --interface"
    return None


def upstream_trouble(url: str) -> str | None:
    """Why nothing that speaks HTTP answers at `url`, or None if something does.

    Any HTTP status will do: servers other than Ollama have no /api/version.
    """
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=PATIENCE)
    try:
        connection.request("GET", f"{parts.path}/api/version")
        connection.getresponse().read(1)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return (
            f"Ollama does not answer at {url} ({reason}). Start it there "
            f"(OLLAMA_HOST=127.0.0.1:11433 ollama serve) or give its --ollama-url"
        )
    finally:
        connection.close()
    return None
