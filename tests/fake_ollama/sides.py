"""Ollama's routes that generate nothing, as far as clients of the bridge use them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import unquote

import orjson
from attrs import evolve

from tests.fake_ollama.answers import (
    request_object,
    write,
    write_json,
    write_progress,
    write_text,
)
from tests.fake_ollama.facts import ModelFacts, Rejected, find, number, tagged
from tests.fake_ollama.golang import expect, sharp_v

Json = dict[str, Any]
DIGEST = f"sha256:{ModelFacts().digest}"
NO_MANIFEST = "pull model manifest: file does not exist"


class Host(Protocol):
    """What these routes use of the server."""

    version: str
    models: dict[str, ModelFacts]
    loaded: dict[str, int]
    blobs: set[str]


def answer(request: Any, body: bytes, fake: Host) -> None:
    """Write the answer of a route that generates nothing; the caller finishes the request.

    Raises Rejected for what the caller has to answer with an error.
    """
    path = request.path.decode("ascii", "replace")
    routes = _routes(path)
    if routes is None and path != "/" and _routes(path.rstrip("/")) is not None:
        # Ollama's router redirects like this. A client may turn a 301 into a GET, but not a 307.
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


def _tags(request: Any, body: Json, fake: Host) -> None:
    """Every model."""
    entries = [
        _entry(facts, fake.version)
        | {"modified_at": "2026-01-01T00:00:00Z", "capabilities": list(facts.capabilities)}
        for facts in fake.models.values()
    ]
    write_json(request, {"models": entries})


def _ps(request: Any, body: Json, fake: Host) -> None:
    """The models in memory, with the contexts that are allocated."""
    running = []
    for facts in fake.models.values():
        if facts.name not in fake.loaded:
            continue
        entry = _entry(facts, fake.version)
        entry |= {"expires_at": "2030-01-01T00:00:00Z", "size_vram": 9000000000}
        entry["context_length"] = fake.loaded[facts.name]
        running.append(entry)
    write_json(request, {"models": running})


def _show(request: Any, body: Json, fake: Host) -> None:
    """One model; without `parameters` where its Modelfile sets none."""
    facts = find(_name(body), fake.models)
    set_here = _parameters(facts)
    answer = {
        "modelfile": f"FROM {facts.name}\n",
        **({"parameters": set_here} if set_here else {}),
        "template": facts.shown_template,
        "details": _entry(facts, fake.version)["details"],
        "model_info": {
            "general.architecture": facts.family,
            f"{facts.family}.context_length": facts.trained_ctx,
        },
        "capabilities": list(facts.capabilities),
        "modified_at": "2026-01-01T00:00:00Z",
    }
    write_json(request, answer)


def _pull(request: Any, body: Json, fake: Host) -> None:
    """Pull a model. The registry has all but those whose name begins with "missing"."""
    name = _name(body)
    lines: list[Json] = [{"status": "pulling manifest"}]
    if name.startswith("missing"):
        lines.append({"error": NO_MANIFEST})
    else:
        size = 1000
        for completed in (0, size // 2, size):
            progress = {"digest": DIGEST, "total": size, "completed": completed}
            lines.append({"status": f"pulling {DIGEST[7:19]}"} | progress)
        lines += [{"status": "verifying sha256 digest"}, {"status": "success"}]
        fake.models.setdefault(name, ModelFacts(name))
    write_progress(request, lines, stream=body.get("stream") is not False)


def _create(request: Any, body: Json, fake: Host) -> None:
    """Make a model of another one, with parameters of its own. It is not loaded."""
    name = _name(body)
    expect(body, "from", str, "CreateRequest", "string")
    expect(body, "parameters", dict, "CreateRequest", "map[string]interface {}")
    if not body.get("from"):
        raise Rejected(400, "neither 'from' or 'files' was specified")
    stream = body.get("stream") is not False
    try:
        base = find(body["from"], fake.models)
    except Rejected as rejected:
        missing = rejected.status == 404
        lines = [{"status": "pulling manifest"}] if missing else []
        lines.append({"error": NO_MANIFEST if missing else rejected.message})
        write_progress(request, lines, stream=stream, failed=rejected.status)
        return
    derived = _derived(base, _existing(name, fake), body.get("parameters") or {})
    fake.models[derived.name] = derived
    steps = (f"using existing layer {DIGEST}", "writing manifest", "success")
    write_progress(request, [{"status": step} for step in steps], stream=stream)


def _delete(request: Any, body: Json, fake: Host) -> None:
    """Delete a model, from memory too."""
    facts = find(_name(body), fake.models)
    del fake.models[facts.name]
    fake.loaded.pop(facts.name, None)
    request.setHeader(b"content-length", b"0")


def _name(body: Json) -> str:
    """The model that a native request names, with its tag."""
    name = body.get("model") or body.get("name") or ""
    if not isinstance(name, str) or not name:
        raise Rejected(400, "model is required")
    return tagged(name)


def _existing(name: str, fake: Host) -> str:
    """`name`, spelled as that of the model that has it, if there is one."""
    try:
        return find(name, fake.models).name
    except Rejected as rejected:
        if rejected.status == 404:
            return name
        raise


def _derived(base: ModelFacts, name: str, given: Json) -> ModelFacts:
    merged = base.parameters | {key: value for key, value in given.items() if key != "num_ctx"}
    num_ctx = given.get("num_ctx", base.num_ctx)
    if num_ctx is not None and (not isinstance(num_ctx, int) or isinstance(num_ctx, bool)):
        raise Rejected(400, 'option "num_ctx" must be of type integer')
    content = orjson.dumps([base.digest, num_ctx, merged], option=orjson.OPT_SORT_KEYS)
    digest = hashlib.sha256(content).hexdigest()
    return evolve(base, name=name, num_ctx=num_ctx, parameters=merged, digest=digest)


def _entry(facts: ModelFacts, version: str) -> Json:
    return {
        "name": facts.name,
        "model": facts.name,
        "size": 9276198565,
        "digest": facts.digest,
        "details": _details(facts, version),
    }


def _details(facts: ModelFacts, version: str) -> Json:
    details = {
        "parent_model": "",
        "format": "gguf",
        "family": facts.family,
        "families": [facts.family],
        "parameter_size": "14.8B",
        "quantization_level": "Q4_K_M",
    }
    if number(version) < (0, 30):
        return details
    return details | {"context_length": facts.trained_ctx, "embedding_length": 5120}


def _parameters(facts: ModelFacts) -> str:
    """What the Modelfile sets, one line for each value; a list has one for each entry."""
    given = dict(facts.parameters)
    if facts.num_ctx is not None:
        given["num_ctx"] = facts.num_ctx
    return "\n".join(
        f"{name:<30} {sharp_v(entry)}"
        for name, value in given.items()
        for entry in (value if isinstance(value, list) else [value])
    )


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
    """Never called: the server answers these routes itself. They are here for the 405."""


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
