"""Tools as Codex declares them: its names and parameters, in words of our own."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def function(name: str, required: list[str] | None = None, **properties: Any) -> Json:
    """A function tool; a property given as a word is one of that type."""
    return {
        "type": "function",
        "name": name,
        "description": f"What {name} does.",
        "strict": False,
        "parameters": {
            "type": "object",
            "properties": {
                key: {"type": value} if isinstance(value, str) else value
                for key, value in properties.items()
            },
            "required": required or [],
            "additionalProperties": False,
        },
    }


def namespace(name: str, *tools: Json) -> Json:
    return {"type": "namespace", "name": name, "description": "Tools.", "tools": list(tools)}


def custom(name: str, definition: str = "start: /[\\s\\S]+/") -> Json:
    form = {"type": "grammar", "syntax": "lark", "definition": definition}
    return {"type": "custom", "name": name, "description": f"Runs {name}.", "format": form}


STRINGS = {"type": "array", "items": {"type": "string"}}
STEP = {"step": {"type": "string"}, "status": {"type": "string"}}
STEPS = {
    "type": "array",
    "description": "The list of steps",
    "items": {
        "type": "object",
        "properties": STEP,
        "required": ["step", "status"],
        "additionalProperties": False,
    },
}
EXEC = function(
    "exec_command",
    ["cmd"],
    cmd="string",
    justification="string",
    login="boolean",
    max_output_tokens="number",
    prefix_rule=STRINGS,
    tty="boolean",
    workdir="string",
    yield_time_ms="number",
)
STDIN = function(
    "write_stdin", ["session_id"], chars="string", session_id="number", yield_time_ms="number"
)
PLAN = function("update_plan", ["plan"], explanation="string", plan=STEPS)
IMAGE = function("view_image", ["path"], path="string")
GOAL = function(
    "update_goal",
    ["status"],
    status={"type": "string", "enum": ["complete", "blocked"], "description": "Required."},
)
AGENTS = namespace(
    "multi_agent_v1",
    function("spawn_agent", agent_type="string", fork_context="boolean", message="string"),
    function("wait_agent", ["targets"], targets=STRINGS, timeout_ms="number"),
    function("close_agent", ["target"], target="string"),
)
MCP = namespace("mcp__demo", function("echo_text", ["text"], text="string", times="integer"))
PATCH = custom("apply_patch")
CODE = custom("exec")
SEARCH = {
    "type": "tool_search",
    "execution": "client",
    "description": "Find tools.",
    "parameters": {
        "type": "object",
        "properties": {"query": {"type": "string"}, "limit": {"type": "number"}},
        "required": ["query"],
        "additionalProperties": False,
    },
}
HOSTED = [{"type": "web_search", "external_web_access": False}, {"type": "image_generation"}]
CODEX = [EXEC, STDIN, PLAN, IMAGE, GOAL, AGENTS, MCP, PATCH, SEARCH, *HOSTED]
VALID_PATCH = """\
*** Begin Patch
*** Update File: src/app.py
@@ def greet():
     name = ask()
-    print("Hi")
+    print("Hello", name)
*** Add File: notes.txt
+first line
*** End Patch
"""
