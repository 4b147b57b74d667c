"""The types of doctor: the facts that it collects, and the checks that it makes from them."""

from __future__ import annotations

from enum import Enum

from attrs import field, frozen

from codex_bridge.advice import is_local
from codex_bridge.vocabulary import Json, ModelInfo


class Status(Enum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@frozen
class Check:
    """A check that was made: one line of the report, and one for the remedy if it has one."""

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
    """It does not work until the remedy is applied."""
    return Check(name, Status.FAILED, detail, remedy)


@frozen
class ServerFacts:
    """The server at the bridge's address."""

    url: str
    trouble: str = ""
    """Why nothing answered; "" if a server did."""
    health: Json | None = None
    """The body of GET /__health; None if it is not that of a bridge."""
    is_ollama: bool = False
    """Whether it is Ollama itself."""

    @property
    def upstream(self) -> Json:
        """What the bridge tells of the server behind it; empty without a bridge."""
        upstream: Json = (self.health or {}).get("upstream", {})
        return upstream

    @property
    def upstreams(self) -> dict[str, Json]:
        """The same for each of several servers, by name; the only one has the name ""."""
        return (self.health or {}).get("upstreams") or {"": self.upstream}

    @property
    def ollama_url(self) -> str:
        """Where this machine reaches Ollama; through the bridge, if that is on another machine."""
        url = str(self.upstream.get("url") or self.url)
        return self.url if is_local(url) and not is_local(self.url) else url

    @property
    def server(self) -> str:
        """The name of the server behind the bridge; Ollama as long as that is not known."""
        return str(self.upstream.get("server") or "Ollama")

    @property
    def reaches_ollama(self) -> bool:
        """Whether it can be asked about models."""
        return self.is_ollama or any(each.get("reachable") for each in self.upstreams.values())


@frozen
class ModelFacts:
    """The models that the server has, and the one that doctor looks at."""

    names: tuple[str, ...] = ()
    """As /api/tags has them."""
    wanted: str | None = None
    """The one that the user named."""
    info: ModelInfo | None = None
    """The one that doctor looks at; None if there is none."""
    why: str = ""
    """Why that one, if the user named none."""
    served: Json | None = None
    """How the bridge asks it: {"api", "context", "reason", "reloads", "calls"}; None until the
    bridge has asked it."""


@frozen
class CodexFacts:
    """The Codex CLI on this machine."""

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
