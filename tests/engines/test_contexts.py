"""Which context, and which dialect."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults

from codex_bridge.engines.contexts import (
    PROBE_PAUSE,
    ContextPolicy,
    plan,
)
from codex_bridge.vocabulary import (
    ModelInfo,
)
from tests.engines.servers import AUTO, Server, info, planned, short


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
        # In the cloud nothing is allocated, and nothing can be asked for.
        (AUTO, info(name="glm-4.6:cloud"), None, ("chat", 40960, None)),
        (AUTO, info(remote=True), 4096, ("chat", 40960, None)),
        (ContextPolicy(num_ctx=8192), info(remote=True), None, ("chat", 40960, None)),
        (ContextPolicy("ollama"), info(remote=True), None, ("ollama", 40960, None)),
        # Other servers tell nothing, and know one dialect.
        (AUTO, ModelInfo("m"), None, ("chat", None, None)),
        (ContextPolicy("chat"), ModelInfo("m"), None, ("chat", None, None)),
    ],
)
def test_plan(
    policy: ContextPolicy, model: ModelInfo, default: int | None, expected: tuple[Any, ...]
) -> None:
    assert short(plan(policy, model, default)) == expected


@pytest_twisted.ensureDeferred
async def test_any_number_of_exchanges_may_wait_for_one_load() -> None:
    server, loaded = Server(4096), Deferred[None]()
    contexts = server.contexts()
    load = server.load

    async def slowly(model: str) -> bool:
        await loaded
        return await load(model)

    contexts._load = slowly
    waiting = [Deferred.fromCoroutine(planned(contexts, server)) for _ in range(1000)]
    loaded.callback(None)
    made = await gatherResults(waiting, consumeErrors=True)
    assert {each.api for each in made} == {"ollama"}
    assert len(server.loads) == 1


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


@pytest.mark.parametrize("found", [8192, 65536])
@pytest_twisted.ensureDeferred
async def test_a_context_that_another_client_asked_for_is_not_taken_for_ollamas_own(
    found: int,
) -> None:
    server = Server(32768)
    server.loaded = found
    assert short(await planned(server.contexts(), server)) == ("chat", 32768, None)
    assert len(server.loads) == 1


@pytest_twisted.ensureDeferred
async def test_the_context_of_the_modelfile_needs_no_load() -> None:
    server = Server(4096, own=24000)
    made = await planned(server.contexts(), server)
    assert (short(made), server.loads) == (("chat", 24000, None), [])


@pytest.mark.parametrize("found", [None, 4096])
@pytest.mark.parametrize(("default", "api"), [(4096, "ollama"), (65536, "chat")])
@pytest_twisted.ensureDeferred
async def test_an_ollama_that_was_started_again_with_another_default_is_found_out(
    default: int, api: str, found: int | None
) -> None:
    server = Server(32768)
    contexts = server.contexts()
    assert (await planned(contexts, server)).api == "chat"
    server.default, server.loaded = default, found
    made = await planned(contexts, server)
    assert (made.api, made.context) == (api, max(32768, default))


@pytest_twisted.ensureDeferred
async def test_another_client_with_another_wish_does_not_make_it_load_for_ever() -> None:
    server = Server(32768)
    contexts = server.contexts()
    await planned(contexts, server)
    for _ in range(4):
        server.loaded = 8192
        server.clock.advance(PROBE_PAUSE / 4)
        assert short(await planned(contexts, server)) == ("chat", 32768, None)
    assert len(server.loads) == 2
    server.loaded = 8192
    server.clock.advance(PROBE_PAUSE)
    await planned(contexts, server)
    assert len(server.loads) == 3


@pytest_twisted.ensureDeferred
async def test_a_session_in_ollamas_own_dialect_is_not_disturbed_by_a_foreign_load() -> None:
    server = Server(4096)
    contexts = server.contexts()
    await planned(contexts, server)
    for server.loaded in (32768, None, 8192, 4096):
        server.clock.advance(PROBE_PAUSE)
        assert short(await planned(contexts, server)) == ("ollama", 32768, 32768)
    assert len(server.loads) == 1


@pytest_twisted.ensureDeferred
async def test_an_ollama_that_was_gone_may_give_more_and_is_looked_at() -> None:
    server = Server(4096)
    contexts = server.contexts()
    await planned(contexts, server)
    # Only a connection was lost: the model is loaded as the bridge asked for.
    server.loaded = 32768
    contexts.doubt()
    assert (await planned(contexts, server)).api == "ollama"
    assert len(server.loads) == 1
    server.default, server.loaded = 65536, None
    contexts.doubt()
    assert short(await planned(contexts, server)) == ("chat", 65536, None)


@pytest_twisted.ensureDeferred
async def test_a_doubted_model_is_asked_about_before_it_is_used() -> None:
    server = Server(4096, own=65536)
    contexts = server.contexts()
    await contexts.plan_for(await server.models.info("qwen3:14b"))
    server.own = 24000
    made = await contexts.plan_for(await server.models.info("qwen3:14b"))
    assert made.context == 65536
    contexts.doubt("qwen3:14b")
    made = await contexts.plan_for(await server.models.info("qwen3:14b"))
    assert made.context == 24000


@pytest_twisted.ensureDeferred
async def test_a_load_that_fails_teaches_nothing() -> None:
    server = Server(65536)
    server.loads_well = False
    contexts = server.contexts()
    assert (await planned(contexts, server)).api == "ollama"
    server.loads_well = True
    assert (await planned(contexts, server)).api == "ollama"
    server.clock.advance(PROBE_PAUSE)
    assert (await planned(contexts, server)).api == "chat"
    assert len(server.loads) == 2


@pytest_twisted.ensureDeferred
async def test_what_one_model_gets_says_nothing_of_another() -> None:
    server = Server(8192)
    contexts = server.contexts()
    assert (await planned(contexts, server)).api == "ollama"
    other = info(name="qwen3:4b")
    await contexts.plan_for(other)
    assert server.loads == ["qwen3:14b", "qwen3:4b"]
    # But a catalog has to say something: what the plan would be.
    third = info(name="m", trained_context=131072)
    assert contexts.expected(third).context == 32768
    server.default = 65536
    server.clock.advance(PROBE_PAUSE)
    server.loaded = None
    contexts.doubt()
    await planned(contexts, server)
    assert contexts.expected(third).context == 65536


@pytest.mark.parametrize("policy", [AUTO, ContextPolicy("chat"), ContextPolicy("ollama")])
@pytest.mark.parametrize(("trained", "told"), [(131072, 32768), (8192, 8192), (None, 32768)])
def test_the_least_that_ollama_may_give_is_never_told_as_a_window(
    policy: ContextPolicy, trained: int | None, told: int
) -> None:
    contexts = Server(4096).contexts(policy)
    assert contexts.expected(info(trained_context=trained)).context == told


@pytest_twisted.ensureDeferred
async def test_the_log_tells_what_was_chosen_and_why() -> None:
    server = Server(4096)
    await planned(server.contexts(), server)
    assert server.log == [
        "qwen3:14b: asked through /api/chat, context 32768 tokens (by itself Ollama allocates 4096)"
    ]
