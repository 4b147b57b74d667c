"""`codex app-server`: the CLI as editors and its own interface use it, several turns a process."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from threading import Timer
from typing import Any

from tests.codex.program import TIMEOUT, Codex

Json = dict[str, Any]


def converse(
    codex: Codex,
    url: str,
    prompts: Sequence[str],
    modes: Sequence[str] = (),
    settings: Sequence[str] = (),
) -> list[str]:
    """Run one turn for each prompt in one thread; how each ended: "completed", "failed".

    `modes` are those in which Codex works in each turn: "plan", "default". `settings` are arguments
    before the command. Blocks. Raises EOFError if the program ends early, or is killed after
    TIMEOUT.
    """
    codex.write_provider(url)
    process = codex.start([*settings, "app-server"])
    # Without it, a turn that never ends would hold up the test for ever.
    alarm = Timer(TIMEOUT, process.kill)
    alarm.start()
    with process:
        try:
            return _turns(process, prompts, modes)
        finally:
            alarm.cancel()
            process.kill()


def _turns(
    process: subprocess.Popen[bytes], prompts: Sequence[str], modes: Sequence[str]
) -> list[str]:
    client = {"clientInfo": {"name": "an-editor", "version": "1"}}
    _ask(process, 1, "initialize", client | {"capabilities": {"experimentalApi": bool(modes)}})
    _send(process, {"method": "initialized"})
    thread = _ask(process, 2, "thread/start", {})["result"]["thread"]["id"]
    ended = []
    for n, prompt in enumerate(prompts):
        turn = {"threadId": thread, "input": [{"type": "text", "text": prompt}]}
        if modes:
            settings = {"model": "qwen3:14b", "reasoning_effort": None}
            settings |= {"developer_instructions": None}
            turn["collaborationMode"] = {"mode": modes[n], "settings": settings}
        _send(process, {"id": 3 + n, "method": "turn/start", "params": turn})
        while (message := _read(process)).get("method") != "turn/completed":
            pass
        ended.append(message["params"]["turn"]["status"])
    return ended


def _ask(process: subprocess.Popen[bytes], n: int, method: str, params: Json) -> Json:
    _send(process, {"id": n, "method": method, "params": params})
    while (answer := _read(process)).get("id") != n:
        pass
    return answer


def _send(process: subprocess.Popen[bytes], message: Json) -> None:
    assert process.stdin
    process.stdin.write(json.dumps(message).encode() + b"\n")
    process.stdin.flush()


def _read(process: subprocess.Popen[bytes]) -> Json:
    assert process.stdout
    line = process.stdout.readline()
    if not line:
        raise EOFError("codex app-server ended")
    message: Json = json.loads(line)
    return message
