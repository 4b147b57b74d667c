"""How a balancer spreads conversations, and what a client sees when a server behind it fails.

    python -m bench spread http://balancer:11434 --model tiny

Runs conversations side by side, each as Codex makes one: a header that names it, the whole history
in every request, the results of calls behind the calls. As Codex does, it repeats a request whose
connection broke, or that failed with an error that Codex repeats. It prints one line for each
request, and then sums. Which bridge served a request is read from the header `x-served-by`, which
deploy/haproxy.cfg sets. docs/scaling.md has figures.
"""

from __future__ import annotations

import argparse
import http.client
import random
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import orjson
from attrs import define, field

Json = dict[str, Any]
WORDS = "You are a coding agent and you follow the instructions. "
TOOLS: list[Json] = [
    {
        "type": "function",
        "name": "exec_command",
        "parameters": {
            "type": "object",
            "properties": {"cmd": {"type": "string"}},
            "required": ["cmd"],
        },
    }
]
REPETITIONS = 5
"""How often Codex repeats a request."""
REPEATED = {"server_error", "rate_limit_exceeded"}
"""Codes of failures that Codex repeats."""
PATIENCE = 300.0
"""Seconds without an event after which Codex gives up."""


class Repeatable(Exception):
    """A failure after which Codex repeats the request; says which."""


@define
class Conversation:
    """One conversation, and what became of its requests."""

    url: str
    key: str | None
    model: str
    header: str
    """The header that names the conversation; empty for none."""
    number: int
    id: str = field(factory=lambda: str(uuid.uuid4()))
    items: list[Json] = field(factory=list)
    servers: list[str] = field(factory=list)
    """Which server gave each answer."""
    usages: list[tuple[int, int]] = field(factory=list)
    """Tokens of each prompt, and how many of them the engine had in its cache."""
    repeated: Counter[str] = field(factory=Counter)
    """Why requests were repeated."""
    failed: str = ""
    """The failure that ended the conversation."""

    def run(self, turns: int) -> None:
        rng = random.Random(self.number)
        self.items = [{"type": "message", "role": "developer", "content": WORDS * 20}]
        self.say(rng)
        for turn in range(turns):
            try:
                output = self.turn()
            except Exception as failure:
                self.failed = f"turn {turn}: {failure!r}"
                print(f"conversation {self.number}, turn {turn}: FAILED {failure!r}", flush=True)
                return
            total, cached = self.usages[-1]
            print(
                f"conversation {self.number}, turn {turn}: {self.servers[-1]}, "
                f"{cached} of {total} tokens cached",
                flush=True,
            )
            self.items += output
            calls = [item for item in output if item["type"] == "function_call"]
            for call in calls:
                result = f"exit code 0\n{text(rng, 150)}"
                self.items.append(
                    {
                        "type": "function_call_output",
                        "call_id": call["call_id"],
                        "output": result,
                    }
                )
            if not calls:
                self.say(rng)

    def say(self, rng: random.Random) -> None:
        """Add a message of the user, which makes the model of the tests call a tool."""
        content = f"Conversation {self.id}. {text(rng, 100)} RUN ls"
        self.items.append({"type": "message", "role": "user", "content": content})

    def turn(self) -> list[Json]:
        """The output items of one answer. Raises whatever ends the conversation."""
        for repetition in range(REPETITIONS + 1):
            try:
                return self.ask()
            except (OSError, http.client.HTTPException, Repeatable) as failure:
                if repetition == REPETITIONS:
                    raise
                self.repeated[str(failure) or type(failure).__name__] += 1
                print(f"conversation {self.number}: repeats after {failure!r}", flush=True)
                time.sleep(0.2 * 2**repetition)
        raise AssertionError("unreachable")

    def ask(self) -> list[Json]:
        where = urlsplit(self.url)
        is_tls = where.scheme == "https"
        make = http.client.HTTPSConnection if is_tls else http.client.HTTPConnection
        connection = make(where.netloc, timeout=PATIENCE)
        headers = {
            "content-type": "application/json",
            "accept": "text/event-stream",
            "originator": "codex_exec",
            "user-agent": "codex_exec/0.169.0 (Linux)",
        }
        if self.header:
            headers[self.header] = self.id
        if self.key:
            headers["authorization"] = f"Bearer {self.key}"
        body = {"model": self.model, "input": self.items, "tools": TOOLS, "stream": True}
        try:
            connection.request("POST", "/v1/responses", orjson.dumps(body), headers)
            reply = connection.getresponse()
            if reply.status != 200:
                raise Repeatable(f"HTTP status {reply.status}")
            for line in reply:
                if not line.startswith(b"data: {"):
                    continue
                event = orjson.loads(line[6:])
                if event["type"] == "response.failed":
                    error = event["response"]["error"]
                    kind = Repeatable if error["code"] in REPEATED else RuntimeError
                    raise kind(f"{error['code']}: {error['message']}")
                if event["type"] == "response.completed":
                    usage = event["response"]["usage"]
                    cached = usage["input_tokens_details"]["cached_tokens"]
                    self.usages.append((usage["input_tokens"], cached))
                    self.servers.append(reply.headers.get("x-served-by", "?"))
                    return list(event["response"]["output"])
            raise Repeatable("the stream ended too early")
        finally:
            connection.close()


def text(rng: random.Random, words: int) -> str:
    """Words that no other conversation has."""
    return " ".join(f"w{rng.randrange(1000)}" for _ in range(words))


def report(conversations: list[Conversation]) -> None:
    answers = sum(len(c.usages) for c in conversations)
    served = Counter(server for c in conversations for server in c.servers)
    moves = sum(
        a != b for c in conversations for a, b in zip(c.servers, c.servers[1:], strict=False)
    )
    total = sum(size for c in conversations for size, _ in c.usages[1:])
    cached = sum(cached for c in conversations for _, cached in c.usages[1:])
    reusable = sum(size for c in conversations for size, _ in c.usages[:-1])
    repeated: Counter[str] = sum((c.repeated for c in conversations), Counter())
    print(f"answers: {answers}, by server: {dict(served)}")
    print(f"conversations that failed: {sum(bool(c.failed) for c in conversations)}")
    print(f"requests that were repeated: {sum(repeated.values())} {dict(repeated)}")
    print(f"times that a conversation changed its server: {moves}")
    if total:
        print(
            f"behind the first requests: {cached / total:.0%} of the prompts' tokens were cached; "
            f"{cached / reusable:.0%} of the prompt before"
        )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench spread")
    parser.add_argument("url", help="address of the balancer, without /v1")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--key")
    parser.add_argument("--conversations", type=int, default=8)
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--header", default="thread-id", help="names the conversation; '' for none")
    options = parser.parse_args()
    conversations = [
        Conversation(options.url, options.key, options.model, options.header, number)
        for number in range(options.conversations)
    ]
    with ThreadPoolExecutor(options.conversations) as pool:
        list(pool.map(lambda conversation: conversation.run(options.turns), conversations))
    report(conversations)
