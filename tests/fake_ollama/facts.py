"""The fake's models, their names, and the error for what it refuses."""

from __future__ import annotations

import re
from typing import Any, Literal

from attrs import field, frozen

Json = dict[str, Any]
LEAST_CONTEXT = 4
"""Tokens that the scheduler allocates at least."""
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(?:[/:][\w.-]+)*", re.ASCII)


Template = Literal["go", "qwen3-coder", "qwen3.5", "jinja", "keep"]
"""What turns the messages into a prompt. "go" templates drop `developer` messages, join system
messages and merge neighbours of one role. The renderer "qwen3-coder" keeps the first system
message and no reasoning; "qwen3.5" drops `developer` messages and keeps the reasoning of the last
turn. "jinja" templates, which llama-server runs, refuse a later system message, drop reasoning and
send calls with the last record of /api/chat. "keep" changes nothing."""


@frozen
class ModelFacts:
    """A model that the fake has."""

    name: str = "qwen3:14b"
    capabilities: tuple[str, ...] = ("completion", "tools", "thinking", "vision")
    num_ctx: int | None = 32768
    """Tokens of context that its Modelfile sets; None if it sets none."""
    trained_ctx: int = 40960
    family: str = "qwen3"
    template: Template = "go"
    shown_template: str = "{{ .Prompt }}"
    """What /api/show shows as the template; so it does if Ollama's own code makes the prompt."""
    goes_on: bool = True
    """Whether its template leaves an assistant message open if it is the last."""
    swallows: bool = False
    """Whether Ollama's generic parser reads its calls, which drops those it does not understand."""
    marks_are_control_tokens: bool = False
    """Whether raw answers lack the marks of thoughts and calls, as with most families."""
    parameters: Json = field(factory=dict, hash=False)
    """Other parameters that its Modelfile sets: temperature, top_p, stop and so on."""
    digest: str = "bdbd181c33f2ed1b31c972991882db3cf4d192569092138a7d29e973cd9debe8"
    """Hexadecimal SHA-256; it changes when another model takes the name."""

    def context(self, asked: int | None, default: int) -> int:
        """Tokens that are allocated: as the request asks, else the Modelfile, else the server."""
        wanted = next(given for given in (asked, self.num_ctx, default) if given is not None)
        return min(max(wanted, LEAST_CONTEXT), self.trained_ctx)


class Rejected(Exception):
    """A refusal with an HTTP status and Ollama's message.

    `early`: it comes from the layer that reads the OpenAI dialect, whose errors name a charset.
    `loaded`: it comes from the server of a loaded model; the model's name and context.
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
