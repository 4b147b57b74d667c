"""What an upstream refuses before it is sent, and what it learns of what was sent."""

from __future__ import annotations

import orjson
import pytest
import pytest_twisted
from attrs import evolve
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater

from codex_bridge.engines.engine import ContextPolicy, Plan
from codex_bridge.engines.prompts import Prompt
from codex_bridge.engines.recognition import engine_for
from codex_bridge.engines.upstream import Upstream
from codex_bridge.vocabulary import FailureKind, UpstreamFailure, UsageDelta
from tests.engines.servers import ASK, INFO, logger_into, sized
from tests.wires import WireServer

PREPARE = "codex-bridge prepare, or OLLAMA_CONTEXT_LENGTH for Ollama"


@pytest.mark.parametrize(
    ("api", "version", "remedy"),
    [
        ("auto", b'{"version":"0.33.0"}', "--num-ctx"),
        ("ollama", b"{}", "--num-ctx"),
        (
            "chat",
            b'{"version":"0.33.0"}',
            "codex-bridge prepare, or OLLAMA_CONTEXT_LENGTH for Ollama",
        ),
    ],
)
@pytest_twisted.ensureDeferred
async def test_the_remedy_is_one_that_the_bridge_would_not_refuse(
    server: WireServer, api: str, version: bytes, remedy: str
) -> None:
    upstream = Upstream(reactor, server.url, ContextPolicy(api))
    asking = Deferred.fromCoroutine(upstream.info("m"))
    wire = await server.next_connection()
    await wire.until(b"/api/version")
    wire.say(sized(b"200 OK", version))
    await wire.until(b"/api/show")
    wire.say(sized(b"404 Not Found", b"{}"))
    await asking
    assert upstream.words.context_remedy == remedy
    await upstream.close()


def counted(
    api: str, tokens: int, version: tuple[int, ...] = (0, 33, 0)
) -> tuple[Upstream, list[str]]:
    """An upstream whose server counted so many tokens twice, and what the log says of it."""
    log: list[str] = []
    upstream = Upstream(reactor, "http://127.0.0.1:1", ContextPolicy(api), logger_into(log))
    upstream._models._take(engine_for(ContextPolicy(api), version))
    info = evolve(INFO, server_version=version)
    for _ in range(2):
        upstream._learn(info, Prompt(45_000, digests=(b"1",)), UsageDelta(tokens, 1))
    return upstream, log


@pytest.mark.parametrize("version", [(0, 30, 0), (0, 33, 0)])
def test_a_cut_prompt_is_told_once_with_the_remedy_and_teaches_nothing(
    version: tuple[int, ...],
) -> None:
    upstream, log = counted("chat", 2050, version)
    (line,) = log
    assert "2050 tokens for a prompt of about 10000" in line
    assert "OLLAMA_CONTEXT_LENGTH" in line
    assert len(upstream._conversations) == 0
    (model,) = upstream._models
    assert model.is_info_doubted


@pytest.mark.parametrize(
    ("api", "tokens", "version"),
    [
        ("chat", 10_000, (0, 33, 0)),
        ("chat", 0, (0, 33, 0)),
        # An Ollama that leaves out what it has in its cache.
        ("chat", 100, (0, 29, 9)),
        ("auto", 2050, (0, 33, 0)),
    ],
)
def test_counts_that_may_be_right_raise_no_alarm(
    api: str, tokens: int, version: tuple[int, ...]
) -> None:
    _, log = counted(api, tokens, version)
    assert log == []


@pytest_twisted.ensureDeferred
async def test_a_load_that_meets_a_stale_connection_has_the_server_doubted(
    server: WireServer,
) -> None:
    upstream = Upstream(reactor, server.url)
    asking = Deferred.fromCoroutine(upstream.info("m"))
    wire = await server.next_connection()
    for path, body in (
        (b"/api/version", b'{"version":"0.33.0"}'),
        (b"/api/show", b'{"capabilities":["completion"]}'),
        (b"/api/ps", b"{}"),
    ):
        await wire.until(path)
        wire.say(sized(b"200 OK", body))
    info = await asking
    await deferLater(reactor, 0)  # the connection goes back to the pool
    opening = Deferred.fromCoroutine(upstream.open(ASK, info, upstream.budget(), stream=True))
    await wire.until(b"/api/generate")
    wire.transport.loseConnection()
    with pytest.raises(UpstreamFailure) as caught:
        await opening
    assert caught.value.kind is FailureKind.STALE
    assert upstream._models.get("m").is_info_doubted
    await upstream.close()


@pytest.mark.parametrize(
    ("policy", "is_remote", "is_sent"),
    [
        (ContextPolicy("auto"), False, True),
        (ContextPolicy("chat"), False, False),
        (ContextPolicy("chat"), True, True),
        (ContextPolicy("chat", guard=False), False, True),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_prompt_that_may_not_fit_is_refused_only_where_it_would_be_cut(
    server: WireServer, policy: ContextPolicy, is_remote: bool, is_sent: bool
) -> None:
    upstream = Upstream(reactor, server.url, policy)
    upstream._models._take(engine_for(policy, (0, 33, 0)))
    info = evolve(
        INFO,
        server_version=(0, 33, 0),
        own_context=32768,
        trained_context=32768,
        remote=is_remote,
    )
    long = evolve(ASK, messages=[{"role": "user", "content": 150_000 * "x"}])
    opening = Deferred.fromCoroutine(upstream.open(long, info, upstream.budget(), stream=True))
    if is_sent:
        await server.next_connection()
        opening.cancel()
    with pytest.raises(CancelledError if is_sent else UpstreamFailure):
        await opening
    await upstream.close()


@pytest.mark.parametrize(("guard", "truncate"), [(True, False), (False, None)])
def test_only_without_the_guard_may_ollama_cut(guard: bool, truncate: bool | None) -> None:
    engine = engine_for(ContextPolicy(guard=guard), (0, 33, 0))
    path, body = engine.encode(ASK, INFO, Plan(4096, "", 4096), stream=True)
    assert path == "/api/chat"
    assert orjson.loads(body).get("truncate") is truncate
