"""Checks before the service starts: is the port free, and does Ollama answer?

They run once, before the reactor runs and before twistd detaches from the terminal. So they may
block, and the user still sees the message.
"""

from __future__ import annotations

import errno
import http.client
import socket
import sys
from urllib.parse import urlsplit

from codex_bridge.settings import Settings

TIMEOUT = 5.0
"""Seconds that Ollama is given to answer."""


def check_before_start(settings: Settings) -> None:
    """End the process with one line and exit code 1 unless the port is free and Ollama answers."""
    trouble = port_trouble(settings.interface, settings.port) or upstream_trouble(
        settings.upstream_url
    )
    if trouble:
        sys.exit(f"codex-bridge: {trouble}")


def port_trouble(interface: str, port: int) -> str | None:
    """Say why the bridge cannot listen on `interface`:`port`; None if it can."""
    family = socket.AF_INET6 if ":" in interface else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((interface, port))
            # With SO_REUSEADDR several sockets may bind one port, but only one may listen on it.
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
    """Say why no HTTP server answers at the base URL `url`; None if one does.

    Any HTTP status counts as an answer: servers other than Ollama have no /api/version.
    """
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT)
    try:
        connection.request("GET", f"{parts.path}/api/version")
        connection.getresponse().read(1)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return (
            f"Ollama does not answer at {url} ({reason}). Start it there "
            f"(OLLAMA_HOST=127.0.0.1:11433 ollama serve) or give its --upstream-url"
        )
    finally:
        connection.close()
    return None
