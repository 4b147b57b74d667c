"""The routes about models: what they tell, and models made of others."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from typing import Any

import orjson
import pytest
import pytest_twisted
from attrs import evolve

from tests.fake_ollama import FakeOllama, ModelFacts, Say
from tests.fake_ollama.client import Make, ask, lines, native_chat
from tests.fake_ollama.golang import sharp_v

NAME = "qwen3:14b"


async def show(fake: FakeOllama, model: str = NAME) -> Any:
    return (await ask(fake, "POST", "/api/show", {"model": model})).json


async def create(fake: FakeOllama, **change: Any) -> Any:
    body = {"model": "made", "from": NAME, "parameters": {"num_ctx": 65536}}
    return await ask(fake, "POST", "/api/create", body | change)


@pytest_twisted.ensureDeferred
async def test_parameters_are_shown_a_line_each(make: Make) -> None:
    parameters = {"temperature": 0.7, "top_p": 1.0, "stop": ["<|im_end|>", 'a"b']}
    fake = make(models=[ModelFacts(parameters=parameters)])
    assert (await show(fake))["parameters"].splitlines() == [
        "temperature                    0.7",
        "top_p                          1",
        'stop                           "<|im_end|>"',
        'stop                           "a\\"b"',
        "num_ctx                        32768",
    ]


@pytest_twisted.ensureDeferred
async def test_a_model_that_sets_nothing_shows_no_parameters(make: Make) -> None:
    assert "parameters" not in await show(make(models=[ModelFacts(num_ctx=None)]))


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (0, "0"),
        (-1, "-1"),
        (20, "20"),
        (262144, "262144"),
        (1000000, "1e+06"),
        (1048576, "1.048576e+06"),
        (0.05, "0.05"),
        (0.00001, "1e-05"),
        (True, "true"),
        ("<|x|>\n", '"<|x|>\\n"'),
    ],
)
def test_values_are_printed_as_go_prints_what_came_out_of_json(value: Any, printed: str) -> None:
    assert sharp_v(value) == printed


@pytest_twisted.ensureDeferred
async def test_a_model_that_changed_has_another_digest(make: Make) -> None:
    fake = make()
    tags, ps = [(await ask(fake, "GET", path)).json["models"] for path in ("/api/tags", "/api/ps")]
    assert tags[0]["digest"] == ps[0]["digest"] == ModelFacts().digest
    fake.models[NAME] = evolve(fake.models[NAME], digest="00" * 32)
    for path in ("/api/tags", "/api/ps"):
        assert (await ask(fake, "GET", path)).json["models"][0]["digest"] == "00" * 32


@pytest.mark.parametrize(("version", "told"), [("0.29.9", False), ("0.30.0", True)])
@pytest_twisted.ensureDeferred
async def test_tags_tell_lengths_since_0_30(make: Make, version: str, told: bool) -> None:
    fake = make(version=version, models=[ModelFacts(trained_ctx=131072)])
    details = (await ask(fake, "GET", "/api/tags")).json["models"][0]["details"]
    assert (details.get("context_length") == 131072) is told
    assert ("embedding_length" in details) is told


@pytest_twisted.ensureDeferred
async def test_a_model_is_made_of_another_and_has_a_context_of_its_own(make: Make) -> None:
    base = ModelFacts(trained_ctx=262144, parameters={"temperature": 0.7, "top_k": 20})
    fake = make([Say("x")], models=[base], loaded=False)
    made = await create(fake, parameters={"num_ctx": 65536, "temperature": 1})
    assert made.header("content-type") == "application/x-ndjson"
    first, *_, writing, success = lines(made)
    assert first["status"].startswith("using existing layer sha256:")
    assert (writing, success) == ({"status": "writing manifest"}, {"status": "success"})
    assert fake.loads == []
    facts = fake.models["made:latest"]
    assert facts == evolve(
        base,
        name="made:latest",
        num_ctx=65536,
        parameters={"temperature": 1, "top_k": 20},
        digest=facts.digest,
    )
    assert facts.digest != base.digest
    assert "num_ctx                        65536" in (await show(fake, "made"))["parameters"]
    await native_chat(fake, model="made")
    assert fake.loads == [("made:latest", 65536)]


@pytest_twisted.ensureDeferred
async def test_without_a_stream_a_model_is_made_in_one_object_and_can_be_deleted(
    make: Make,
) -> None:
    fake = make()
    assert (await create(fake, stream=False)).json == {"status": "success"}
    assert fake.models["made:latest"].num_ctx == 65536
    assert (await ask(fake, "DELETE", "/api/delete", {"model": "made"})).status == 200
    assert list(fake.models) == [NAME]


@pytest_twisted.ensureDeferred
async def test_a_model_that_is_made_again_changes(make: Make) -> None:
    fake = make()
    await create(fake)
    before = fake.models["made:latest"].digest
    await create(fake, model="MADE", parameters={"num_ctx": 8192})
    assert list(fake.models) == [NAME, "made:latest"]
    assert fake.models["made:latest"].num_ctx == 8192
    assert fake.models["made:latest"].digest != before


@pytest_twisted.ensureDeferred
async def test_of_a_model_that_is_not_there_none_is_made(make: Make) -> None:
    fake = make()
    *_, error = lines(await create(fake, **{"from": "nope:1b"}))
    whole = await create(fake, stream=False, **{"from": "nope:1b"})
    assert error == whole.json == {"error": "pull model manifest: file does not exist"}
    assert whole.status == 404
    assert list(fake.models) == [NAME]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (
            {"parameters": "num_ctx 65536"},
            "json: cannot unmarshal string into Go struct field "
            "CreateRequest.parameters of type map[string]interface {}",
        ),
        ({"parameters": {"num_ctx": "64k"}}, 'option "num_ctx" must be of type integer'),
        ({"from": ""}, "neither 'from' or 'files' was specified"),
        ({"model": "a b"}, "invalid model name"),
        ({"model": ""}, "model is required"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_creation_that_makes_no_sense_is_refused(
    make: Make, change: dict[str, Any], error: str
) -> None:
    fake = make()
    answer = await create(fake, **change)
    assert (answer.status, answer.json) == (400, {"error": error})
    assert list(fake.models) == [NAME]


@pytest.mark.parametrize(
    ("flags", "context"),
    [
        ([], 32768),
        (["--num-ctx", "8192"], 8192),
        (["--num-ctx", "0"], 4096),
        (["--num-ctx", "0", "--default-context", "16384"], 16384),
    ],
)
def test_alone_it_allocates_what_its_flags_say(flags: list[str], context: int) -> None:
    command = [sys.executable, "-m", "tests.fake_ollama", "--port", "0", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout is not None
            url = running.stdout.readline().rsplit(maxsplit=1)[-1]
            with urllib.request.urlopen(f"{url}/api/ps", timeout=30) as answer:
                (model,) = orjson.loads(answer.read())["models"]
        finally:
            running.terminate()
    assert model["context_length"] == context
