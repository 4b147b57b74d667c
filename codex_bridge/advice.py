"""Commands that messages advise, for the addresses, the system and the shell that the user has."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from codex_bridge.settings import DEFAULTS, USUAL_URLS

LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0"})  # noqa: S104 - only compared
MOVED_URL, OWN_URL = USUAL_URLS
"""Where an Ollama listens that has left its port to the bridge, and where it does by itself."""
OTHER_PORTS = range(11500, 11600)
"""Ports that are proposed for a bridge that leaves another server on its port."""
UNIT = "systemd/system/ollama.service"
UNIT_FOLDERS = ("etc", "usr/lib", "lib")
"""Ollama's own installer writes the unit below /etc, packages of distributions below the others."""
APP = "Applications/Ollama.app"


def is_local(url: str) -> bool:
    """Whether a URL names this machine."""
    return urlsplit(url).hostname in LOCAL_NAMES


def address(url: str) -> tuple[str, int]:
    """Host and port of a URL, with one name for this machine. Raises ValueError if it is no URL."""
    parts = urlsplit(url)
    host = "127.0.0.1" if is_local(url) else parts.hostname or ""
    return host, parts.port or (443 if parts.scheme == "https" else 80)


def same_server(url: str, other: str) -> bool:
    """Whether two URLs have the same host and port. False if one of them is no URL."""
    try:
        return address(url) == address(other)
    except ValueError:
        return False


def serve(url: str) -> str:
    """The command that starts Ollama at a base URL, given on the machine that it names."""
    parts = urlsplit(url)
    if parts.scheme == "https" or parts.path:
        # Another server stands before it, and only its user knows where Ollama itself listens.
        return "ollama serve"
    return f"OLLAMA_HOST={_listen(url)} ollama serve"


def _listen(url: str) -> str:
    """The value of OLLAMA_HOST with which Ollama listens at a base URL."""
    parts = urlsplit(url)
    host = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname or ""
    return f"{f'[{host}]' if ':' in host else host}:{parts.port or 80}"


def ollama(command: str, url: str) -> str:
    """A command of the `ollama` program for the Ollama at `url`.

    Without OLLAMA_HOST that program asks at Ollama's own port, which may be the bridge's.
    """
    is_usual = same_server(url, OWN_URL)
    return f"ollama {command}" if is_usual else f"OLLAMA_HOST={url} ollama {command}"


def run(url: str) -> str:
    """The command that starts a bridge at a base URL, given on the machine that it names."""
    port = address(url)[1]
    return "codex-bridge run" + (f" --port {port}" if port != DEFAULTS.port else "")


def elsewhere(url: str) -> str:
    """An address on this machine for a bridge that leaves its port to the server at `url`."""
    taken = address(url)[1]
    return f"http://127.0.0.1:{next(port for port in OTHER_PORTS if port != taken)}"


def move_ollama(platform: str = sys.platform, root: Path = Path("/")) -> list[str]:
    """The commands that move Ollama to port 11433, each with a comment where it needs one.

    `platform`: as in `sys.platform`. `root`: the folder below which the system's files are.
    """
    host = _listen(MOVED_URL)
    if platform == "win32":
        return [f"setx OLLAMA_HOST {host}  # then quit Ollama in the tray and start it again"]
    if platform == "darwin" and (root / APP).exists():
        return [f"launchctl setenv OLLAMA_HOST {host}  # then quit Ollama and open it again"]
    if any((root / folder / UNIT).exists() for folder in UNIT_FOLDERS):
        return [
            f"sudo systemctl edit ollama  # add two lines: [Service] and "
            f"Environment=OLLAMA_HOST={host}",
            "sudo systemctl restart ollama",
        ]
    return [f"{serve(MOVED_URL)}  # after you have stopped the Ollama that runs"]


def two_ways(
    bridge_url: str,
    environ: Mapping[str, str] = os.environ,
    platform: str = sys.platform,
    root: Path = Path("/"),
) -> list[str]:
    """What to type where Ollama has port 11434, which the bridge takes by itself: two ways.

    `bridge_url`: an address that is free for the bridge. `environ`, `platform`, `root`: as for
    `send_oss` and `move_ollama`.
    """
    stay = [
        run(bridge_url),
        f"{send_oss(bridge_url, environ, platform)}  # where you run `codex --oss`",
        f"codex-bridge configure --bridge-url {bridge_url}  # or this, for `codex -p bridge`",
    ]
    return [
        "1. Leave Ollama there, and give the bridge another port:",
        *_block(stay),
        "2. Move Ollama. Then all programs go through the bridge, and Codex needs no setting:",
        *_block([*move_ollama(platform, root), "codex-bridge run"]),
    ]


def _block(commands: list[str]) -> list[str]:
    """Commands, indented, with their comments below each other."""
    parts = [command.partition("  # ") for command in commands]
    width = max(len(command) for command, _, comment in parts if comment)
    return [f"   {command:<{width}}{mark}{comment}".rstrip() for command, mark, comment in parts]


def oss_url(environ: Mapping[str, str]) -> str:
    """Where `codex --oss` sends its requests, by the variables that Codex reads."""
    port = environ.get("CODEX_OSS_PORT") or "11434"
    return environ.get("CODEX_OSS_BASE_URL") or f"http://localhost:{port}/v1"


def send_oss(bridge_url: str, environ: Mapping[str, str], platform: str = sys.platform) -> str:
    """The command that makes `codex --oss` go to the bridge, in the syntax of the user's shell.

    That is PowerShell on Windows (`platform`: as in `sys.platform`), else the one that SHELL names.
    """
    parts = urlsplit(bridge_url)
    # CODEX_OSS_PORT stands for http://localhost:PORT/v1. CODEX_OSS_BASE_URL wins over it.
    by_port = parts.scheme == "http" and parts.hostname in {"localhost", "127.0.0.1"}
    if by_port and not parts.path and not environ.get("CODEX_OSS_BASE_URL"):
        name, value = "CODEX_OSS_PORT", str(parts.port or 80)
    else:
        name, value = "CODEX_OSS_BASE_URL", f"{bridge_url}/v1"
    if platform == "win32":
        return f'$env:{name} = "{value}"'
    if PurePosixPath(environ.get("SHELL", "")).name == "fish":
        return f"set -gx {name} {shlex.quote(value)}"
    return f"export {name}={shlex.quote(value)}"
