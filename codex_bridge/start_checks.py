"""Checks before the service starts: are port and store free, where does a model server answer?

They run once, before the reactor runs and before twistd detaches from the terminal. So they may
block, and the user still sees the message.
"""

from __future__ import annotations

import errno
import http.client
import json
import os
import socket
import ssl
import sys
from collections.abc import Callable
from contextlib import closing
from typing import Any
from urllib.parse import SplitResult, urlsplit

from attrs import evolve

from codex_bridge import advice
from codex_bridge.advice import OTHER_PORTS
from codex_bridge.engines import redirects, tls
from codex_bridge.engines.chat_servers import BY_OWNER
from codex_bridge.engines.client import DENIED, denied
from codex_bridge.engines.engine import ContextPolicy
from codex_bridge.engines.openai_chat import listed_models
from codex_bridge.settings import DEFAULTS, USUAL_URLS, Settings
from codex_bridge.storage.database import StorageError
from codex_bridge.storage.store import check_store
from codex_bridge.text import printable
from codex_bridge.values import MEMORY, OFF

TIMEOUT = 5.0
"""Seconds that a server is given to answer."""
PATH = "/api/version"
OPTION = "--upstream-url"
LONGEST = 1000
"""Characters of a sentence that the server had a part in."""
LARGEST = 1 << 20
"""Bytes that are read of an answer."""
BRIDGE = "codex-bridge"
OLLAMA = "Ollama"
MODEL_SERVER = "a model server"
Warn = Callable[[str], None]
"""Takes a sentence about what will not work, though the bridge starts."""


def check_before_start(settings: Settings, is_upstream_given: bool = True) -> Settings:
    """Return the settings to start with, whose upstream answers.

    Without a given upstream it is the first of the USUAL_URLS that answers. If the port is taken,
    the file of `--store` cannot be used or no upstream answers, the process ends with exit code 1
    and the reason, in one line; or in a few lines, which name the commands to type, if nothing is
    configured and Ollama has the port.
    """

    def warn(sentence: str) -> None:
        if not settings.quiet:
            print(f"codex-bridge: {sentence}", file=sys.stderr)  # noqa: T201

    url = next(iter(settings.servers.values()))[0] if is_upstream_given else None
    trouble = port_trouble(settings.interface, settings.port, url)
    if trouble is None:
        trouble = store_trouble(settings.store, warn)
    if trouble is None and url is None:
        settings, trouble = _with_upstream(settings, warn)
    elif trouble is None:
        trouble = upstreams_trouble(settings.servers, warn)
    if trouble:
        sys.exit(f"codex-bridge: {trouble}")
    return settings


def upstreams_trouble(servers: dict[str, tuple[str, str | None]], warn: Warn) -> str | None:
    """Say why the bridge cannot work with any of the upstreams; None if it can with one.

    `servers` as in `Settings`. If others do not answer, `warn` is told so.
    """
    troubles = {
        name: upstream_trouble(*servers[name], warn, f"--upstream {name}=URL" if name else OPTION)
        for name in servers
    }
    told = [
        f"{name}: {trouble}" if name else trouble for name, trouble in troubles.items() if trouble
    ]
    if len(told) == len(servers):
        return "; ".join(told)
    for trouble in told:
        warn(trouble)
    return None


def store_trouble(store: str, warn: Warn) -> str | None:
    """Say why responses cannot be kept in `store`, a value of `--store`; None if they can.

    `warn` is told if a damaged file was set aside.
    """
    if store in {MEMORY, OFF}:
        return None
    try:
        check_store(store, warn)
    except StorageError as error:
        return f"--store: {error}"
    return None


def port_trouble(interface: str, port: int, upstream_url: str | None) -> str | None:
    """Say why the bridge cannot listen on `interface`:`port`; None if it can.

    `upstream_url`: where the user says that the upstream is; None if they do not.
    """
    error = _listening_error(interface, port)
    if error is None:
        return None
    if error.errno == errno.EADDRINUSE:
        return _taken(interface, port, upstream_url)
    if error.errno in {errno.EACCES, errno.EPERM}:
        return f"port {port} needs privileges that this user lacks; give a --port above 1023"
    return f"cannot listen on {interface}: {error.strerror or error}; check --interface"


def _listening_error(interface: str, port: int) -> OSError | None:
    family = socket.AF_INET6 if ":" in interface else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            if os.name == "posix":
                # On Windows this option would let the probe share a port that is taken.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((interface, port))
            # With SO_REUSEADDR several sockets may bind one port, but only one may listen on it.
            probe.listen(1)
    except OSError as error:
        return error
    return None


def _taken(interface: str, port: int, upstream_url: str | None) -> str:
    """Say who has the port, and what to do."""
    taken = f"port {port} on {interface} is taken"
    free = next((p for p in OTHER_PORTS if _listening_error(interface, p) is None), OTHER_PORTS[0])
    free_url = _url(interface, free)
    other = f"give the bridge another port: {advice.run(free_url)}"
    server = server_at(_url(interface, port))
    if server is None:
        return f"{taken}; {other}"
    if server == BRIDGE:
        return f"{taken} by a codex-bridge that runs already; stop it, or {other}"
    if server != OLLAMA or port != DEFAULTS.port:
        return f"{taken} by {server}; {other}"
    if upstream_url is None:
        return "\n".join([f"{taken} by Ollama. There are two ways:", *advice.two_ways(free_url)])
    is_local = advice.is_local(upstream_url)
    way = f"move it ({advice.serve(upstream_url)})" if is_local else "stop it"
    return f"{taken} by Ollama; {way}, or {other}"


def _url(interface: str, port: int) -> str:
    """The address by which a program on this machine reaches a server on `interface`."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(interface, interface)  # noqa: S104
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def server_at(url: str) -> str | None:
    """BRIDGE, OLLAMA, another server's name or MODEL_SERVER, by what answers at a base URL.

    None if no server answers there, or one that has no models.
    """
    try:
        if _is_bridge(url):
            return BRIDGE
        listed = _object_at(url, "/v1/models")
        for owner in (str(entry.get("owned_by")) for entry in listed_models(listed)):
            if owner in BY_OWNER:
                return BY_OWNER[owner](ContextPolicy()).server
        if _object_at(url, PATH).get("version"):
            return OLLAMA
        return MODEL_SERVER if isinstance(listed.get("data"), list) else None
    except (OSError, http.client.HTTPException):
        return None


def _is_bridge(url: str) -> bool:
    """Whether a bridge answers, which passes other questions on. Raises as `_object_at` does."""
    return isinstance(_object_at(url, "/__health").get("upstream"), dict)


def _object_at(url: str, path: str) -> dict[str, Any]:
    """The JSON object that `path` answers with, whatever the status; {} if it is anything else.

    Raises OSError or HTTPException if no HTTP server answers.
    """
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT)
    with closing(connection):
        connection.request("GET", path)
        data = connection.getresponse().read(LARGEST)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _with_upstream(settings: Settings, warn: Warn) -> tuple[Settings, str | None]:
    """The settings with the first of the USUAL_URLS where an upstream answers that is no bridge.

    If there is none, also why. The bridge's own port is left out.
    """
    urls = [url for url in USUAL_URLS if urlsplit(url).port != settings.port]
    misfits = []
    for url in urls:
        warnings: list[str] = []
        try:
            misfit = _misfit(url, settings.upstream_api_key, warnings.append)
            if misfit is None and not _is_bridge(url):
                for sentence in warnings:
                    warn(sentence)
                return evolve(settings, upstream_url=url), None
        except (OSError, http.client.HTTPException):
            continue
        if misfit:
            misfits.append(_cannot_talk(url, misfit))
    return settings, misfits[0] if misfits else _nothing_at(urls)


def _nothing_at(urls: list[str]) -> str:
    """Say that no server answers at the usual addresses `urls`, and what to do."""
    nothing = f"no model server answers at {' or '.join(urls)}"
    if USUAL_URLS[1] in urls:
        return (
            f"{nothing}. Start one (for Ollama: ollama serve), or give the --upstream-url of one "
            f"that runs"
        )
    beside = advice.run(advice.elsewhere(advice.OWN_URL))
    return (
        f"{nothing}. Start one there (for Ollama: {advice.serve(urls[0])}), or start Ollama as "
        f"usual and the bridge on another port ({beside}), or give the --upstream-url of one that "
        f"runs"
    )


def upstream_trouble(
    url: str, key: str | None = None, warn: Warn = lambda _: None, option: str = OPTION
) -> str | None:
    """Say why the bridge cannot work with the server at the base URL `url`; None if it can.

    Any HTTP status counts as an answer: servers other than Ollama have no /api/version. If the
    server denies access, with or without the `key` that is sent to it, `warn` is told so. `option`
    is what names its URL.
    """
    try:
        misfit = _misfit(url, key, warn)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return (
            f"no model server answers at {url} ({reason}). Start one there "
            f"(for Ollama: {advice.serve(url)}), or give the {option} of one that runs"
        )
    return _cannot_talk(url, misfit) if misfit else None


def _cannot_talk(url: str, misfit: str) -> str:
    return f"cannot talk to the server at {url}: {misfit}"


def _misfit(url: str, key: str | None, warn: Warn) -> str | None:
    """Why the bridge cannot talk to the server that answers at `url`; None if it can.

    Raises OSError or HTTPException if none answers.
    """
    parts = urlsplit(url)
    try:
        status, location = _answer(parts, key)
    except (OSError, http.client.HTTPException) as error:
        misfit = _tls_misfit(parts, error)
        if misfit is None:
            raise
        return misfit
    if status in redirects.CODES and redirects.moved_to(url, PATH, location):
        return printable(redirects.told(url, PATH, location), LONGEST)
    if status == http.HTTPStatus.BAD_REQUEST and parts.scheme == "http" and _has_tls(parts):
        return tls.SPEAKS_TLS
    if status in DENIED:
        words = denied(http.HTTPStatus(status).phrase, status, has_key=key is not None)
        warn(f"the server at {url} denies access: {words}")
    return None


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


def _tls_misfit(parts: SplitResult, error: Exception) -> str | None:
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
