"""The tools of the Codex CLI, each as a step of a scenario with an effect that can be checked."""

from __future__ import annotations

import base64
import json
import re
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

from tests.codex import mcp_server
from tests.codex.scenario import CHILD, CHILD_DONE, Chat, Check, Json, Step

TASK = "Walk through the tools."
PATCH = """\
*** Begin Patch
*** Update File: notes.txt
@@
 first
-second
+"second" with <b>marks</b> & a \\ in {braces}
*** Add File: added.txt
+new
*** End Patch
"""
NOTES = "first\nsecond\nthird\n"
PATCHED = 'first\n"second" with <b>marks</b> & a \\ in {braces}\nthird\n'
MODEL: Json = {
    "slug": "qwen3:14b",
    "display_name": "Qwen3 14B",
    "description": None,
    "supported_reasoning_levels": [],
    "shell_type": "unified_exec",
    "visibility": "list",
    "supported_in_api": True,
    "priority": 1,
    "availability_nux": None,
    "upgrade": None,
    "base_instructions": "You work with tools.",
    "supports_reasoning_summaries": False,
    "support_verbosity": False,
    "default_verbosity": None,
    "apply_patch_tool_type": "freeform",
    "truncation_policy": {"mode": "bytes", "limit": 10000},
    "supports_parallel_tool_calls": True,
    "context_window": 40960,
    "experimental_supported_tools": [],
}
"""A model as a catalog describes it, with apply_patch as a freeform tool."""
CHILD_STEPS = [
    Step("exec_command", {"cmd": "echo child-$((2*3)) > child.txt; cat child.txt"}, "child-6")
]
CHILD_LEAVES = {"child.txt": "child-6\n"}


def settings(folder: Path, **model: Any) -> list[str]:
    """Arguments with which Codex declares all its own tools, and those of our server.

    `model` changes the catalog's entry of the model. With `supports_search_tool` the tools of the
    server, and in newer versions those for agents, are not declared but found by tool_search.
    """
    catalog = folder.parent / "catalog.json"
    catalog.write_text(json.dumps({"models": [MODEL | model]}))
    values = {
        "model_catalog_json": str(catalog),
        "mcp_servers.demo.command": sys.executable,
        "mcp_servers.demo.args": [mcp_server.__file__],
        # 0.130 would declare the tools of a server that has only three.
        "features.tool_search_always_defer_mcp_tools": bool(model.get("supports_search_tool")),
    }
    # Strings and lists in TOML are written as in JSON.
    return [word for key, value in values.items() for word in ("-c", f"{key}={json.dumps(value)}")]


def prepare(folder: Path) -> None:
    """Write the files that the steps work on."""
    (folder / "notes.txt").write_text(NOTES)
    (folder / "blue.png").write_bytes(png(b"\0\0\xff"))


def png(colour: bytes) -> bytes:
    """A picture of four pixels."""
    head = struct.pack(">IIBBBBB", 2, 2, 8, 2, 0, 0, 0)
    rows = zlib.compress(2 * (b"\0" + 2 * colour))
    chunks = [(b"IHDR", head), (b"IDAT", rows), (b"IEND", b"")]
    sealed = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(sealed)


def command() -> Step:
    return Step(
        "exec_command",
        {"cmd": "echo sum=$((40+2)) > sum.txt; cat sum.txt"},
        "sum=42",
        leaves={"sum.txt": "sum=42\n"},
    )


def terminal() -> list[Step]:
    """A command that waits for input, and the input."""
    waits = 'echo ready; read -r line; echo "got $line" > typed.txt; cat typed.txt'
    return [
        Step(
            "exec_command",
            {"cmd": waits, "tty": True, "yield_time_ms": 250},
            "running with session ID",
        ),
        Step(
            "write_stdin",
            lambda chat: {
                "session_id": int(_last(chat, r"session ID (\d+)")),
                "chars": "hello\n",
                "yield_time_ms": 30000,
            },
            "got hello",
            leaves={"typed.txt": "got hello\n"},
        ),
    ]


def plan() -> Step:
    steps = [{"step": "walk", "status": "in_progress"}, {"step": "rest", "status": "pending"}]
    return Step("update_plan", {"plan": steps}, "Plan updated")


def picture() -> Step:
    return Step("view_image", {"path": "blue.png"}, check=_shows(png(b"\0\0\xff")))


def patch() -> Step:
    leaves = {"notes.txt": PATCHED, "added.txt": "new\n"}
    return Step("apply_patch", {"input": PATCH}, "M notes.txt", leaves=leaves)


def search(query: str, finds: str) -> Step:
    """A search after which the tool that it `finds` is offered."""
    return Step("tool_search", {"query": query, "limit": 8}, finds, check=_offers(finds))


def server() -> list[Step]:
    """The tools of our server: for text, for a picture, and for arguments of all kinds."""
    arguments = {"words": ["a", "b"], "times": 2, "loud": True, "more": {"depth": 3}}
    return [
        Step("reverse_text", {"text": "a < b & c"}, "reversed: c & b < a"),
        Step("get_image", {}, "a red picture", check=_shows(base64.b64decode(mcp_server.PICTURE))),
        Step("show_arguments", arguments, check=arrived(arguments)),
    ]


def agents() -> list[Step]:
    """Starting a sub-agent, and waiting for its end."""
    return [
        Step("spawn_agent", {"message": CHILD}, "agent_id", leaves=CHILD_LEAVES),
        Step(
            "wait_agent",
            lambda chat: {
                "targets": [_last(chat, r'"agent_id": ?"([^"]+)"')],
                "timeout_ms": 60000,
            },
            CHILD_DONE,
        ),
    ]


def team() -> list[Step]:
    """The same with the tools of multi_agent_v2, where the child's answer is a message."""

    def answered(chat: Chat) -> None:
        assert CHILD_DONE in str(chat.request["messages"][-1]["content"])

    task = {"task_name": "mark", "message": CHILD, "fork_turns": "none"}
    return [
        Step("spawn_agent", task, "/root/mark", leaves=CHILD_LEAVES),
        Step("wait_agent", {"timeout_ms": 60000}, "Wait completed", answered),
    ]


def code() -> Step:
    """A program for the code mode."""
    run = 'await tools.exec_command({cmd: "echo js-$((5*5)) > js.txt; cat js.txt"})'
    return Step("exec", {"input": f"text({run});"}, "js-25", leaves={"js.txt": "js-25\n"})


def program() -> list[Step]:
    """Programs that call each kind of tool, where nothing but programs can be run."""
    patch = "*** Begin Patch\\n*** Add File: program.txt\\n+made\\n*** End Patch"
    return [
        code(),
        Step(
            "exec",
            {"input": f'text(await tools.apply_patch("{patch}"));'},
            leaves={"program.txt": "made\n"},
        ),
        Step(
            "exec",
            {
                "input": 'const found = ALL_TOOLS.find(t => t.name.endsWith("reverse_text"));\n'
                'const r = await tools[found.name]({text: "a < b"});\n'
                "text(r.content[0].text);"
            },
            "reversed: b < a",
        ),
    ]


def arrived(arguments: Json) -> Check:
    """A check that these arguments, and no others, reached our server's show_arguments."""
    # 0.130 and 0.145 show the content of a server's result as JSON, where quotes are escaped.
    text = f"arrived: {json.dumps(arguments, sort_keys=True)}"

    def check(chat: Chat) -> None:
        result = chat.results[-1]
        assert text in result.replace('\\"', '"'), result

    return check


def left(folder: Path) -> dict[str, str]:
    """The texts in the working folder."""
    return {path.name: path.read_text() for path in folder.glob("*.txt")}


def _last(chat: Chat, pattern: str) -> str:
    """The group of `pattern` in the last result. Raises LookupError if there is none."""
    found = re.search(pattern, chat.results[-1])
    if not found:
        raise LookupError(f"no {pattern} in {chat.results[-1]}")
    return found.group(1)


def _shows(image: bytes) -> Check:
    def check(chat: Chat) -> None:
        assert chat.images == [base64.b64encode(image).decode()]

    return check


def _offers(tool: str) -> Check:
    def check(chat: Chat) -> None:
        assert chat.offers(tool), chat.functions

    return check
