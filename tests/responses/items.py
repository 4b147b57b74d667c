"""Items as Codex sends them, and the chat messages that they become."""

from __future__ import annotations

from typing import Any

from codex_bridge.responses.messages import to_messages
from codex_bridge.tools.toolbox import Toolbox

Json = dict[str, Any]
TOOLBOX = Toolbox.from_request(
    [
        {"type": "function", "name": "run"},
        {"type": "namespace", "name": "agents", "tools": [{"type": "function", "name": "spawn"}]},
    ]
)
IMAGE = {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="}
IMAGE_PART = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}


def message(role: str, *texts: str) -> Json:
    kind = "output_text" if role == "assistant" else "input_text"
    content = [{"type": kind, "text": text} for text in texts]
    return {"type": "message", "role": role, "content": content}


def call(call_id: str | None, arguments: Any = "{}", **more: Any) -> Json:
    return {
        "type": "function_call",
        "call_id": call_id,
        "name": "run",
        "arguments": arguments,
    } | more


def result(call_id: str | None, output: Any = "done") -> Json:
    return {"type": "function_call_output", "call_id": call_id, "output": output}


def reasoning(text: str) -> Json:
    return {"type": "reasoning", "summary": [{"type": "summary_text", "text": text}]}


def chat_call(call_id: str, arguments: str = "{}", name: str = "run") -> Json:
    function = {"name": name, "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}


def tool(call_id: str, content: str = "done", name: str = "run") -> Json:
    return {"role": "tool", "tool_call_id": call_id, "name": name, "content": content}


def user(content: Any) -> Json:
    return {"role": "user", "content": content}


def assistant(content: str = "", *calls: Json, **more: Any) -> Json:
    calling = {"tool_calls": list(calls)} if calls else {}
    return {"role": "assistant", "content": content} | more | calling


def messages(*items: Json, instructions: str | None = None, **model: bool) -> list[Json]:
    return to_messages(instructions, list(items), TOOLBOX, **model)
