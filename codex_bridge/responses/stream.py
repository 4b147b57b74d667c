"""Chat deltas -> Responses events: one state machine without I/O. Feed deltas, get events.

    start()            -> created, in_progress
    heartbeat()        -> in_progress, at any time between those and the last event
    feed(deltas)       -> the events of open items: text and reasoning pass through live
    settle()           -> all that was held back, the calls last: the answer is whole
    end()              -> completed (or incomplete), once settled
    again()            -> back to before the first delta, for another answer in place of this one
    fail(error, code)  -> failed, from any state

Items come strictly one after another: an item is closed before the next one opens. Calls are
held until the model finished, because a client runs a call as soon as it is done, and a call
of an answer that then breaks off would be run and asked for again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from enum import Enum, auto

import orjson
from attrs import define, evolve

from codex_bridge.errors import ApiError
from codex_bridge.ids import IdSource
from codex_bridge.leaks.scanner import Found, LeakScanner, Piece
from codex_bridge.repair.calls import Judge, RepairedCall, repair_call
from codex_bridge.responses import events
from codex_bridge.responses.events import ResponseTemplate
from codex_bridge.responses.think_tags import ThinkSplitter
from codex_bridge.tools.declarations import Kind
from codex_bridge.tools.toolbox import Toolbox
from codex_bridge.vocabulary import (
    Delta,
    FinishDelta,
    Json,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    UsageDelta,
)

BYTES_PER_TOKEN = 4
"""For the rare server that counts no tokens; a client without counts never compacts."""


ID_PREFIXES = {Kind.FUNCTION: "fc", Kind.CUSTOM: "ctc", Kind.SEARCH: "tsc", Kind.LOCAL_SHELL: "lsc"}


class State(Enum):
    """Which item is open."""

    BETWEEN = auto()
    TEXT = auto()
    REASONING = auto()
    ENDED = auto()


@define
class _Call:
    """A call as its fragments gave it so far. One that was found in the text has no index."""

    index: int | None
    id: str
    name: str
    arguments: list[str]


class ResponseStream:
    """The events of one response."""

    def __init__(
        self,
        template: ResponseTemplate,
        toolbox: Toolbox,
        new_id: IdSource,
        *,
        prompt_size: int = 0,
        length_completes: bool = False,
        repair: bool = True,
    ) -> None:
        """`prompt_size` in bytes stands in where the upstream counts no tokens.

        With `length_completes` an answer cut at the token limit ends as completed, for
        clients that throw away an incomplete one. With `repair` calls are mended: looked
        for in the text, and their names and arguments fitted to the tools.
        """
        self.output: list[Json] = []
        self.tools_called: list[str] = []
        self.repairs: Counter[str] = Counter()
        """What was mended -> how often."""
        self.usage: UsageDelta | None = None
        self._template = template
        self._new_id = new_id
        self._prompt_size = prompt_size
        self._length_completes = length_completes
        self._state = State.BETWEEN
        self._sequence = 0
        self._item_id = ""
        self._pieces: list[str] = []
        self._held: list[str] = []
        self._calls: list[_Call] = []
        self._latest: dict[tuple[int, str], _Call] = {}
        """The call that a fragment with this index and id, or without an id, goes on with."""
        self._call_ids: set[str] = set()
        self._finish_reason = ""
        self._answer_size = 0
        self._repair = repair
        self._settled = False
        self._splitter = ThinkSplitter()
        self.equip(toolbox)

    def equip(self, toolbox: Toolbox, *, in_words: bool = False) -> None:
        """Know the tools that the model is offered; at any time before the first delta.

        With `in_words` calls in the text are no leak: the model knows no other way.
        """
        self._toolbox = toolbox
        self._judge = Judge(toolbox)
        self._scans = bool(toolbox.offered) and (self._repair or in_words)
        self._scanner = self._new_scanner()

    def _new_scanner(self) -> LeakScanner | None:
        return LeakScanner(self._judge.known, self._judge.accepts) if self._scans else None

    @property
    def has_answered(self) -> bool:
        """Whether the client was given anything of an answer; reasoning is none yet."""
        return self._state is State.TEXT or any(item["type"] != "reasoning" for item in self.output)

    def start(self) -> list[Json]:
        """The two events that open every stream."""
        response = self._template.response("in_progress", [])
        return self._numbered(
            [
                events.response_event("created", response),
                events.response_event("in_progress", response),
            ]
        )

    def heartbeat(self) -> list[Json]:
        """An event that says only that the answer is still awaited."""
        response = self._template.response("in_progress", self.output)
        return self._numbered([events.response_event("in_progress", response)])

    def feed(self, deltas: Iterable[Delta]) -> list[Json]:
        """The events that these deltas give rise to."""
        out: list[Json] = []
        for delta in deltas:
            if isinstance(delta, TextDelta):
                self._text(delta.text, out)
            elif isinstance(delta, ReasoningDelta):
                self._splitter.has_thought()
                self._reasoning(delta.text, out)
            elif isinstance(delta, ToolCallDelta):
                self._collect(delta)
            elif isinstance(delta, FinishDelta):
                self._finish_reason = delta.reason
            else:
                self.usage = delta
        return self._numbered(out)

    def settle(self) -> list[Json]:
        """What was held back until the answer was whole: the rest of the text, the calls."""
        out: list[Json] = []
        self._settled = True
        self._split(*self._splitter.end(), out)
        if self._scanner:
            called = any(call.index is not None for call in self._calls)
            self._pieces_of_text(self._scanner.end(cut=self.is_cut, called=called), out)
        self._close(out)
        self._emit_calls(self.is_cut, out)
        return self._numbered(out)

    @property
    def is_cut(self) -> bool:
        """Whether the model had to stop before it was through."""
        return self._finish_reason in {"length", "content_filter"}

    def end(self, now: int) -> list[Json]:
        """The last events of a whole answer. `now` is the Unix time in seconds."""
        out = [] if self._settled else self.settle()
        self._state = State.ENDED
        incomplete = self.is_cut and not self._length_completes
        status = "incomplete" if incomplete else "completed"
        response = self._template.response(
            status,
            self.output,
            usage=events.usage(self._counted()),
            completed_at=None if incomplete else now,
            incomplete_details={"reason": "max_output_tokens"} if incomplete else None,
        )
        return out + self._numbered([events.response_event(status, response)])

    def again(self) -> list[Json]:
        """Forget what came so far; the next delta begins another answer.

        Reasoning that the client was shown stays, in an item of its own.
        """
        out: list[Json] = []
        self._close(out)
        self._held = []
        self._calls = []
        self._latest = {}
        self._finish_reason = ""
        self._settled = False
        self._scanner = self._new_scanner()
        self._splitter = ThinkSplitter()
        return self._numbered(out)

    def fail(self, error: ApiError, code: str) -> list[Json]:
        """The last event of an answer that failed; `code` is what this client understands.

        The open item stays open: what it holds is not whole.
        """
        self._state = State.ENDED
        response = self._template.response(
            "failed", self.output, error={"code": code, "message": error.message}
        )
        return self._numbered([events.response_event("failed", response)])

    def _numbered(self, out: list[Json]) -> list[Json]:
        for event in out:
            event["sequence_number"] = self._sequence
            self._sequence += 1
        return out

    def _text(self, text: str, out: list[Json]) -> None:
        self._split(*self._splitter.feed(text), out)

    def _split(self, reasoning: str, text: str, out: list[Json]) -> None:
        if reasoning:
            self._reasoning(reasoning, out)
        if text:
            self._pieces_of_text(self._scanner.feed(text) if self._scanner else [text], out)

    def _reasoning(self, text: str, out: list[Json]) -> None:
        if self._scanner:
            # Nothing says that what stood there was whole.
            self._pieces_of_text(self._scanner.end(cut=True), out)
        self._piece(State.REASONING, text, out)

    def _pieces_of_text(self, pieces: list[Piece], out: list[Json]) -> None:
        """Pass text on; collect the calls that stood in it."""
        for piece in pieces:
            if isinstance(piece, Found):
                self.repairs[f"leak: {piece.style}"] += len(piece.calls)
                for leak in piece.calls:
                    self._answer_size += len(leak.arguments)
                    self._calls.append(_Call(None, "", leak.name, [leak.arguments]))
            else:
                self._piece(State.TEXT, piece, out)

    def _piece(self, kind: State, text: str, out: list[Json]) -> None:
        """A piece of text or reasoning: open its item if need be, pass it on."""
        if self._state is not kind:
            # Models pad with blank lines around calls and reasoning; those alone are no item.
            if not text.strip():
                self._held.append(text)
                return
            text = "".join([*self._held, text])
            self._held = []
            self._close(out)
            self._open(kind, out)
        if not text:
            return
        self._pieces.append(text)
        self._answer_size += len(text)
        delta = events.text_delta if kind is State.TEXT else events.reasoning_delta
        out.append(delta(self._item_id, len(self.output), text))

    def _open(self, kind: State, out: list[Json]) -> None:
        self._state = kind
        index = len(self.output)
        if kind is State.TEXT:
            self._item_id = item_id = self._new_id("msg")
            item = events.message_item(item_id, "in_progress", [])
            out.append(events.item_event("added", index, item))
            out.append(events.content_part("added", item_id, index, ""))
        else:
            self._item_id = item_id = self._new_id("rs")
            out.append(events.item_event("added", index, events.reasoning_item(item_id, [])))
            out.append(events.reasoning_part("added", item_id, index, ""))

    def _close(self, out: list[Json]) -> None:
        """Close the open item, if any."""
        item_id, index, text = self._item_id, len(self.output), "".join(self._pieces)
        if self._state is State.TEXT:
            out.append(events.text_done(item_id, index, text))
            out.append(events.content_part("done", item_id, index, text))
            item = events.message_item(item_id, "completed", [events.text_part(text)])
        elif self._state is State.REASONING:
            out.append(events.reasoning_done(item_id, index, text))
            out.append(events.reasoning_part("done", item_id, index, text))
            item = events.reasoning_item(item_id, [events.summary_part(text)])
        else:
            return
        self._add(item, out)
        self._pieces = []
        self._held = []
        self._state = State.BETWEEN

    def _add(self, item: Json, out: list[Json]) -> None:
        out.append(events.item_event("done", len(self.output), item))
        self.output.append(item)

    def _collect(self, delta: ToolCallDelta) -> None:
        """Join a fragment to its call. A new id under a known index is a new call."""
        self._answer_size += len(delta.arguments)
        if call := self._latest.get((delta.index, delta.id)):
            call.name = call.name or delta.name
            call.arguments.append(delta.arguments)
            return
        call = _Call(delta.index, delta.id, delta.name, [delta.arguments])
        self._calls.append(call)
        self._latest[delta.index, delta.id] = self._latest[delta.index, ""] = call

    def _emit_calls(self, cut: bool, out: list[Json]) -> None:
        """All calls, in the order in which they came."""
        settled = []
        for call in self._calls:
            arguments = "".join(call.arguments)
            if cut and not _is_object(arguments):
                continue
            settled.append(
                (call, repair_call(call.name, arguments, self._toolbox, repair=self._repair))
            )
        made = {done.meaning for call, done in settled if call.index is not None}
        for call, done in settled:
            if call.index is None:
                # What a model announced in text and then called, or said again, is one call.
                if done.meaning in made:
                    continue
                made.add(done.meaning)
            self._emit_call(call, done, out)

    def _emit_call(self, call: _Call, done: RepairedCall, out: list[Json]) -> None:
        item_id, index = self._new_id(ID_PREFIXES[done.kind]), len(self.output)
        call_id = call.id
        if not call_id or call_id in self._call_ids:
            call_id = self._new_id("call")
        self._call_ids.add(call_id)
        empty = evolve(done, payload="")
        added = events.call_item(empty, item_id, call_id, "in_progress")
        out.append(events.item_event("added", index, added))
        if done.kind is Kind.FUNCTION:
            out.append(events.arguments_delta(item_id, index, done.payload))
            out.append(events.arguments_done(item_id, index, done.name, done.payload))
        elif done.kind is Kind.CUSTOM:
            if done.payload:
                out.append(events.input_delta(item_id, index, done.payload))
            out.append(events.input_done(item_id, index, done.payload))
        self._add(events.call_item(done, item_id, call_id, "completed"), out)
        self.tools_called.append(done.full_name)
        self.repairs.update(done.steps)

    def _counted(self) -> UsageDelta:
        if self.usage is None or not (self.usage.input_tokens or self.usage.output_tokens):
            self.usage = UsageDelta(
                self._prompt_size // BYTES_PER_TOKEN, self._answer_size // BYTES_PER_TOKEN
            )
        return self.usage


def _is_object(arguments: str) -> bool:
    try:
        return isinstance(orjson.loads(arguments), dict)
    except orjson.JSONDecodeError:
        return False
