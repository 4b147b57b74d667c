"""What the fake knows of its models, and the ways in which it says no."""

from __future__ import annotations

import re
from typing import Any, Literal

from attrs import field, frozen

Json = dict[str, Any]
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(?:[/:][\w.-]+)*", re.ASCII)


Template = Literal["go", "qwen3-coder", "qwen3.5", "jinja", "keep"]
"""Who makes the prompt of the messages. "go" templates drop `developer` messages, join system
messages and merge neighbours of one role. Of the renderers "qwen3-coder" keeps only the first
system message and no reasoning, "qwen3.5" no `developer` and the reasoning of the last turn.
"jinja" refuses a later system message and drops reasoning. "keep" shows all as it was sent."""


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
    parameters: Json = field(factory=dict)
    """What else its Modelfile sets: temperature, top_p, stop, …"""

    def context(self, asked: int | None, default: int) -> int:
        """Tokens that are allocated: the request's, else its Modelfile's, else the server's."""
        return min(asked or self.num_ctx or default, self.trained_ctx)


class Rejected(Exception):
    """Refused before the model saw it, with an HTTP status and Ollama's sentence.

    `early`: by the layer that reads the OpenAI shape, whose errors name a charset.
    """

    def __init__(self, status: int, message: str, *, early: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.early = early


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


def number(version: str) -> tuple[int, ...]:
    """A version as numbers: "0.33.0-rc2" -> (0, 33, 0)."""
    return tuple(int(part) for part in version.split("-")[0].split("."))


def go_mismatch(value: Any, where: str, wanted: str) -> Rejected:
    """The words of Go's JSON decoder for a `value` that a field does not take.

    `where` is "Struct.path.to.field", `wanted` the field's Go type.
    """
    return Rejected(
        400,
        f"json: cannot unmarshal {go_kind(value, wanted)} into Go struct field "
        f"{where} of type {wanted}",
        early=True,
    )


def go_kind(value: Any, wanted: str = "") -> str:
    """How Go names a JSON value; a number that no integer field takes is shown."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return f"number {value}" if wanted == "int" else "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"
