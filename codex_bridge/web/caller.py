"""Who asks for a response, and what it may refer back to."""

from __future__ import annotations

from attrs import frozen
from twisted.web.http_headers import Headers

from codex_bridge.clients.traits import ClientTraits
from codex_bridge.web.memory import Memory


@frozen
class Caller:
    """The client of one request."""

    headers: Headers
    traits: ClientTraits
    memory: Memory
