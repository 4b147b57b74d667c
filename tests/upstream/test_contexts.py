"""Which context, which dialect, and what does not fit."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import pytest
import pytest_twisted
from attrs import evolve
from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.task import Clock
from twisted.logger import Logger

from codex_bridge.upstream.contexts import (
    PROBE_PAUSE,
    REFUSAL_PAUSE,
    ContextPolicy,
    Contexts,
    Plan,
    plan,
)
from codex_bridge.upstream.models import FRESH, ModelTable
from codex_bridge.upstream.prompt_size import Prompt, PromptSize
from codex_bridge.vocabulary import (
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


class Server:
    """What the table asks, and what a load leaves."""

    def __init__(self, default: int | None, *, own: int | None = None) -> None:
        self.default = default
        self.loaded: int | None = None
        self.loads: list[str] = []
        self.loads_well = True
        self.own = own
        self.log: list[str] = []
        self.clock = Clock()
        self.models = ModelTable(self.ask, self.clock)

    def ask(self, method: str, path: str, body: Json | None) -> Awaitable[Json | None]:
        answers: dict[str, Json] = {
            "/api/version": {"version": "0.33.0"},
            "/api/show": {
                "capabilities": ["tools"],
                "parameters": f"num_ctx {self.own}" if self.own else "",
                "model_info": {"general.architecture": "a", "a.context_length": 131072},
            },
            "/api/ps": {"models": [{"name": "qwen3:14b", "context_length": self.loaded}]},
        }
        return succeed(answers[path])

    async def load(self, model: str) -> bool:
        self.loads.append(model)
        self.loaded = self.default if self.loads_well else None
        return self.loads_well

    def contexts(self, policy: ContextPolicy = AUTO) -> Contexts:
        log = Logger(observer=lambda event: self.log.append(event["log_format"].format(**event)))
        return Contexts(policy, self.models, self.load, log, self.clock)


async def planned(contexts: Contexts, server: Server) -> Plan:
    return await contexts.plan_for(await server.models.renewed("qwen3:14b"))


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


# --- the guard


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
