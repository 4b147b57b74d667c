"""An MCP server on stdin and stdout, for the real Codex CLI to start.

python mcp_server.py [NUMBER]     NUMBER: how many more tools it has, which do nothing
"""

from __future__ import annotations

import json
import sys
from typing import Any

Json = dict[str, Any]
PICTURE = (
    "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAEElEQVR4nGP4z8AARAwQCgAf"
    "7gP9i18U1AAAAABJRU5ErkJggg=="
)
"""A PNG of two by two pixels, all red."""
TOOLS: list[Json] = [
    {
        "name": "reverse_text",
        "description": "Reverses a text.",
        "inputSchema": {
            "type": "object",
            "properties": {"text": {"type": "string"}},
            "required": ["text"],
        },
    },
    {
        "name": "show_arguments",
        "description": "Tells which arguments arrived.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "words": {"type": "array", "items": {"type": "string"}},
                "times": {"type": "integer"},
                "loud": {"type": "boolean"},
                "path": {"type": "string"},
                "more": {"type": "object", "properties": {"depth": {"type": "integer"}}},
            },
            "required": ["words"],
        },
    },
    {
        "name": "get_image",
        "description": "Gives a red picture.",
        "inputSchema": {"type": "object", "properties": {}},
    },
]


def call(name: str, arguments: Json) -> list[Json]:
    """The content of a tool's result."""
    if name == "reverse_text":
        return [{"type": "text", "text": f"reversed: {arguments['text'][::-1]}"}]
    if name == "show_arguments":
        return [{"type": "text", "text": f"arrived: {json.dumps(arguments, sort_keys=True)}"}]
    picture = {"type": "image", "data": PICTURE, "mimeType": "image/png"}
    return [{"type": "text", "text": "a red picture"}, picture]


def idle(n: int) -> Json:
    """The declaration of a tool that nobody calls."""
    properties = {"text": {"type": "string", "description": f"What number {n} is about."}}
    schema = {"type": "object", "properties": properties}
    description = f"Does what number {n} does, and says so at some length."
    return {"name": f"idle_{n}", "description": description, "inputSchema": schema}


def result(method: str, params: Json) -> Json:
    """The answer to one request."""
    if method == "initialize":
        return {
            "protocolVersion": params["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "demo", "version": "1"},
        }
    if method == "tools/list":
        more = int(sys.argv[1]) if len(sys.argv) > 1 else 0
        return {"tools": TOOLS + [idle(n) for n in range(more)]}
    if method == "tools/call":
        return {"content": call(params["name"], params.get("arguments") or {})}
    return {}


def main() -> None:
    """Answer until the client closes; notifications, which have no id, get nothing."""
    for line in sys.stdin:
        message = json.loads(line)
        if "id" in message and "method" in message:
            answer = result(message["method"], message.get("params") or {})
            reply = {"jsonrpc": "2.0", "id": message["id"], "result": answer}
            sys.stdout.write(json.dumps(reply) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
