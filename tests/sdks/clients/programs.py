"""What the scripts of agents share: programs that run their own tools in a folder of their own.

They run under the tests' own Python, and are told the program as their first argument.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from task import SYSTEM

NOWHERE = "http://127.0.0.1:1"
OFFLINE = {"HTTP_PROXY": NOWHERE, "HTTPS_PROXY": NOWHERE, "NO_PROXY": "127.0.0.1,localhost"}


def folder() -> Path:
    """A new folder in the current one, with a home, and a project that has instructions."""
    made = Path(tempfile.mkdtemp(dir="."))
    for name in ("home", "project"):
        (made / name).mkdir()
    (made / "project" / "AGENTS.md").write_text(f"{SYSTEM}\n")
    return made.absolute()


def call(place: Path, arguments: list[str], **variables: str) -> str:
    """Run the program in the project; what it printed."""
    # Copilot unpacks 200 MB of itself there; once is enough.
    cache = {"XDG_CACHE_HOME": str(Path(sys.argv[1]).parents[2] / "cache")}
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    done = subprocess.run(
        [sys.argv[1], *arguments],
        cwd=place / "project",
        env=kept | OFFLINE | cache | {"HOME": str(place / "home")} | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
    return done.stdout
