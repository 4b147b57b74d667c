"""Servers and answers for the engines' tests."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import orjson
from attrs import evolve
from twisted.internet.defer import succeed
from twisted.internet.task import Clock
from twisted.logger import Logger

from codex_bridge.engines.contexts import Contexts
from codex_bridge.engines.engine import ContextPolicy, Plan
from codex_bridge.engines.models import ModelTable
from codex_bridge.vocabulary import ChatRequest, Json, ModelInfo

KNOWN = ModelInfo(
    "qwen3:14b",
    capabilities=frozenset({"tools"}),
    trained_context=40960,
    server_version=(0, 33, 0),
)
AUTO = ContextPolicy()
ASK = ChatRequest("qwen3:14b", [{"role": "user", "content": "hi"}])
INFO = ModelInfo("qwen3:14b")


def info(**more: Any) -> ModelInfo:
    return evolve(KNOWN, **more)


def logger_into(lines: list[str]) -> Logger:
    """A logger that adds its lines to `lines`, except the one that tells what the upstream is."""

    def add(event: Json) -> None:
        line = event["log_format"].format(**event)
        if not line.startswith("upstream: "):
            lines.append(line)

    return Logger(observer=add)


class Server:
    """An Ollama without sockets: what the table of models asks, and what a load leaves."""

    def __init__(
        self, default: int | None, policy: ContextPolicy = AUTO, *, own: int | None = None
    ) -> None:
        self.default = default
        self.loaded: int | None = None
        self.loads: list[str] = []
        self.loads_well = True
        self.own = own
        self.log: list[str] = []
        self.clock = Clock()
        self.logger = logger_into(self.log)
        self.models = ModelTable(self.ask, policy, self.clock, self.logger)
        self.contexts = Contexts(self.models, self.load, self.logger, self.clock)

    def ask(self, method: str, path: str, body: Json | None) -> Awaitable[Json | None]:
        answers: dict[str, Json] = {
            "/api/version": {"version": "0.33.0"},
            "/api/show": {
                "capabilities": ["tools"],
                "parameters": f"num_ctx {self.own}" if self.own else "",
                "model_info": {"general.architecture": "a", "a.context_length": 131072},
            },
            "/api/ps": {
                "models": [
                    {"name": name, "context_length": self.loaded}
                    for name in ("qwen3:14b", *self.loads)
                ]
            },
        }
        return succeed(answers[path])

    async def load(self, path: str, body: bytes) -> bool:
        assert path == "/api/generate"
        self.loads.append(orjson.loads(body)["model"])
        self.loaded = self.default if self.loads_well else None
        return self.loads_well

    async def planned(self, name: str = "qwen3:14b") -> Plan:
        return await self.contexts.plan_for(await self.models.renewed(name))


def sized(status: bytes, body: bytes, content_type: bytes = b"application/json") -> bytes:
    head = b"HTTP/1.1 " + status + b"\r\nContent-Type: " + content_type
    return head + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body
