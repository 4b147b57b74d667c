"""Ollama's other routes, as far as a client of the bridge meets them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import unquote

import orjson

from codex_bridge.fake_ollama.rules import ModelFacts, Rejected, find
from codex_bridge.fake_ollama.wire import go_json

Json = dict[str, Any]


class Host(Protocol):
    """What these routes know of the server."""

    version: str
    models: dict[str, ModelFacts]


DIGEST = "sha256:bdbd181c33f2ed1b31c972991882db3cf4d192569092138a7d29e973cd9debe8"


def answer(request: Any, body: bytes, fake: Host) -> None:
    """Write the answer of any route but chat completions; the caller finishes."""
    path = request.path.decode("ascii", "replace")
    method = "GET" if request.method == b"HEAD" else request.method.decode()
    for prefix, handle in PREFIXES.items():
        if path.startswith(prefix) and len(path) > len(prefix):
            handle(request, path.removeprefix(prefix), fake)
            return
    routes = ROUTES.get(path)
    if routes is None:
        _text(request, 404, "404 page not found")
    elif method not in routes:
        request.setHeader(b"allow", ", ".join(routes).encode())
        _text(request, 405, "405 method not allowed")
    else:
        try:
            parsed = orjson.loads(body) if body else {}
            routes[method](request, parsed, fake)
        except orjson.JSONDecodeError:
            _json(request, {"error": "invalid JSON"}, 400)
        except Rejected as rejected:
            _json(request, {"error": rejected.message}, rejected.status)


def _text(request: Any, status: int, text: str) -> None:
    request.setResponseCode(status)
    request.setHeader(b"content-type", b"text/plain; charset=utf-8")
    request.write(text.encode())


def _json(request: Any, value: Any, status: int = 200) -> None:
    request.setResponseCode(status)
    request.setHeader(b"content-type", b"application/json; charset=utf-8")
    request.write(go_json(value))


def _running(request: Any, body: Json, fake: Host) -> None:
    _text(request, 200, "Ollama is running")


def _version(request: Any, body: Json, fake: Host) -> None:
    _json(request, {"version": fake.version})


def _tags(request: Any, body: Json, fake: Host) -> None:
    _json(request, {"models": [_entry(facts) for facts in fake.models.values()]})


def _ps(request: Any, body: Json, fake: Host) -> None:
    running = [
        _entry(facts)
        | {
            "expires_at": "2030-01-01T00:00:00Z",
            "size_vram": 9000000000,
            "context_length": facts.num_ctx,
        }
        for facts in fake.models.values()
    ]
    _json(request, {"models": running})


def _entry(facts: ModelFacts) -> Json:
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
            "context_length": facts.trained_ctx,
        },
        "capabilities": list(facts.capabilities),
    }


def _show(request: Any, body: Json, fake: Host) -> None:
    facts = find(str(body.get("model") or body.get("name") or ""), fake.models)
    _json(
        request,
        {
            "modelfile": f"FROM {facts.name}\n",
            "parameters": f"{'num_ctx':<30} {facts.num_ctx}\n",
            "template": "{{ .Prompt }}",
            "details": _entry(facts)["details"],
            "model_info": {
                "general.architecture": facts.family,
                f"{facts.family}.context_length": facts.trained_ctx,
            },
            "capabilities": list(facts.capabilities),
            "modified_at": "2026-01-01T00:00:00Z",
        },
    )


def _pull(request: Any, body: Json, fake: Host) -> None:
    name = str(body.get("model") or body.get("name") or "")
    lines: list[Json] = [{"status": "pulling manifest"}]
    if name.startswith("missing"):
        lines.append({"error": "pull model manifest: file does not exist"})
    else:
        size = 1000
        for completed in (0, size // 2, size):
            progress = {"digest": DIGEST, "total": size, "completed": completed}
            lines.append({"status": f"pulling {DIGEST[7:19]}"} | progress)
        lines += [{"status": "verifying sha256 digest"}, {"status": "success"}]
        fake.models[name] = ModelFacts(name)
    if body.get("stream") is False:
        _json(request, lines[-1])
        return
    request.setHeader(b"content-type", b"application/x-ndjson")
    for line in lines:
        request.write(go_json(line) + b"\n")


def _delete(request: Any, body: Json, fake: Host) -> None:
    facts = find(str(body.get("model") or body.get("name") or ""), fake.models)
    del fake.models[facts.name]


def _models(request: Any, body: Json, fake: Host) -> None:
    data = [_model(facts) for facts in fake.models.values()]
    _json(request, {"object": "list", "data": data or None})


def _model(facts: ModelFacts) -> Json:
    created = int(time.time())
    return {"id": facts.name, "object": "model", "created": created, "owned_by": "library"}


def _one_model(request: Any, name: str, fake: Host) -> None:
    try:
        _json(request, _model(find(unquote(name), fake.models)))
    except Rejected as rejected:
        error = {
            "message": rejected.message,
            "type": "not_found_error",
            "param": None,
            "code": None,
        }
        _json(request, {"error": error}, rejected.status)


def _blob(request: Any, digest: str, fake: Host) -> None:
    wanted = unquote(digest).removeprefix("sha256:")
    if request.method == b"HEAD":
        request.setResponseCode(404)
    elif request.digest.hexdigest() == wanted:
        request.setResponseCode(201)
    else:
        got = request.digest.hexdigest()
        message = f'digest mismatch, expected "sha256:{wanted}", got "sha256:{got}"'
        _json(request, {"error": message}, 400)


Handler = Callable[[Any, Json, Host], None]
ROUTES: dict[str, dict[str, Handler]] = {
    "/": {"GET": _running},
    "/api/version": {"GET": _version},
    "/api/tags": {"GET": _tags},
    "/api/ps": {"GET": _ps},
    "/api/show": {"POST": _show},
    "/api/pull": {"POST": _pull},
    "/api/delete": {"DELETE": _delete},
    "/v1/models": {"GET": _models},
    "/v1/chat/completions": {},
}
PREFIXES: dict[str, Callable[[Any, str, Host], None]] = {
    "/v1/models/": _one_model,
    "/api/blobs/": _blob,
}
