"""Which context, which dialect, and what does not fit."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import pytest
import pytest_twisted
from attrs import evolve
from twisted.internet.defer import succeed
from twisted.internet.task import Clock
from twisted.logger import Logger

from codex_bridge.upstream.contexts import ContextPolicy, Contexts, Plan, plan
from codex_bridge.upstream.models import ModelTable
from codex_bridge.upstream.prompt_size import PromptSize, prompt_size
from codex_bridge.vocabulary import (
    ChatRequest,
    FailureKind,
    Json,
    ModelInfo,
    UpstreamFailure,
    UsageDelta,
)

KNOWN = ModelInfo(
    "qwen3:14b",
    capabilities=frozenset({"tools"}),
    trained_context=40960,
    server_version=(0, 33, 0),
)
AUTO = ContextPolicy()


def info(**more: Any) -> ModelInfo:
    return evolve(KNOWN, **more)


def short(made: Plan) -> tuple[str, int | None, int | None]:
    return made.api, made.context, made.num_ctx


@pytest.mark.parametrize(
    ("policy", "model", "default", "expected"),
    [
        # Ollama allocates enough by itself: the dialect that every server knows.
        (AUTO, info(), 32768, ("chat", 32768, None)),
        (AUTO, info(own_context=16384), None, ("chat", 16384, None)),
        (AUTO, info(), 262144, ("chat", 40960, None)),
        # Too little, or nobody knows: ask for more, but never for more than there is.
        (AUTO, info(), 4096, ("ollama", 32768, 32768)),
        (AUTO, info(own_context=8192), None, ("ollama", 32768, 32768)),
        (AUTO, info(), None, ("ollama", 32768, 32768)),
        (AUTO, info(trained_context=8192), 4096, ("ollama", 8192, 8192)),
        (AUTO, info(trained_context=8192), 8192, ("chat", 8192, None)),
        # The user's word counts.
        (ContextPolicy(num_ctx=65536), info(), 32768, ("ollama", 40960, 40960)),
        (ContextPolicy(num_ctx=8192), info(own_context=32768), None, ("ollama", 8192, 8192)),
        (ContextPolicy("ollama"), info(), 32768, ("ollama", 32768, 32768)),
        (ContextPolicy("ollama"), info(), None, ("ollama", 32768, 32768)),
        (ContextPolicy("chat"), info(), 4096, ("chat", 4096, None)),
        (ContextPolicy(keep_alive="1h"), info(), 32768, ("ollama", 32768, 32768)),
        # Other servers tell nothing, and know one dialect.
        (AUTO, ModelInfo("m"), None, ("chat", None, None)),
        (ContextPolicy("chat"), ModelInfo("m"), None, ("chat", None, None)),
    ],
)
def test_plan(
    policy: ContextPolicy, model: ModelInfo, default: int | None, expected: tuple[Any, ...]
) -> None:
    assert short(plan(policy, model, default)) == expected


class Server:
    """What the table asks, and what a load leaves."""

    def __init__(self, default: int | None, *, own: int | None = None) -> None:
        self.default = default
        self.loaded: int | None = None
        self.loads: list[str] = []
        self.own = own
        self.log: list[str] = []
        self.models = ModelTable(self.ask, Clock())

    def ask(self, method: str, path: str, body: Json | None) -> Awaitable[Json | None]:
        answers: dict[str, Json] = {
            "/api/version": {"version": "0.33.0"},
            "/api/show": {
                "capabilities": ["tools"],
                "parameters": f"num_ctx {self.own}" if self.own else "",
                "model_info": {"general.architecture": "a", "a.context_length": 40960},
            },
            "/api/ps": {"models": [{"name": "qwen3:14b", "context_length": self.loaded}]},
        }
        return succeed(answers[path])

    async def load(self, model: str) -> None:
        self.loads.append(model)
        self.loaded = self.default

    def contexts(self, policy: ContextPolicy = AUTO) -> Contexts:
        log = Logger(observer=lambda event: self.log.append(event["log_format"].format(**event)))
        return Contexts(policy, self.models, self.load, log)


async def planned(contexts: Contexts, server: Server) -> Plan:
    return await contexts.plan_for(await server.models.renewed("qwen3:14b"))


@pytest.mark.parametrize(("default", "api"), [(4096, "ollama"), (32768, "chat"), (None, "ollama")])
@pytest_twisted.ensureDeferred
async def test_what_ollama_allocates_is_found_out_by_one_load(
    default: int | None, api: str
) -> None:
    server = Server(default)
    contexts = server.contexts()
    for _ in range(3):
        assert (await planned(contexts, server)).api == api
        # As a request through the other dialect leaves it.
        server.loaded = 32768
    assert server.loads == ["qwen3:14b"]
    assert len(server.log) == 1


@pytest_twisted.ensureDeferred
async def test_a_model_that_is_loaded_with_too_little_is_not_loaded_again_to_know() -> None:
    server = Server(4096)
    server.loaded = 4096
    contexts = server.contexts()
    assert (await planned(contexts, server)).api == "ollama"
    server.loaded = 32768
    assert (await planned(contexts, server)).api == "ollama"
    assert server.loads == []


@pytest_twisted.ensureDeferred
async def test_a_context_that_another_client_asked_for_is_not_taken_for_ollamas_own() -> None:
    server = Server(4096)
    server.loaded = 65536
    assert (await planned(server.contexts(), server)).api == "ollama"


@pytest_twisted.ensureDeferred
async def test_the_context_of_the_modelfile_needs_no_load() -> None:
    server = Server(4096, own=24000)
    made = await planned(server.contexts(), server)
    assert (short(made), server.loads) == (("chat", 24000, None), [])


@pytest_twisted.ensureDeferred
async def test_an_ollama_that_was_started_again_with_less_is_found_out() -> None:
    server = Server(32768)
    contexts = server.contexts()
    assert (await planned(contexts, server)).api == "chat"
    server.default = server.loaded = 4096
    assert (await planned(contexts, server)).api == "ollama"


@pytest_twisted.ensureDeferred
async def test_the_log_tells_what_was_chosen_and_why() -> None:
    server = Server(4096)
    await planned(server.contexts(), server)
    assert server.log == [
        "qwen3:14b: asked through /api/chat, context 32768 tokens (by itself Ollama allocates 4096)"
    ]


def guard(policy: ContextPolicy = AUTO) -> tuple[Contexts, Server]:
    server = Server(32768)
    return server.contexts(policy), server


FITTING = Plan("chat", 32768, "")


def test_a_prompt_that_cannot_fit_is_refused_with_both_numbers() -> None:
    contexts, _ = guard()
    contexts.check("m", FITTING, PromptSize(150_000))
    with pytest.raises(UpstreamFailure, match=r"about 34000 tokens.* 32768") as caught:
        contexts.check("m", FITTING, PromptSize(170_000))
    assert caught.value.kind is FailureKind.TOO_LONG


@pytest.mark.parametrize(
    ("policy", "made"),
    [
        (ContextPolicy(guard=False), FITTING),
        (AUTO, Plan("chat", None, "")),
        (AUTO, Plan("chat", 4096, "", is_certain=False)),
    ],
)
def test_nothing_is_refused_on_a_guess_or_against_the_users_word(
    policy: ContextPolicy, made: Plan
) -> None:
    contexts, _ = guard(policy)
    contexts.check("m", made, PromptSize(10_000_000))


def test_the_size_of_a_token_is_learned_per_model() -> None:
    contexts, _ = guard()
    contexts.learn(info(name="dense"), PromptSize(30_000), UsageDelta(15_000, 1))
    with pytest.raises(UpstreamFailure):
        contexts.check("dense", FITTING, PromptSize(70_000))
    contexts.check("other", FITTING, PromptSize(70_000))


def test_pictures_count_as_a_thousand_tokens_each() -> None:
    contexts, _ = guard()
    with pytest.raises(UpstreamFailure):
        contexts.check("m", FITTING, PromptSize(100, images=32))


def test_a_cut_prompt_is_told_once_with_the_remedy_and_teaches_nothing() -> None:
    contexts, server = guard()
    for _ in range(2):
        contexts.learn(info(), PromptSize(45_000), UsageDelta(2050, 1))
    (line,) = server.log
    assert "2050 tokens" in line
    assert "OLLAMA_CONTEXT_LENGTH" in line
    contexts.check("qwen3:14b", FITTING, PromptSize(150_000))


@pytest.mark.parametrize(
    ("version", "counted"), [((0, 33, 0), 10_000), ((0, 20, 0), 100), ((0, 33, 0), 0)]
)
def test_counts_that_may_be_right_raise_no_alarm(version: Any, counted: int) -> None:
    contexts, server = guard()
    contexts.learn(info(server_version=version), PromptSize(45_000), UsageDelta(counted, 1))
    assert server.log == []


def test_the_size_leaves_out_what_the_model_does_not_read_as_text() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + 5000 * "A"}}
    messages: list[Json] = [
        {"role": "user", "content": [{"type": "text", "text": "x"}, image]},
        {"role": "assistant", "content": "", "reasoning": 3000 * "r"},
        {"role": "user", "content": "y"},
        {"role": "assistant", "content": "", "reasoning": 700 * "r"},
        {"role": "tool", "content": "z"},
    ]
    size = prompt_size(ChatRequest("m", messages), 10_000 * b".")
    assert (size.images, size.text) == (1, 10_000 - 5022 - 3000)
