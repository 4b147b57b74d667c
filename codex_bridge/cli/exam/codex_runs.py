"""Runs the Codex CLI on one task, in a scratch folder and with a home of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import orjson
import tomlkit
from attrs import frozen

from codex_bridge.cli.blocking_http import json_object
from codex_bridge.cli.codex_config import Entries
from codex_bridge.cli.codex_program import offline, printed_version, required_version_number
from codex_bridge.cli.command_line import CommandError
from codex_bridge.cli.exam import mcp_server
from codex_bridge.cli.exam.outcomes import Outcome
from codex_bridge.cli.exam.tasks import Need, Task
from codex_bridge.vocabulary import Json

SANDBOX_TIMEOUT = 20
"""Seconds for a command that does nothing, in Codex's sandbox."""
SANDBOXES = {"linux": "linux", "darwin": "macos"}
"""The name that Codex up to 0.133 gives the sandbox of a system, by `sys.platform`."""
SANDBOXED = ("--sandbox", "workspace-write")
UNCONFINED = ("--dangerously-bypass-approvals-and-sandbox",)


@frozen
class Codex:
    """The installed Codex CLI."""

    program: str
    version: tuple[int, int, int]
    is_sandboxed: bool = True
    """Whether it runs the model's commands in its sandbox."""

    @property
    def release(self) -> str:
        return ".".join(map(str, self.version))


def found_codex(path: str, *, is_sandboxed: bool) -> Codex:
    """The Codex at `path`, or of this name in PATH. Raises CommandError."""
    program = shutil.which(os.path.expanduser(path))
    if program is None:
        raise CommandError(
            f"there is no program {path}; install Codex (npm install -g @openai/codex), or name "
            f"its path with --codex"
        )
    # Codex runs in another folder.
    program = os.path.abspath(program)
    try:
        text = printed_version(program)
    except CommandError as error:
        raise CommandError(f"{path} --version failed ({error}); name another --codex") from None
    return Codex(program, required_version_number(text), is_sandboxed)


def check_sandbox(codex: Codex, home: Path) -> None:
    """Raises CommandError if Codex cannot confine commands on this machine."""
    older = [SANDBOXES[sys.platform]] if sys.platform in SANDBOXES else []
    if any(_runs_confined(codex, home, words) for words in ([], older)):
        return
    raise CommandError(
        "Codex cannot run commands in its sandbox on this machine, and a model may run anything. "
        "In a container or a virtual machine that you can spare, give --no-sandbox"
    )


def _runs_confined(codex: Codex, home: Path, words: list[str]) -> bool:
    command = [codex.program, "sandbox", *words, "--", "true"]
    try:
        done = subprocess.run(  # noqa: S603 - the user's own Codex
            command,
            env=environment(home),
            cwd=home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SANDBOX_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


def environment(home: Path) -> dict[str, str]:
    """An environment in which Codex reaches only this machine and reads no settings of the user."""
    kept = {key: value for key, value in offline().items() if not key.startswith("CODEX_")}
    own = str(home)
    # A login shell of the user may be slow; a resolver that does not answer delays the start.
    return kept | {
        "HOME": own,
        "CODEX_HOME": own,
        "RUST_LOG": "error",
        "RES_OPTIONS": "timeout:1 attempts:1",
    }


@frozen
class Run:
    """How one run of Codex ended."""

    outcome: Outcome
    seconds: float
    trouble: str | None = None
    """Why Codex did not end by itself, or the error with which it ended."""


@frozen
class CodexRunner:
    """What all runs through one bridge have in common."""

    codex: Codex
    url: str
    """Base URL of the bridge."""
    model: str
    catalog: list[Json]
    """What Codex is told of the model."""
    timeout: float
    """Seconds that a run may take."""

    def run(self, task: Task, scratch: Path) -> Run:
        """Have the model do `task` in the empty folder `scratch`; blocks until Codex has ended."""
        home, folder = scratch / "home", scratch / "work"
        home.mkdir()
        folder.mkdir()
        lay_out(task.files, folder)
        self._configure(task, home)
        started = time.monotonic()
        trouble = self._exec(task, home, folder)
        seconds = time.monotonic() - started
        events = list(_events(_read(home / "events")))
        outcome = Outcome(folder, _read(home / "answer").strip(), events)
        return Run(outcome, seconds, trouble and (_failure(events) or trouble))

    def _configure(self, task: Task, home: Path) -> None:
        """Write what `codex-bridge configure` would write, at the top of config.toml."""
        catalog = home / "models.json"
        catalog.write_bytes(orjson.dumps({"models": self.catalog}))
        entries = Entries(self.model, self.url, str(catalog), self.codex.version)
        provider = entries.profile["model_provider"]
        config = entries.profile | {"model_providers": {provider: entries.provider}}
        if task.need is Need.SERVER:
            server = {"command": sys.executable, "args": [mcp_server.__file__]}
            config["mcp_servers"] = {"exam": server}
        (home / "config.toml").write_text(tomlkit.dumps(config), encoding="utf-8")

    def _exec(self, task: Task, home: Path, folder: Path) -> str | None:
        """Run `codex exec`; why it did not end well, if so."""
        command = [self.codex.program, "exec", "--skip-git-repo-check", "--json"]
        command += SANDBOXED if self.codex.is_sandboxed else UNCONFINED
        command += ["--output-last-message", str(home / "answer")]
        if task.schema is not None:
            (home / "schema.json").write_bytes(orjson.dumps(task.schema))
            command += ["--output-schema", str(home / "schema.json")]
        with (home / "events").open("wb") as out, (home / "errors").open("wb") as errors:
            process = subprocess.Popen(  # noqa: S603 - the user's own Codex
                [*command, task.prompt],
                env=environment(home),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=errors,
                start_new_session=True,
            )
            try:
                code = process.wait(self.timeout)
            except subprocess.TimeoutExpired:
                return f"not done within {self.timeout:.0f} s"
            finally:
                _end(process)
        said = _read(home / "errors").strip().splitlines() or [f"exit code {code}"]
        return said[-1] if code else None


def lay_out(files: Mapping[str, str | bytes], folder: Path) -> None:
    """Write `files`, by their paths in `folder`."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End Codex with all that it started: the program proper is a child of the one from npm."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _events(text: str) -> Iterator[Json]:
    for line in text.splitlines():
        if (event := json_object(line.encode())) is not None:
            yield event


def _failure(events: list[Json]) -> str | None:
    """The last error that Codex reported."""
    for event in reversed(events):
        error = event.get("error") or event
        if event.get("type") in {"turn.failed", "error"} and isinstance(error, dict):
            return str(error.get("message") or "")[:300]
    return None
