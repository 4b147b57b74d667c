"""POST /v1/responses/input_tokens: what the server is asked, and what the client is told."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted

from tests.conftest import Start
from tests.fake_ollama import Finish, Playlist, Refuse, Say
from tests.harness import CODEX, REQUEST, Json

PATHS = ["/v1/responses/input_tokens", "/responses/input_tokens"]


@pytest.mark.parametrize("path", PATHS)
@pytest_twisted.ensureDeferred
async def test_an_ollama_counts_the_prompt_with_one_token(start: Start, path: str) -> None:
    setup = await start(Playlist([Say("Hello there.")], [Say("Hello there.")]))
    told = await setup.request("POST", path, REQUEST)
    answer = await setup.ask()
    counted, asked = setup.fake.native_chats
    assert counted.json["options"]["num_predict"] == 1
    assert counted.json["stream"] is False
    for key in ("messages", "tools"):
        assert counted.effective[key] == asked.effective[key]
    assert told.status == 200
    tokens = answer.response["usage"]["input_tokens"]
    assert told.json == {"object": "response.input_tokens", "input_tokens": tokens}
    assert tokens > 0


@pytest_twisted.ensureDeferred
async def test_a_server_that_counts_nothing_leaves_an_estimate(start: Start) -> None:
    silent = Finish(usage={"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0})
    setup = await start(Playlist([Say("Hello"), silent]))
    body = b'{"model": "qwen3:14b", "input": "%b"}' % (b"x" * 400)
    told = await setup.request("POST", PATHS[0], body)
    assert told.json["input_tokens"] == len(body) // 4


@pytest.mark.parametrize("headers", [{}, CODEX])
@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"input": "hi"}, 400, "model"),
        ({"model": "qwen3:14b"}, 400, "input"),
        ({"model": "qwen3:14b", "input": "hi", "temperature": 3}, 400, "temperature"),
        ({"model": "nope:1b", "input": "hi"}, 404, "model"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_refusal_is_an_http_status_for_every_client(
    start: Start, body: Json, status: int, param: str, headers: Json
) -> None:
    setup = await start(Playlist([Refuse(404, "model 'nope:1b' not found")]))
    told = await setup.request("POST", PATHS[0], body, headers)
    assert (told.status, told.json["error"]["param"]) == (status, param)


@pytest_twisted.ensureDeferred
async def test_the_key_and_the_limit_of_a_body_count_here_too(start: Start) -> None:
    setup = await start(Playlist(), api_key="secret", max_body_size=1000)
    told = await setup.request("POST", PATHS[0], REQUEST)
    assert (told.status, told.json["error"]["code"]) == (401, "invalid_api_key")
    key = {"authorization": "Bearer secret"}
    large: Any = {"model": "qwen3:14b", "input": 2000 * "x"}
    told = await setup.request("POST", PATHS[0], large, key)
    assert (told.status, told.json["error"]["code"]) == (413, "request_too_large")
