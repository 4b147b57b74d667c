"""The lines of JSON in which /api/chat and /api/generate answer."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

from tests.fake_ollama import wire
from tests.fake_ollama.facts import Rejected
from tests.fake_ollama.script import Answer, Call, Say, Step, Think

Json = dict[str, Any]
Route = Literal["chat", "generate"]
DURATIONS = {
    "total_duration": 90_827_234,
    "load_duration": 6_271_754,
    "prompt_eval_duration": 5_500_000,
    "eval_duration": 42_000_000,
}
"""Nanoseconds, always the same where the model is in memory already."""
LOAD_DURATION = 2_940_000_000
"""Nanoseconds until a model is ready that has to be loaded."""


class NativeDialect:
    """Steps -> lines of /api/chat or /api/generate.

    `late_calls`: calls are sent with the last line, as where llama-server parses them.
    """

    content_type = b"application/x-ndjson"

    def __init__(self, effective: Json, route: Route, *, late_calls: bool = False) -> None:
        self._effective = effective
        self._chat = route == "chat"
        self._late_calls = late_calls
        self._calls = 0

    def step(self, step: Step) -> Iterator[bytes]:
        """A line for each piece and each group of calls. Raises Rejected for malformed calls."""
        if isinstance(step, Say | Think):
            for piece in step.pieces:
                yield self._line(self._said(step, piece) | {"done": False})
        elif self._chat and not self._late_calls and (calls := wire.calls_of(step)):
            said = {"role": "assistant", "content": "", "tool_calls": self._encoded(calls)}
            yield self._line({"message": said, "done": False})

    def end(self, steps: Answer) -> bytes:
        """The line with the reason, never "tool_calls", and the counts that are not zero."""
        return self._line(self._last(steps, self._all_calls(steps) if self._late_calls else []))

    def broken(self, message: str) -> bytes:
        """A last line with the error, which /v1/chat/completions loses."""
        return wire.go_json({"error": message}) + b"\n"

    def rendering(self) -> bytes:
        """The prompt in place of an answer."""
        images = sum(len(each.get("images", ())) for each in self._effective["messages"])
        said: Json = {"message": {"role": "", "content": ""}} if self._chat else {"response": ""}
        info = {"rendered_template": self._effective["prompt"]}
        info |= {"image_count": images} if images else {}
        return self._line(said | {"done": False, "_debug_info": info}).removesuffix(b"\n")

    def whole(self, steps: Answer) -> bytes:
        """One line with the whole answer."""
        last = self._last(steps, self._all_calls(steps))
        thinking = wire.texts(steps, Think)
        more = {"thinking": thinking} if thinking else {}
        if self._chat:
            calls = last["message"]
            last["message"] = calls | {"content": wire.texts(steps, Say)} | more
        else:
            last |= {"response": wire.texts(steps, Say)} | more
        return self._line(last).removesuffix(b"\n")

    def _last(self, steps: Answer, calls: list[Json]) -> Json:
        finish = wire.ending(steps)
        said: Json = {"response": ""}
        if self._chat:
            called = {"tool_calls": calls} if calls else {}
            said = {"message": {"role": "assistant", "content": ""} | called}
        reason = "stop" if finish.reason == "tool_calls" else finish.reason
        last = said | {"done": True, "done_reason": reason}
        if finish.reason in {"load", "unload"}:
            return last
        usage = wire.token_counts(steps, self._effective["prompt_tokens"])
        counts = {
            "prompt_eval_count": usage.get("prompt_tokens"),
            "eval_count": usage.get("completion_tokens"),
        }
        loading = {"load_duration": LOAD_DURATION} if self._effective.get("loaded_now") else {}
        return last | DURATIONS | loading | {key: count for key, count in counts.items() if count}

    def _said(self, step: Say | Think, piece: str) -> Json:
        thought = isinstance(step, Think)
        if self._chat:
            said = {"content": "", "thinking": piece} if thought else {"content": piece}
            return {"message": {"role": "assistant"} | said}
        return {"response": "", "thinking": piece} if thought else {"response": piece}

    def _all_calls(self, steps: Answer) -> list[Json]:
        if not self._chat:
            return []
        return self._encoded(tuple(call for step in steps for call in wire.calls_of(step)))

    def _encoded(self, calls: tuple[Call, ...]) -> list[Json]:
        encoded = []
        for call in calls:
            function = {"index": self._calls, "name": call.name, "arguments": _arguments(call)}
            encoded.append({"id": call.id or wire.new_call_id(), "function": function})
            self._calls += 1
        return encoded

    def _line(self, record: Json) -> bytes:
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        head = {"model": self._effective["model"], "created_at": now}
        return wire.go_json(head | record) + b"\n"


def _arguments(call: Call) -> Json:
    """The arguments as an object. Raises Rejected, as Ollama's parsers do, for anything else."""
    raw = call.arguments_text
    try:
        arguments = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Rejected(500, f"error parsing tool call: raw='{raw}', err={error}") from None
    if not isinstance(arguments, dict):
        raise Rejected(500, f"error parsing tool call: raw='{raw}', err=not an object")
    return arguments
