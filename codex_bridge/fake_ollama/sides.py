"""Ollama's other routes, as far as a client of the bridge meets them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import unquote

from codex_bridge.fake_ollama import library
from codex_bridge.fake_ollama.answers import request_object, write, write_json, write_text
from codex_bridge.fake_ollama.facts import ModelFacts, Rejected, find

Json = dict[str, Any]


class Host(library.Shelf, Protocol):
    """What these routes know of the server."""

    blobs: set[str]


def answer(request: Any, body: bytes, fake: Host) -> None:
    """Write the answer of any route that generates nothing; the caller finishes.

    Raises Rejected for what the caller shall answer as an error.
    """
    path = request.path.decode("ascii", "replace")
    routes = _routes(path)
    if routes is None and path != "/" and _routes(path.rstrip("/")) is not None:
        # As the router of Ollama does; only GET may be repeated by a client without asking.
        request.setHeader(b"location", path.rstrip("/").encode())
        write_text(request, 301 if request.method == b"GET" else 307, "")
    elif routes is None:
        write_text(request, 404, "404 page not found")
    elif request.method.decode("ascii", "replace") not in routes:
        request.setHeader(b"allow", ", ".join(routes).encode())
        write_text(request, 405, "405 method not allowed")
    else:
        routes[request.method.decode()](request, request_object(body, request), fake)


def _routes(path: str) -> dict[str, Handler] | None:
    """The methods of a path with their handlers; names below a prefix hold no slash."""
    prefix, _, name = path.rpartition("/")
    return ROUTES.get(path) or (NAMED.get(prefix) if name else None)


def _running(request: Any, body: Json, fake: Host) -> None:
    write_text(request, 200, "Ollama is running")


def _version(request: Any, body: Json, fake: Host) -> None:
    write_json(request, {"version": fake.version})


def _models(request: Any, body: Json, fake: Host) -> None:
    data = [_model(facts) for facts in fake.models.values()]
    write_json(request, {"object": "list", "data": data or None})


def _model(facts: ModelFacts) -> Json:
    created = int(time.time())
    return {"id": facts.name, "object": "model", "created": created, "owned_by": "library"}


def _one_model(request: Any, body: Json, fake: Host) -> None:
    write_json(request, _model(find(_last(request), fake.models)))


def _has_blob(request: Any, body: Json, fake: Host) -> None:
    write(request, 200 if _last(request) in fake.blobs else 404, b"text/plain", b"")


def _blob(request: Any, body: Json, fake: Host) -> None:
    wanted = _last(request)
    got = f"sha256:{request.digest.hexdigest()}"
    if got != wanted.replace("sha256-", "sha256:"):
        raise Rejected(400, f'digest mismatch, expected "{wanted}", got "{got}"')
    fake.blobs.add(wanted)
    write(request, 201, b"text/plain", b"")


def _last(request: Any) -> str:
    """The name at the end of the path."""
    return unquote(request.path.decode("ascii", "replace").rpartition("/")[2])


def _elsewhere(request: Any, body: Json, fake: Host) -> None:
    """For the table only: routes that generate are answered before it is asked."""


Handler = Callable[[Any, Json, Host], None]
ROUTES: dict[str, dict[str, Handler]] = {
    "/": {"GET": _running, "HEAD": _running},
    "/api/version": {"GET": _version, "HEAD": _version},
    "/api/tags": {"GET": library.tags, "HEAD": library.tags},
    "/api/ps": {"GET": library.ps},
    "/api/show": {"POST": library.show},
    "/api/pull": {"POST": library.pull},
    "/api/create": {"POST": library.create},
    "/api/delete": {"DELETE": library.delete},
    "/api/chat": {"POST": _elsewhere},
    "/api/generate": {"POST": _elsewhere},
    "/v1/models": {"GET": _models},
    "/v1/chat/completions": {"POST": _elsewhere},
}
NAMED: dict[str, dict[str, Handler]] = {
    "/v1/models": {"GET": _one_model},
    "/api/blobs": {"POST": _blob, "HEAD": _has_blob},
}
"""Routes whose last part is a name."""
