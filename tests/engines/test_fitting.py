"""What does not fit into a context, and who decides in doubt."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from attrs import evolve

from codex_bridge.engines.contexts import (
    REFUSAL_PAUSE,
    ContextPolicy,
    Contexts,
    Plan,
)
from codex_bridge.engines.models import FRESH
from codex_bridge.engines.prompt_size import Prompt, PromptSize
from codex_bridge.vocabulary import (
    FailureKind,
    ModelInfo,
    UpstreamFailure,
    UsageDelta,
)
from tests.engines.servers import AUTO, Server, info, short


def guard(policy: ContextPolicy = AUTO) -> tuple[Contexts, Server]:
    server = Server(32768)
    return server.contexts(policy), server


def prompt(text: int, *, images: int = 0, name: str = "a") -> Prompt:
    return Prompt(PromptSize(text, images=images, messages=1), (name.encode(),))


CHAT, NATIVE = Plan("chat", 32768, ""), Plan("ollama", 32768, "", 32768)
OLD = info(server_version=(0, 12, 5))


@pytest.mark.parametrize(
    ("policy", "model", "made", "sent", "expected"),
    [
        # It fits whatever it is made of: by the way that was planned.
        (AUTO, info(), CHAT, prompt(60_000), CHAT),
        # Nobody knows but Ollama: asked so that it says so, with what it has allocated.
        (AUTO, info(), CHAT, prompt(70_000), Plan("ollama", 32768, "", 32768)),
        (AUTO, info(), CHAT, prompt(240_000), Plan("ollama", 32768, "", 32768)),
        (AUTO, info(), CHAT, prompt(100, images=30), Plan("ollama", 32768, "", 32768)),
        # Nothing can have so few tokens.
        (AUTO, info(), CHAT, prompt(250_000), None),
        (AUTO, info(), CHAT, prompt(100, images=500), None),
        (AUTO, info(), NATIVE, prompt(240_000), NATIVE),
        (AUTO, info(), NATIVE, prompt(250_000), None),
        # An Ollama that cuts whatever it is told, and a user who wants it asked so: a guess.
        (AUTO, OLD, CHAT, prompt(130_000), CHAT),
        (AUTO, OLD, CHAT, prompt(140_000), None),
        (ContextPolicy("chat"), info(), CHAT, prompt(130_000), CHAT),
        (ContextPolicy("chat"), info(), CHAT, prompt(140_000), None),
        # Not on a guess at the context, nor against the user's word.
        (ContextPolicy("chat"), info(), evolve(CHAT, is_certain=False), prompt(10**7), CHAT),
        (ContextPolicy(guard=False), info(), CHAT, prompt(10**7), CHAT),
        (AUTO, ModelInfo("m"), Plan("chat", None, ""), prompt(10**7), Plan("chat", None, "")),
        # The cloud has no dialect that tells.
        (AUTO, info(remote=True), CHAT, prompt(240_000), CHAT),
    ],
)
def test_only_what_cannot_fit_is_refused_and_what_may_not_is_left_to_ollama(
    policy: ContextPolicy, model: ModelInfo, made: Plan, sent: Prompt, expected: Plan | None
) -> None:
    contexts, _ = guard(policy)
    if expected is not None:
        assert short(contexts.fitting(model, made, sent)) == short(expected)
        return
    with pytest.raises(UpstreamFailure, match=r"about \d+ tokens.* 32768") as caught:
        contexts.fitting(model, made, sent)
    assert caught.value.kind is FailureKind.TOO_LONG


def test_a_conversation_that_changed_the_dialect_keeps_it() -> None:
    contexts, _ = guard()
    first = Prompt(PromptSize(90_000), (b"1",))
    made = contexts.fitting(info(), CHAT, first)
    assert made.api == "ollama"
    contexts.learn(info(), made, first, UsageDelta(20_000, 1))
    longer = Prompt(PromptSize(91_000), (b"1", b"2"))
    assert contexts.fitting(info(), CHAT, longer).api == "ollama"
    assert contexts.fitting(info(), CHAT, prompt(1000, name="other")).api == "chat"


def test_what_was_counted_of_one_conversation_is_not_held_against_another() -> None:
    contexts, _ = guard(ContextPolicy("chat"))
    dense = Prompt(PromptSize(30_000), (b"1",))
    contexts.learn(info(), CHAT, dense, UsageDelta(25_000, 1))
    contexts.fitting(info(), CHAT, prompt(130_000, name="other"))
    contexts.fitting(info(name="m"), CHAT, Prompt(PromptSize(60_000), (b"1", b"2")))
    with pytest.raises(UpstreamFailure):
        contexts.fitting(info(), CHAT, Prompt(PromptSize(60_000), (b"1", b"2")))


def test_a_cut_prompt_is_told_once_with_the_remedy_and_teaches_nothing() -> None:
    contexts, server = guard()
    for _ in range(2):
        contexts.learn(info(), CHAT, prompt(45_000), UsageDelta(2050, 1))
    (line,) = server.log
    assert "2050 tokens for a prompt of about 10000" in line
    assert "OLLAMA_CONTEXT_LENGTH" in line
    assert len(contexts.counts) == 0


@pytest_twisted.ensureDeferred
async def test_a_cut_prompt_makes_the_model_asked_about_again() -> None:
    server = Server(4096, own=65536)
    contexts = server.contexts()
    known = await server.models.info("qwen3:14b")
    made = await contexts.plan_for(known)
    server.own = 4096
    contexts.learn(known, made, prompt(45_000), UsageDelta(2050, 1))
    server.clock.advance(FRESH / 2)
    made = await contexts.plan_for(await server.models.info("qwen3:14b"))
    assert short(made) == ("ollama", 32768, 32768)


@pytest.mark.parametrize(
    ("version", "counted"), [((0, 33, 0), 10_000), ((0, 20, 0), 100), ((0, 33, 0), 0)]
)
def test_counts_that_may_be_right_raise_no_alarm(version: Any, counted: int) -> None:
    contexts, server = guard()
    model = info(server_version=version)
    contexts.learn(model, CHAT, prompt(45_000), UsageDelta(counted, 1))
    assert server.log == []


@pytest.mark.parametrize("policy", [AUTO, ContextPolicy("chat")])
@pytest_twisted.ensureDeferred
async def test_before_a_refusal_is_told_one_load_shows_whether_it_still_holds(
    policy: ContextPolicy,
) -> None:
    server = Server(16384)
    contexts = server.contexts(policy)
    known = await server.models.info("qwen3:14b")
    assert (await contexts.plan_for(known)).context == 16384
    # Started again with more; what is loaded is what the bridge itself asked for just now.
    server.default = 65536
    assert (await contexts.reconsidered(known)).context == 65536
    assert len(server.loads) == 2
    # Prompts that do not fit come in numbers.
    for _ in range(3):
        assert (await contexts.reconsidered(known)).context == 65536
    assert len(server.loads) == 2
    server.clock.advance(REFUSAL_PAUSE)
    await contexts.reconsidered(known)
    assert len(server.loads) == 3


@pytest.mark.parametrize(("api", "says"), [("auto", "--num-ctx"), ("chat", "prepare")])
def test_the_remedy_is_one_that_the_bridge_would_not_refuse(api: str, says: str) -> None:
    assert says in guard(ContextPolicy(api))[0].remedy
