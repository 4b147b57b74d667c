"""The upstream of the soak: a model with all kinds of answers, on a server that comes and goes."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.fake_ollama import (
    Answer,
    Call,
    Calls,
    Die,
    FakeOllama,
    Finish,
    Fragments,
    ModelFacts,
    Pause,
    Raw,
    Refuse,
    Say,
    Think,
)

Json = dict[str, Any]
FLOOD = "flood"
"""Word in a prompt: the answer is longer than all buffers on the way."""
ENDLESS = "endless"
"""Word in a prompt: the answer takes minutes unless the bridge hangs up."""
LONG_PAUSE = 9.0
"""Seconds; longer than the --upstream-timeout of the soak."""
UP, DOWN = (4.0, 9.0), (0.2, 2.5)
"""Seconds for which the server is up and down, each time: least and most."""
MODELS = [ModelFacts(f"kept{n}:8b") for n in range(24)] + [
    ModelFacts(f"native{n}:8b", num_ctx=None) for n in range(24)
]
"""Half of them have a context in their Modelfile, half have none."""
PATCH = "*** Begin Patch\n*** Add File: a.txt\n+a\n*** End Patch"
LEAK = '<tool_call>\n{"name": "exec_command", "arguments": {"cmd": "ls"}}\n</tool_call>'
SLIP = 'error parsing tool call: raw=\'{"cmd": "ls\', err=unexpected end of JSON input'
BUSY = "server busy, please try again.  maximum pending requests exceeded"
CRASH = "llama runner process has terminated: signal: killed"

PLOTS: dict[str, tuple[int, Callable[[random.Random], Answer]]] = {
    "quick": (30, lambda _: [Say("Hello! What can I do for you?")]),
    "thought": (10, lambda _: [Think("The user greets me."), Say("Hello.")]),
    "call": (12, lambda _: [Say("Let me look."), Call("exec_command", {"cmd": "ls"})]),
    "calls": (4, lambda _: [Calls(*[Call("exec_command", {"cmd": c}) for c in "ab"])]),
    "fragments": (3, lambda _: [Fragments("exec_command", ('{"cmd"', ':"ls', '"}'))]),
    "patch": (4, lambda _: [Call("apply_patch", {"input": PATCH})]),
    "leak": (4, lambda _: [Say(f"I will.\n{LEAK}")]),
    "slow": (10, lambda rng: [s for n in range(6) for s in (Say(f" {n}"), Pause(rng.random()))]),
    "silent": (4, lambda rng: [Pause(rng.uniform(1, 4)), Say("At last.")]),
    "stuck": (1, lambda _: [Say("Wait"), Pause(LONG_PAUSE), Say(" for it.")]),
    "frozen": (1, lambda _: [Pause(LONG_PAUSE), Say("Too late.")]),
    "long": (5, lambda _: [Say("many words " * 800)]),
    "cut": (2, lambda _: [Say("Half of"), Finish("length")]),
    "empty": (4, lambda _: []),
    "closed": (2, lambda _: [Say("I beg"), Die("close")]),
    "reset": (3, lambda _: [Say("I beg"), Pause(0.1), Die("reset")]),
    "reset at once": (2, lambda _: [Die("reset")]),
    "broken": (2, lambda _: [Say("I beg"), Die("empty-model")]),
    "nothing": (1, lambda _: [Die("ndjson")]),
    "no json": (1, lambda _: [Say("a"), Raw(b"data: {no\n\n"), Say("b")]),
    "slip": (4, lambda _: [Refuse(500, SLIP)]),
    "busy": (4, lambda _: [Refuse(503, BUSY)]),
    "crash": (2, lambda _: [Refuse(500, CRASH)]),
}
WISHES: dict[str, Answer] = {
    FLOOD: [Say(FLOOD, pieces=("x" * 4000 + " ",) * 256)],
    ENDLESS: [Say("more "), Pause(0.2)] * 600,
}


class Upstream:
    """A fake Ollama that stops, resets its connections, and starts again."""

    def __init__(self, reactor: Any, rng: random.Random) -> None:
        self.played: Counter[str] = Counter()
        self.requests = self.flaps = 0
        self._rng = rng
        self._fake = FakeOllama(reactor, model=self._play, models=MODELS)
        self._fake.listen()
        self.port, self.url = self._fake.port, self._fake.url

    async def flap(self, over: asyncio.Event) -> None:
        """Stop and start until `over` is set; then the server is up."""
        loop = asyncio.get_running_loop()
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), self._rng.uniform(*UP))
                return
            await self._fake.stop().asFuture(loop)
            self.requests += len(self._fake.exchanges)
            self._fake.exchanges.clear()
            self.flaps += 1
            await asyncio.sleep(self._rng.uniform(*DOWN))
            self._fake.listen(self.port)

    def unanswered(self) -> int:
        """Requests that are neither answered nor given up by the bridge."""
        return sum(not (seen.answered or seen.hung_up) for seen in self._fake.exchanges)

    async def stop(self) -> None:
        self.requests += len(self._fake.exchanges)
        await self._fake.stop().asFuture(asyncio.get_running_loop())

    def _play(self, request: Json) -> Answer:
        words = str(request["messages"][-1]["content"])
        for wish, steps in WISHES.items():
            if wish in words:
                self.played[wish] += 1
                return steps
        weights = [weight for weight, _ in PLOTS.values()]
        plot = self._rng.choices(list(PLOTS), weights)[0]
        self.played[plot] += 1
        return PLOTS[plot][1](self._rng)
