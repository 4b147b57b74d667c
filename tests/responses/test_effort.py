"""Efforts, by what model and Ollama accept: a word too many is a 400 for every turn."""

from __future__ import annotations

from typing import Any

import pytest

from codex_bridge.responses.effort import effort
from codex_bridge.vocabulary import ModelInfo
from tests.fake_ollama.rules import efforts

EFFORTS = ["none", "minimal", "low", "medium", "high", "xhigh", "max", "ultra"]
"""Codex's words."""
THINKS, TALKS = frozenset({"tools", "thinking"}), frozenset({"tools"})


def model(version: tuple[int, ...] | None, family: str = "qwen3", can: Any = THINKS) -> ModelInfo:
    return ModelInfo("m", capabilities=can, family=family, server_version=version)


@pytest.mark.parametrize(
    ("asked", "version", "family", "expected"),
    [
        ("minimal", (0, 33, 0), "qwen3", "low"),
        ("low", (0, 33, 0), "qwen3", "low"),
        ("medium", (0, 33, 0), "qwen3", "medium"),
        ("high", (0, 33, 0), "qwen3", "high"),
        ("xhigh", (0, 33, 0), "qwen3", "max"),
        ("ultra", (0, 21, 3), "qwen3", "max"),
        ("max", (0, 21, 2), "qwen3", "high"),
        ("max", (0, 33, 0), "gptoss", "high"),
        ("none", (0, 33, 0), "qwen3", "none"),
        ("none", (0, 33, 0), "gptoss", "low"),
        ("none", (0, 13, 4), "qwen3", "none"),
        ("none", (0, 13, 4), "gptoss", "low"),
        ("none", (0, 33, 0), "gpt-oss", "low"),
        ("low", (0, 17, 6), "qwen3", None),
        ("low", (0, 17, 7), "qwen3", "low"),
        ("low", (0, 17, 6), "gptoss", "low"),
        ("low", (0, 13, 4), "gptoss", "low"),
        ("of tomorrow", (0, 33, 0), "qwen3", None),
        (None, (0, 33, 0), "qwen3", None),
        ({"a": 1}, (0, 33, 0), "qwen3", None),
    ],
)
def test_effort(asked: Any, version: tuple[int, ...], family: str, expected: str | None) -> None:
    assert effort(asked, model(version, family)) == expected


@pytest.mark.parametrize("asked", EFFORTS)
def test_a_model_that_does_not_think_is_asked_for_no_effort(asked: str) -> None:
    assert effort(asked, model((0, 33, 0), can=TALKS)) is None


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("none", "none"),
        ("minimal", "low"),
        ("low", "low"),
        ("medium", "medium"),
        ("high", "high"),
        ("xhigh", "high"),
        ("max", "high"),
        ("ultra", "high"),
    ],
)
def test_other_servers_get_the_four_words_of_openai(asked: str, expected: str) -> None:
    assert effort(asked, model(None, can=None)) == expected


@pytest.mark.parametrize("asked", EFFORTS)
@pytest.mark.parametrize("version", ["0.13.4", "0.17.6", "0.17.7", "0.20.0", "0.21.3", "0.33.0"])
def test_no_version_is_asked_for_a_word_it_does_not_know(asked: str, version: str) -> None:
    number = tuple(map(int, version.split(".")))
    assert effort(asked, model(number)) in {*efforts(version), None}
