"""The functions with which small models read, write and edit files: the profile `small`.

Codex has no such tools. `repair/editor.py` makes a call that Codex knows of each call.
"""

from __future__ import annotations

from codex_bridge.tools.declarations import Kind, Tool

READ, WRITE, EDIT = "read_file", "write_file", "edit_file"


def _text(description: str) -> dict[str, str]:
    return {"type": "string", "description": description}


def _tool(name: str, description: str, required: list[str], **more: dict[str, str]) -> Tool:
    schema = {
        "type": "object",
        "properties": {"path": {"type": "string"}, **more},
        "required": ["path", *required],
        "additionalProperties": False,
    }
    return Tool(Kind.EDITOR, name, None, description, schema)


EDITOR_TOOLS = (
    _tool(
        READ,
        "Show a file, or some of its lines.",
        [],
        start_line={"type": "integer", "description": "first line, from 1"},
        end_line={"type": "integer", "description": "last line"},
    ),
    _tool(
        EDIT,
        "Replace a text in a file that you have read.",
        ["old", "new"],
        old=_text("the text as it stands in the file, at one place only"),
        new=_text("the text in its place"),
    ),
    _tool(
        WRITE,
        "Write a whole file, also in place of an old one.",
        ["content"],
        content=_text("all of it"),
    ),
)
