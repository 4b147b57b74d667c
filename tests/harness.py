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

from codex_bridge.service import BridgeService, make_service
from codex_bridge.settings import Settings
from tests.fake_ollama import FakeOllama
from tests.responses import grammar, schemas

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
        answer = orjson.loads(self.body)
        is_response = isinstance(answer, dict) and answer.get("object") == "response"
        # What says that a response was deleted has the same name.
        if is_response and "deleted" not in answer:
            schemas.check_response(answer)
        return answer

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
    """One bridge, and perhaps the fake Ollama behind it."""

    reactor: Any
    service: BridgeService
    url: str
    port: int
    fake: FakeOllama = field(init=False)
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
        client = await connect(self.reactor, self.port)
        self.connections.append(client)
        return client

    async def stop(self) -> None:
        for connection in self.connections:
            await connection.close()
        await self.service.stopService()
        if hasattr(self, "fake"):
            await self.fake.stop()


class RawClient(Protocol):
    """A client that decides over every byte."""

    def __init__(self) -> None:
        self.received = b""
        self.keep_last: int | None = None
        self.lost: Deferred[None] = Deferred()
        self._waiting: list[tuple[bytes, int, Deferred[bytes]]] = []

    def send(self, data: bytes) -> None:
        self.transport.write(data)

    def post(self, body: Json, path: str = "/v1/responses", headers: Json | None = None) -> None:
        payload = orjson.dumps(body)
        named = {"Host": "localhost", "Content-Length": len(payload)} | (headers or {})
        lines = [f"POST {path} HTTP/1.1", *(f"{name}: {named[name]}" for name in named), "", ""]
        self.send("\r\n".join(lines).encode() + payload)

    def until(self, mark: bytes) -> Deferred[bytes]:
        """Everything received, as soon as it holds `mark`."""
        return self.until_count(mark, 1)

    def until_count(self, mark: bytes, count: int) -> Deferred[bytes]:
        """Everything received, as soon as it holds `mark` so many times."""
        waiting: Deferred[bytes] = Deferred()
        self._waiting.append((mark, count, waiting))
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
            mark, count, waiting = entry
            if self.received.count(mark) >= count:
                self._waiting.remove(entry)
                waiting.callback(self.received)


async def connect(reactor: Any, port: int) -> RawClient:
    """A raw connection to a bridge on this machine."""
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port)
    client: RawClient = await endpoint.connect(Factory.forProtocol(RawClient))
    return client


async def serve(reactor: Any, upstream_url: str, **settings: Any) -> Setup:
    """Start a bridge with `settings` in front of whatever is at `upstream_url`."""
    options = {"port": 0, "upstream_url": upstream_url, "drain": 0} | settings
    service = make_service(Settings(**options), reactor)
    service.startService()
    port = service.listening_port.getHost().port
    return Setup(reactor, service, f"http://127.0.0.1:{port}", port)


async def start(reactor: Any, fake: FakeOllama, **settings: Any) -> Setup:
    """Start `fake` and a bridge with `settings` in front of it."""
    fake.listen()
    setup = await serve(reactor, fake.url, **settings)
    await setup.service.identified
    fake.exchanges.clear()
    setup.fake = fake
    return setup
