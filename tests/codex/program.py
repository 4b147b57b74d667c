"""The real Codex CLI, installed from npm into a cache folder and run offline."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import define

from codex_bridge.cli.codex_program import refusing_server

DEFAULT_VERSIONS = "0.130.0 0.145.0 0.169.0"
VERSIONS = tuple(os.environ.get("CODEX_VERSIONS", DEFAULT_VERSIONS).replace(",", " ").split())
"""The versions that are tested, the oldest first; CODEX_VERSIONS names others."""
OLDEST_AND_NEWEST = tuple(dict.fromkeys((VERSIONS[0], VERSIONS[-1])))
TIMEOUT = 100
"""Seconds for one run, which takes one or two; then it is killed, and its code says so."""
NOWHERE = "http://127.0.0.1:1"
OFFLINE = {
    "HTTP_PROXY": NOWHERE,
    "HTTPS_PROXY": NOWHERE,
    "ALL_PROXY": NOWHERE,
    "NO_PROXY": "127.0.0.1,localhost",
    "RES_OPTIONS": "timeout:1 attempts:1",
}
"""At every start the CLI asks its maker for updates and experiments. A resolver that does not
answer would delay it; behind a proxy that nobody serves it gives up at once."""


def cache_folder() -> Path:
    """Where the installed versions are kept, outside of the checkout."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "codex-bridge" / "codex-cli"


def install(version: str) -> Path:
    """The program of one version; installed once. Raises CalledProcessError as npm fails."""
    folder = cache_folder() / version
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        # It is renamed when it is whole, so an install that is interrupted leaves no half one.
        with tempfile.TemporaryDirectory(dir=folder.parent) as parent:
            new = Path(parent) / version
            subprocess.run(
                ["npm", "install", "--no-audit", "--no-fund"]  # noqa: RUF005
                + ["--prefix", str(new), f"@openai/codex@{version}"],
                check=True,
                capture_output=True,
                timeout=600,
            )
            new.rename(folder)
    return folder / "node_modules" / ".bin" / "codex"


def has_npm() -> bool:
    return shutil.which("npm") is not None


NEEDS_CLI = [
    pytest.mark.codex,
    pytest.mark.skipif(
        not has_npm() and not os.environ.get("CI"),
        reason="npm is missing, and with it the real Codex CLI",
    ),
]


@define
class Run:
    """The result of one run of the CLI."""

    code: int
    output: str
    """Standard output and error together, as a person sees them."""


@define
class Codex:
    """One version of the CLI with a home and a working folder of its own."""

    version: str
    program: Path
    home: Path
    folder: Path

    def exec(self, url: str, *arguments: str, model: str = "qwen3:14b") -> Run:
        """`codex exec --oss …` against the bridge at `url`; blocks until it ends."""
        provider = ["--oss", "--local-provider", "ollama", "-m", model]
        return self._run({"CODEX_OSS_BASE_URL": f"{url}/v1"}, [*provider, *arguments])

    def exec_by_port(self, port: int, *arguments: str) -> Run:
        """The same against a bridge on this machine, of which Codex is told the port only."""
        provider = ["--oss", "--local-provider", "ollama", "-m", "qwen3:14b"]
        return self._run({"CODEX_OSS_PORT": str(port)}, [*provider, *arguments])

    def exec_with_provider(
        self, url: str, *arguments: str, key: str = "", name: str = "codex-bridge"
    ) -> Run:
        """The same with a provider from config.toml in place of --oss."""
        self.write_provider(url, 'env_key = "CODEX_BRIDGE_API_KEY"' if key else "", name=name)
        return self._run({"CODEX_BRIDGE_API_KEY": key}, list(arguments))

    def exec_as_configured(self, *arguments: str) -> Run:
        """The same with the settings in config.toml."""
        return self._run({}, list(arguments))

    def declared_tools(self, *arguments: str) -> frozenset[str]:
        """The names of the tools that it declares in its first request."""
        with refusing_server() as server:
            run = self.exec_with_provider(server.url, *arguments, "hello")
        (self.home / "config.toml").unlink()
        names = frozenset(_names_of_tools(server.received))
        assert names, run.output
        return names

    def write_provider(self, url: str, more: str = "", *, name: str = "codex-bridge") -> None:
        """Name the bridge at `url` as the provider, in config.toml."""
        (self.home / "config.toml").write_text(
            f'model = "qwen3:14b"\n'
            f'model_provider = "bridge"\n'
            f'approval_policy = "never"\n'
            f'sandbox_mode = "danger-full-access"\n'
            f"[model_providers.bridge]\n"
            f'name = "{name}"\n'
            f'base_url = "{url}/v1"\n'
            f'wire_api = "responses"\n{more}\n'
        )

    def start(self, arguments: list[str]) -> subprocess.Popen[bytes]:
        """Start the program with pipes to talk to it; the caller ends it."""
        return subprocess.Popen(
            [str(self.program), *arguments],
            env=self._environ({}),
            cwd=self.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def _environ(self, more: dict[str, str]) -> dict[str, str]:
        clean = {key: value for key, value in os.environ.items() if key.upper() not in OFFLINE}
        return clean | OFFLINE | more | self._own()

    def exec_with_profile(self, *arguments: str) -> Run:
        """`codex exec -p bridge …`, as configured in this home."""
        return self._run({}, ["-p", "bridge", *arguments])

    def _run(self, environ: dict[str, str], arguments: list[str]) -> Run:
        command = [str(self.program), "exec", "--skip-git-repo-check"]
        command += ["--dangerously-bypass-approvals-and-sandbox", *arguments]
        screen = self.home / "screen"
        with screen.open("wb") as output:
            process = subprocess.Popen(
                command,
                env=self._environ(environ),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                code = process.wait(TIMEOUT)
            except subprocess.TimeoutExpired:
                # The program proper is a child of the one that npm installs.
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                code = -signal.SIGKILL
        return Run(code, screen.read_text(errors="replace"))

    def _own(self) -> dict[str, str]:
        """A home of its own, also for the login shells that it starts: a user's may be slow."""
        home = str(self.home)
        return {"HOME": home, "CODEX_HOME": home, "RUST_LOG": "error"}


def _names_of_tools(request: Any) -> Iterator[str]:
    """Every name of a declared tool, wherever in a request it stands."""
    if isinstance(request, list):
        for part in request:
            yield from _names_of_tools(part)
    elif isinstance(request, dict):
        for tool in request.get("tools") or []:
            yield tool.get("name") or tool["type"]
        for part in request.values():
            yield from _names_of_tools(part)
