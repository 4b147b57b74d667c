"""A strict reader of Responses event streams: raises AssertionError where one breaks a rule."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

PARTS = {"message": "content_part", "reasoning": "reasoning_summary_part"}
DELTAS = {
    "message": "output_text",
    "reasoning": "reasoning_summary_text",
    "function_call": "function_call_arguments",
    "custom_tool_call": "custom_tool_call_input",
}
WHOLE = ("tool_search_call", "local_shell_call")
"""Items without any event between added and done."""
LAST = ("response.completed", "response.incomplete", "response.failed")


class Reader:
    """Walks over the events and keeps what a client would have by then."""

    def __init__(self, events: list[Json]) -> None:
        self.events = list(events)
        self.items: list[Json] = []
        self.seen_ids: set[str] = set()

    def take(self, kind: str) -> Json:
        assert self.events, f"the stream ends where {kind} belongs"
        event = self.events.pop(0)
        assert event["type"] == kind, (event["type"], kind)
        return event

    def next_type(self) -> str:
        assert self.events, "the stream ends without a last event"
        return self.events[0]["type"]

    def read(self) -> Json:
        """Read the whole stream; return the last event's response."""
        for number, event in enumerate(self.events):
            assert event["sequence_number"] == number
        created = self.take("response.created")["response"]
        assert created["status"] == "in_progress"
        assert created["output"] == []
        assert self.take("response.in_progress")["response"]["id"] == created["id"]
        # Signs of life stand anywhere behind the first.
        self.events = [event for event in self.events if event["type"] != "response.in_progress"]
        while self.next_type() not in LAST:
            if not self.read_item():
                break
        last = self.events.pop(0)
        assert last["type"] in LAST
        assert not self.events, "events follow the last one"
        response = last["response"]
        assert response["id"] == created["id"]
        assert response["output"] == self.items
        assert last["type"] == f"response.{response['status']}"
        if response["status"] != "failed":
            check_usage(response["usage"])
        return response

    def read_item(self) -> bool:
        """Read one item; False if the stream failed inside of it."""
        added = self.take("response.output_item.added")
        item, index = added["item"], added["output_index"]
        assert index == len(self.items)
        assert item["id"] not in self.seen_ids
        self.seen_ids.add(item["id"])
        kind = item["type"]
        where = {"item_id": item["id"], "output_index": index}
        text = ""
        if kind in WHOLE:
            return self.read_whole(item, index)
        if kind in PARTS:
            self.at(where, self.take(f"response.{PARTS[kind]}.added"))
        while self.next_type() == f"response.{DELTAS[kind]}.delta":
            delta = self.events.pop(0)
            self.at(where, delta)
            assert delta["delta"]
            text += delta["delta"]
        if self.next_type() == "response.failed":
            return False
        done = self.take(f"response.{DELTAS[kind]}.done")
        self.at(where, done)
        assert next(done[key] for key in ("text", "arguments", "input") if key in done) == text
        if kind in PARTS:
            part = self.take(f"response.{PARTS[kind]}.done")
            self.at(where, part)
            assert part["part"]["text"] == text
        closed = self.take("response.output_item.done")
        assert closed["output_index"] == index
        assert closed["item"]["id"] == item["id"]
        assert text_of(closed["item"]) == text
        self.items.append(closed["item"])
        return True

    def read_whole(self, item: Json, index: int) -> bool:
        closed = self.take("response.output_item.done")
        assert (closed["output_index"], closed["item"]["id"]) == (index, item["id"])
        assert closed["item"]["status"] == "completed"
        assert closed["item"]["call_id"]
        self.items.append(closed["item"])
        return True

    @staticmethod
    def at(where: Json, event: Json) -> None:
        assert {key: event[key] for key in where} == where


def text_of(item: Json) -> str:
    if item["type"] == "message":
        assert item["status"] == "completed"
        return item["content"][0]["text"]
    if item["type"] == "reasoning":
        return item["summary"][0]["text"]
    assert item["status"] == "completed"
    text = item["input"] if item["type"] == "custom_tool_call" else item["arguments"]
    assert isinstance(text, str)
    assert item["call_id"]
    return text


def check_usage(usage: Json) -> None:
    for key in ("input_tokens", "output_tokens", "total_tokens"):
        assert type(usage[key]) is int
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert type(usage["input_tokens_details"]["cached_tokens"]) is int
    assert type(usage["output_tokens_details"]["reasoning_tokens"]) is int


def read(events: list[Json]) -> Json:
    """Check a whole stream; return its last response."""
    return Reader(events).read()


def parse_sse(body: bytes) -> list[Json]:
    """The events of a stream's bytes; each `event:` line must equal its event's type."""
    import orjson

    assert body.endswith(b"\n\n"), "the last event has no blank line"
    events = []
    for block in body[:-2].split(b"\n\n"):
        name, data = block.split(b"\n")
        event = orjson.loads(data.removeprefix(b"data: "))
        assert name == b"event: " + event["type"].encode()
        events.append(event)
    return events
