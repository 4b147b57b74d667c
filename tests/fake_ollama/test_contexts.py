"""What is allocated, what is loaded, and what both do to a prompt."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from tests.fake_ollama import FakeOllama, Hold, ModelFacts, Say
from tests.fake_ollama.client import CHAT, Make, ask, chat, lines, native_chat

NAME = "qwen3:14b"
BARE = ModelFacts(num_ctx=None)


def sized(num_ctx: int) -> dict[str, Any]:
    return {"options": {"num_ctx": num_ctx}}


async def preload(fake: FakeOllama, **more: Any) -> Any:
    answer = await ask(fake, "POST", "/api/generate", {"model": NAME, "stream": False, **more})
    return answer.json


@pytest.mark.parametrize(
    ("asked", "own", "default", "allocated"),
    [
        (None, None, 4096, 4096),
        (None, 32768, 4096, 32768),
        (8192, 32768, 4096, 8192),
        (1 << 20, None, 4096, 40960),
        (None, None, 262144, 40960),
        (0, 32768, 4096, 4),
    ],
)
def test_the_request_wins_over_the_modelfile_and_that_over_the_server(
    asked: int | None, own: int | None, default: int, allocated: int
) -> None:
    assert ModelFacts(num_ctx=own).context(asked, default) == allocated


@pytest_twisted.ensureDeferred
async def test_at_first_all_models_are_there_and_that_is_no_load(make: Make) -> None:
    fake = make([Say("x")], models=[BARE, ModelFacts("own:1b", num_ctx=2048)])
    assert fake.loaded == {NAME: 4096, "own:1b": 2048}
    await chat(fake)
    assert fake.loads == []


@pytest_twisted.ensureDeferred
async def test_a_model_that_is_not_loaded_is_loaded_once(make: Make) -> None:
    fake = make([Say("x")], [Say("y")], models=[BARE], loaded=False, default_context=8192)
    assert (await ask(fake, "GET", "/api/ps")).json == {"models": []}
    await chat(fake)
    await chat(fake)
    assert fake.loads == [(NAME, 8192)]


@pytest_twisted.ensureDeferred
async def test_a_context_of_a_native_request_is_gone_with_the_next_openai_request(
    make: Make,
) -> None:
    fake = make([Say("a")], [Say("b")], [Say("c")], models=[BARE])
    await native_chat(fake, **sized(16384))
    await native_chat(fake, **sized(16384))
    assert fake.native_chats[0].effective["num_ctx"] == 16384
    await chat(fake)
    assert fake.chats[0].effective["num_ctx"] == 4096
    assert fake.loads == [(NAME, 16384), (NAME, 4096)]


@pytest_twisted.ensureDeferred
async def test_an_answer_tells_how_long_its_model_was_loaded(make: Make) -> None:
    fake = make([Say("a")], [Say("b")], [Say("c")], models=[BARE])
    asked = [await native_chat(fake, **sized(tokens)) for tokens in (8192, 8192, 16384)]
    seconds = [lines(answer)[-1]["load_duration"] / 1e9 for answer in asked]
    assert [each > 1 for each in seconds] == [True, False, True]
    assert seconds[1] < 0.01


@pytest_twisted.ensureDeferred
async def test_a_model_is_loaded_when_its_turn_comes_not_when_it_is_asked(make: Make) -> None:
    until: Deferred[None] = Deferred()
    fake = make([Hold(until), Say("a")], [Say("b")], models=[BARE])
    seen = fake.chat_seen()
    first = Deferred.fromCoroutine(chat(fake))
    await seen
    again = fake.chat_seen()
    second = Deferred.fromCoroutine(native_chat(fake, **sized(8192)))
    await again
    await ask(fake, "GET", "/api/version")
    assert fake.loads == []
    until.callback(None)
    await first
    await second
    assert fake.loads == [(NAME, 8192)]


@pytest_twisted.ensureDeferred
async def test_a_preload_generates_nothing_and_an_unload_loads_nothing(make: Make) -> None:
    fake = make(models=[BARE])
    assert (await preload(fake, **sized(8192)))["done_reason"] == "load"
    assert fake.loaded == {NAME: 8192}
    assert (await preload(fake, keep_alive=0))["done_reason"] == "unload"
    assert fake.loaded == {}
    assert (await preload(fake, keep_alive="0s"))["done_reason"] == "unload"
    assert fake.loads == [(NAME, 8192)]


@pytest_twisted.ensureDeferred
async def test_a_chat_that_keeps_nothing_alive_unloads_its_model(make: Make) -> None:
    fake = make([Say("x")], [Say("y")])
    await native_chat(fake, keep_alive="5m")
    assert fake.loaded == {NAME: 32768}
    await native_chat(fake, keep_alive=0)
    assert fake.loaded == {}


@pytest_twisted.ensureDeferred
async def test_ps_tells_what_is_allocated(make: Make) -> None:
    fake = make([Say("x")])
    await native_chat(fake, **sized(8192))
    models = (await ask(fake, "GET", "/api/ps")).json["models"]
    assert [entry["context_length"] for entry in models] == [8192]


LONG = [{"role": role, "content": "x" * 400} for role in ("user", "assistant") * 4]
PROMPT = {"messages": [*LONG, *CHAT["messages"]]}


@pytest_twisted.ensureDeferred
async def test_what_is_allocated_decides_what_is_dropped(make: Make) -> None:
    fake = make([Say("a")], [Say("b")], models=[BARE], default_context=300)
    await chat(fake, **PROMPT)
    await native_chat(fake, **PROMPT, **sized(4096))
    cut, whole = (turn.effective for turn in fake.turns)
    assert cut["prompt_tokens"] <= 300 < whole["prompt_tokens"]
    assert len(cut["messages"]) < len(whole["messages"]) == len(PROMPT["messages"])


@pytest_twisted.ensureDeferred
async def test_with_truncate_off_a_long_prompt_is_refused_by_the_model_that_was_loaded(
    make: Make,
) -> None:
    fake = make([Say("x")], models=[BARE])
    answer = await native_chat(fake, **PROMPT, truncate=False, **sized(300))
    error = orjson.loads(answer.json["error"])["error"]
    tokens = error["n_prompt_tokens"]
    assert answer.status == 400
    assert error == {
        "code": 400,
        "message": f"request ({tokens} tokens) exceeds the available context size (300 tokens), "
        "try increasing it",
        "type": "exceed_context_size_error",
        "n_prompt_tokens": tokens,
        "n_ctx": 300,
    }
    assert tokens > 300
    assert fake.loads == [(NAME, 300)]
    assert (await native_chat(fake, truncate=False)).status == 200


@pytest_twisted.ensureDeferred
async def test_a_refusal_by_ollama_itself_loads_nothing(make: Make) -> None:
    fake = make(models=[ModelFacts(capabilities=("completion",))], loaded=False)
    assert (await native_chat(fake, think=True)).status == 400
    assert (await native_chat(fake, **sized(8192), format="xml")).status == 400
    assert fake.loads == []
