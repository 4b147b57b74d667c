"""What the fake Ollama lacks for `prepare`: parents of models, and failures in making them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from attrs import define, field

from tests.fake_ollama import Rejected, sides

Json = dict[str, Any]
CREATE, ENTRY = sides.ROUTES["/api/create"]["POST"], sides._entry


@define
class Registry:
    """The parent of each model, and how making the next one fails."""

    parents: dict[str, str] = field(factory=dict)
    refuses: str = ""
    """The error of an Ollama that makes no model; "" for none."""
    breaks_with: str = ""
    """The error in the stream; "" for none."""
    breaks_off: bool = False
    """The stream ends before it reports success."""
    forgets_context: bool = False

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sides.ROUTES, "/api/create", {"POST": self._create})
        monkeypatch.setattr(sides, "_entry", self._entry)

    def _create(self, request: Any, body: Json, fake: Any) -> None:
        if self.refuses:
            raise Rejected(400, self.refuses)
        if self.breaks_with or self.breaks_off:
            request.write(b'{"status":"writing manifest"}\n')
            if self.breaks_with:
                request.write(orjson.dumps({"error": self.breaks_with}) + b"\n")
            return
        CREATE(request, body | ({"parameters": {}} if self.forgets_context else {}), fake)
        self.parents[sides._name(body)] = body["from"]

    def _entry(self, facts: Any, version: str) -> Json:
        entry = ENTRY(facts, version)
        entry["details"]["parent_model"] = self.parents.get(facts.name, "")
        return entry
