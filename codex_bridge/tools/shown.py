"""How much of a tool's declaration the model is shown.

Codex declares its tools in 4,000 tokens, for a large model. A local model needs time to read each
token, and gets long schemas wrong. Codex has a default for almost every parameter.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum
from functools import lru_cache
from typing import Any

from codex_bridge.tools import code_mode, freeform
from codex_bridge.tools.declarations import Kind, Tool
from codex_bridge.tools.schemas import portable, properties_of, required_of
from codex_bridge.vocabulary import Json

LIMITS = {"small": (140, 80), "essential": (140, 80), "compact": (200, 120), "mcp": (800, 300)}
"""Longest description of a tool and of a parameter, in characters. MCP tools get more room in
the essential profile: no model knows them from its training."""
SENTENCE_END = re.compile(r"(?<=[.!?;])(?<!e\.g\.)(?<!i\.e\.)(?= )")
CONDITION = re.compile(r"[^.]{0,80}\bonly available\b[^.]{0,80}\.")
"""The sentence in which Codex says when a tool may be called, which depends on its settings."""
CODEX_TOOLS: dict[str, tuple[str, dict[str, str]]] = {
    "exec_command": (
        "Run a shell command. Returns its output, or a session_id if it still runs.",
        {"cmd": "one shell command line, not a list", "workdir": ""},
    ),
    "shell_command": ("Run a shell command.", {"command": "", "workdir": ""}),
    "shell": ("Run a program with arguments.", {"command": "", "workdir": ""}),
    "write_stdin": (
        "Type into a command that still runs, or poll it with empty chars.",
        {"session_id": "", "chars": ""},
    ),
    "view_image": ("Look at a local image file.", {"path": ""}),
    "update_plan": (
        "Keep a plan of steps; at most one is in_progress.",
        {"plan": "status: pending, in_progress or completed"},
    ),
    "request_user_input": ("Ask the user.", {"questions": "1 to 3"}),
    "spawn_agent": (
        "Start a sub-agent, only if the user wants agents. Returns its id.",
        {"message": "its task"},
    ),
    "send_input": ("Send a message to an agent.", {"target": "agent id", "message": ""}),
    "resume_agent": ("Reopen a closed agent.", {"id": ""}),
    "wait_agent": ("Wait until one of the agents is done.", {"targets": "agent ids"}),
    "close_agent": ("Close an agent.", {"target": "agent id"}),
    "get_goal": ("Read the goal.", {}),
    "create_goal": (
        "Set a goal, only if the user asks for one.",
        {"objective": "", "token_budget": ""},
    ),
    "update_goal": (
        "complete: all of the goal is done. blocked: stuck for three turns. paused: if the user "
        "asks.",
        {"status": ""},
    ),
    "wait": (
        "Wait for a program of exec that still runs.",
        {"cell_id": "", "terminate": "true stops it"},
    ),
}
"""Codex's own tools in the essential profile: a description, and the parameters that are shown
beside the required ones, each with its description."""
HIDDEN = frozenset({"resume_agent"})
"""Codex's own tools that the essential profile does not show; a call of one works all the same."""
HIDDEN_FROM_SMALL = frozenset(
    {"spawn_agent", "send_input", "wait_agent", "close_agent"}
    | {"get_goal", "create_goal", "update_goal"}
)
"""The same for the profile `small`: what small models get wrong, or use when nobody asked."""
PLAN_TOOL = "request_user_input"
ONLY_PLAN = re.compile(r"\bonly available in Plan mode\b")
"""In every other mode Codex refuses a call of such a tool."""


class ToolProfile(Enum):
    """What `--tool-profile` chooses from."""

    SMALL = "small"
    """As `essential`, for models below some 15B: with functions for files in place of patches."""
    ESSENTIAL = "essential"
    """Of Codex's own tools the parameters that matter; short descriptions."""
    COMPACT = "compact"
    """All parameters, short descriptions."""
    FULL = "full"
    """As declared, in the keywords that Ollama keeps."""

    @property
    def is_essential(self) -> bool:
        """Whether only the parameters that matter are shown."""
        return self in {ToolProfile.SMALL, ToolProfile.ESSENTIAL}


def _hidden(profile: ToolProfile) -> frozenset[str]:
    """The names of Codex's own tools that the model is not shown."""
    if profile is ToolProfile.SMALL:
        return HIDDEN | HIDDEN_FROM_SMALL
    return HIDDEN if profile.is_essential else frozenset()


def is_hidden(tool: Tool, profile: ToolProfile, *, has_planned: bool, has_editor: bool) -> bool:
    """Whether the model is not shown a tool that it may call.

    `has_planned` tells whether Codex was in Plan mode in this conversation. From then on its tool
    stays: each change of the tools costs the model's whole prompt cache. `has_editor` tells whether
    our functions for files are shown.
    """
    if not profile.is_essential or tool.is_mcp:
        return False
    if tool.name == freeform.PATCH_TOOL:
        return has_editor
    if tool.name == PLAN_TOOL:
        return not has_planned and bool(ONLY_PLAN.search(tool.description))
    return tool.name in _hidden(profile)


@lru_cache(maxsize=500)
def declaration(function: str, tool: Tool, profile: ToolProfile) -> Json:
    """The `function` object of a chat request that shows `tool` to the model.

    It is cached, since Codex sends the same tools with every request: do not change it.
    """
    description = tool.description
    own = None if tool.is_mcp else CODEX_TOOLS.get(tool.name)
    if own and own[1] and not own[1].keys() & properties_of(tool.parameters).keys():
        # Another tool of the same name.
        own = None
    if code_mode.is_code_mode(tool) and profile is not ToolProfile.FULL:
        description, schema = _code_mode(tool, profile), freeform.SHOWN_SCHEMA
    elif tool.kind is Kind.CUSTOM:
        description, schema = freeform.explain(tool), freeform.SHOWN_SCHEMA
    elif profile.is_essential and own:
        description, shown = own
        if condition := CONDITION.search(tool.description):
            description = f"{description} {condition[0].strip()}"
        schema = _essential(tool.parameters, shown)
    else:
        schema = portable(tool.parameters)
        if profile is not ToolProfile.FULL:
            more_room = profile.is_essential and tool.is_mcp
            tool_limit, limit = LIMITS["mcp" if more_room else profile.value]
            description = shorten(description, tool_limit)
            schema = _described(schema, lambda text: shorten(text, limit))
    return {"name": function, "description": description, "parameters": schema}


def _code_mode(tool: Tool, profile: ToolProfile) -> str:
    """The description of code mode's `exec`, with each nested tool as a function of that name."""
    lines = []
    for nested in code_mode.nested_tools(tool.description):
        is_mcp = nested.name.startswith("mcp__")
        name = nested.name if is_mcp else nested.name.rpartition("__")[2]
        description, shown = CODEX_TOOLS.get(name, ("", None))
        if not is_mcp and name in _hidden(profile):
            continue
        if name == freeform.PATCH_TOOL:
            description, shown = freeform.PATCH_HELP, None
        elif not profile.is_essential or not description:
            limit = LIMITS["mcp" if is_mcp else profile.value][0]
            description, shown = shorten(nested.description, limit), None
        elif condition := CONDITION.search(nested.description):
            description = f"{description} {condition[0].strip()}"
        names = set(shown) if shown is not None else None
        lines.append(f"- {code_mode.signature(nested, names)}\n  {description}")
    return code_mode.explain(tool, lines)


def shorten(text: str, limit: int) -> str:
    """The sentences of `text` that fit `limit` characters; the first one cut if need be."""
    text = " ".join(text.split())
    if len(text) <= limit:
        return text
    ends = [end.start() for end in SENTENCE_END.finditer(text, 0, limit + 1)]
    return text[: ends[-1]] if ends else text[: limit - 1].rsplit(" ", 1)[0] + "…"


def _essential(schema: Json, shown: dict[str, str]) -> Json:
    """A schema with only those parameters that are in `shown` or required."""
    wanted = {*shown, *required_of(schema)}
    if properties := properties_of(schema):
        kept = {name: node for name, node in properties.items() if name in wanted}
        schema = {**schema, "properties": kept}
    essential = portable(schema)
    for name, node in essential["properties"].items():
        # The description in `shown` stands for the parameter's own and those inside of it.
        node = _described(node, lambda text: "")
        if shown.get(name):
            node = {"type": node.get("type"), "description": shown[name], **node}
        essential["properties"][name] = {key: value for key, value in node.items() if value}
    return essential


def _described(node: Any, change: Callable[[str], str]) -> Any:
    """A portable schema with every description changed; an empty one is left out."""
    if not isinstance(node, dict):
        return node
    described: Json = {}
    for key, value in node.items():
        if key == "description":
            value = change(value)
            if not value:
                continue
        elif key == "properties":
            value = {name: _described(child, change) for name, child in value.items()}
        elif key == "items":
            value = _described(value, change)
        elif key == "anyOf":
            value = [_described(child, change) for child in value]
        described[key] = value
    return described
