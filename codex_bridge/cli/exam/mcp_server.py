"""The MCP server of the exam, on stdin and stdout; Codex starts it for the tasks that need it.

It imports nothing of this package, so that it starts at once.
"""

from __future__ import annotations

import json
import sys
from typing import Any

PRICES = {"lamp": 4183, "chair": 9027}
"""What `price_of` tells; no model can guess it."""
LABELS, PLACE = ["red", "urgent"], {"floor": 3, "room": "B"}
"""The arguments with which `file_ticket` gives the number of a ticket."""
TICKET = "T-5126"
TEXT = {"type": "string"}
TOOLS: list[dict[str, Any]] = [
    {
        "name": "price_of",
        "description": "Tells the price of an article.",
        "inputSchema": {"type": "object", "properties": {"article": TEXT}, "required": ["article"]},
        "annotations": {"readOnlyHint": True},
    },
    {
        "name": "file_ticket",
        "description": "Files a ticket and returns its number.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "title": TEXT,
                "labels": {"type": "array", "items": TEXT},
                "place": {
                    "type": "object",
                    "properties": {"floor": {"type": "integer"}, "room": TEXT},
                    "required": ["floor", "room"],
                },
            },
            "required": ["title", "labels", "place"],
        },
        "annotations": {"readOnlyHint": True},
    },
]


def called(name: str, arguments: dict[str, Any]) -> str:
    """The text that a tool returns."""
    if name == "price_of":
        price = PRICES.get(str(arguments.get("article")).lower())
        return f"price: {price}" if price else f"no such article; there are {', '.join(PRICES)}"
    if arguments.get("labels") == LABELS and arguments.get("place") == PLACE:
        return f"filed as {TICKET}"
    return f"not filed: labels or place are wrong in {json.dumps(arguments)}"


def answered(method: str, params: dict[str, Any]) -> dict[str, Any]:
    """The result of one request."""
    if method == "initialize":
        return {
            "protocolVersion": params["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "exam", "version": "1"},
        }
    if method == "tools/list":
        return {"tools": TOOLS}
    if method == "tools/call":
        text = called(params["name"], params.get("arguments") or {})
        return {"content": [{"type": "text", "text": text}]}
    return {}


def main() -> None:
    """Answer until the client closes; notifications, which have no id, get nothing."""
    for line in sys.stdin:
        message = json.loads(line)
        if "id" in message and "method" in message:
            result = answered(message["method"], message.get("params") or {})
            print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)


if __name__ == "__main__":
    main()
