"""The routes besides chat completions, and the fake on its own."""

from __future__ import annotations

import hashlib
import socket
import subprocess
import sys

import orjson
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.error import CannotListenError

from tests.fake_ollama import Call, FakeOllama, Refuse, Say, Think
from tests.fake_ollama.client import CHAT, Make, ask, connect


@pytest_twisted.ensureDeferred
async def test_side_routes(make: Make) -> None:
    fake = make()
    assert (await ask(fake, "GET", "/")).body == b"Ollama is running"
    assert (await ask(fake, "GET", "/api/ps")).json["models"][0]["context_length"] == 32768
    shown = await ask(fake, "POST", "/api/show", {"model": "qwen3:14b"})
    assert "tools" in shown.json["capabilities"]
    missing = await ask(fake, "POST", "/api/show", {"model": "zz"})
    assert (missing.status, missing.json) == (404, {"error": "model 'zz:latest' not found"})
    assert (await ask(fake, "GET", "/v1/models/qwen3:14b")).json["object"] == "model"
    assert (await ask(fake, "PUT", "/api/tags")).status == 405
    assert (await ask(fake, "GET", "/nope")).status == 404
    assert (await ask(fake, "GET", "/api/tags", Host="evil.example")).status == 403
    assert (await ask(fake, "DELETE", "/api/delete", {"model": "qwen3:14b"})).status == 200
    assert (await ask(fake, "GET", "/v1/models")).json["data"] is None


@pytest_twisted.ensureDeferred
async def test_a_pull_adds_the_model_or_tells_an_error_in_its_stream(make: Make) -> None:
    fake = make()
    pulled = await ask(fake, "POST", "/api/pull", {"model": "new:1b"})
    assert orjson.loads(pulled.body.splitlines()[-1]) == {"status": "success"}
    assert "new:1b" in fake.models
    failed = await ask(fake, "POST", "/api/pull", {"model": "missing:1b"})
    assert "error" in orjson.loads(failed.body.splitlines()[-1])


@pytest_twisted.ensureDeferred
async def test_a_blob_is_checked_and_not_kept(make: Make) -> None:
    fake = make()
    blob = b"x" * 300_000
    digest = hashlib.sha256(blob).hexdigest()
    assert (await ask(fake, "POST", f"/api/blobs/sha256:{digest}", blob)).status == 201
    assert (await ask(fake, "POST", "/api/blobs/sha256:00", blob)).status == 400
    recorded = fake.exchanges[0]
    assert (recorded.length, recorded.body) == (300_000, b"")


@pytest_twisted.ensureDeferred
async def test_the_native_chat_speaks_lines(make: Make) -> None:
    fake = make([Think("hm"), Say("Hi"), Call("f", {"a": 1}, id="call_1")], [Say("x")])
    body = {"model": "qwen3:14b", "messages": CHAT["messages"]}
    answer = await ask(fake, "POST", "/api/chat", body)
    think, say, call, last = [orjson.loads(line) for line in answer.body.splitlines()]
    assert answer.header("content-type") == "application/x-ndjson"
    assert think["message"] == {"role": "assistant", "content": "", "thinking": "hm"}
    assert (say["message"]["content"], say["done"]) == ("Hi", False)
    assert call["message"]["tool_calls"] == [
        {"id": "call_1", "function": {"index": 0, "name": "f", "arguments": {"a": 1}}}
    ]
    assert (last["done"], last["done_reason"]) == (True, "stop")
    assert last["prompt_eval_count"] > 0
    whole = await ask(fake, "POST", "/api/chat", body | {"stream": False})
    assert whole.json["message"] == {"role": "assistant", "content": "x"}


@pytest_twisted.ensureDeferred
async def test_the_native_chat_tells_an_error_inside_its_stream(make: Make) -> None:
    fake = make([Say("x"), Refuse(500, "XML syntax error")], [Refuse(503, "busy")])
    body = {"model": "qwen3:14b", "messages": CHAT["messages"]}
    answer = await ask(fake, "POST", "/api/chat", body)
    assert answer.body.splitlines()[-1] == b'{"error":"XML syntax error"}'
    refused = await ask(fake, "POST", "/api/chat", body)
    assert (refused.status, refused.json) == (503, {"error": "busy"})


@pytest_twisted.ensureDeferred
async def test_a_model_is_loaded_and_unloaded_without_a_prompt(make: Make) -> None:
    fake = make([Say("ok")])
    body = {"model": "qwen3:14b", "stream": False}
    unloaded = await ask(fake, "POST", "/api/generate", body | {"keep_alive": 0})
    assert unloaded.json["done_reason"] == "unload"
    assert (await ask(fake, "GET", "/api/ps")).json == {"models": []}
    assert (await ask(fake, "POST", "/api/generate", body)).json["done_reason"] == "load"
    assert len((await ask(fake, "GET", "/api/ps")).json["models"]) == 1
    asked = await ask(fake, "POST", "/api/generate", body | {"prompt": "hi"})
    assert asked.json["response"] == "ok"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("HEAD", "/", 200),
        ("HEAD", "/api/version", 200),
        ("HEAD", "/api/tags", 200),
        ("HEAD", "/api/ps", 405),
        ("HEAD", "/v1/models", 405),
        ("GET", "/v1/chat/completions", 405),
        ("GET", "/api/chat", 405),
        ("DELETE", "/api/blobs/sha256:00", 405),
        ("HEAD", "/api/blobs/sha256:00", 404),
        ("GET", "/v1/models/a/b", 404),
        ("GET", "/v1/models/nope", 404),
        ("POST", "/api/show", 400),
    ],
)
@pytest_twisted.ensureDeferred
async def test_status_by_route(make: Make, method: str, path: str, status: int) -> None:
    assert (await ask(make(), method, path)).status == status


@pytest_twisted.ensureDeferred
async def test_a_blob_that_was_sent_is_there(make: Make) -> None:
    fake = make()
    path = f"/api/blobs/sha256:{hashlib.sha256(b'x').hexdigest()}"
    await ask(fake, "POST", path, b"x")
    assert (await ask(fake, "HEAD", path)).status == 200


@pytest_twisted.ensureDeferred
async def test_a_trailing_slash_is_redirected(make: Make) -> None:
    client = await connect(make())
    client.send(b"GET /api/tags/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
    received = await client.until(b"\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 301 ")
    assert b"/api/tags\r\n" in received
    await client.close()


@pytest_twisted.ensureDeferred
async def test_a_pull_without_a_stream_is_one_object(make: Make) -> None:
    fake = make()
    body = {"model": "new", "stream": False}
    assert (await ask(fake, "POST", "/api/pull", body)).json == {"status": "success"}
    assert "new:latest" in fake.models
    failed = await ask(fake, "POST", "/api/pull", {"model": "missing:1b", "stream": False})
    assert failed.status == 500
    assert list(failed.json) == ["error"]


@pytest_twisted.ensureDeferred
async def test_a_taken_port_is_an_error_at_once(make: Make) -> None:
    taken = make().port
    with pytest.raises(CannotListenError):
        FakeOllama(reactor).listen(taken)


def test_alone_it_says_in_one_line_that_its_port_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "tests.fake_ollama", "--port", port]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert port in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
