"""Installs the pinned clients into a cache folder: two environments of Python, one of Node.js.

`python -m tests.sdks.install` installs all of them, and prints how long that took.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import orjson

PINS = Path(__file__).parent / "pins"
NODE = (PINS / "package.json", PINS / "package-lock.json")
TIMEOUT = 600
"""Seconds for one environment; then the package index does not answer."""


class CannotInstall(Exception):
    """The packages are not to be had here; the first words of pip or npm say why."""


def installed(name: str) -> Path:
    """The folder of an environment ("python", "llama_index" or "node"), installed once.

    Raises CannotInstall.
    """
    pins = NODE if name == "node" else (PINS / f"{name}.txt",)
    digest = hashlib.sha256(f"{sysconfig.get_platform()} {platform.python_version()}".encode())
    for path in pins:
        digest.update(path.read_bytes())
    folder = cache_folder() / f"{name}-{digest.hexdigest()[:12]}"
    whole = folder / "installed"
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Tests run in several processes; whoever comes second waits for the first.
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not whole.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            try:
                _install(folder, *pins)
            except (OSError, subprocess.TimeoutExpired) as error:
                raise CannotInstall(str(error)) from None
            whole.touch()
    return folder


def cache_folder() -> Path:
    """Where environments are kept, outside of the checkout; each set of pins has its own."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "codex-bridge" / "sdks"


def _install(folder: Path, *pins: Path) -> None:
    if pins == NODE:
        for path in pins:
            shutil.copy(path, folder)
        npm = ("npm", "install", "--no-audit", "--no-fund", "--loglevel=error")
        _run(*npm, "--prefix", str(folder))
        # A script of its package fetches it, which npm may be told not to run.
        _run(str(node_program(folder, "node")), "--version")
    else:
        _run(sys.executable, "-m", "venv", str(folder))
        pip = (str(python(folder)), "-m", "pip", "--disable-pip-version-check", "install")
        # The pins are a whole set, so nothing is resolved. What is never imported need not be
        # compiled, and the first import compiles the rest.
        _run(*pip, "--quiet", "--no-deps", "--no-compile", "-r", str(pins[0]))


def _run(*command: str) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=TIMEOUT, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        errors = re.findall(r"(?im)^(?:npm )?error:? (.+)$", done.stderr)
        raise CannotInstall("; ".join(errors[:2]) or f"{command[0]} ended with {done.returncode}")


def python(folder: Path) -> Path:
    """The interpreter of an environment of Python."""
    return folder / "bin" / "python"


def node_program(folder: Path, name: str) -> Path:
    """A program of the environment of Node.js: "node", "opencode" or "copilot"."""
    return folder / "node_modules" / ".bin" / name


def version(package: str) -> str:
    """The pinned version of a package, for Python or for Node.js ("npm:" before its name)."""
    if package.startswith("npm:"):
        pinned: str = orjson.loads(NODE[0].read_bytes())["dependencies"][package[4:]]
        return pinned.rpartition("@")[2]
    lines = "".join(path.read_text() for path in sorted(PINS.glob("*.txt"), reverse=True))
    found = re.search(rf"^{re.escape(package)}==(.+)$", lines, re.MULTILINE)
    assert found, package
    return found[1]


if __name__ == "__main__":
    for each in ("python", "llama_index", "node"):
        begun = time.monotonic()
        where = installed(each)
        print(f"{each}: {time.monotonic() - begun:.0f} s, in {where}")
