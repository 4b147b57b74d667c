"""Ollama's making of models, for a fake that has none: /api/create, and /api/show after it."""

from __future__ import annotations

from typing import Any

import orjson
from attrs import define, field

from codex_bridge.fake_ollama import ModelFacts, Rejected, sides
from codex_bridge.fake_ollama.facts import find

Json = dict[str, Any]


@define
class Registry:
    """What is told of each model, and what happens when one is made."""

    contexts: dict[str, int | None] = field(factory=dict)
    """num_ctx of a model's Modelfile."""
    parents: dict[str, str] = field(factory=dict)
    refuses: str = ""
    """The sentence of an Ollama that makes no models."""
    breaks_with: str = ""
    """The error in the stream."""
    forgets_context: bool = False

    def create(self, request: Any, body: Json, fake: Any) -> None:
        if self.refuses:
            raise Rejected(400, self.refuses)
        base, name = find(body["from"], fake.models), sides._name(body)
        request.setHeader(b"content-type", b"application/x-ndjson")
        lines: list[Json] = [{"status": "using existing layer sha256:bdbd181c33f2"}] * 2
        if self.breaks_with:
            lines.append({"error": self.breaks_with})
        else:
            lines += [{"status": "writing manifest"}, {"status": "success"}]
            fake.models[name] = ModelFacts(
                name, base.capabilities, trained_ctx=base.trained_ctx, family=base.family
            )
            self.parents[name] = base.name
            if not self.forgets_context:
                self.contexts[name] = body["parameters"]["num_ctx"]
        for line in lines:
            request.write(orjson.dumps(line) + b"\n")

    def show(self, request: Any, body: Json, fake: Any) -> None:
        facts = sides._named(body, fake)
        context = self.contexts.get(facts.name)
        details = {"family": facts.family, "parent_model": self.parents.get(facts.name, "")}
        shown = {
            "parameters": f"{'num_ctx':<30} {context}\n" if context else "",
            "details": details,
            "model_info": {
                "general.architecture": facts.family,
                f"{facts.family}.context_length": facts.trained_ctx,
            },
            "capabilities": list(facts.capabilities),
        }
        sides._json(request, shown)
