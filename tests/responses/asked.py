"""A raw request -> what the model is asked, in one step."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from codex_bridge.responses import chat, request
from codex_bridge.tools.shown import ToolProfile
from codex_bridge.tools.toolbox import Toolbox
from codex_bridge.vocabulary import ChatRequest, ModelInfo


@frozen
class Asked:
    """What one request becomes."""

    chat: ChatRequest
    toolbox: Toolbox
    stream: bool
    calls_as_text: bool
    downgrades: tuple[str, ...]


def translate(
    raw: dict[str, Any],
    info: ModelInfo | None = None,
    *,
    tool_profile: ToolProfile = ToolProfile.ESSENTIAL,
    directives: bool = True,
) -> Asked:
    """Read and translate `raw` for the model that `info` describes; without, for an unknown one."""
    read = request.read(raw, tool_profile=tool_profile)
    made = chat.translate(read, info or ModelInfo(read.model), directives=directives)
    return Asked(made.chat, read.toolbox, read.stream, made.calls_as_text, made.downgrades)
