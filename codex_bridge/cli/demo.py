"""`codex-bridge demo`: shows one exchange over a scripted or a real model, without Ollama."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from shlex import quote
from textwrap import shorten
from typing import Any

import orjson
from attrs import frozen
from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import react
from twisted.web.client import Agent

from codex_bridge import __version__, advice
from codex_bridge.cli import real_model
from codex_bridge.cli.llama_server import LlamaServer
from codex_bridge.cli.scripted_ollama import MODEL, ScriptedOllama
from codex_bridge.service import BridgeService, make_service
from codex_bridge.settings import Settings
from codex_bridge.vocabulary import Json

PROMPT = "list files in /tmp"
WIDTH = 96

REQUEST: Json = {
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
"""A request as Codex makes it, without the model's name and its long texts."""


@frozen
class _Behind:
    """What is behind the bridge, and what the demo says of it."""

    url: str
    model: str
    words: str
    """What it is, for the title."""
    chat_path: str
    last_chat: Callable[[], Json]
    """The body of the last chat request."""
    stop: Callable[[], Deferred[None]]
    options: str
    """Of `codex-bridge demo`, to have it again."""
    codex: str
    """The command that points Codex at it, without a prompt; HERE stands for the bridge's URL."""


def demo(*, serve: bool, port: int | None, real: bool, model: Path | None) -> None:
    """Show an exchange, or with `serve` keep the bridge up until Ctrl-C; ends the process.

    `port` is the bridge's TCP port; None or 0 takes any free one. With `real`, llama.cpp runs the
    GGUF file `model`, or that of a checkout; without it, a model follows a script. Raises
    CommandError if llama.cpp cannot run the model.
    """
    with real_model.running(model) if real else nullcontext() as llama:

        def behind(reactor: Any) -> _Behind:
            return _scripted(reactor) if llama is None else _real(reactor, llama, model)

        react(lambda reactor: Deferred.fromCoroutine(_demo(reactor, behind(reactor), serve, port)))


def _scripted(reactor: Any) -> _Behind:
    ollama = ScriptedOllama(reactor)
    return _Behind(
        url=ollama.url,
        model=MODEL,
        words="a scripted model stands in for Ollama",
        chat_path="/api/chat",
        last_chat=lambda: ollama.chats[-1],
        stop=ollama.stop,
        options="",
        codex=_codex(MODEL),
    )


def _real(reactor: Any, llama: LlamaServer, model: Path | None) -> _Behind:
    recorder = real_model.Recorder(reactor, llama.url)
    name = llama.model.stem
    return _Behind(
        url=recorder.url,
        model=name,
        words=f"llama.cpp runs {llama.model.name}",
        chat_path="/v1/chat/completions",
        last_chat=lambda: recorder.last_body,
        stop=recorder.stop,
        options=f" --real --model {quote(str(model))}" if model else " --real",
        codex=_codex(name),
    )


def _codex(model: str) -> str:
    return (
        f"CODEX_OSS_BASE_URL=HERE/v1 codex exec --skip-git-repo-check \\\n"
        f"      --oss --local-provider ollama -m {quote(model)}"
    )


async def _demo(reactor: Any, behind: _Behind, serve: bool, port: int | None) -> None:
    settings = Settings(port=port or 0, upstream_url=behind.url, quiet=True)
    bridge = make_service(settings, reactor)
    try:
        bridge.startService()
    except CannotListenError:
        await behind.stop()
        sys.exit(f"codex-bridge: port {port} is taken; give another --port")
    here = f"http://127.0.0.1:{bridge.listening_port.getHost().port}"
    _title(f"codex-bridge {__version__} at {here}; {behind.words}")
    if serve:
        _how_to_point_codex(here, behind)
        await _until_stopped(reactor, bridge, behind)
    else:
        request = {"model": behind.model} | REQUEST
        events = await _exchange(reactor, here, request)
        _show_request(request)
        _show_chat(behind)
        _show_events(events)
        _what_next(behind)
        await bridge.stopService()
        await behind.stop()


async def _until_stopped(reactor: Any, bridge: BridgeService, behind: _Behind) -> None:
    stopped: Deferred[None] = Deferred()

    async def stop() -> None:
        await bridge.stopService()
        await behind.stop()

    reactor.addSystemEventTrigger("before", "shutdown", lambda: Deferred.fromCoroutine(stop()))
    await stopped


async def _exchange(reactor: Any, url: str, request: Json) -> list[Json]:
    """Send `request` to the bridge at `url`; return the events that came back."""
    client = HTTPClient(Agent(reactor))
    response = await client.post(f"{url}/v1/responses", json=request)
    body: bytes = await response.content()
    lines = body.splitlines()
    return [orjson.loads(line[6:]) for line in lines if line.startswith(b"data: {")]


def _show_request(request: Json) -> None:
    _title("1. What Codex sends: POST /v1/responses")
    _row("model", request["model"])
    _row("instructions", request["instructions"])
    for item in request["input"]:
        _row(item["role"], item["content"][0]["text"])
    for tool in request["tools"]:
        members = ", ".join(member["name"] for member in tool.get("tools", []))
        _row(tool["type"], f"{tool.get('name', '')} {f'({members})' if members else ''}")


def _show_chat(behind: _Behind) -> None:
    chat = behind.last_chat()
    _title(f"2. What the model is asked: POST {behind.chat_path}")
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
    response = event.get("response", {})
    if error := response.get("error"):
        return str(error["message"])
    usage = response.get("usage")
    return f"{usage['input_tokens']} tokens in, {usage['output_tokens']} out" if usage else ""


def _what_next(behind: _Behind) -> None:
    _title("What next")
    bridge = advice.elsewhere(advice.OWN_URL)
    print(
        "  Let the real Codex CLI talk to this model:   "
        f"codex-bridge demo{behind.options} --serve\n"
        "  Put the bridge in front of your Ollama:\n"
        f"    1. start the bridge:  {advice.run(bridge)}\n"
        f"    2. tell your shell:   {advice.send_oss(bridge, os.environ)}\n"
        f'    3. use Codex:         codex --oss --local-provider ollama -m MODEL "{PROMPT}"\n'
        "       MODEL is one of those that `ollama list` shows.\n"
    )


def _how_to_point_codex(here: str, behind: _Behind) -> None:
    print(
        f"  In another terminal:\n\n"
        f'    {behind.codex.replace("HERE", here)} "{PROMPT}"\n\n'
        f"  Ctrl-C ends the demo.\n",
        flush=True,
    )


def _title(text: str) -> None:
    print(f"\n{text}\n{'-' * len(text)}", flush=True)


def _row(name: str, text: str, width: int = 14) -> None:
    line = f"  {name:<{width}} {shorten(str(text), WIDTH - width, placeholder=' …')}"
    print(line.rstrip())
