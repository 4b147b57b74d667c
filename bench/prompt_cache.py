"""What a prompt cache can reuse over a session of 30 turns.

    python -m bench prompt_cache

Runs a scripted session through a bridge in front of the fake Ollama, with every kind of call,
reasoning, pictures and later developer messages. Ollama's cache reuses the longest beginning that
a prompt shares with the one before it. That share is printed for the bytes that the bridge sent
("sent"), and for the prompt after a template that drops the reasoning of earlier turns, as that
of qwen3.5 does ("shown").
"""

from __future__ import annotations

from itertools import pairwise, zip_longest
from typing import Any

import orjson
from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.web.client import Agent

from codex_bridge.service import make_service
from codex_bridge.settings import UPSTREAM_APIS, Settings
from tests.fake_ollama import Answer, Call, FakeOllama, ModelFacts, Playlist, Say, Think

TURNS = 30
WORDS = "You are a coding agent and you follow the instructions. "
Json = dict[str, Any]
TOOLS: list[Json] = [
    {
        "type": "function",
        "name": "exec_command",
        "parameters": {"type": "object", "properties": {"cmd": {"type": "string"}}},
    },
    {"type": "custom", "name": "apply_patch"},
    {
        "type": "namespace",
        "name": "mcp__demo",
        "tools": [{"type": "function", "name": "echo", "parameters": {"type": "object"}}],
    },
]
PATCH = "*** Begin Patch\n*** Add File: a{n}.txt\n+{n}\n*** End Patch\n"
PICTURE = {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="}


def answer(n: int) -> Answer:
    """The model's answer in turn `n`."""
    kinds: list[Answer] = [
        [Think(f"Step {n}. " * 20), Call("exec_command", {"cmd": f"cat file{n}.py"})],
        [Think("Now the patch."), Say("I edit."), Call("apply_patch", {"input": PATCH})],
        [Call("mcp__demo__echo", {"text": str(n)}), Call("exec_command", {"cmd": "ls"})],
        [Say(f"I look.\n<tool_call>{{'name': 'exec_command', 'arguments': {{'cmd': '{n}'}}}}")],
        [Think("All is well. " * 10), Say(f"Part {n} is done. " * 5)],
    ]
    return kinds[n % len(kinds)]


def results(items: list[Json], n: int) -> list[Json]:
    """What Codex appends to an answer: the results of its calls, or else the user's next words."""
    calls = [item for item in items if "call_id" in item]
    if not calls:
        return [
            {"type": "message", "role": "developer", "content": f"Mode {n}."},
            {"type": "message", "role": "user", "content": f"Go on with part {n}."},
        ]
    output: Any = f"line of output {n}\n" * 40
    if n % 7 == 2:
        output = [{"type": "input_text", "text": output}, PICTURE]
    return [
        {"type": f"{call['type']}_output", "call_id": call["call_id"], "output": output}
        for call in calls
    ]


async def session(reactor: Any, api: str, template: str) -> list[Json]:
    """Each prompt of a session as {"sent": bytes, "shown": bytes}."""
    facts = ModelFacts(template=template, num_ctx=262144, trained_ctx=262144)  # type: ignore[arg-type]
    fake = FakeOllama(reactor, model=Playlist(*map(answer, range(TURNS))), models=[facts])
    fake.listen()
    bridge = make_service(
        Settings(port=0, upstream_url=fake.url, upstream_api=api, quiet=True), reactor
    )
    bridge.startService()
    url = f"http://127.0.0.1:{bridge.listening_port.getHost().port}/v1/responses"
    items: list[Json] = [
        {"type": "message", "role": "developer", "content": WORDS * 300},
        {"type": "message", "role": "user", "content": "Write the program."},
    ]
    client = HTTPClient(Agent(reactor))
    for n in range(TURNS):
        request = {"model": facts.name, "input": items, "tools": TOOLS}
        response = await client.post(url, json=request)
        output = orjson.loads(await response.content())["output"]
        items = [*items, *output, *results(output, n)]
    prompts = [
        {
            "sent": orjson.dumps([turn.json.get("tools"), turn.json["messages"]]),
            "shown": orjson.dumps([turn.effective["tools"], turn.effective["messages"]]),
        }
        for turn in fake.turns
        if turn.effective
    ]
    await bridge.stopService()
    await fake.stop()
    return prompts


def shared(old: bytes, new: bytes) -> int:
    """Bytes of the common beginning; the brackets that close `old` do not count."""
    old = old.rstrip(b"]}")
    if new.startswith(old):
        return len(old)
    return next(n for n, (a, b) in enumerate(zip_longest(old, new)) if a != b)


async def measure(reactor: Any) -> None:
    print(f"{TURNS} turns; share of all prompts behind the first that a prompt cache can reuse")
    for api in UPSTREAM_APIS[1:]:
        for kind, template in (("sent", "keep"), ("shown", "qwen3.5")):
            prompts = [prompt[kind] for prompt in await session(reactor, api, template)]
            pairs = list(pairwise(prompts))
            reused = sum(shared(old, new) for old, new in pairs)
            before = sum(len(old.rstrip(b"]}")) for old, _ in pairs)
            total = sum(len(new) for _, new in pairs)
            print(
                f"  {api:7} {kind:6} {reused / total:7.2%} of what was there;"
                f" {reused / before:7.2%} of what the prompt before had"
            )


def main() -> None:
    react(lambda reactor: Deferred.fromCoroutine(measure(reactor)))
