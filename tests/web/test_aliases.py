"""--alias: other names under which clients ask for a model."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from twisted.logger import formatEvent

from tests.conftest import LogBook, Start
from tests.fake_ollama import FakeOllama, ModelFacts, Playlist, Say
from tests.harness import CODEX

CATALOG = "/v1/models?client_version=0.169.0"
ALIASES = {"alias": (("gpt-4o", "qwen3:14b"), ("small", "qwen3"), ("gone", "llama9:1b"))}
MODELS = (ModelFacts(), ModelFacts("qwen3:latest"), ModelFacts("embed:v1", ("embedding",)))


@pytest.mark.parametrize("stream", [True, False])
@pytest_twisted.ensureDeferred
async def test_an_alias_is_asked_of_its_model_and_echoed_as_it_was_written(
    start: Start, logged: LogBook, stream: bool
) -> None:
    setup = await start(Playlist([Say("hi")]), **ALIASES)
    answer = await setup.ask({"model": "gpt-4o", "stream": stream})
    response = answer.response if stream else answer.json
    assert (response["status"], response["model"]) == ("completed", "gpt-4o")
    (turn,) = setup.fake.turns
    assert turn.json["model"] == "qwen3:14b"
    lines = [formatEvent(event) or "" for event in logged.events]
    assert [line for line in lines if " gpt-4o (qwen3:14b) " in line and "completed" in line]


@pytest_twisted.ensureDeferred
async def test_every_other_name_and_spelling_is_asked_as_it_is(start: Start) -> None:
    setup = await start(Playlist([Say("hi")]), **ALIASES)
    response = (await setup.ask({"model": "qwen3:14b"})).response
    assert response["model"] == "qwen3:14b"
    error = (await setup.ask({"model": "GPT-4o"})).json["error"]
    assert error["code"] == "model_not_found"
    assert "GPT-4o" in error["message"]


@pytest_twisted.ensureDeferred
async def test_an_alias_whose_model_is_missing_is_told_by_the_name_to_pull(start: Start) -> None:
    setup = await start(**ALIASES)
    error = (await setup.ask({"model": "gone"}, CODEX)).response["error"]
    assert "llama9:1b" in error["message"]


@pytest_twisted.ensureDeferred
async def test_both_lists_have_the_aliases_of_models_that_are_there(
    start: Start, reactor_under_test: Any
) -> None:
    setup = await start(fake=FakeOllama(reactor_under_test, models=MODELS), **ALIASES)
    plain = await setup.request("GET", "/v1/models")
    names = ["qwen3:14b", "qwen3:latest", "embed:v1", "gpt-4o", "small"]
    assert [model["id"] for model in plain.json["data"]] == names
    assert "models" not in plain.json
    codex = (await setup.request("GET", CATALOG)).json
    assert [model["id"] for model in codex["data"]] == names
    by_slug = {model["slug"]: model for model in codex["models"]}
    assert [model["priority"] for model in codex["models"]] == [1, 2, 3, 4]
    assert list(by_slug)[2:] == ["gpt-4o", "small"]
    own = {"slug": "gpt-4o", "display_name": "GPT 4o", "priority": 3}
    assert by_slug["gpt-4o"] == by_slug["qwen3:14b"] | own
    assert "qwen3:14b in Ollama" in by_slug["gpt-4o"]["description"]


@pytest_twisted.ensureDeferred
async def test_a_list_that_the_bridge_makes_is_not_for_foreign_pages(start: Start) -> None:
    setup = await start(**ALIASES)
    foreign = {"Origin": "https://evil.example"}
    assert (await setup.request("GET", "/v1/models", headers=foreign)).status == 403


@pytest_twisted.ensureDeferred
async def test_native_routes_stay_as_they_are(start: Start) -> None:
    setup = await start(**ALIASES)
    for method, path, body in (
        ("GET", "/api/tags", None),
        ("POST", "/api/show", {"model": "gpt-4o"}),
        ("POST", "/v1/chat/completions", {"model": "gpt-4o", "messages": []}),
    ):
        through = await setup.request(method, path, body)
        seen = setup.fake.exchanges[-1]
        assert (seen.uri.decode(), seen.json) == (path, body)
        assert b"gpt-4o" not in through.body or through.status == 404
