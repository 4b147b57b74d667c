"""The clients of the soak, good and bad ones. Each returns in a word how it ended.

They raise Finding, AssertionError or the error of a connection that ended too early where the
bridge did something wrong.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from attrs import define, field

from bench.soak.lateness import Lateness
from bench.soak.upstream import ENDLESS, FLOOD, MODELS
from bench.soak.wire import GONE, Finding, Wire, chunked, encoded, head, wire

Json = dict[str, Any]
RESPONSES = "/v1/responses"
CODEX = {"originator": "codex_exec", "user-agent": "codex_exec/0.169.0 (Linux)"}
TOOLS: list[Json] = [
    {
        "type": "function",
        "name": "exec_command",
        "parameters": {"type": "object", "properties": {"cmd": {"type": "string"}}},
    },
    {"type": "custom", "name": "apply_patch"},
    {"type": "web_search"},
]
REFUSALS = {f"http {status}" for status in (429, 500, 502, 503, 504)}
STATUSES = {"completed", "incomplete", "failed", *REFUSALS}
"""How the exchange of a good client may end."""
UNREAD = (5.0, 20.0)
"""Seconds for which some clients stop reading."""
MARGIN = 10.0
"""Seconds that the bridge may be late, since it shares its cores with the soak."""
WHOLE_PATIENCE = 90.0
"""Seconds that a reply in one piece may take, with every retry."""


@define
class World:
    """The bridge's port and settings, and the random numbers of a run."""

    port: int
    rng: random.Random
    heartbeat: float
    client_timeout: float
    max_body_size: int
    late: Lateness = field(factory=Lateness)

    def connect(self, **how: Any) -> Any:
        return wire(self.port, self.rng, self.late, self.heartbeat + MARGIN, **how)

    def exchange(self, words: str = "hi", *, codex: bool | None = None, **change: Any) -> bytes:
        """A request of a good client."""
        if codex is None:
            codex = self.rng.random() < 0.6
        return encoded("POST", RESPONSES, self.body(words, **change), **(CODEX if codex else {}))

    def body(self, words: str = "hi", **change: Any) -> bytes:
        history = words + " and more" * int(self.rng.expovariate(1 / 500))
        request = {
            "model": self.rng.choice(MODELS).name,
            "instructions": "You are a coding agent. " * 50,
            "input": [{"type": "message", "role": "user", "content": history}],
            "tools": TOOLS,
            "stream": True,
        }
        return orjson.dumps(request | change)

    def patience(self, stream: bool) -> float:
        return self.heartbeat + MARGIN if stream else WHOLE_PATIENCE


async def answered(connection: Wire) -> str:
    """The status of an exchange, which has to end well or with a proper failure."""
    status: str = (await connection.reply()).response()["status"]
    assert status in STATUSES, status
    return status


async def streaming(world: World) -> str:
    async with world.connect() as it:
        await it.send(world.exchange())
        return await answered(it)


async def whole(world: World) -> str:
    async with world.connect() as it:
        it.patience = WHOLE_PATIENCE
        await it.send(world.exchange(codex=False, stream=False))
        return await answered(it)


async def slow_reader(world: World) -> str:
    flood = world.rng.random() < 0.3
    async with world.connect(pace=0.005 if flood else 0.02, narrow=True) as it:
        await it.send(world.exchange(FLOOD if flood else "hi"))
        return await answered(it)


async def stopped_reader(world: World) -> str:
    async with world.connect(narrow=True) as it:
        await it.send(world.exchange(FLOOD))
        await asyncio.sleep(world.rng.uniform(*UNREAD))
        if world.rng.random() < 0.5:
            return "left"
        return await answered(it)


async def leaver(world: World) -> str:
    request = world.rng.choice(
        [
            world.exchange(),
            world.exchange(FLOOD),
            world.exchange(ENDLESS),
            world.exchange(ENDLESS, codex=False, stream=False),
            encoded("POST", "/api/chat", native_body(world)),
            encoded("GET", "/api/tags"),
        ]
    )
    async with world.connect() as it:
        await it.send(request)
        try:
            async with asyncio.timeout(world.rng.expovariate(1.0)):
                while await it.some():
                    pass
            return "closed"
        except TimeoutError:
            return "left"
        except ConnectionError:
            return "cut"


async def half_request(world: World) -> str:
    request = world.rng.choice([world.exchange(), encoded("POST", "/api/show", b"{" * 900)])
    part = request[: world.rng.randrange(len(request))]
    async with world.connect() as it:
        await it.send(part)
        if world.rng.random() < 0.5:
            await asyncio.sleep(world.rng.random() * 2)
            return "left"
        if part.startswith(b"POST /api/") and b"\r\n\r\n" in part:
            # A body that passes through may stand still for longer than anybody waits here.
            return "left"
        await it.until_closed(world.client_timeout + 1 + MARGIN)
        return "closed"


async def half_closed(world: World) -> str:
    async with world.connect() as it:
        await it.send(world.rng.choice([world.exchange(), encoded("GET", "/api/tags")]))
        it.writer.write_eof()
        await it.until_closed(WHOLE_PATIENCE)
        return "closed"


async def garbage(world: World) -> str:
    rng = world.rng
    line = rng.choice([b"", b"GET / HTTP/1.1\r\n", b"\x16\x03\x01", b"POST /v1/responses "])
    async with world.connect() as it:
        await it.send(line + rng.randbytes(rng.randrange(1, 4000)))
        await it.until_closed(world.client_timeout + 1 + MARGIN)
        return "closed"


async def oversized(world: World) -> str:
    rng = world.rng
    size = int(world.max_body_size * rng.choice([1.01, 2, 3, 8]))
    body = b" " * size
    pieces = [body]
    named = {"Host": "localhost"} | (CODEX if rng.random() < 0.5 else {})
    if rng.random() < 0.5:
        pieces = chunked(body[n : n + 50_000] for n in range(0, size, 50_000))
        named["Transfer-Encoding"] = "chunked"
    else:
        named["Content-Length"] = str(size)
    async with world.connect() as it:
        try:
            await it.send(head("POST", RESPONSES, named))
            for piece in pieces:
                await it.send(piece)
            reply = await it.reply()
        except GONE:
            assert size > 3.5 * world.max_body_size, "cut off before the refusal"
            return "cut"
        status = reply.response()["status"]
        assert status in {"failed", "http 413"}, status
        return status


async def slowloris(world: World) -> str:
    request = world.exchange()
    start = world.rng.choice([request.index(b"\r\n\r\n") + 4, world.rng.randrange(40)])
    async with world.connect() as it:
        closed = asyncio.ensure_future(it.until_closed(world.client_timeout + 2 + MARGIN))
        try:
            await it.send(request[:start])
            while not closed.done():
                await it.send(request[start : start + 1])
                start += 1
                await asyncio.sleep(0.2)
        except ConnectionError:
            pass
        finally:
            if not closed.done():
                await asyncio.wait([closed])
        said = closed.result()
        assert b" 200 OK" not in said or b"response.failed" in said, said[:300]
        return "closed"


def native_body(world: World) -> bytes:
    request = {"model": world.rng.choice(MODELS).name, "prompt": "hi", "keep_alive": -1}
    return orjson.dumps(request | {"messages": [{"role": "user", "content": "hi"}]})


async def passed_through(world: World) -> str:
    """A request that passes through; its answer may break off only where Ollama broke off."""
    rng = world.rng
    async with world.connect() as it:
        it.patience = WHOLE_PATIENCE
        method, path, body = rng.choice(
            [
                ("GET", "/api/tags", None),
                ("GET", "/api/ps?a=b", None),
                ("GET", "/v1/models", None),
                ("GET", "/v1/models?client_version=0.169.0", None),
                ("GET", "/nowhere", None),
                ("HEAD", "/api/version", None),
                ("POST", "/api/show", orjson.dumps({"model": MODELS[0].name})),
                ("POST", "/api/chat", native_body(world)),
                ("POST", "/api/generate", native_body(world)),
            ]
        )
        await it.send(encoded(method, path, body))
        try:
            reply = await it.reply(bodiless=method == "HEAD")
        except GONE:
            return "cut"
        return f"http {reply.status}"


async def upload(world: World) -> str:
    rng = world.rng
    pieces = [rng.randbytes(rng.randrange(1, 60_000)) for _ in range(rng.randrange(1, 30))]
    digest = hashlib.sha256(b"".join(pieces)).hexdigest()
    named = {"Host": "localhost", "Transfer-Encoding": "chunked"}
    if rng.random() < 0.2:
        named["Expect"] = "100-continue"
    pause, leaves = rng.choice([0, 0, 0.05]), rng.random() < 0.2
    async with world.connect() as it:
        it.patience = WHOLE_PATIENCE
        try:
            await it.send(head("POST", f"/api/blobs/sha256:{digest}", named))
            for piece in chunked(pieces):
                await it.send(piece)
                await asyncio.sleep(pause)
                if leaves and rng.random() < 0.2:
                    return "left"
            reply = await it.reply()
        except GONE:
            return "cut"
        assert reply.status in {201, 502, 503}, (reply.status, reply.body)
        return f"http {reply.status}"


async def kept(world: World) -> str:
    """Several requests over one connection, each after the answer to the one before."""
    rng = world.rng
    ends: list[str] = []
    async with world.connect() as it:
        for _ in range(rng.randrange(2, 6)):
            stream = rng.random() < 0.7
            it.patience = world.patience(stream)
            await it.send(world.exchange(codex=stream, stream=stream))
            ends.append(await answered(it))
            await asyncio.sleep(rng.choice([0, 0, rng.random()]))
    return f"{len(ends)} answers"


async def pipelined(world: World) -> str:
    """Several requests sent at once; the answers come in order, up to one that Ollama broke off."""
    rng = world.rng
    kinds = [rng.choice(["exchange", "health", "tags", "blob"]) for _ in range(rng.randrange(2, 6))]
    blob = b"x" * 5000
    made = {
        "exchange": lambda: world.exchange(),
        "health": lambda: encoded("GET", "/__health"),
        "tags": lambda: encoded("GET", "/api/tags"),
        "blob": lambda: encoded(
            "POST", f"/api/blobs/sha256:{hashlib.sha256(blob).hexdigest()}", blob
        ),
    }
    async with world.connect() as it:
        it.patience = WHOLE_PATIENCE
        await it.send(b"".join(made[kind]() for kind in kinds))
        may_be_cut = False
        for kind in kinds:
            may_be_cut |= kind in {"tags", "blob"}
            try:
                if kind == "exchange":
                    await answered(it)
                else:
                    reply = await it.reply()
                    assert reply.status in {200, 201, 502, 503}, (kind, reply.status)
            except GONE:
                if not may_be_cut:
                    raise
                return "cut"
    return "in turn"


CLIENTS: dict[Callable[[World], Awaitable[str]], int] = {
    streaming: 30,
    whole: 8,
    slow_reader: 6,
    stopped_reader: 4,
    leaver: 10,
    half_request: 6,
    half_closed: 3,
    garbage: 5,
    oversized: 3,
    slowloris: 5,
    passed_through: 10,
    upload: 6,
    kept: 6,
    pipelined: 6,
}
"""Each kind of client with its weight."""


async def statue(world: World, seconds: float) -> str:
    """Asks for a long answer and reads nothing; the bridge must cut it off within `seconds`."""
    async with world.connect(narrow=True) as it:
        await it.send(world.exchange(FLOOD, codex=True))
        await asyncio.sleep(seconds)
        try:
            await it.reply()
        except GONE:
            return "cut"
        raise Finding("a client that does not read keeps its connection")


async def idler(world: World, seconds: float) -> str:
    """Keeps its connection idle after one answer; the bridge must close it within `seconds`."""
    async with world.connect() as it:
        await it.send(world.exchange(codex=True))
        await answered(it)
        await it.until_closed(seconds)
        return "closed"
