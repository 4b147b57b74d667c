"""Ollama's other routes, as far as a client of the bridge meets them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import unquote

import orjson
from attrs import evolve

from codex_bridge.fake_ollama.facts import ModelFacts, Rejected, find, number
from codex_bridge.fake_ollama.wire import go_json

Json = dict[str, Any]
DIGEST = "sha256:bdbd181c33f2ed1b31c972991882db3cf4d192569092138a7d29e973cd9debe8"


class Host(Protocol):
    """What these routes know of the server."""

    version: str
    models: dict[str, ModelFacts]
    loaded: dict[str, int]
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
        _text(request, 301 if request.method == b"GET" else 307, "")
    elif routes is None:
        _text(request, 404, "404 page not found")
    elif request.method.decode("ascii", "replace") not in routes:
        request.setHeader(b"allow", ", ".join(routes).encode())
        _text(request, 405, "405 method not allowed")
    else:
        routes[request.method.decode()](request, _object(body, request), fake)


def _routes(path: str) -> dict[str, Handler] | None:
    """The methods of a path with their handlers; names below a prefix hold no slash."""
    prefix, _, name = path.rpartition("/")
    return ROUTES.get(path) or (NAMED.get(prefix) if name else None)


def _object(body: bytes, request: Any) -> Json:
    """The JSON of a request to the native API."""
    if request.digest is not None or request.method in {b"GET", b"HEAD"}:
        return {}
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        text = f"invalid character in JSON: {error}" if body else "missing request body"
        raise Rejected(400, text) from None
    if not isinstance(parsed, dict):
        raise Rejected(400, "json: cannot unmarshal value into Go value")
    return parsed


def _text(request: Any, status: int, text: str) -> None:
    _write(request, status, b"text/plain; charset=utf-8", text.encode())


def _json(request: Any, value: Any, status: int = 200) -> None:
    _write(request, status, b"application/json; charset=utf-8", go_json(value))


def _write(request: Any, status: int, kind: bytes, body: bytes) -> None:
    request.setResponseCode(status)
    request.setHeader(b"content-type", kind)
    request.setHeader(b"content-length", str(len(body)).encode())
    request.write(body)


def _running(request: Any, body: Json, fake: Host) -> None:
    _text(request, 200, "Ollama is running")


def _version(request: Any, body: Json, fake: Host) -> None:
    _json(request, {"version": fake.version})


def _tags(request: Any, body: Json, fake: Host) -> None:
    entries = [_entry(facts, fake.version) for facts in fake.models.values()]
    _json(request, {"models": entries})


def _ps(request: Any, body: Json, fake: Host) -> None:
    running = []
    for name, context in fake.loaded.items():
        entry = _entry(fake.models[name], fake.version)
        entry |= {"expires_at": "2030-01-01T00:00:00Z", "size_vram": 9000000000}
        if number(fake.version) >= (0, 9, 7):
            entry["context_length"] = context
        running.append(entry)
    _json(request, {"models": running})


def _entry(facts: ModelFacts, version: str) -> Json:
    lengths = {"context_length": facts.trained_ctx, "embedding_length": 5120}
    return {
        "name": facts.name,
        "model": facts.name,
        "modified_at": "2026-01-01T00:00:00Z",
        "size": 9276198565,
        "digest": DIGEST.removeprefix("sha256:"),
        "details": {
            "parent_model": "",
            "format": "gguf",
            "family": facts.family,
            "families": [facts.family],
            "parameter_size": "14.8B",
            "quantization_level": "Q4_K_M",
            **(lengths if number(version) >= (0, 30) else {}),
        },
        "capabilities": list(facts.capabilities),
    }


def _show(request: Any, body: Json, fake: Host) -> None:
    facts = _named(body, fake)
    _json(
        request,
        {
            "modelfile": f"FROM {facts.name}\n",
            "parameters": _parameters(facts),
            "template": "{{ .Prompt }}",
            "details": _entry(facts, fake.version)["details"],
            "model_info": {
                "general.architecture": facts.family,
                f"{facts.family}.context_length": facts.trained_ctx,
            },
            "capabilities": list(facts.capabilities),
            "modified_at": "2026-01-01T00:00:00Z",
        },
    )


def _parameters(facts: ModelFacts) -> str:
    """The Modelfile's parameters, a line each, texts in quotes; a list has a line for each."""
    given = facts.parameters | ({"num_ctx": facts.num_ctx} if facts.num_ctx else {})
    return "\n".join(
        f"{name:<30} {orjson.dumps(value).decode()}"
        for name, values in given.items()
        for value in (values if isinstance(values, list) else [values])
    )


def _create(request: Any, body: Json, fake: Host) -> None:
    """A model made of another one with parameters of its own."""
    parameters = body.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise Rejected(400, "json: cannot unmarshal value into Go struct field parameters")
    source = find(str(body.get("from") or ""), fake.models)
    num_ctx = parameters.get("num_ctx", source.num_ctx)
    more = {key: value for key, value in parameters.items() if key != "num_ctx"}
    name = _name(body)
    made = evolve(source, name=name, num_ctx=num_ctx, parameters=source.parameters | more)
    fake.models[name] = made
    lines = [f"using existing layer {DIGEST}", "writing manifest", "success"]
    _lines(request, body, [{"status": line} for line in lines])


def _pull(request: Any, body: Json, fake: Host) -> None:
    name = _name(body)
    lines: list[Json] = [{"status": "pulling manifest"}]
    if name.startswith("missing"):
        lines.append({"error": "pull model manifest: file does not exist"})
    else:
        size = 1000
        for completed in (0, size // 2, size):
            progress = {"digest": DIGEST, "total": size, "completed": completed}
            lines.append({"status": f"pulling {DIGEST[7:19]}"} | progress)
        lines += [{"status": "verifying sha256 digest"}, {"status": "success"}]
        fake.models.setdefault(name, ModelFacts(name))
    _lines(request, body, lines)


def _lines(request: Any, body: Json, lines: list[Json]) -> None:
    """Progress, a line of JSON each, or the last of them alone."""
    if body.get("stream") is False:
        _json(request, lines[-1], 500 if "error" in lines[-1] else 200)
        return
    request.setHeader(b"content-type", b"application/x-ndjson")
    for line in lines:
        request.write(go_json(line) + b"\n")


def _delete(request: Any, body: Json, fake: Host) -> None:
    facts = _named(body, fake)
    del fake.models[facts.name]
    fake.loaded.pop(facts.name, None)
    request.setHeader(b"content-length", b"0")


def _name(body: Json) -> str:
    """The model that a native request names, with its tag."""
    name = body.get("model") or body.get("name") or ""
    if not isinstance(name, str) or not name:
        raise Rejected(400, "model is required")
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _named(body: Json, fake: Host) -> ModelFacts:
    return find(_name(body), fake.models)


def _models(request: Any, body: Json, fake: Host) -> None:
    data = [_model(facts) for facts in fake.models.values()]
    _json(request, {"object": "list", "data": data or None})


def _model(facts: ModelFacts) -> Json:
    created = int(time.time())
    return {"id": facts.name, "object": "model", "created": created, "owned_by": "library"}


def _one_model(request: Any, body: Json, fake: Host) -> None:
    _json(request, _model(find(_last(request), fake.models)))


def _has_blob(request: Any, body: Json, fake: Host) -> None:
    _write(request, 200 if _last(request) in fake.blobs else 404, b"text/plain", b"")


def _blob(request: Any, body: Json, fake: Host) -> None:
    wanted = _last(request)
    got = f"sha256:{request.digest.hexdigest()}"
    if got != wanted.replace("sha256-", "sha256:"):
        raise Rejected(400, f'digest mismatch, expected "{wanted}", got "{got}"')
    fake.blobs.add(wanted)
    _write(request, 201, b"text/plain", b"")


def _last(request: Any) -> str:
    """The name at the end of the path."""
    return unquote(request.path.decode("ascii", "replace").rpartition("/")[2])


def _elsewhere(request: Any, body: Json, fake: Host) -> None:
    """For the table only: routes that generate are answered before it is asked."""


Handler = Callable[[Any, Json, Host], None]
ROUTES: dict[str, dict[str, Handler]] = {
    "/": {"GET": _running, "HEAD": _running},
    "/api/version": {"GET": _version, "HEAD": _version},
    "/api/tags": {"GET": _tags, "HEAD": _tags},
    "/api/ps": {"GET": _ps},
    "/api/show": {"POST": _show},
    "/api/pull": {"POST": _pull},
    "/api/create": {"POST": _create},
    "/api/delete": {"DELETE": _delete},
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
