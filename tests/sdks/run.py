"""Runs the script of a client."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from tests.sdks.conftest import environment
from tests.sdks.conversation import QUESTIONS, SYSTEM
from tests.sdks.install import node_program, python
from tests.sdks.table import SCRIPTS, Client

TIMEOUT = 100
"""Seconds for one client, which takes two to ten."""


def command(client: Client, home: Path) -> tuple[list[str], str]:
    """The command that runs the script of a client in the folder `home`, and the PATH for it."""
    folder = environment(client.environment)
    script = str(SCRIPTS / client.script)
    if client.environment != "node":
        return [str(python(folder)), script], os.environ["PATH"]
    path = f"{node_program(folder, '').parent}:{os.environ['PATH']}"
    if client.program:
        return [sys.executable, script, str(node_program(folder, client.program))], path
    # Node.js looks for packages beside the script, not in the folder that it is run in.
    (home / "node_modules").symlink_to(folder / "node_modules")
    for each in SCRIPTS.glob("*.mjs"):
        shutil.copy(each, home)
    return [str(node_program(folder, "node")), str(home / client.script), *client.arguments], path


def hold(command: list[str], home: Path, task: Any, path: str) -> Any:
    """Run a client to its end; what it printed. Raises AssertionError with what went wrong."""
    done = subprocess.run(
        command,
        input=orjson.dumps(task),
        cwd=home,
        env={"PATH": path, "HOME": str(home), "NO_PROXY": "127.0.0.1", "LANG": "C.UTF-8"},
        capture_output=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr).decode(errors="replace")[-3000:]
    return orjson.loads(done.stdout.splitlines()[-1])


def task(url: str, way: str, models: Mapping[str, str], *, more: bool = True) -> Any:
    """What a script is told: the bridge at `url`, how to carry the conversation, the models.

    `more`: whether it is to try what else it knows beside conversations.
    """
    return {
        "url": f"{url}/v1",
        "way": way,
        "system": SYSTEM,
        "questions": QUESTIONS,
        "models": models,
        "more": more,
    }
