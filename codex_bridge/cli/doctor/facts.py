"""What doctor knows, and what it makes of it: facts in, checks out."""

from __future__ import annotations

from enum import Enum

from attrs import field, frozen

from codex_bridge.vocabulary import Json, ModelInfo


class Status(Enum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@frozen
class Check:
    """One line of the report; `remedy` is the next one, "" where nothing is to do."""

    name: str
    status: Status
    detail: str
    remedy: str = ""


def ok(name: str, detail: str) -> Check:
    """All is well."""
    return Check(name, Status.OK, detail)


def warning(name: str, detail: str, remedy: str = "") -> Check:
    """It works, but not as well as it could."""
    return Check(name, Status.WARNING, detail, remedy)


def failed(name: str, detail: str, remedy: str) -> Check:
    """It does not work until the remedy was applied."""
    return Check(name, Status.FAILED, detail, remedy)


@frozen
class ServerFacts:
    """What answers at the bridge's address."""

    url: str
    trouble: str = ""
    """Why nothing answered; "" if something did."""
    health_status: int = 0
    health: Json | None = None
    """The body of GET /__health, if it was that of a bridge."""
    root: str = ""
    """What GET / says."""

    @property
    def is_bridge(self) -> bool:
        """Whether it is a codex-bridge."""
        return self.health is not None

    @property
    def is_ollama(self) -> bool:
        """Whether it is Ollama itself."""
        return not self.is_bridge and "Ollama is running" in self.root

    @property
    def upstream(self) -> Json:
        """What the bridge says of the server behind it."""
        told = (self.health or {}).get("upstream")
        return told if isinstance(told, dict) else {}

    @property
    def reaches_ollama(self) -> bool:
        """Whether models can be asked about."""
        return self.is_ollama or bool(self.upstream.get("reachable"))


@frozen
class ModelFacts:
    """What is known of the models behind it."""

    names: tuple[str, ...] = ()
    """As /api/tags has them."""
    wanted: str | None = None
    """The one that the user named."""
    chosen: str | None = None
    """The one that is looked at."""
    why: str = ""
    """Why that one, where the user named none."""
    info: ModelInfo | None = None
    served: Json | None = None
    """What the bridge tells of it: {"api", "context", "reason"}; None before it served it."""
    bridge_tells_contexts: bool = False
    """Whether this bridge tells them at all."""


@frozen
class CodexFacts:
    """What is known of the Codex CLI here."""

    program: str = "codex"
    version: str | None = None
    """As `codex --version` prints it."""
    trouble: str = ""
    """Why it could not be asked."""
    home: str = "~/.codex"
    files: dict[str, str] = field(factory=dict)
    """Its configuration files by name, those that are there."""
    catalogs: dict[str, str] = field(factory=dict)
    """The model catalogs that these name, by path."""
    environ: dict[str, str] = field(factory=dict)


@frozen
class Facts:
    """Everything that was gathered."""

    server: ServerFacts
    models: ModelFacts = ModelFacts()
    codex: CodexFacts = CodexFacts()
