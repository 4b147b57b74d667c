"""Which offered function a model means by a name."""

from __future__ import annotations

import re

from codex_bridge.tools.declarations import SHELL_TOOLS, Tool

DECORATION = re.compile(
    r"^(?:functions|function|tools|tool|default_api|api|namespace)\s*[./:]+\s*|"
    r"\s*\(\s*\)$|:\d+$|<\|.*$|^[`'\"\s]+|[`'\"\s]+$"
)
SHELL_WORDS = (
    "shell", "bash", "sh", "zsh", "terminal", "run", "exec", "execute", "command", "cmd",
    "run_command", "run_shell", "run_shell_command", "run_terminal_cmd", "run_in_terminal",
    "run_bash", "bash_command", "shell_command", "shell_exec", "exec_shell", "execute_command",
    "execute_shell", "execute_bash", "execute_shell_command", "container.exec", "local_shell",
    "exec_command", "command_line", "terminal_exec",
)  # fmt: skip
STAND_INS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (SHELL_WORDS, SHELL_TOOLS),
    (("read_image", "open_image", "show_image", "image_view", "see_image"), ("view_image",)),
    (("send_stdin", "write_to_stdin", "send_keys", "stdin"), ("write_stdin",)),
    (("plan", "set_plan", "todo_write", "write_todos"), ("update_plan",)),
    (("search_tools", "find_tools", "tool_search_tool"), ("tool_search",)),
    (("create_agent", "start_agent", "spawn_subagent", "new_agent"), ("spawn_agent",)),
    (("wait", "wait_for_agent", "wait_agents"), ("wait_agent",)),
    (("patch", "applypatch", "apply_diff", "edit_file_patch"), ("apply_patch",)),
)
"""Names of tools in other programs -> Codex's tools that do the same, best first."""
LONGEST = 500
"""Longest name that is examined, in characters; a longer text is no name, and takes long."""


def function_for(written: str, offered: dict[str, Tool]) -> str | None:
    """The function that `written` is just another spelling of; None if none or several."""
    if written in offered:
        return written
    if len(written) > LONGEST:
        return None
    bare = undecorated(written)
    if bare in offered:
        return bare
    letters = _letters(bare)
    if not letters:
        return None
    full = [f for f, tool in offered.items() if letters in _full_spellings(f, tool)]
    if full:
        return _only(full)
    # Without its namespace, or with one that is not its own (`ns.x` for a plain x).
    short = [f for f, tool in offered.items() if letters == _letters(tool.name)]
    if short or bare.lower().startswith("mcp"):
        # The name of its server counts: the same tool of another server is another tool.
        return _only(short)
    last = _letters(re.split(r"[./:]|__", bare)[-1])
    plain = [f for f, tool in offered.items() if not tool.namespace and last == _letters(tool.name)]
    return _only(plain) if last else None


def stand_ins(written: str, offered: dict[str, Tool]) -> list[str]:
    """The offered functions that do what a tool of this name does in other programs, best first.

    A tool of an MCP server is never one of them.
    """
    letters = _letters(undecorated(written)) if len(written) <= LONGEST else ""
    return [
        function
        for words, tools in STAND_INS
        if any(_letters(word) == letters for word in words)
        for name in tools
        for function, tool in offered.items()
        if tool.name == name and not tool.is_mcp
    ]


def undecorated(written: str) -> str:
    """A name without what models put around it: `functions.x`, `x()`, `x:0`, quotes, tokens."""
    previous = ""
    while previous != written:
        previous, written = written, DECORATION.sub("", written)
    # Muse Glimmer takes the name of a function for that of a group of functions, too: `x.x`.
    half = len(written) // 2
    is_doubled = written[:half] == written[half + 1 :] and written[half : half + 1] == "."
    return written[:half] if is_doubled and half else written


def _full_spellings(function: str, tool: Tool) -> set[str]:
    return {_letters(function), _letters(f"{tool.namespace or ''}{tool.name}")}


def _letters(name: str) -> str:
    """A name in lower case, without anything but letters and digits."""
    return re.sub(r"[\W_]", "", name.lower())


def _only(functions: list[str]) -> str | None:
    return functions[0] if len(functions) == 1 else None
