"""Time to the first token of a conversation's first turn, with reading ahead and without.

    python -m bench read_ahead [--model FILE.gguf] [--tokens 2000 4000 8000 16000] [--rounds 5]

Starts llama.cpp with a model and a bridge in front of it. In each round the same turn is asked
twice, by turns in this and in the other order: once as it comes, and once after the bridge had the
model read the instructions and tools. The instructions begin with another number each time, so that
no cache of the engine has a part of them. The user is taken to type for longer than the model
reads. Times differ between machines, and with the load of one: compare the two within a round.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import time
from itertools import count
from pathlib import Path
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.task import react

from codex_bridge.cli.llama_server import LlamaServer
from codex_bridge.responses.request import read
from tests.harness import CODEX, Setup, serve
from tests.tools.declared import CODEX as TOOLS

MODEL = Path(__file__).parents[1] / "tests" / "engine" / "tiny.gguf"
CONTEXT = 32768
"""Tokens; a prompt may take 15/16 of them."""
WORDS = "You are a coding agent and you follow the instructions of the user. "
TOKENS = {what: re.compile(rf'"{what}_tokens": ?(\d+)'.encode()) for what in ("input", "cached")}
"""What in the last event of a reply tells the tokens of the prompt, and how many were cached."""
Json = dict[str, Any]


@frozen
class Turn:
    """How one first turn went."""

    seconds: float
    """Until its first token."""
    prompt: int
    """Tokens of its prompt."""
    cached: int
    """How many of them the engine did not have to read."""


class Measurement:
    """First turns of one model through one bridge."""

    def __init__(self, setup: Setup, model: str) -> None:
        self._setup = setup
        self._model = model
        self._numbers = count()

    def request(self, repeats: int) -> Json:
        """A first turn whose instructions repeat the words so many times."""
        return {
            "model": self._model,
            "instructions": f"{next(self._numbers)}. {WORDS * repeats}",
            "input": [{"type": "message", "role": "user", "content": "go TALK"}],
            "tools": TOOLS,
            "max_output_tokens": 8,
            "stream": True,
        }

    async def turn(self, body: Json, *, reads_ahead: bool) -> Turn:
        """Ask for a first turn, over a new connection as Codex does."""
        if reads_ahead:
            ahead = body | {"input": []}
            await self._setup.service.read_ahead.begin(read(ahead))
        client = await self._setup.connect()
        started = time.perf_counter()
        client.post(body, headers=CODEX)
        await client.until(b"_text.delta")
        seconds = time.perf_counter() - started
        await client.until(b"event: response.completed")
        await client.until(b"\r\n0\r\n")
        prompt, cached = (int(TOKENS[what].findall(client.received)[-1]) for what in TOKENS)
        return Turn(seconds, prompt, cached)

    async def repeats_for(self, tokens: int) -> int:
        """How often the words are repeated for a prompt of so many tokens."""
        sizes = [(await self.turn(self.request(n), reads_ahead=False)).prompt for n in (0, 20)]
        return max(0, round((tokens - sizes[0]) / (sizes[1] - sizes[0]) * 20))


async def measure(reactor: Any, model: Path, sizes: list[int], rounds: int) -> None:
    with LlamaServer(model, subprocess.DEVNULL, context=CONTEXT) as engine:  # type: ignore[arg-type]
        setup = await serve(reactor, engine.url, quiet=True)
        await setup.service.identified
        bench = Measurement(setup, model.stem)
        print(f"{model.stem}, {rounds} rounds in pairs; seconds to the first token")
        print(f"  {'prompt':>7} {'without':>8} {'with':>8} {'ratio':>7} {'cached':>7}")
        for tokens in sizes:
            repeats = await bench.repeats_for(tokens)
            pairs = []
            for n in range(rounds):
                order = (False, True) if n % 2 else (True, False)
                done = {
                    ahead: await bench.turn(bench.request(repeats), reads_ahead=ahead)
                    for ahead in order
                }
                pairs.append((done[False], done[True]))
            without, ahead = (
                statistics.median(pair[n].seconds for pair in pairs) for n in range(2)
            )
            ratio = statistics.median(one.seconds / two.seconds for one, two in pairs)
            last = pairs[-1][1]
            print(
                f"  {last.prompt:7,} {without:8.3f} {ahead:8.3f} {ratio:6.1f}x"
                f" {last.cached / last.prompt:7.1%}",
                flush=True,
            )
        await setup.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=MODEL, help="a GGUF file (the tests' own)")
    sizes = [2000, 4000, 8000, 16000]
    parser.add_argument("--tokens", type=int, nargs="+", default=sizes, help="sizes of the prompts")
    parser.add_argument("--rounds", type=int, default=5, help="pairs of turns for each size (5)")
    args = parser.parse_args()
    react(
        lambda reactor: Deferred.fromCoroutine(
            measure(reactor, args.model, args.tokens, args.rounds)
        )
    )
