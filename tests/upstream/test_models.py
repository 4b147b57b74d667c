"""What Ollama tells of its models, and how often it is asked."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock

from codex_bridge.upstream.models import (
    FRESH,
    MAX_MODELS,
    ModelTable,
    running_facts,
    shown_info,
    version_number,
)
from codex_bridge.vocabulary import FailureKind, Json, ModelInfo, UpstreamFailure

SHOWN: Json = {
    "parameters": "temperature                    0.7\ntop_p                          0.8\n"
    'stop                           "<|im_end|>"\nnum_ctx                        16384\n',
    "details": {"family": "qwen3"},
    "model_info": {"general.architecture": "qwen3", "qwen3.context_length": 40960},
    "capabilities": ["completion", "tools"],
}


def test_what_show_says() -> None:
    assert shown_info("qwen3:14b", SHOWN) == ModelInfo(
        "qwen3:14b",
        capabilities=frozenset({"completion", "tools"}),
        family="qwen3",
        trained_context=40960,
        own_context=16384,
        temperature=0.7,
        top_p=0.8,
    )


@pytest.mark.parametrize(
    "shown", [{}, {"parameters": 5, "details": [], "model_info": None, "capabilities": "x"}]
)
def test_what_show_does_not_say_is_unknown(shown: Json) -> None:
    assert shown_info("m", shown) == ModelInfo("m")


@pytest.mark.parametrize(
    ("name", "running", "allocated"),
    [
        ("qwen3", [{"name": "qwen3:latest", "context_length": 4096}], 4096),
        ("Qwen3:14b", [{"name": "qwen3:14b", "context_length": 8192}], 8192),
        ("qwen3:14b", [{"name": "qwen3:8b", "context_length": 8192}], None),
        ("qwen3:14b", [{"name": "qwen3:14b"}], None),
        ("qwen3:14b", [5], None),
    ],
)
def test_what_it_is_loaded_with(name: str, running: Any, allocated: int | None) -> None:
    assert running_facts(name, {"models": running}).get("allocated_context") == allocated


@pytest.mark.parametrize(
    ("text", "number"),
    [("0.33.0-rc2", (0, 33, 0)), ("v0.9.6", (0, 9, 6)), ("banana", None), (None, None)],
)
def test_versions(text: Any, number: Any) -> None:
    assert version_number(text) == number


class Ollama:
    """Answers at once, or when it is told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.missing = False
        self.hold: Deferred[Any] | None = None
        self.clock = Clock()
        self.table = ModelTable(self.ask, self.clock)

    def ask(self, method: str, path: str, body: Json | None) -> Deferred[Json | None]:
        self.asked.append(path)
        if path == "/api/version":
            return self.hold or succeed({"version": "0.33.0"})
        if path == "/api/show":
            return succeed(None if self.missing else SHOWN)
        return succeed({"models": []})

    def info(self, name: str = "m") -> Deferred[ModelInfo]:
        return Deferred.fromCoroutine(self.table.info(name))


ROUND = ["/api/version", "/api/show", "/api/ps"]


@pytest_twisted.ensureDeferred
async def test_a_warm_model_is_never_waited_for() -> None:
    ollama = Ollama()
    assert (await ollama.info()).temperature == 0.7
    assert ollama.asked == ROUND
    ollama.clock.advance(FRESH - 1)
    await ollama.info()
    assert ollama.asked == ROUND
    ollama.clock.advance(1)
    ollama.hold = Deferred()
    # Old, so it is asked for again, behind the answer.
    assert (await ollama.info()).temperature == 0.7
    assert (await ollama.info()).temperature == 0.7
    assert ollama.asked == [*ROUND, "/api/version"]
    ollama.hold.callback({"version": "0.34.0"})
    assert (await ollama.info()).server_version == (0, 34, 0)


@pytest_twisted.ensureDeferred
async def test_questions_at_the_same_time_share_one_answer_and_one_may_leave() -> None:
    ollama = Ollama()
    ollama.hold = Deferred()
    first, second = ollama.info(), ollama.info()
    first.addErrback(lambda failure: failure.trap(CancelledError))
    first.cancel()
    ollama.hold.callback({"version": "0.33.0"})
    assert (await second).temperature == 0.7
    assert ollama.asked == ROUND


@pytest_twisted.ensureDeferred
async def test_a_missing_model_is_asked_for_again_each_time() -> None:
    ollama = Ollama()
    ollama.missing = True
    assert await ollama.info() == ModelInfo("m", server_version=(0, 33, 0))
    ollama.missing = False
    assert (await ollama.info()).temperature == 0.7


@pytest_twisted.ensureDeferred
async def test_a_model_that_is_forgotten_is_asked_for_before_it_is_used() -> None:
    ollama = Ollama()
    await ollama.info()
    ollama.table.forget("m")
    await ollama.info()
    assert ollama.asked == ROUND + ROUND


@pytest_twisted.ensureDeferred
async def test_a_server_that_does_not_answer_is_left_to_the_exchange_to_tell() -> None:
    ollama = Ollama()
    ollama.hold = Deferred()
    asked = ollama.info()
    ollama.hold.errback(UpstreamFailure(FailureKind.UNREACHABLE, "connection refused"))
    assert await asked == ModelInfo("m")


@pytest_twisted.ensureDeferred
async def test_the_table_is_bounded() -> None:
    ollama = Ollama()
    for n in range(MAX_MODELS + 1):
        await ollama.info(f"m{n}")
    ollama.asked.clear()
    await ollama.info(f"m{MAX_MODELS}")
    assert ollama.asked == []
    await ollama.info("m0")
    assert ollama.asked == ROUND
