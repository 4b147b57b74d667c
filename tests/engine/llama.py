"""llama.cpp with the tiny model of this folder, as a process for tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from codex_bridge.cli.llama_server import LlamaServer, is_installed

MODEL = Path(__file__).with_name("tiny.gguf")
CONTEXT = 16384
"""Tokens: enough for Codex, and for an answer that does not end for half a minute."""


@contextmanager
def llama_server(log: Path, *, context: int = CONTEXT, slots: int = 1) -> Iterator[LlamaServer]:
    """A server that logs to `log` and ends with the block.

    Skips the test where llama.cpp is missing; in CI the test fails then.
    """
    if not is_installed() and not os.environ.get("CI"):
        pytest.skip("llama.cpp is missing: there is no xllamacpp for this platform, or no [engine]")
    # More threads would not be faster with so small a model, and much slower on a busy machine.
    with (
        log.open("wb") as output,
        LlamaServer(MODEL, output, context=context, slots=slots, threads=1) as server,
    ):
        yield server
