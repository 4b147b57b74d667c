"""How the model is shown `exec` of code mode, which runs a JavaScript program that calls tools.

Codex describes every tool inside of the description of `exec`, with comments and types: some
6,000 tokens. Here each tool takes one line of text and one line with its signature.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TypeAlias

from attrs import frozen

from codex_bridge.tools.declarations import Kind, Tool

CODE_TOOL = "exec"
MARK = "`tools` object"
"""Stands in Codex's description of `exec`, in all versions since 0.130."""
HEADING = re.compile(r"^### `(\w+)`\n", re.MULTILINE)
"""The beginning of one tool in Codex's description."""
DECLARATION = "exec tool declaration:\n```ts\ndeclare const tools: { "
DECLARATION_END = "; };\n```"
RESULT = "): Promise<"
COMMENT = re.compile(r"^\s*//.*$", re.MULTILINE)
OPENING, CLOSING = "{[(<", "}])>"
NOTHING = frozenset({"unknown", "void"})
"""Types of results that tell a model nothing."""
MCP_RESULT = "CallToolResult"
HELP = """\
input is a JavaScript program: the raw text itself, no JSON, no code fence. It runs as an async \
module, without Node, files, network or console. Call a tool with await tools.NAME(...). Show a \
value with text(value), a picture with image(url). store(key, value) and load(key) keep values \
for later programs. exit() ends the program. A first line // @exec: {"yield_time_ms": 60000} lets \
it run longer before you get what it has shown so far."""
EXAMPLE = 'Example: const r = await tools.exec_command({cmd: "ls"}); text(r.output);'
SAME_TOOLS = "The tools are the other functions here, by the same names."
OTHER_TOOLS = "ALL_TOOLS has the {name, description} of every tool, also of those not listed here."
MCP_TOOLS = 'A tool with mcp__ in its name returns {content: [{type: "text", text}], isError}.'

Member: TypeAlias = tuple[str, bool, str]
"""A member of an object's type: its name, whether it may be missing, and its type."""


@frozen
class NestedTool:
    """A tool that programs can call."""

    name: str
    description: str
    takes: str
    """Its only parameter, as TypeScript: `args: {…}`, with comments."""
    returns: str
    """The type of its result, as TypeScript, with comments."""


def is_code_mode(tool: Tool) -> bool:
    """Whether this is code mode's `exec`."""
    return tool.kind is Kind.CUSTOM and tool.name == CODE_TOOL and MARK in tool.description


def nested_tools(description: str) -> list[NestedTool]:
    """The tools that Codex's description of `exec` declares, in their order."""
    _, *parts = HEADING.split(description)
    return [
        nested
        for name, text in zip(parts[::2], parts[1::2], strict=True)
        if (nested := _nested(name, text))
    ]


def _nested(name: str, text: str) -> NestedTool | None:
    """One tool, by what follows its heading; None if that has no declaration."""
    said, _, rest = text.partition(DECLARATION)
    declaration = rest.partition(DECLARATION_END)[0]
    takes, has_result, returns = declaration.partition(RESULT)
    if not has_result or not takes.startswith(f"{name}(") or not returns.endswith(">"):
        return None
    return NestedTool(name, said.rstrip("\n"), takes[len(name) + 1 :], returns[:-1])


def explain(tool: Tool, lines: list[str]) -> str:
    """The description of `exec`; `lines` describe its nested tools, see `signature`."""
    parts = [HELP]
    if lines:
        parts += [EXAMPLE] if "exec_command(" in "\n".join(lines) else []
        parts += [MCP_TOOLS] if MCP_RESULT in tool.description else []
        parts += [OTHER_TOOLS, "The tools:", *lines]
    else:
        parts += [EXAMPLE, SAME_TOOLS]
    return "\n".join(parts)


def signature(nested: NestedTool, shown: set[str] | None = None) -> str:
    """`name({cmd: string, workdir?: string}) -> {output: string}`, in one line.

    Of the optional parameters those in `shown` are there; all of them without it.
    """
    parameter, _, takes = _bare(nested.takes).partition(": ")
    if takes.startswith("{") and takes.endswith("}"):
        members = [
            (name, is_optional, kind)
            for name, is_optional, kind in _members(takes)
            if shown is None or not is_optional or name in shown
        ]
        takes = _object(members) if members else ""
    else:
        takes = f"{parameter}: {takes}"
    returns = _bare(nested.returns)
    if returns in NOTHING or returns.startswith(MCP_RESULT):
        return f"{nested.name}({takes})"
    if returns.startswith("{") and returns.endswith("}"):
        returns = _object(_members(returns))
    return f"{nested.name}({takes}) -> {returns}"


def _bare(text: str) -> str:
    """A type without comments, in one line."""
    return " ".join(COMMENT.sub("", text).split())


def _object(members: list[Member]) -> str:
    pairs = (f"{name}{'?' if is_optional else ''}: {kind}" for name, is_optional, kind in members)
    return f"{{{', '.join(pairs)}}}"


def _members(text: str) -> list[Member]:
    """The members of an object's type, which `text` begins with, without those inside of them."""
    members = []
    for member in _split(text[1:-1]):
        name, _, kind = member.partition(":")
        if kind:
            members.append((name.rstrip("?").strip(), name.endswith("?"), kind.strip()))
    return members


def _split(text: str) -> Iterator[str]:
    """What stands between the semicolons that are inside of no bracket and no quotes."""
    depth, quote, start = 0, "", 0
    for at, char in enumerate(text):
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char in OPENING:
            depth += 1
        elif char in CLOSING:
            depth -= 1
        elif char == ";" and depth == 0:
            yield text[start:at].strip()
            start = at + 1
    if rest := text[start:].strip():
        yield rest
