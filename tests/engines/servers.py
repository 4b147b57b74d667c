"""An Ollama without sockets: what the table of models asks, and what a load leaves."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from attrs import evolve
from twisted.internet.defer import succeed
from twisted.internet.task import Clock
from twisted.logger import Logger

from codex_bridge.engines.contexts import (
    ContextPolicy,
    Contexts,
    Plan,
)
from codex_bridge.engines.models import ModelTable
from codex_bridge.vocabulary import (
    Json,
    ModelInfo,
)

KNOWN = ModelInfo(
    "qwen3:14b",
    capabilities=frozenset({"tools"}),
    trained_context=40960,
    server_version=(0, 33, 0),
)
AUTO = ContextPolicy()


def info(**more: Any) -> ModelInfo:
    return evolve(KNOWN, **more)


class Server:
    """What the table asks, and what a load leaves."""

    def __init__(self, default: int | None, *, own: int | None = None) -> None:
        self.default = default
        self.loaded: int | None = None
        self.loads: list[str] = []
        self.loads_well = True
        self.own = own
        self.log: list[str] = []
        self.clock = Clock()
        self.models = ModelTable(self.ask, self.clock)

    def ask(self, method: str, path: str, body: Json | None) -> Awaitable[Json | None]:
        answers: dict[str, Json] = {
            "/api/version": {"version": "0.33.0"},
            "/api/show": {
                "capabilities": ["tools"],
                "parameters": f"num_ctx {self.own}" if self.own else "",
                "model_info": {"general.architecture": "a", "a.context_length": 131072},
            },
            "/api/ps": {"models": [{"name": "qwen3:14b", "context_length": self.loaded}]},
        }
        return succeed(answers[path])

    async def load(self, model: str) -> bool:
        self.loads.append(model)
        self.loaded = self.default if self.loads_well else None
        return self.loads_well

    def contexts(self, policy: ContextPolicy = AUTO) -> Contexts:
        log = Logger(observer=lambda event: self.log.append(event["log_format"].format(**event)))
        return Contexts(policy, self.models, self.load, log, self.clock)


async def planned(contexts: Contexts, server: Server) -> Plan:
    return await contexts.plan_for(await server.models.renewed("qwen3:14b"))


def short(made: Plan) -> tuple[str, int | None, int | None]:
    return made.api, made.context, made.num_ctx
