"""A strict reader of event streams: raises AssertionError where one breaks a rule.

Which event may follow which is the product's own table, `responses.states`; the reader holds
the ids, the indexes and the texts of the events against each other, and each event against the
public schemas.
"""

from __future__ import annotations

from typing import Any

import orjson

from codex_bridge.responses.states import State, WrongOrder, after, event_name
from tests.responses import schemas

Json = dict[str, Any]


class Reader:
    """Walks over the events and keeps what a client would have by then."""

    def __init__(self) -> None:
        self.state = State.NEW
        self.response_id = ""
        self.items: list[Json] = []
        self.seen_ids: set[str] = set()
        self.open: Json = {}
        self.pieces: list[str] = []
        self.last: Json = {}

    def take(self, event: Json) -> None:
        """Read the next event."""
        schemas.check(event)
        try:
            self.state = after(self.state, event)
        except WrongOrder as error:
            raise AssertionError(str(error)) from None
        name = event_name(event).partition(" ")[0]
        if "response" in event:
            self.take_response(name, event["response"])
        elif name == "output_item.added":
            assert event["output_index"] == len(self.items)
            assert event["item"]["id"] not in self.seen_ids
            self.open, self.pieces = event["item"], []
            self.seen_ids.add(self.open["id"])
        elif name == "output_item.done":
            item = event["item"]
            assert (event["output_index"], item["id"]) == (len(self.items), self.open["id"])
            assert item["type"] == self.open["type"]
            assert text_of(item) == "".join(self.pieces)
            self.items.append(item)
        else:
            assert (event["output_index"], event["item_id"]) == (len(self.items), self.open["id"])
            self.take_text(name, event)

    def take_text(self, name: str, event: Json) -> None:
        if name.endswith(".delta"):
            assert event["delta"]
            self.pieces.append(event["delta"])
        elif name.endswith("part.done"):
            assert event["part"]["text"] == "".join(self.pieces)
        elif name.endswith(".done"):
            text = next(event[key] for key in ("text", "arguments", "input") if key in event)
            assert text == "".join(self.pieces)

    def take_response(self, name: str, response: Json) -> None:
        self.last = response
        assert response["status"] == name.replace("created", "in_progress")
        assert response["output"] == self.items
        self.response_id = self.response_id or response["id"]
        assert response["id"] == self.response_id
        if self.state is State.ENDED and name != "failed":
            check_usage(response["usage"])
            check_statuses(response)


def text_of(item: Json) -> str:
    """The text of a whole item; "" where its events carry none."""
    if item["type"] == "reasoning":
        return item["summary"][0]["text"]
    if item["type"] == "compaction":
        return ""
    if item["type"] == "message":
        return item["content"][0]["text"]
    assert item["status"] == "completed"
    assert item["call_id"]
    if item["type"] == "custom_tool_call":
        return item["input"]
    if item["type"] == "function_call":
        assert isinstance(item["arguments"], str)
        return item["arguments"]
    return ""


def check_statuses(response: Json) -> None:
    """Only the last item of an incomplete response may be incomplete."""
    *others, last = [item.get("status", "completed") for item in response["output"]] or [""]
    assert set(others) <= {"completed"}
    assert last in ("", "completed", response["status"])


def check_usage(usage: Json) -> None:
    for key in ("input_tokens", "output_tokens", "total_tokens"):
        assert type(usage[key]) is int
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert type(usage["input_tokens_details"]["cached_tokens"]) is int
    assert type(usage["input_tokens_details"]["cache_write_tokens"]) is int
    assert type(usage["output_tokens_details"]["reasoning_tokens"]) is int


def read(events: list[Json]) -> Json:
    """Check a whole stream; return its last response."""
    reader = Reader()
    for number, event in enumerate(events):
        assert event["sequence_number"] == number
        reader.take(event)
    assert reader.state is State.ENDED, "the stream ends without a last event"
    return reader.last


def parse_sse(body: bytes) -> list[Json]:
    """The events of a whole stream's bytes; each `event:` line must equal its event's type."""
    *blocks, end, rest = body.split(b"\n\n")
    assert (end, rest) == (b"data: [DONE]", b""), "the stream has no end"
    events = []
    for block in blocks:
        name, data = block.split(b"\n")
        event = orjson.loads(data.removeprefix(b"data: "))
        assert name == b"event: " + event["type"].encode()
        events.append(event)
    return events
