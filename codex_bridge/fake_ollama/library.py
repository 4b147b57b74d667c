"""The routes about models: which there are, what they are, and those that change that."""

from __future__ import annotations

import hashlib
from typing import Any, Protocol

import orjson
from attrs import evolve

from codex_bridge.fake_ollama.answers import write_json, write_progress
from codex_bridge.fake_ollama.facts import ModelFacts, Rejected, find, number, tagged
from codex_bridge.fake_ollama.golang import expect, sharp_v

Json = dict[str, Any]
LAYER = "sha256:a8cc1361f3145dc01f6d77c6c82c9116b9ffe3c97b34716fe20418455876c40e"
NO_MANIFEST = "pull model manifest: file does not exist"
WRITTEN: list[Json] = [{"status": "writing manifest"}, {"status": "success"}]


class Shelf(Protocol):
    """What these routes know of the server."""

    version: str
    models: dict[str, ModelFacts]
    loaded: dict[str, int]


def tags(request: Any, body: Json, fake: Shelf) -> None:
    """Every model."""
    entries = [
        _entry(facts, fake.version)
        | {"modified_at": "2026-01-01T00:00:00Z", "capabilities": list(facts.capabilities)}
        for facts in fake.models.values()
    ]
    write_json(request, {"models": entries})


def ps(request: Any, body: Json, fake: Shelf) -> None:
    """The models in memory, with the context that they really have."""
    running = []
    for facts in fake.models.values():
        if facts.name not in fake.loaded:
            continue
        entry = _entry(facts, fake.version)
        entry |= {"expires_at": "2030-01-01T00:00:00Z", "size_vram": 9000000000}
        if number(fake.version) >= (0, 9, 7):
            entry["context_length"] = fake.loaded[facts.name]
        running.append(entry)
    write_json(request, {"models": running})


def show(request: Any, body: Json, fake: Shelf) -> None:
    """One model; without `parameters` where its Modelfile sets none."""
    facts = find(tagged(_name(body)), fake.models)
    set_here = _parameters(facts)
    answer = {
        "modelfile": f"FROM {facts.name}\n",
        **({"parameters": set_here} if set_here else {}),
        "template": "{{ .Prompt }}",
        "details": _details(facts, fake.version),
        "model_info": {
            "general.architecture": facts.family,
            f"{facts.family}.context_length": facts.trained_ctx,
        },
        "capabilities": list(facts.capabilities),
        "modified_at": "2026-01-01T00:00:00Z",
    }
    write_json(request, answer)


def pull(request: Any, body: Json, fake: Shelf) -> None:
    """A model from the registry, which has all but those whose name begins with "missing"."""
    name = tagged(_name(body))
    lines: list[Json] = [{"status": "pulling manifest"}]
    if name.startswith("missing"):
        lines.append({"error": NO_MANIFEST})
    else:
        size = 1000
        for completed in (0, size // 2, size):
            progress = {"digest": LAYER, "total": size, "completed": completed}
            lines.append({"status": f"pulling {LAYER[7:19]}"} | progress)
        lines += [{"status": "verifying sha256 digest"}, {"status": "success"}]
        fake.models.setdefault(name, ModelFacts(name))
    write_progress(request, lines, stream=body.get("stream") is not False)


def create(request: Any, body: Json, fake: Shelf) -> None:
    """A model made of another one, with parameters of its own. It is not loaded."""
    name = tagged(_name(body))
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
    made = _derived(base, _existing(name, fake), body.get("parameters") or {})
    fake.models[made.name] = made
    layers = [{"status": f"using existing layer {LAYER}"}] * 3
    write_progress(request, [*layers, *WRITTEN], stream=stream)


def delete(request: Any, body: Json, fake: Shelf) -> None:
    """A model is gone, from memory too."""
    facts = find(tagged(_name(body)), fake.models)
    del fake.models[facts.name]
    fake.loaded.pop(facts.name, None)
    request.setHeader(b"content-length", b"0")


def _name(body: Json) -> str:
    name = body.get("model") or body.get("name") or ""
    if not isinstance(name, str) or not name:
        raise Rejected(400, "model is required")
    return name


def _existing(name: str, fake: Shelf) -> str:
    """The name, as it is written where there is such a model already."""
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
    """What the Modelfile sets, a line each; a list has one for each entry."""
    given = dict(facts.parameters)
    if facts.num_ctx is not None:
        given["num_ctx"] = facts.num_ctx
    return "\n".join(
        f"{name:<30} {sharp_v(entry)}"
        for name, value in given.items()
        for entry in (value if isinstance(value, list) else [value])
    )
