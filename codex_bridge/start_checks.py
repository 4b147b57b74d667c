"""Checks before the service starts: is the port free, and does Ollama answer?

They run once, before the reactor runs and before twistd detaches from the terminal. So they may
block, and the user still sees the message.
"""

from __future__ import annotations

import errno
import http.client
import socket
import ssl
import sys
from collections.abc import Callable
from contextlib import closing
from urllib.parse import SplitResult, urlsplit

from codex_bridge import advice
from codex_bridge.engines import redirects, tls
from codex_bridge.engines.client import DENIED, denied
from codex_bridge.settings import Settings
from codex_bridge.text import printable

TIMEOUT = 5.0
"""Seconds that Ollama is given to answer."""
PATH = "/api/version"
LONGEST = 1000
"""Characters of a sentence that the server had a part in."""


def check_before_start(settings: Settings) -> None:
    """End the process with one line and exit code 1 unless the port is free and Ollama answers."""

    def warn(sentence: str) -> None:
        if not settings.quiet:
            print(f"codex-bridge: {sentence}", file=sys.stderr)  # noqa: T201

    url = settings.upstream_url
    trouble = port_trouble(settings.interface, settings.port, url) or upstream_trouble(
        url, settings.upstream_api_key, warn
    )
    if trouble:
        sys.exit(f"codex-bridge: {trouble}")


def port_trouble(interface: str, port: int, upstream_url: str) -> str | None:
    """Say why the bridge cannot listen on `interface`:`port`; None if it can.

    `upstream_url`: where the bridge looks for Ollama.
    """
    family = socket.AF_INET6 if ":" in interface else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((interface, port))
            # With SO_REUSEADDR several sockets may bind one port, but only one may listen on it.
            probe.listen(1)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            is_local = advice.is_local(upstream_url)
            move = f"move it ({advice.serve(upstream_url)})" if is_local else "stop it"
            return (
                f"port {port} on {interface} is taken. If that is Ollama, {move}; else give "
                f"another --port"
            )
        if error.errno in {errno.EACCES, errno.EPERM}:
            return f"port {port} needs privileges that this user lacks; give a --port above 1023"
        return f"cannot listen on {interface}: {error.strerror or error}; check --interface"
    return None


def upstream_trouble(
    url: str, key: str | None = None, warn: Callable[[str], None] = lambda _: None
) -> str | None:
    """Say why the bridge cannot work with the server at the base URL `url`; None if it can.

    Any HTTP status counts as an answer: servers other than Ollama have no /api/version. If the
    server denies access, with or without the `key` that is sent to it, `warn` is told so.
    """
    parts = urlsplit(url)
    try:
        status, location = _answer(parts, key)
    except (OSError, http.client.HTTPException) as error:
        misfit = _misfit(parts, error)
        if misfit is None:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            return (
                f"Ollama does not answer at {url} ({reason}). Start it there "
                f"({advice.serve(url)}) or give its --upstream-url"
            )
    else:
        misfit = None
        if status in redirects.CODES and redirects.moved_to(url, PATH, location):
            misfit = printable(redirects.told(url, PATH, location), LONGEST)
        elif status == http.HTTPStatus.BAD_REQUEST and parts.scheme == "http" and _has_tls(parts):
            misfit = tls.SPEAKS_TLS
        elif status in DENIED:
            phrase = http.HTTPStatus(status).phrase
            words = denied(phrase, status, has_key=key is not None)
            warn(f"the server at {url} denies access: {words}")
    return f"cannot talk to the server at {url}: {misfit}" if misfit else None


def _answer(parts: SplitResult, key: str | None) -> tuple[int, str]:
    """Status and Location of the first answer. Raises OSError and HTTPException."""
    host = parts.hostname or ""
    connection = (
        http.client.HTTPSConnection(host, parts.port, timeout=TIMEOUT, context=_context())
        if parts.scheme == "https"
        else http.client.HTTPConnection(host, parts.port, timeout=TIMEOUT)
    )
    with closing(connection):
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        connection.request("GET", parts.path + PATH, headers=headers)
        response = connection.getresponse()
        response.read(1)
        return response.status, response.headers.get("location", "")


def _misfit(parts: SplitResult, error: Exception) -> str | None:
    """Why a server that is there gives no answer, if it is because of TLS."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return tls.untrusted(error.verify_code)
    if parts.scheme == "https":
        # A server without TLS may also wait for the end of a line, or close.
        is_odd = isinstance(error, ssl.SSLError | TimeoutError | ConnectionResetError)
        return tls.SPEAKS_NO_TLS if is_odd and _has_plain_http(parts) else None
    is_odd = isinstance(error, http.client.HTTPException | ConnectionResetError)
    return tls.SPEAKS_TLS if is_odd and _has_tls(parts) else None


def _context() -> ssl.SSLContext:
    """The same trust as `engines.tls` has: not the stricter one of newer Pythons."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_default_certs()
    return context


def _has_tls(parts: SplitResult) -> bool:
    """Whether a server that was asked without TLS accepts it. Nothing is sent over it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    address = parts.hostname, parts.port or http.client.HTTP_PORT
    try:
        with socket.create_connection(address, TIMEOUT) as raw, context.wrap_socket(raw):
            return True
    except OSError:
        return False


def _has_plain_http(parts: SplitResult) -> bool:
    """Whether a server that was asked over TLS answers without it. The key is not sent."""
    netloc = parts.netloc if parts.port else f"{parts.netloc}:{http.client.HTTPS_PORT}"
    try:
        return bool(_answer(urlsplit(f"http://{netloc}{parts.path}"), None))
    except (OSError, http.client.HTTPException):
        return False
