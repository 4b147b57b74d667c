"""Time to the first token: through the bridge, and directly, side by side.

    python -m bench ttft [--rounds 200]

Starts a fake upstream, which answers as soon as it has read a request, and a bridge, each in a
process of its own. Asks the bridge with a request of the size that Codex sends, and the upstream
with the chat request that the bridge makes of it, in turn, over a new connection each time, as
Codex does. Times differ between runs and machines: compare the two within one run.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from codex_bridge.engines.openai_chat import encode
from tests.responses.asked import translate

INSTRUCTIONS = 20_000
"""Bytes of instructions in Codex's first request."""
TOOLS, TOOL_SIZE = 14, 1_200
"""How many tools it declares, and the bytes of each description."""
UPSTREAM = Path(__file__).with_name("upstream.py")


def request() -> dict[str, Any]:
    """A request with the sizes of Codex's first one: about 40 kB."""
    words = "You are a coding agent and you follow the instructions. "
    tools = [
        {
            "type": "function",
            "name": f"tool_{n}",
            "description": (words * 100)[:TOOL_SIZE],
            "strict": False,
            "parameters": {"type": "object", "properties": {"cmd": {"type": "string"}}},
        }
        for n in range(TOOLS)
    ]
    return {
        "model": "qwen3:14b",
        "instructions": (words * 1000)[:INSTRUCTIONS],
        "input": [{"type": "message", "role": "user", "content": "list files in /tmp"}],
        "tools": tools,
        "stream": True,
    }


def first_token(port: int, path: str, body: bytes, mark: bytes) -> float:
    """Seconds from opening the connection to the first bytes that hold `mark`."""
    started = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port)
    headers = {"content-type": "application/json", "originator": "codex_exec"}
    connection.request("POST", path, body, headers)
    response = connection.getresponse()
    seen = b""
    while mark not in seen:
        piece = response.read1(65536)
        if not piece:
            raise SystemExit(f"no {mark!r} in {seen[:300]!r}")
        seen += piece
    taken = time.perf_counter() - started
    connection.close()
    return taken


def start(*command: str) -> tuple[subprocess.Popen[str], int]:
    """A process that prints the port it listens on."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if "listens on" in line:
            return process, int(line.split(",")[0].rsplit(":", 1)[1])
    raise SystemExit(f"{command[0]} did not start")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200, help="pairs of requests (200)")
    rounds = parser.parse_args().rounds
    upstream, upstream_port = start(sys.executable, str(UPSTREAM))
    twistd = str(Path(sys.executable).with_name("twistd"))
    options = ["--port", "0", "--upstream-url", f"http://127.0.0.1:{upstream_port}"]
    bridge, port = start(twistd, "-n", "--pidfile=", "codex-bridge", *options)
    try:
        body = json.dumps(request()).encode()
        chat = encode(translate(request()).chat, stream=True)
        direct, bridged = [], []
        for n in range(rounds + 20):
            a = first_token(upstream_port, "/v1/chat/completions", chat, b"Hello")
            b = first_token(port, "/v1/responses", body, b"Hello")
            if n >= 20:
                direct.append(a * 1000)
                bridged.append(b * 1000)
    finally:
        bridge.terminate()
        upstream.terminate()
    print(f"request {len(body)} bytes, {rounds} rounds in pairs; milliseconds to the first token")
    for name, values in (("direct", direct), ("bridge", bridged)):
        print(f"  {name}  min {min(values):.2f}  median {statistics.median(values):.2f}")
    added = [b - a for a, b in zip(direct, bridged, strict=True)]
    print(f"  added   min {min(added):.2f}  median {statistics.median(added):.2f}")
