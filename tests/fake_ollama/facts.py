"""What the fake knows of its models, and the ways in which it says no."""

from __future__ import annotations

import re
from typing import Any, Literal

from attrs import field, frozen

Json = dict[str, Any]
LEAST_CONTEXT = 4
"""Tokens that the scheduler allocates whatever is asked for."""
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(?:[/:][\w.-]+)*", re.ASCII)


Template = Literal["go", "qwen3-coder", "qwen3.5", "jinja", "keep"]
"""Who makes the prompt of the messages. "go" templates drop `developer` messages, join system
messages and merge neighbours of one role. Of the renderers "qwen3-coder" keeps only the first
system message and no reasoning, "qwen3.5" no `developer` and the reasoning of the last turn.
"jinja", which llama-server runs itself, refuses a later system message, drops reasoning and
sends calls on the last record of /api/chat. "keep" shows all as it was sent."""


@frozen
class ModelFacts:
    """A model that the fake has."""

    name: str = "qwen3:14b"
    capabilities: tuple[str, ...] = ("completion", "tools", "thinking", "vision")
    num_ctx: int | None = 32768
    """Context of its Modelfile, tokens; None leaves it to the server."""
    trained_ctx: int = 40960
    family: str = "qwen3"
    template: Template = "go"
    parameters: Json = field(factory=dict, hash=False)
    """What else its Modelfile sets: temperature, top_p, stop, …"""
    digest: str = "bdbd181c33f2ed1b31c972991882db3cf4d192569092138a7d29e973cd9debe8"
    """Hexadecimal SHA-256; another one is another model under the same name."""

    def context(self, asked: int | None, default: int) -> int:
        """Tokens that are allocated: the request's, else its Modelfile's, else the server's."""
        wanted = next(given for given in (asked, self.num_ctx, default) if given is not None)
        return min(max(wanted, LEAST_CONTEXT), self.trained_ctx)


class Rejected(Exception):
    """Refused before the model saw it, with an HTTP status and Ollama's sentence.

    `early`: by the layer that reads the OpenAI shape, whose errors name a charset.
    `loaded`: the name and context of the model that was loaded first, since it was its server
    that refused.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        early: bool = False,
        loaded: tuple[str, int] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.early = early
        self.loaded = loaded


def find(name: str, models: dict[str, ModelFacts]) -> ModelFacts:
    """The model called `name`: case does not count, `:latest` is implied.

    Raises Rejected: 400 for what can be no name, 404 for a model that is not there.
    """
    if not _NAME.fullmatch(name):
        raise Rejected(400, "invalid model name")
    wanted = name.lower()
    for known in models.values():
        if known.name.lower() in {wanted, f"{wanted}:latest"}:
            return known
    raise Rejected(404, f"model '{name}' not found")


def tagged(name: str) -> str:
    """A name with its tag."""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def number(version: str) -> tuple[int, ...]:
    """A version as numbers: "0.33.0-rc2" -> (0, 33, 0)."""
    return tuple(int(part) for part in version.split("-")[0].split("."))
