"""The bridge as a process of its own: twistd, the control script, the console script."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

import orjson
from attrs import define

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parent.parent
TIMEOUT = 60
"""Seconds after which a process is stuck, on a busy machine too."""


def environment(**variables: str) -> dict[str, str]:
    """This process's environment without settings of a bridge, and with `variables`."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("CODEX_BRIDGE_")}
    return kept | variables


def run(program: str, *arguments: str, cwd: Path, **variables: str) -> Any:
    """Run to the end; `returncode`, `stdout` and `stderr` as text."""
    return subprocess.run(
        [str(BIN / program), *arguments],
        cwd=cwd,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


@define
class Running:
    """A bridge in the foreground."""

    process: subprocess.Popen[str]
    port: int

    def stop(self) -> tuple[int, str]:
        """SIGTERM; exit code and the rest of what it printed."""
        self.process.send_signal(signal.SIGTERM)
        output, _ = self.process.communicate(timeout=TIMEOUT)
        return self.process.returncode, output


def spawn(program: str, *arguments: str, cwd: Path, **variables: str) -> subprocess.Popen[str]:
    """Start and leave running; what it prints is kept for `communicate`."""
    return subprocess.Popen(
        [str(BIN / program), *arguments],
        cwd=cwd,
        env=environment(PYTHONUNBUFFERED="1", **variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@contextmanager
def running(program: str, *arguments: str, cwd: Path, **variables: str) -> Iterator[Running]:
    """Start in the foreground; ready when it says where it listens."""
    process = spawn(program, *arguments, cwd=cwd, **variables)
    try:
        assert process.stdout is not None
        yield Running(process, port_in(process.stdout))
    finally:
        process.kill()
        process.communicate()


def eventually(attempt: Callable[[], Any]) -> Any:
    """What `attempt` returns once it no longer raises; another process has no other signal."""
    deadline = time.monotonic() + TIMEOUT
    while True:
        try:
            return attempt()
        except (AssertionError, OSError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def port_in(lines: Any) -> int:
    """The port in the line that tells where the bridge listens."""
    seen = []
    for line in lines:
        seen.append(line)
        if found := re.search(r"listens on http://\S+:(\d+)", line):
            return int(found.group(1))
    raise AssertionError("".join(seen))


def health(port: int) -> Any:
    """GET /__health, blocking."""
    opener = build_opener(ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}/__health", timeout=TIMEOUT) as answer:
        return orjson.loads(answer.read())
