"""Requests to the fake, for its own tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from treq.client import HTTPClient
from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory
from twisted.web.client import Agent

from tests.fake_ollama import FakeOllama
from tests.harness import Answer, RawClient

Make = Callable[..., FakeOllama]
CHAT = {"model": "qwen3:14b", "messages": [{"role": "user", "content": "hi"}], "stream": True}


async def ask(fake: FakeOllama, method: str, path: str, body: Any = None, **headers: str) -> Answer:
    data = body if isinstance(body, bytes) or body is None else orjson.dumps(body)
    client = HTTPClient(Agent(reactor))
    response = await client.request(method, fake.url + path, data=data, headers=headers)
    return Answer(response.code, response.headers, await response.content())


async def connect(fake: FakeOllama) -> RawClient:
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", fake.port)
    return await endpoint.connect(Factory.forProtocol(RawClient))


async def chat(fake: FakeOllama, **change: Any) -> Answer:
    return await ask(fake, "POST", "/v1/chat/completions", CHAT | change)


def chunks(answer: Answer) -> list[Any]:
    *records, done = answer.body.split(b"\n\n")[:-1]
    assert done == b"data: [DONE]"
    return [orjson.loads(record.removeprefix(b"data: ")) for record in records]


async def native_chat(fake: FakeOllama, **change: Any) -> Answer:
    return await ask(fake, "POST", "/api/chat", CHAT | change)


def lines(answer: Answer) -> list[Any]:
    return [orjson.loads(line) for line in answer.body.splitlines()]
