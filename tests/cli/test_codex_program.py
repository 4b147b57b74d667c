"""The version and the instructions of the installed Codex."""

from __future__ import annotations

from pathlib import Path

import pytest

from codex_bridge.cli.codex_program import own_instructions, version_number
from codex_bridge.cli.command_line import CommandError


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("codex-cli 0.130.0\n", (0, 130, 0)),
        ("codex-cli 0.146.0-alpha.2", (0, 146, 0)),
        ("0.145", (0, 145, 0)),
        ("nonsense", None),
    ],
)
def test_versions_are_read(text: str, version: tuple[int, ...] | None) -> None:
    assert version_number(text) == version


def program(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `codex` a shell script; $url is where it would send its request."""
    file = folder / "codex"
    url = 'url=$(echo "$*" | sed -n \'s/.*base_url="\\([^"]*\\)".*/\\1/p\')'
    file.write_text(f"#!/bin/sh\n{url}\n{script}\n")
    file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


@pytest.mark.parametrize(
    "body",
    [
        """{"instructions": "Be good.", "input": []}""",
        """{"input": [{"role": "developer", "content": [{"text": "Be "}, {"text": "good."}]}]}""",
    ],
)
def test_codexs_own_instructions_are_read_from_a_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    (tmp_path / "body").write_text(body)
    read = f"open('{tmp_path}/body', 'rb').read()"
    send = f"import sys, urllib.request as r; r.urlopen(sys.argv[1], {read})"
    script = f'NO_PROXY=127.0.0.1 python3 -c "{send}" $url/responses'
    program(tmp_path, script, monkeypatch)
    assert own_instructions() == "Be good."


@pytest.mark.parametrize("script", ["exit 1", "exit 0"])
def test_a_codex_that_sends_no_instructions_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    program(tmp_path, script, monkeypatch)
    with pytest.raises(CommandError, match="did not tell its own instructions"):
        own_instructions()


def test_codex_cannot_reach_its_maker_while_it_is_asked_for_its_instructions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://a-proxy-that-works:3128")
    program(tmp_path, f"env > '{tmp_path}/environment'", monkeypatch)
    with pytest.raises(CommandError):
        own_instructions()
    environment = (tmp_path / "environment").read_text()
    assert "HTTPS_PROXY=http://127.0.0.1:1\n" in environment
    assert "a-proxy-that-works" not in environment
