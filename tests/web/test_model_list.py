"""GET /v1/models: Ollama's bytes, or with `client_version` the metadata for Codex, too."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from codex_bridge.vocabulary import FailureKind, UpstreamFailure
from tests.conftest import Start
from tests.fake_ollama import FakeOllama, ModelFacts
from tests.web.scene import Scene

ASKED = "/v1/models?client_version=0.169.0"
MODELS = (
    ModelFacts("qwen3:4b", ("completion", "tools", "thinking"), num_ctx=8192),
    ModelFacts("qwen3:14b", ("completion", "tools", "thinking"), num_ctx=32768),
    ModelFacts("nomic-embed-text:latest", ("embedding",), family="nomic-bert"),
)


async def started(start: Start, reactor: Any) -> Any:
    return await start(fake=FakeOllama(reactor, models=MODELS))


@pytest_twisted.ensureDeferred
async def test_codex_gets_the_list_and_metadata_of_each_model_that_can_talk(
    start: Start, reactor_under_test: Any
) -> None:
    setup = await started(start, reactor_under_test)
    listed = (await setup.request("GET", ASKED)).json
    assert listed["object"] == "list"
    assert [model["id"] for model in listed["data"]] == [facts.name for facts in MODELS]
    assert [(model["slug"], model["priority"]) for model in listed["models"]] == [
        ("qwen3:14b", 1),
        ("qwen3:4b", 2),
    ]


@pytest_twisted.ensureDeferred
async def test_the_context_is_the_one_that_an_exchange_would_get(
    start: Start, reactor_under_test: Any
) -> None:
    setup = await started(start, reactor_under_test)
    listed = (await setup.request("GET", ASKED)).json["models"]
    assert {model["slug"]: model["context_window"] for model in listed} == {
        "qwen3:14b": 32768,
        "qwen3:4b": 32768,
    }
    for model in listed:
        await setup.ask({"model": model["slug"]})
    plans = (await setup.request("GET", "/__health")).json["models"]
    assert {name: plan["context"] for name, plan in plans.items()} == {
        model["slug"]: model["context_window"] for model in listed
    }


@pytest_twisted.ensureDeferred
async def test_no_model_is_loaded_to_be_listed(start: Start, reactor_under_test: Any) -> None:
    setup = await started(start, reactor_under_test)
    setup.fake.loaded.clear()
    await setup.request("GET", ASKED)
    asked = {seen.uri for seen in setup.fake.exchanges}
    assert asked == {b"/v1/models", b"/api/version", b"/api/show", b"/api/ps"}


@pytest_twisted.ensureDeferred
async def test_a_base_url_without_v1_gets_the_same(start: Start, reactor_under_test: Any) -> None:
    setup = await started(start, reactor_under_test)
    listed = await setup.request("GET", "/models?client_version=0.130.0")
    assert [model["slug"] for model in listed.json["models"]] == ["qwen3:14b", "qwen3:4b"]


@pytest.mark.parametrize(
    "line",
    [
        b"GET /v1/models HTTP/1.1",
        b"GET /v1/models?limit=3&x=%20 HTTP/1.1",
        b"HEAD /v1/models?client_version=1 HTTP/1.1",
        b"GET /models HTTP/1.1",
        b"POST /v1/models?client_version=1 HTTP/1.1",
    ],
)
@pytest_twisted.ensureDeferred
async def test_every_other_question_is_ollamas_own(scene: Scene, line: bytes) -> None:
    client = await scene.client(line)
    wire = await scene.upstream()
    received = await wire.until(b"\r\n\r\n")
    assert received.split(b"\r\n")[0] == line
    odd = b'{ "object":"list",\n "data":null}\n'
    wire.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(odd))
    if not line.startswith(b"HEAD"):
        wire.say(odd)
        assert (await client.until(odd)).endswith(b"\r\n\r\n" + odd)


@pytest_twisted.ensureDeferred
async def test_an_ollama_that_is_down_is_the_same_error_on_both_routes(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codex_bridge.web.passthrough.PATIENCE", 0.0)
    setup = await start()
    await setup.fake.stop()
    catalog, plain = [await setup.request("GET", path) for path in (ASKED, "/v1/models")]
    assert (catalog.status, catalog.json) == (plain.status, plain.json)
    assert catalog.status == 502
    assert catalog.json["error"]["code"] == "upstream_unreachable"


@pytest.mark.parametrize("body", [b"[]", b"hello", b'{"error": "no"}', b"{}"])
@pytest_twisted.ensureDeferred
async def test_what_has_no_list_is_told_or_gives_no_models(scene: Scene, body: bytes) -> None:
    client = await scene.client(f"GET {ASKED} HTTP/1.1".encode())
    wire = await scene.upstream()
    await wire.until(b"\r\n\r\n")
    wire.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    answer = await client.until(b"}\n")
    assert answer.startswith(b"HTTP/1.1 200 " if body == b"{}" else b"HTTP/1.1 502 ")


@pytest_twisted.ensureDeferred
async def test_models_are_asked_about_a_few_at_a_time() -> None:
    from twisted.internet.task import Clock
    from twisted.logger import Logger

    from codex_bridge.engines.upstreams import Upstreams
    from codex_bridge.vocabulary import ModelInfo
    from codex_bridge.web.model_list import ModelList

    waiting: list[Deferred[ModelInfo]] = []

    class Slow:
        url = ""

        async def ask(self, method: str, path: str, **_: Any) -> Any:
            return {"data": [{"id": f"m{n}"} for n in range(10)] + [{"id": 5}, None]}

        async def info(self, name: str) -> ModelInfo:
            waiting.append(Deferred())
            return await waiting[-1]

        def expected_context(self, info: ModelInfo) -> int:
            return 4096

    slow: Any = Slow()
    body = Deferred.fromCoroutine(ModelList(Upstreams([slow]), Clock(), Logger())._for_codex())
    assert len(waiting) == 4
    for n in range(10):
        waiting[n].callback(ModelInfo(f"m{n}"))
    assert len((await body)["models"]) == 10


@pytest.mark.parametrize("api", ["auto", "chat", "ollama"])
@pytest_twisted.ensureDeferred
async def test_a_bridge_that_has_asked_nothing_yet_tells_what_it_would_ask_for(
    start: Start, reactor_under_test: Any, api: str
) -> None:
    models = [
        ModelFacts(num_ctx=None, trained_ctx=131072),
        ModelFacts("s:1b", num_ctx=None, trained_ctx=8192),
    ]
    setup = await start(
        fake=FakeOllama(reactor_under_test, models=models, loaded=False), upstream_api=api
    )
    listed = (await setup.request("GET", ASKED)).json["models"]
    assert {model["slug"]: model["context_window"] for model in listed} == {
        "qwen3:14b": 32768,
        "s:1b": 8192,
    }


@pytest_twisted.ensureDeferred
async def test_a_model_in_the_cloud_has_the_context_that_it_was_made_for(
    start: Start, reactor_under_test: Any
) -> None:
    models = [ModelFacts("glm-4.6:cloud", num_ctx=None, trained_ctx=202752)]
    setup = await start(fake=FakeOllama(reactor_under_test, models=models, loaded=False))
    (model,) = (await setup.request("GET", ASKED)).json["models"]
    assert model["context_window"] == 202752


@pytest_twisted.ensureDeferred
async def test_a_model_without_an_answer_hides_no_other(
    start: Start, reactor_under_test: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = await started(start, reactor_under_test)
    upstream = setup.service._upstreams.first
    real = upstream.info

    async def info(name: str) -> Any:
        if name == "qwen3:4b":
            raise UpstreamFailure(FailureKind.UNREACHABLE, "no answer within 20 s")
        return await real(name)

    monkeypatch.setattr(upstream, "info", info)
    listed = (await setup.request("GET", ASKED)).json["models"]
    assert [model["slug"] for model in listed] == ["qwen3:14b", "qwen3:4b"]
