"""Which context a model gets, and the loads that find it out."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred, gatherResults

from codex_bridge.engines.engine import ContextPolicy
from codex_bridge.engines.recognition import engine_for
from codex_bridge.vocabulary import ModelInfo
from tests.engines.servers import AUTO, Server, info

CHAT = ContextPolicy("chat")


@pytest.mark.parametrize(
    ("policy", "model", "default", "expected"),
    [
        # Ollama allocates enough by itself: that is what it is asked for.
        (AUTO, info(), 32768, (32768, 32768)),
        (AUTO, info(own_context=16384), None, (16384, 16384)),
        (AUTO, info(), 262144, (40960, 40960)),
        # Too little, or nobody knows: ask for more, but never for more than there is.
        (AUTO, info(), 4096, (32768, 32768)),
        (AUTO, info(own_context=8192), None, (32768, 32768)),
        (AUTO, info(), None, (32768, 32768)),
        (AUTO, info(trained_context=8192), 4096, (8192, 8192)),
        (AUTO, info(trained_context=8192), 8192, (8192, 8192)),
        # The user's word counts.
        (ContextPolicy(num_ctx=65536), info(), 32768, (40960, 40960)),
        (ContextPolicy(num_ctx=8192), info(own_context=32768), None, (8192, 8192)),
        (ContextPolicy("ollama"), info(own_context=16384), None, (16384, 16384)),
        # Chat completions can ask for nothing.
        (CHAT, info(), 4096, (4096, None)),
        (CHAT, info(), 262144, (40960, None)),
        (CHAT, info(own_context=8192), None, (8192, None)),
        (CHAT, info(), None, (None, None)),
        # In the cloud nothing is allocated, and nothing can be asked for.
        (AUTO, info(name="glm-4.6:cloud"), None, (40960, None)),
        (AUTO, info(remote=True), 4096, (40960, None)),
        (ContextPolicy(num_ctx=8192), info(remote=True), None, (40960, None)),
        (CHAT, info(remote=True), None, (40960, None)),
        # Other servers tell nothing.
        (AUTO, ModelInfo("m"), None, (None, None)),
        (CHAT, ModelInfo("m"), None, (None, None)),
    ],
)
def test_plan(
    policy: ContextPolicy, model: ModelInfo, default: int | None, expected: tuple[Any, ...]
) -> None:
    plan = engine_for(policy, model.server_version).plan(model, default)
    assert (plan.context, plan.num_ctx) == expected


@pytest.mark.parametrize(("default", "context"), [(4096, 32768), (32768, 32768), (65536, 65536)])
@pytest_twisted.ensureDeferred
async def test_all_exchanges_wait_for_one_load_and_get_what_it_showed(
    default: int, context: int
) -> None:
    server, loaded = Server(default), Deferred[None]()
    load = server.load

    async def slowly(path: str, body: bytes) -> bool:
        await loaded
        return await load(path, body)

    server.contexts._load = slowly
    waiting = [Deferred.fromCoroutine(server.planned()) for _ in range(1000)]
    assert not any(each.called for each in waiting)
    loaded.callback(None)
    plans = await gatherResults(waiting, consumeErrors=True)
    assert {plan.context for plan in plans} == {context}
    assert len(server.loads) == 1


@pytest_twisted.ensureDeferred
async def test_all_spellings_of_a_model_share_one_load_and_one_plan() -> None:
    server = Server(4096)
    spellings = (
        "qwen3:14b",
        "Qwen3:14B",
        "library/qwen3:14b",
        "registry.ollama.ai/library/qwen3:14b",
    )
    waiting = [Deferred.fromCoroutine(server.planned(name)) for name in spellings]
    plans = await gatherResults(waiting, consumeErrors=True)
    assert len(set(plans)) == 1
    assert (len(server.loads), len(server.log), len(list(server.models))) == (1, 1, 1)


@pytest.mark.parametrize(
    ("default", "num_ctx"), [(4096, 32768), (32768, 32768), (65536, 65536), (None, 32768)]
)
@pytest_twisted.ensureDeferred
async def test_what_ollama_allocates_is_found_out_by_one_load(
    default: int | None, num_ctx: int
) -> None:
    server = Server(default)
    for _ in range(3):
        assert (await server.planned()).num_ctx == num_ctx
        # As the request leaves it.
        server.loaded = num_ctx
    assert server.loads == ["qwen3:14b"]
    assert len(server.log) == 1


@pytest_twisted.ensureDeferred
async def test_an_ollama_that_does_not_tell_what_it_allocated_changes_no_plan() -> None:
    server = Server(None)
    assert (await server.planned()).reason == "what Ollama allocates is unknown"
    server = Server(65536)
    await server.planned()
    server.default = server.loaded = None
    server.models.doubt()
    assert (await server.planned()).context == 65536
    assert len(server.loads) == 2


@pytest_twisted.ensureDeferred
async def test_one_load_is_enough_to_see_what_an_ollama_that_was_gone_gives() -> None:
    server = Server(4096)
    await server.planned()
    server.loaded = None
    server.models.doubt()
    for _ in range(2):
        assert (await server.planned()).context == 32768
    assert len(server.loads) == 2


@pytest.mark.parametrize("policy", [AUTO, CHAT])
@pytest.mark.parametrize("found", [8192, 65536])
@pytest_twisted.ensureDeferred
async def test_a_context_that_another_client_asked_for_is_not_taken_for_ollamas_own(
    found: int, policy: ContextPolicy
) -> None:
    server = Server(32768, policy)
    server.loaded = found
    assert (await server.planned()).context == 32768
    assert len(server.loads) == 1


@pytest.mark.parametrize(
    ("policy", "own"), [(AUTO, 24000), (CHAT, 24000), (ContextPolicy(num_ctx=24000), None)]
)
@pytest_twisted.ensureDeferred
async def test_a_context_of_the_modelfile_or_of_the_user_needs_no_load(
    policy: ContextPolicy, own: int | None
) -> None:
    server = Server(4096, policy, own=own)
    assert ((await server.planned()).context, server.loads) == (24000, [])


@pytest.mark.parametrize("found", [None, 4096])
@pytest.mark.parametrize(("default", "context"), [(4096, 32768), (65536, 65536)])
@pytest_twisted.ensureDeferred
async def test_an_ollama_that_was_started_again_with_another_default_is_found_out(
    default: int, context: int, found: int | None
) -> None:
    server = Server(32768)
    assert (await server.planned()).reason == "Ollama sets enough"
    server.default, server.loaded = default, found
    assert (await server.planned()).context == context
    assert len(server.loads) == 2


@pytest_twisted.ensureDeferred
async def test_another_client_with_another_wish_does_not_make_it_load_for_ever() -> None:
    server = Server(32768)
    await server.planned()
    for _ in range(4):
        server.loaded = 8192
        server.clock.advance(7.5)
        assert (await server.planned()).context == 32768
    assert len(server.loads) == 2
    server.loaded = 8192
    server.clock.advance(29.9 - 22.5)
    await server.planned()
    assert len(server.loads) == 2
    server.clock.advance(0.1)
    await server.planned()
    assert len(server.loads) == 3


@pytest_twisted.ensureDeferred
async def test_a_session_that_asks_for_its_context_is_not_disturbed_by_a_foreign_load() -> None:
    server = Server(4096)
    await server.planned()
    for server.loaded in (32768, None, 8192, 4096):
        server.clock.advance(30)
        assert (await server.planned()).num_ctx == 32768
    assert len(server.loads) == 1


@pytest_twisted.ensureDeferred
async def test_an_ollama_that_was_gone_may_give_more_and_is_looked_at() -> None:
    server = Server(4096)
    await server.planned()
    # Only a connection was lost: the model is loaded as the bridge asked for.
    server.loaded = 32768
    server.models.doubt()
    assert (await server.planned()).context == 32768
    server.loaded = 8192
    assert (await server.planned()).context == 32768
    assert len(server.loads) == 1
    server.default, server.loaded = 65536, None
    server.models.doubt()
    assert (await server.planned()).context == 65536


@pytest_twisted.ensureDeferred
async def test_a_load_that_fails_teaches_nothing() -> None:
    server = Server(65536)
    server.loads_well = False
    for server.loads_well in (False, True):
        assert (await server.planned()).context == 32768
    server.clock.advance(30)
    assert (await server.planned()).context == 65536
    assert len(server.loads) == 2


@pytest_twisted.ensureDeferred
async def test_what_one_model_gets_says_nothing_of_another() -> None:
    server = Server(8192)
    for name in ("qwen3:14b", "qwen3:4b"):
        assert (await server.planned(name)).context == 32768
    assert server.loads == ["qwen3:14b", "qwen3:4b"]
    # But a catalog has to say something: what the plan would be.
    third = info(name="m", trained_context=131072)
    assert server.contexts.expected(third) == 32768
    server.default = 65536
    server.clock.advance(30)
    server.loaded = None
    server.models.doubt()
    await server.planned()
    assert server.contexts.expected(third) == 65536


@pytest.mark.parametrize("policy", [AUTO, CHAT, ContextPolicy("ollama")])
@pytest.mark.parametrize(("trained", "told"), [(131072, 32768), (8192, 8192), (None, 32768)])
@pytest_twisted.ensureDeferred
async def test_the_least_that_ollama_may_give_is_never_told_as_a_window(
    policy: ContextPolicy, trained: int | None, told: int
) -> None:
    server = Server(4096, policy)
    await server.models.info("m")
    assert server.contexts.expected(info(trained_context=trained)) == told
    assert server.loads == []


@pytest.mark.parametrize(("policy", "more"), [(AUTO, 65536), (CHAT, 65536), (CHAT, 8192)])
@pytest_twisted.ensureDeferred
async def test_before_a_refusal_is_told_one_load_shows_whether_it_still_holds(
    policy: ContextPolicy, more: int
) -> None:
    server = Server(16384, policy)
    known = await server.models.info("qwen3:14b")
    assert (await server.contexts.plan_for(known)).context == 16384
    assert not await server.contexts.has_more(known, 16384)
    assert len(server.loads) == 2
    # Started again; what is loaded is what the bridge itself asked for just now.
    server.default = more
    # Prompts that do not fit come in numbers.
    for _ in range(3):
        assert not await server.contexts.has_more(known, 16384)
    server.clock.advance(4.9)
    assert not await server.contexts.has_more(known, 16384)
    assert len(server.loads) == 2
    server.clock.advance(0.1)
    assert await server.contexts.has_more(known, 16384) is (more > 16384)
    assert (await server.contexts.plan_for(known)).context == more
    assert len(server.loads) == 3


@pytest.mark.parametrize("policy", [AUTO, ContextPolicy(num_ctx=16384)])
@pytest_twisted.ensureDeferred
async def test_a_context_that_the_bridge_asks_for_will_not_become_more(
    policy: ContextPolicy,
) -> None:
    server = Server(4096, policy)
    known = await server.models.info("qwen3:14b")
    await server.contexts.plan_for(known)
    loads = len(server.loads)
    server.default = 65536
    assert not await server.contexts.has_more(known, 32768)
    assert len(server.loads) == loads


@pytest_twisted.ensureDeferred
async def test_a_modelfile_that_gives_more_since_is_believed_when_a_prompt_did_not_fit() -> None:
    server = Server(4096, own=16384)
    known = await server.models.info("qwen3:14b")
    await server.contexts.plan_for(known)
    server.own = 65536
    assert await server.contexts.has_more(known, 16384)
    assert (await server.contexts.plan_for(known)).context == 65536
    assert server.loads == []


@pytest_twisted.ensureDeferred
async def test_each_of_several_refused_prompts_is_asked_again_where_one_found_more() -> None:
    server = Server(16384)
    known = await server.models.info("qwen3:14b")
    refused = [(await server.contexts.plan_for(known)).context for _ in range(2)]
    assert refused == [16384, 16384]
    server.default = 65536
    server.clock.advance(5)
    assert [await server.contexts.has_more(known, tokens) for tokens in refused] == [True, True]
    # One that was asked with all there is.
    assert not await server.contexts.has_more(known, 65536)
    assert len(server.loads) == 2


@pytest_twisted.ensureDeferred
async def test_a_load_whose_client_hung_up_is_made_again_for_the_next_one() -> None:
    server = Server(65536)
    load, never = server.contexts._load, Deferred[None]()

    async def interrupted(path: str, body: bytes) -> bool:
        await never
        raise AssertionError("not reached")

    server.contexts._load = interrupted
    first = Deferred.fromCoroutine(server.planned())
    first.addErrback(lambda failure: failure.trap(CancelledError))
    first.cancel()
    server.contexts._load = load
    assert (await server.planned()).context == 65536
    assert server.loads == ["qwen3:14b"]


@pytest_twisted.ensureDeferred
async def test_a_context_that_the_model_itself_limits_says_nothing_of_others() -> None:
    server = Server(131072)
    assert (await server.planned()).context == 131072
    assert server.contexts.expected(info(name="m", trained_context=262144)) == 32768


@pytest_twisted.ensureDeferred
async def test_nothing_is_logged_of_a_model_that_is_missing() -> None:
    server = Server(4096)
    await server.models.info("qwen3:14b")
    missing = ModelInfo("gone", server_version=(0, 33, 0))
    await server.contexts.plan_for(missing)
    assert (server.log, server.loads) == ([], [])


@pytest.mark.parametrize(("api", "path"), [("auto", "/api/chat"), ("chat", "/v1/chat/completions")])
@pytest_twisted.ensureDeferred
async def test_the_log_tells_what_was_chosen_and_why(api: str, path: str) -> None:
    server = Server(16384, ContextPolicy(api))
    reason = (await server.planned()).reason
    assert server.log == [f"qwen3:14b: asked through {path}, context 16384 tokens ({reason})"]


@pytest.mark.parametrize(
    ("policy", "default", "reason"),
    [
        (ContextPolicy(num_ctx=8192), 4096, "--num-ctx"),
        (AUTO, 4096, "by itself Ollama allocates 4096"),
        (AUTO, 32768, "Ollama sets enough"),
        (CHAT, 4096, "--upstream-api chat"),
    ],
)
def test_the_reason_of_a_plan_is_told_in_words(
    policy: ContextPolicy, default: int, reason: str
) -> None:
    assert engine_for(policy, (0, 33, 0)).plan(info(), default).reason == reason


@pytest_twisted.ensureDeferred
async def test_the_log_tells_that_a_context_is_unknown() -> None:
    server = Server(None, CHAT)
    await server.planned()
    assert server.log == [
        "qwen3:14b: asked through /v1/chat/completions, context unknown (--upstream-api chat)"
    ]
