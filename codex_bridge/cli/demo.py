"""`codex-bridge demo`: shows one exchange over a scripted model, without Ollama and Codex."""

from __future__ import annotations

import sys
from textwrap import shorten
from typing import Any

import orjson
from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import react
from twisted.web.client import Agent

from codex_bridge import __version__
from codex_bridge.cli.scripted_ollama import MODEL, ScriptedOllama
from codex_bridge.service import BridgeService, make_service
from codex_bridge.settings import Settings
from codex_bridge.vocabulary import Json

PROMPT = "list files in /tmp"
WIDTH = 96

REQUEST: Json = {
    "model": MODEL,
    "instructions": "You are a coding agent. Use the tools to answer.",
    "input": [
        {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": PROMPT}],
        }
    ],
    "tools": [
        {
            "type": "function",
            "name": "exec_command",
            "description": "Runs a command in a shell and returns its output.",
            "strict": False,
            "parameters": {
                "type": "object",
                "properties": {"cmd": {"type": "string", "description": "The command."}},
                "required": ["cmd"],
            },
        },
        {
            "type": "namespace",
            "name": "multi_agent_v1",
            "description": "Tools for working with sub-agents.",
            "tools": [
                {
                    "type": "function",
                    "name": "spawn_agent",
                    "description": "Starts a sub-agent.",
                    "parameters": {
                        "type": "object",
                        "properties": {"message": {"type": "string"}},
                        "required": ["message"],
                    },
                }
            ],
        },
        {"type": "web_search", "external_web_access": False},
    ],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "reasoning": {"summary": "auto"},
    "store": False,
    "stream": True,
}
"""A request as Codex makes it, without its long texts."""


def demo(*, serve: bool, port: int | None) -> None:
    """Show an exchange, or with `serve` keep the bridge up until Ctrl-C; ends the process.

    `port` is the bridge's TCP port; None or 0 takes any free one.
    """
    react(lambda reactor: Deferred.fromCoroutine(_demo(reactor, serve, port or 0)))


async def _demo(reactor: Any, serve: bool, port: int) -> None:
    model = ScriptedOllama(reactor)
    bridge = make_service(Settings(port=port, upstream_url=model.url, quiet=True), reactor)
    try:
        bridge.startService()
    except CannotListenError:
        await model.stop()
        sys.exit(f"codex-bridge: port {port} is taken; give another --port")
    here = f"http://127.0.0.1:{bridge.listening_port.getHost().port}"
    _title(f"codex-bridge {__version__} at {here}; a scripted model stands in for Ollama")
    if serve:
        _how_to_point_codex(here)
        await _until_stopped(reactor, bridge, model)
    else:
        events = await _exchange(reactor, here)
        _show_request(REQUEST)
        _show_chat(model.chats[-1])
        _show_events(events)
        _what_next()
        await bridge.stopService()
        await model.stop()


async def _until_stopped(reactor: Any, bridge: BridgeService, model: ScriptedOllama) -> None:
    stopped: Deferred[None] = Deferred()

    async def stop() -> None:
        await bridge.stopService()
        await model.stop()

    reactor.addSystemEventTrigger("before", "shutdown", lambda: Deferred.fromCoroutine(stop()))
    await stopped


async def _exchange(reactor: Any, url: str) -> list[Json]:
    """Send REQUEST to the bridge at `url`; return the events that came back."""
    client = HTTPClient(Agent(reactor))
    response = await client.post(f"{url}/v1/responses", json=REQUEST)
    body: bytes = await response.content()
    lines = body.splitlines()
    return [orjson.loads(line[6:]) for line in lines if line.startswith(b"data: ")]


def _show_request(request: Json) -> None:
    _title("1. What Codex sends: POST /v1/responses")
    _row("model", request["model"])
    _row("instructions", request["instructions"])
    for item in request["input"]:
        _row(item["role"], item["content"][0]["text"])
    for tool in request["tools"]:
        members = ", ".join(member["name"] for member in tool.get("tools", []))
        _row(tool["type"], f"{tool.get('name', '')} {f'({members})' if members else ''}")


def _show_chat(chat: Json) -> None:
    _title("2. What the model is asked: POST /api/chat")
    for message in chat["messages"]:
        _row(message["role"], message["content"])
    for tool in chat["tools"]:
        _row("function", tool["function"]["name"])
    _row("stream", orjson.dumps(chat["stream"]).decode())


def _show_events(events: list[Json]) -> None:
    _title("3. What Codex gets back, event by event")
    for event in events:
        kind = event["type"].removeprefix("response.")
        _row(f"{event['sequence_number']:3} {kind}", _detail(event), 42)


def _detail(event: Json) -> str:
    if "delta" in event:
        return repr(event["delta"])
    if "item" in event:
        item = event["item"]
        name = f" {item['name']}({item['arguments']})" if "name" in item else ""
        return f"{item['type']}{name}"
    usage = event.get("response", {}).get("usage")
    return f"{usage['input_tokens']} tokens in, {usage['output_tokens']} out" if usage else ""


def _what_next() -> None:
    _title("What next")
    print(
        "  Let the real Codex CLI talk to this model:   codex-bridge demo --serve\n"
        "  Put the bridge in front of your Ollama:\n"
        "    1. move Ollama:       OLLAMA_HOST=127.0.0.1:11433 ollama serve\n"
        "    2. start the bridge:  codex-bridge run\n"
        f'    3. use Codex:         codex --oss --local-provider ollama -m {MODEL} "{PROMPT}"\n'
    )


def _how_to_point_codex(here: str) -> None:
    print(
        f"  In another terminal:\n\n"
        f"    CODEX_OSS_BASE_URL={here}/v1 codex exec --skip-git-repo-check \\\n"
        f'      --oss --local-provider ollama -m {MODEL} "{PROMPT}"\n\n'
        f"  Ctrl-C ends the demo.\n",
        flush=True,
    )


def _title(text: str) -> None:
    print(f"\n{text}\n{'-' * len(text)}", flush=True)


def _row(name: str, text: str, width: int = 14) -> None:
    line = f"  {name:<{width}} {shorten(str(text), WIDTH - width, placeholder=' …')}"
    print(line.rstrip())
