"""The events of one exchange: ids, sequence numbers, items, the last event. No I/O.

    writer.start()                        -> created, in_progress
    writer.heartbeat()                    -> in_progress, between those and the last event
    writer.text(Channel.MESSAGE, "Hel")   -> the item is opened if need be, a delta
    writer.call(call, "call_1")           -> a whole call
    writer.compaction(sealed)             -> a whole item of a compacted conversation
    writer.end_item()                     -> the open item is closed
    writer.complete(writer.whole(usage, …)) -> completed (or incomplete)
    writer.fail(error, code)              -> failed, at any time between start and the last event

Each of these puts events into a queue, which `take` empties. Misuse raises WrongOrder; see
`states` for what may follow what.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from attrs import define, evolve, field

from codex_bridge.errors import ApiError
from codex_bridge.ids import IdSource
from codex_bridge.repair.calls import RepairedCall
from codex_bridge.responses import events
from codex_bridge.responses.events import ResponseTemplate
from codex_bridge.responses.states import State, after
from codex_bridge.tools.declarations import Kind
from codex_bridge.vocabulary import Json, UsageDelta

ID_PREFIXES = {Kind.FUNCTION: "fc", Kind.CUSTOM: "ctc", Kind.SEARCH: "tsc", Kind.LOCAL_SHELL: "lsc"}


class Channel(Enum):
    """What a piece of text belongs to; the value begins the ids of its items."""

    MESSAGE = "msg"
    REASONING = "rs"


@define
class _Item:
    """The item that is open, and its text so far."""

    id: str
    channel: Channel
    pieces: list[str] = field(factory=list)
    logprobs: list[Json] = field(factory=list)
    """Tokens of a message with their probabilities, where they were asked for."""


class ResponseWriter:
    """Writes the events of one response."""

    def __init__(self, template: ResponseTemplate, new_id: IdSource) -> None:
        self.output: list[Json] = []
        """The items that are whole."""
        self._template = template
        self._new_id = new_id
        self._state = State.NEW
        self._sequence = 0
        self._queue: list[Json] = []
        self._item: _Item | None = None
        self._call_ids: set[str] = set()

    @property
    def channel(self) -> Channel | None:
        """What the open item holds; None where no item is open."""
        return self._item.channel if self._item else None

    @property
    def has_answered(self) -> bool:
        """Whether the client was given anything of an answer; reasoning is not counted."""
        is_text_open = self.channel is Channel.MESSAGE
        return is_text_open or any(item["type"] != "reasoning" for item in self.output)

    def take(self) -> list[Json]:
        """The events since the last call."""
        queue, self._queue = self._queue, []
        return queue

    def start(self) -> None:
        """Queue the two events that open every stream."""
        response = self._template.response("in_progress", [])
        self._add(events.response_event("created", response))
        self._add(events.response_event("in_progress", response))

    def heartbeat(self) -> None:
        """Queue an event that says only that the answer is still awaited."""
        response = self._template.response("in_progress", self.output)
        self._add(events.response_event("in_progress", response))

    def text(self, channel: Channel, text: str, logprobs: Sequence[Json] = ()) -> None:
        """Queue a piece of a message or of reasoning; an item of the other kind ends before it.

        `logprobs` are tokens of a message with their probabilities.
        """
        item = self._item
        if item is None or item.channel is not channel:
            self.end_item()
            item = self._open(channel)
        item.pieces.append(text)
        if channel is Channel.MESSAGE:
            item.logprobs.extend(logprobs)
            self._add(events.text_delta(item.id, len(self.output), text, logprobs))
        else:
            self._add(events.reasoning_delta(item.id, len(self.output), text))

    def end_item(self, *, is_incomplete: bool = False) -> None:
        """Queue the end of the open item, if one is open; `is_incomplete`: the model was cut."""
        item, self._item = self._item, None
        if item is None:
            return
        index, text = len(self.output), "".join(item.pieces)
        if item.channel is Channel.MESSAGE:
            part = events.text_part(text, item.logprobs)
            self._add(events.text_done(item.id, index, text, item.logprobs))
            self._add(events.content_part("done", item.id, index, part))
            status = "incomplete" if is_incomplete else "completed"
            self._add_done(events.message_item(item.id, status, [part]))
        else:
            self._add(events.reasoning_done(item.id, index, text))
            self._add(events.reasoning_part("done", item.id, index, text))
            summary = [events.summary_part(text)]
            is_sealed = self._template.seals_reasoning
            self._add_done(
                events.reasoning_item(
                    item.id, summary, is_sealed=is_sealed, is_incomplete=is_incomplete
                )
            )

    def call(self, call: RepairedCall, call_id: str) -> None:
        """Queue a whole call under `call_id`; under a new id where that is empty or taken."""
        item_id, index = self._new_id(ID_PREFIXES[call.kind]), len(self.output)
        if not call_id or call_id in self._call_ids:
            call_id = self._new_id("call")
        self._call_ids.add(call_id)
        begun = events.call_item(evolve(call, payload=""), item_id, call_id, "in_progress")
        self._add(events.item_event("added", index, begun))
        if call.kind is Kind.FUNCTION:
            self._add(events.arguments_delta(item_id, index, call.payload))
            self._add(events.arguments_done(item_id, index, call.name, call.payload))
        elif call.kind is Kind.CUSTOM:
            if call.payload:
                self._add(events.input_delta(item_id, index, call.payload))
            self._add(events.input_done(item_id, index, call.payload))
        self._add_done(events.call_item(call, item_id, call_id, "completed"))

    def compaction(self, sealed: str) -> None:
        """Queue the item of a compacted conversation; `sealed` is its summary."""
        item = events.compaction_item(self._new_id("cmp"), sealed)
        self._add(events.item_event("added", len(self.output), item))
        self._add_done(item)

    def whole(self, usage: UsageDelta, *, now: int, is_incomplete: bool = False) -> Json:
        """The response object of a whole answer, for `complete`.

        `now` is the Unix time in seconds. `is_incomplete` tells that the answer was cut.
        """
        return self._template.response(
            "incomplete" if is_incomplete else "completed",
            self.output,
            usage=events.usage(usage),
            completed_at=None if is_incomplete else now,
            incomplete_details={"reason": "max_output_tokens"} if is_incomplete else None,
        )

    def complete(self, response: Json) -> None:
        """Queue the last event of a whole answer, with its `response` object."""
        self._add(events.response_event(response["status"], response))

    def fail(self, error: ApiError, code: str) -> None:
        """Queue the last event of an answer that failed; `code` is what this client understands.

        An open item stays open: what it holds is not whole.
        """
        told = {"code": code, "message": error.message}
        response = self._template.response("failed", self.output, error=told)
        if not response["background"]:
            # Nobody could go on from it, so it is not kept.
            response["store"] = False
        self._add(events.response_event("failed", response))

    def _open(self, channel: Channel) -> _Item:
        item = self._item = _Item(self._new_id(channel.value), channel)
        index = len(self.output)
        if channel is Channel.MESSAGE:
            begun = events.message_item(item.id, "in_progress", [])
            self._add(events.item_event("added", index, begun))
            part = events.text_part("")
            self._add(events.content_part("added", item.id, index, part))
        else:
            begun = events.reasoning_item(item.id, [], is_sealed=self._template.seals_reasoning)
            self._add(events.item_event("added", index, begun))
            self._add(events.reasoning_part("added", item.id, index, ""))
        return item

    def _add_done(self, item: Json) -> None:
        self._add(events.item_event("done", len(self.output), item))
        self.output.append(item)

    def _add(self, event: Json) -> None:
        self._state = after(self._state, event)
        event["sequence_number"] = self._sequence
        self._sequence += 1
        self._queue.append(event)
