"""What a user is told to type, on every system and in every shell."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from codex_bridge.advice import move_ollama, same_server, send_oss, two_ways


@pytest.mark.parametrize(
    ("platform", "installed", "commands"),
    [
        (
            "linux",
            "",
            [
                "OLLAMA_HOST=127.0.0.1:11433 ollama serve  "
                "# after you have stopped the Ollama that runs"
            ],
        ),
        *(
            (
                "linux",
                f"{folder}/systemd/system/ollama.service",
                [
                    "sudo systemctl edit ollama  # add two lines: [Service] and "
                    "Environment=OLLAMA_HOST=127.0.0.1:11433",
                    "sudo systemctl restart ollama",
                ],
            )
            for folder in ("etc", "usr/lib", "lib")
        ),
        (
            "darwin",
            "Applications/Ollama.app/Contents",
            ["launchctl setenv OLLAMA_HOST 127.0.0.1:11433  # then quit Ollama and open it again"],
        ),
        (
            "darwin",
            "",
            [
                "OLLAMA_HOST=127.0.0.1:11433 ollama serve  "
                "# after you have stopped the Ollama that runs"
            ],
        ),
        (
            "win32",
            "",
            ["setx OLLAMA_HOST 127.0.0.1:11433  # then quit Ollama in the tray and start it again"],
        ),
    ],
)
def test_ollama_is_moved_by_the_means_of_the_system(
    tmp_path: Path, platform: str, installed: str, commands: list[str]
) -> None:
    (tmp_path / installed).mkdir(parents=True, exist_ok=True)
    assert move_ollama(platform, tmp_path) == commands


@pytest.mark.parametrize(
    ("url", "environ", "platform", "command"),
    [
        ("http://127.0.0.1:11500", {}, "linux", "export CODEX_OSS_PORT=11500"),
        ("http://localhost:11500", {"SHELL": "/bin/zsh"}, "darwin", "export CODEX_OSS_PORT=11500"),
        ("http://localhost", {}, "linux", "export CODEX_OSS_PORT=80"),
        ("http://127.0.0.1:11500", {"SHELL": "/bin/fish"}, "linux", "set -gx CODEX_OSS_PORT 11500"),
        ("http://127.0.0.1:11500", {}, "win32", '$env:CODEX_OSS_PORT = "11500"'),
        ("http://box:1", {}, "linux", "export CODEX_OSS_BASE_URL=http://box:1/v1"),
        ("http://box:1", {}, "win32", '$env:CODEX_OSS_BASE_URL = "http://box:1/v1"'),
        ("https://localhost:1", {}, "linux", "export CODEX_OSS_BASE_URL=https://localhost:1/v1"),
        ("http://localhost:1/a", {}, "linux", "export CODEX_OSS_BASE_URL=http://localhost:1/a/v1"),
        ("http://[::1]:1", {}, "linux", "export CODEX_OSS_BASE_URL='http://[::1]:1/v1'"),
        (
            "http://b/$(x)",
            {"SHELL": "fish"},
            "linux",
            "set -gx CODEX_OSS_BASE_URL 'http://b/$(x)/v1'",
        ),
        # CODEX_OSS_PORT would have no effect beside this one.
        (
            "http://localhost:1",
            {"CODEX_OSS_BASE_URL": "http://box/v1"},
            "linux",
            "export CODEX_OSS_BASE_URL=http://localhost:1/v1",
        ),
    ],
)
def test_codex_oss_is_sent_to_the_bridge_in_the_syntax_of_the_shell(
    url: str, environ: dict[str, str], platform: str, command: str
) -> None:
    assert send_oss(url, environ, platform) == command


def test_a_shell_takes_the_command() -> None:
    command = send_oss("http://box:1/it's;$x", {"SHELL": "/bin/sh"}, "linux")
    script = f'{command}\nprintf %s "$CODEX_OSS_BASE_URL"'
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "http://box:1/it's;$x/v1"


@pytest.mark.parametrize(
    ("url", "other", "same"),
    [
        ("http://localhost:11434/v1", "http://127.0.0.1:11434", True),
        ("http://[::1]:80", "http://0.0.0.0", True),
        ("https://box", "https://box:443/v1", True),
        ("http://localhost:11434/v1", "http://127.0.0.1:11500", False),
        ("http://box:1", "http://127.0.0.1:1", False),
        ("http://box:x", "http://box:x", False),
    ],
)
def test_a_server_has_one_host_and_one_port(url: str, other: str, same: bool) -> None:
    assert same_server(url, other) is same


def test_the_way_without_moving_ollama_comes_first(tmp_path: Path) -> None:
    assert two_ways("http://127.0.0.1:11507", {"SHELL": "/bin/bash"}, "linux", tmp_path) == [
        "1. Leave Ollama there, and give the bridge another port:",
        "   codex-bridge run --port 11507",
        "   export CODEX_OSS_PORT=11507                                 "
        "# where you run `codex --oss`",
        "   codex-bridge configure --bridge-url http://127.0.0.1:11507  "
        "# or this, for `codex -p bridge`",
        "2. Move Ollama. Then all programs go through the bridge, and Codex needs no setting:",
        "   OLLAMA_HOST=127.0.0.1:11433 ollama serve  "
        "# after you have stopped the Ollama that runs",
        "   codex-bridge run",
    ]
