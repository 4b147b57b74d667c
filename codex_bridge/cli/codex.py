"""The installed Codex CLI: its version, and the prompt that it has for models it does not know."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from codex_bridge.cli.trouble import Trouble

PATIENCE = 30
"""Seconds for a run that takes one or two."""
STRANGER = "a-model-that-codex-does-not-know"
NAME_VERSION = "name its version with --codex-version"


def version_number(text: str) -> tuple[int, ...]:
    """ "codex-cli 0.146.0-alpha.2" -> (0, 146, 0). Raises Trouble."""
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    if not found:
        raise Trouble(f"{text.strip()!r} is no version of Codex; give one such as 0.169.0")
    return tuple(int(part or 0) for part in found.groups())


def installed_version() -> tuple[int, ...]:
    """What `codex --version` says. Raises Trouble."""
    program = _program()
    try:
        done = subprocess.run(  # noqa: S603 - the user's own program
            [program, "--version"], capture_output=True, text=True, timeout=PATIENCE, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise Trouble(f"codex --version failed ({error}); {NAME_VERSION}") from None
    return version_number(done.stdout)


def _program() -> str:
    program = shutil.which("codex")
    if program is None:
        raise Trouble(f"no codex in PATH; install it, or {NAME_VERSION}")
    return program


def own_instructions() -> str:
    """The prompt that Codex sends for a model without metadata. Raises Trouble.

    It is nowhere to be read but in a request; so Codex makes one, to us, from an empty home.
    """
    program = _program()
    with _Listener() as listener, tempfile.TemporaryDirectory(prefix="codex-bridge-") as home:
        provider = "model_providers.listener"
        settings = {
            "model_provider": "listener",
            f"{provider}.name": "listener",
            f"{provider}.base_url": f"http://127.0.0.1:{listener.server_port}/v1",
            f"{provider}.wire_api": "responses",
        }
        command = [program, "exec", "--skip-git-repo-check", "-m", STRANGER]
        for key, value in settings.items():
            command += ["-c", f"{key}={json.dumps(value)}"]
        try:
            subprocess.run(  # noqa: S603
                [*command, "hello"],
                env=_offline() | {"CODEX_HOME": home},
                cwd=Path(home),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=PATIENCE,
                check=False,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise Trouble(f"codex did not tell its own instructions ({error})") from None
    text = _instructions(listener.heard)
    if not text:
        raise Trouble("codex did not tell its own instructions; leave out --instructions codex")
    return text


def _offline() -> dict[str, str]:
    """The environment, less the world: Codex's other requests at a start may take long."""
    nowhere = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:1")
    here = {"NO_PROXY": "127.0.0.1"}
    kept = {k: v for k, v in os.environ.items() if k.upper() not in {*nowhere, *here}}
    return kept | nowhere | here


def _instructions(request: Any) -> str:
    """Those in a request: the field, or since 0.169 the first item."""
    if request.get("instructions"):
        return str(request["instructions"])
    first = (request.get("input") or [{}])[0]
    parts = first.get("content") if first.get("role") == "developer" else None
    return "".join(str(part.get("text", "")) for part in parts or [])


class _Listener(HTTPServer):
    """A server that hears one request, and refuses it so that it is not sent again."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Hear)
        self.heard: Any = {}
        self._thread = Thread(target=self.serve_forever, daemon=True)

    def __enter__(self) -> _Listener:
        self._thread.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Hear(BaseHTTPRequestHandler):
    server: _Listener

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.heard = json.loads(body)
        self.send_error(400)

    def log_message(self, *_: Any) -> None:
        """Nothing."""
