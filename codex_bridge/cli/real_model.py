"""The model of `codex-bridge demo --real`: a GGUF file, run by llama.cpp."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.protocols.portforward import ProxyFactory, ProxyServer

import codex_bridge
from codex_bridge.cli.command_line import CommandError
from codex_bridge.cli.llama_server import LlamaFailed, LlamaServer, is_installed
from codex_bridge.vocabulary import Json

CONTEXT = 32768
"""Tokens, for several turns of Codex. A model that was made for fewer gets no more than those."""
TINY = Path("tests", "engine", "tiny.gguf")
"""The model that a checkout of codex-bridge has. No package has it."""


@contextmanager
def running(model: Path | None) -> Iterator[LlamaServer]:
    """llama.cpp with `model`, or with that of a checkout; it ends with the block.

    Raises CommandError if there is no such model, if llama.cpp is not installed, or if it cannot
    run the model.
    """
    if not is_installed():
        raise CommandError(
            "demo --real needs llama.cpp; run: pip install 'codex-ollama-bridge[engine]'"
        )
    found = _found(model)
    with tempfile.TemporaryFile() as log:
        try:
            server = LlamaServer(found, log, context=CONTEXT)
        except LlamaFailed:
            log.seek(0)
            said = log.read().decode(errors="replace").strip().splitlines()
            errors = [line.partition(" E ")[2] for line in said if " E " in line] or said[-1:]
            raise CommandError(f"llama.cpp cannot run {found}: {errors[0]}") from None
        with server:
            yield server


def _found(model: Path | None) -> Path:
    if model is None:
        checkouts = (Path(codex_bridge.__file__).parent.parent, Path.cwd())
        model = next((each / TINY for each in checkouts if (each / TINY).is_file()), None)
        if model is None:
            raise CommandError(
                f"demo --real needs a model: run it in a checkout of codex-bridge, which has "
                f"{TINY}, or name a file with --model FILE.gguf"
            )
    if not model.is_file():
        raise CommandError(f"there is no file {model}; name another with --model FILE.gguf")
    return model


class _Recorded(ProxyServer):
    """One connection to the server."""

    factory: Recorder

    def dataReceived(self, data: bytes) -> None:
        # What was sent before the last request is not kept.
        self.factory.sent = data if data.startswith(b"POST ") else self.factory.sent + data
        super().dataReceived(data)


class Recorder(ProxyFactory):
    """Passes all bytes on to a server and back, so that one can see what the server is asked.

    `url` is the address to ask in place of the server's.
    """

    protocol = _Recorded

    def __init__(self, reactor: Any, url: str) -> None:
        """Listen at once, in front of the server at `url`."""
        server = urlsplit(url)
        super().__init__(server.hostname or "", server.port or 0)
        self.reactor = reactor
        self.sent = b""
        self._listening = reactor.listenTCP(0, self, interface="127.0.0.1")
        self.url = f"http://127.0.0.1:{self._listening.getHost().port}"

    @property
    def last_body(self) -> Json:
        """The body of the last request, which is JSON and has come whole."""
        body: Json = orjson.loads(self.sent.rpartition(b"\r\n\r\n")[2])
        return body

    def stop(self) -> Deferred[None]:
        """Stop listening; fires when the port is closed."""
        return maybeDeferred(self._listening.stopListening)
