"""A bridge and a fake Ollama in this process, on real sockets, and a client for them."""

from __future__ import annotations

from typing import Any

import orjson
from attrs import define, field
from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from twisted.web.client import Agent
from twisted.web.http_headers import Headers

from codex_bridge.fake_ollama import FakeOllama
from codex_bridge.service import BridgeService, make_service
from codex_bridge.settings import Settings
from tests.translate import grammar

Json = dict[str, Any]
CODEX = {"originator": "codex_exec", "user-agent": "codex_exec/0.169.0 (Linux)"}
REQUEST: Json = {
    "model": "qwen3:14b",
    "instructions": "Be helpful.",
    "input": [{"type": "message", "role": "user", "content": "hi"}],
    "tools": [
        {"type": "function", "name": "exec_command", "parameters": {"type": "object"}},
        {
            "type": "namespace",
            "name": "multi_agent_v1",
            "tools": [{"type": "function", "name": "spawn_agent", "parameters": {}}],
        },
        {"type": "web_search"},
    ],
    "stream": True,
}


@define
class Answer:
    """What came back for one request."""

    status: int
    headers: Headers
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def events(self) -> list[Json]:
        return grammar.parse_sse(self.body)

    @property
    def response(self) -> Json:
        """The last event's response, after the whole stream was checked."""
        return grammar.read(self.events)

    def header(self, name: str) -> str | None:
        values = self.headers.getRawHeaders(name)
        return values[0] if values else None


@define
class Setup:
    """One fake Ollama, one bridge in front of it."""

    reactor: Any
    fake: FakeOllama
    service: BridgeService
    url: str = ""
    port: int = 0
    connections: list[RawClient] = field(factory=list)

    async def request(
        self, method: str, path: str, body: Any = None, headers: Json | None = None
    ) -> Answer:
        """One request over a connection of its own, to the whole answer."""
        client = HTTPClient(Agent(self.reactor))
        if body is not None and not isinstance(body, bytes):
            body = orjson.dumps(body)
        response = await client.request(
            method,
            self.url + path,
            headers=headers or {},
            data=body,
            allow_redirects=False,
            reactor=self.reactor,
        )
        return Answer(response.code, response.headers, await response.content())

    async def ask(self, change: Json | None = None, headers: Json | None = None) -> Answer:
        """POST the standard request, changed by `change`."""
        return await self.request("POST", "/v1/responses", REQUEST | (change or {}), headers)

    async def connect(self) -> RawClient:
        """A raw connection to the bridge."""
        endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", self.port)
        client = await endpoint.connect(Factory.forProtocol(RawClient))
        self.connections.append(client)
        return client

    async def stop(self) -> None:
        for connection in self.connections:
            await connection.close()
        await self.service.stopService()
        await self.fake.stop()


class RawClient(Protocol):
    """A client that decides over every byte."""

    def __init__(self) -> None:
        self.received = b""
        self.keep_last: int | None = None
        self.lost: Deferred[None] = Deferred()
        self._waiting: list[tuple[bytes, Deferred[bytes]]] = []

    def send(self, data: bytes) -> None:
        self.transport.write(data)

    def post(self, body: Json, path: str = "/v1/responses") -> None:
        payload = orjson.dumps(body)
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(payload)}\r\n\r\n"
        self.send(head.encode() + payload)

    def until(self, mark: bytes) -> Deferred[bytes]:
        """Everything received, as soon as it holds `mark`."""
        waiting: Deferred[bytes] = Deferred()
        self._waiting.append((mark, waiting))
        self._tell()
        return waiting

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        if self.keep_last is not None:
            self.received = self.received[-self.keep_last :]
        self._tell()

    def connectionLost(self, reason: Failure) -> None:
        self.lost.callback(None)

    async def close(self) -> None:
        if self.transport.connected:
            self.transport.abortConnection()
        if not self.lost.called:
            await self.lost

    def _tell(self) -> None:
        for entry in list(self._waiting):
            if entry[0] in self.received:
                self._waiting.remove(entry)
                entry[1].callback(self.received)


async def start(reactor: Any, fake: FakeOllama, **settings: Any) -> Setup:
    """Start `fake` and a bridge with `settings` in front of it."""
    fake.listen()
    options = {"port": 0, "ollama_url": fake.url, "drain": 0} | settings
    service = make_service(Settings(**options), reactor)
    service.startService()
    port = service.listening_port.getHost().port
    return Setup(reactor, fake, service, f"http://127.0.0.1:{port}", port)
