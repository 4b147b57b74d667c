"""`codex-bridge configure --aliases`: short names for the shell."""

from __future__ import annotations

import re
import shlex
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codex_bridge.cli.aliases import aliases


def names(*models: str) -> list[str]:
    return [line.removeprefix("alias ").partition("=")[0] for line in aliases(models)]


def test_an_alias_is_a_line_for_a_shell() -> None:
    assert aliases(["qwen3:14b"]) == ["alias cx14='codex -p bridge -m qwen3:14b'"]


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        (["qwen3:14b", "qwen3-coder:30b"], ["cx14", "cx30"]),
        (["qwen3:14b", "phi4:14b", "qwen3:4b"], ["cxqwen14", "cxphi14", "cx4"]),
        (["qwen3:30b", "qwen3-coder:30b"], ["cxqwen30", "cxqwencoder30"]),
        (["qwen3:14b", "qwen2.5:14b"], ["cxqwen3-14b", "cxqwen2.5-14b"]),
        (["mistral:latest", "qwen3:1.7b"], ["cxmistral", "cx1.7"]),
        (["a/b:7b", "a-b:7b"], ["cxb7", "cxab7"]),
        (["x/a:7b", "x-a:7b", "y/a:7b", "x-a:7B"], ["cxx-a-7b-1", "cxx-a-7b-2", "cxy-a-7b"]),
    ],
)
def test_names_are_short_and_longer_if_two_would_be_the_same(
    models: list[str], expected: list[str]
) -> None:
    assert names(*models)[: len(expected)] == expected


@given(st.lists(st.text(min_size=1, max_size=12), max_size=6, unique=True))
def test_names_are_unique_and_commands_quoted(models: list[str]) -> None:
    given_names = names(*models)
    assert len(set(given_names)) == len(models)
    for line, model in zip(aliases(models), models, strict=True):
        alias, command = shlex.split(line)[1].split("=", 1)
        assert re.fullmatch(r"cx[a-z0-9.-]*", alias)
        assert shlex.split(command) == ["codex", "-p", "bridge", "-m", model]


def test_a_shell_accepts_the_aliases() -> None:
    lines = "\n".join([*aliases(["qwen3:1.7b", "it's:7b", "hf.co/a/b-GGUF:Q4"]), "alias"])
    done = subprocess.run(["bash", "-c", lines], capture_output=True, text=True, check=True)
    assert done.stdout.count("codex -p bridge") == 3
