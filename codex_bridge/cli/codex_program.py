"""The installed Codex CLI: its version, and its prompt for models that it does not know."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from codex_bridge.cli.command_line import CommandError

TIMEOUT = 30
"""Seconds for a run of Codex, which takes one or two."""
UNKNOWN_MODEL = "a-model-that-codex-does-not-know"
NAME_VERSION = "name its version with --codex-version"


def version_number(text: str) -> tuple[int, int, int] | None:
    """ "codex-cli 0.146.0-alpha.2" -> (0, 146, 0); None if there is no version in it."""
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None


def required_version_number(text: str) -> tuple[int, int, int]:
    """The version in `text`, as by `version_number`. Raises CommandError if there is none."""
    version = version_number(text)
    if version is None:
        raise CommandError(f"{text.strip()!r} is no version of Codex; give one such as 0.169.0")
    return version


def printed_version(program: str) -> str:
    """What `codex --version` prints. Raises CommandError, which says why in a few words."""
    try:
        done = subprocess.run(  # noqa: S603 - the user's own program
            [program, "--version"], capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
    except OSError as error:
        raise CommandError(error.strerror or str(error)) from None
    except subprocess.TimeoutExpired:
        raise CommandError(f"no answer within {TIMEOUT} s") from None
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        raise CommandError(said[0] if said else f"exit code {done.returncode}")
    return done.stdout.strip()


def installed_version() -> tuple[int, int, int]:
    """The version of the codex in PATH. Raises CommandError."""
    program = _program()
    try:
        text = printed_version(program)
    except CommandError as error:
        raise CommandError(f"codex --version failed ({error}); {NAME_VERSION}") from None
    return required_version_number(text)


def _program() -> str:
    program = shutil.which("codex")
    if program is None:
        raise CommandError(f"no codex in PATH; install it, or {NAME_VERSION}")
    return program


def own_instructions() -> str:
    """The prompt that Codex sends for a model without metadata. Raises CommandError.

    Codex shows the prompt only in a request. So this runs Codex once, with an empty home, and
    reads the request that Codex sends to a local server.
    """
    program = _program()
    with refusing_server() as server, tempfile.TemporaryDirectory(prefix="codex-bridge-") as home:
        provider = "model_providers.listener"
        settings = {
            "model_provider": "listener",
            f"{provider}.name": "listener",
            f"{provider}.base_url": f"{server.url}/v1",
            f"{provider}.wire_api": "responses",
        }
        command = [program, "exec", "--skip-git-repo-check", "-m", UNKNOWN_MODEL]
        for key, value in settings.items():
            command += ["-c", f"{key}={json.dumps(value)}"]
        try:
            subprocess.run(  # noqa: S603
                [*command, "hello"],
                env=offline() | {"CODEX_HOME": home},
                cwd=Path(home),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=TIMEOUT,
                check=False,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise CommandError(f"codex did not tell its own instructions ({error})") from None
    text = _instructions(server.received)
    if not text:
        raise CommandError(
            "codex did not tell its own instructions; leave out --instructions codex"
        )
    return text


def offline() -> dict[str, str]:
    """The environment with a proxy where nothing listens, so that Codex reaches only 127.0.0.1."""
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:1")
    replaced = proxies | {"NO_PROXY": "127.0.0.1"}
    return {k: v for k, v in os.environ.items() if k.upper() not in replaced} | replaced


def _instructions(request: Any) -> str:
    """The instructions in a request: the field, or since 0.169 the first item."""
    if request.get("instructions"):
        return str(request["instructions"])
    first = (request.get("input") or [{}])[0]
    parts = first.get("content") if first.get("role") == "developer" else None
    return "".join(str(part.get("text", "")) for part in parts or [])


class RefusingServer(HTTPServer):
    """Keeps the last body that it was sent, and refuses it so that it is not sent again."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Refuse)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.received: Any = {}


class _Refuse(BaseHTTPRequestHandler):
    server: RefusingServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.received = json.loads(body)
        self.send_error(400)

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


@contextmanager
def refusing_server() -> Iterator[RefusingServer]:
    """A RefusingServer that runs in a thread of its own."""
    with RefusingServer() as server:
        thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
