"""What kind of route a request has, decided once: from its method and target, at its head.

Access, the reading of the body, the form of an error and the routing by path all use it: if two
places read the same target differently, a request could get past one of them.
"""

from __future__ import annotations

from enum import Enum, auto
from urllib.parse import unquote_to_bytes

from attrs import frozen

COMPACT_PATHS = (b"/v1/responses/compact", b"/responses/compact")
COUNT_PATHS = (b"/v1/responses/input_tokens", b"/responses/input_tokens")
EXCHANGE_PATHS = frozenset({b"/v1/responses", b"/responses", *COMPACT_PATHS, *COUNT_PATHS})
STORED_PATHS = (b"/v1/responses/", b"/responses/")
HEALTH_PATH = b"/__health"


class RouteKind(Enum):
    """What the bridge does with a request before it is routed by its path."""

    EXCHANGE = auto()
    """The path of an exchange, with any method: the body is collected, up to the limit."""
    STORED = auto()
    """The path of a stored response. It has the access rules of an exchange; the body of such a
    request is empty."""
    HEALTH = auto()
    """GET /__health: needs no key, so that whoever watches over the bridge can read it."""
    OTHER = auto()
    """Everything else: the body is streamed."""


@frozen
class Route:
    """A request's method and target, and what kind of route they mean."""

    kind: RouteKind
    method: bytes
    target: bytes
    """Path and query as the client wrote them; a path of the Responses API without
    escapes and without doubled or final slashes."""

    @property
    def is_exchange(self) -> bool:
        """Whether the path is that of an exchange."""
        return self.kind is RouteKind.EXCHANGE

    @property
    def is_of_responses(self) -> bool:
        """Whether the path is one of the Responses API, which the bridge itself answers."""
        return self.kind in {RouteKind.EXCHANGE, RouteKind.STORED}


def route_of(method: bytes, target: bytes) -> Route:
    """The route of a request with this method and target, as they stand in its first line."""
    target = origin_form(target)
    path, question_mark, query = target.partition(b"?")
    plain = b"/" + b"/".join(filter(None, unquote_to_bytes(path).split(b"/")))
    if plain in EXCHANGE_PATHS:
        return Route(RouteKind.EXCHANGE, method, plain + question_mark + query)
    if plain.startswith(STORED_PATHS):
        return Route(RouteKind.STORED, method, plain + question_mark + query)
    is_health = method == b"GET" and path == HEALTH_PATH
    return Route(RouteKind.HEALTH if is_health else RouteKind.OTHER, method, target)


def origin_form(target: bytes) -> bytes:
    """Path and query of a request target; the host of a proxy's absolute form is ignored."""
    if target.startswith(b"/"):
        return target
    _, separator, rest = target.partition(b"://")
    slash = rest.find(b"/")
    return rest[slash:] if separator and slash >= 0 else b"/"
