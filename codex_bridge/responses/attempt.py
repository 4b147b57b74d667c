"""One answer of the upstream: deltas -> text, reasoning and calls for the writer. No I/O.

    attempt.feed(deltas)   text and reasoning are written as they come
    attempt.finish()       the answer is whole: what was held back is written, the calls last
    attempt.quoted         the calls that were not written, because the model may only quote them
    attempt.doubtful       the same, of calls in its text, which it may only show

An answer that is of no use is thrown away with its attempt, and another attempt begins. Calls
wait until the model has finished: a client runs a call as soon as its item is done, and a call
of an answer that then breaks off would be run, and asked for again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import orjson
from attrs import define, frozen

from codex_bridge.leaks.json_calls import WrittenCall
from codex_bridge.leaks.prose import refuses
from codex_bridge.leaks.scanner import Found, LeakScanner, Piece
from codex_bridge.repair.calls import RepairedCall, repair_call
from codex_bridge.repair.judge import Judge
from codex_bridge.responses.sources import Sources
from codex_bridge.responses.think_tags import ThinkSplitter
from codex_bridge.responses.writer import Channel, ResponseWriter
from codex_bridge.tools.toolbox import Toolbox
from codex_bridge.vocabulary import (
    Delta,
    FailureKind,
    FinishDelta,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    UpstreamFailure,
    UsageDelta,
)

BYTES_PER_TOKEN = 4
"""For an estimate if a server counts no tokens: a client without counts never compacts."""
DOUBT_CONFIRMED, DOUBT_AS_TEXT = "call in doubt confirmed", "call in doubt left as text"
IN_REASONING = "call in the reasoning"
QUOTED_TEXT, QUOTED_CALL = "quoted call left as text", "quoted call not run"
CONFIRMED = "quoted call confirmed"
TOO_MANY = "call beyond the limit left out"
NOT_RUN = (
    "[codex-bridge did not run a call of {names}: it stands word for word in what a tool "
    "returned, and the model did not confirm that it means it.]"
)
"""What the user reads in place of a quoted call that was not confirmed."""
NO_SOURCES = Sources()
MOST_CALLS, LARGEST_CALLS = 1000, 512 * 1024
"""How many calls an answer may have, and bytes of their names and arguments. To repair so many
takes up to 0.2 s, in which no other exchange goes on."""
FEWEST_WORDS, LONGEST_BEGINNING = 2, 256 * 1024
"""Words and characters of an answer that broke off, for a model to go on with it. A single word,
such as "assistant", may end any prompt; a longer text takes long to read again."""
CUT = frozenset({"length", "content_filter"})
"""Finish reasons of an answer that the model could not end."""


@frozen
class Beginning:
    """What came of an answer before it broke off."""

    text: str
    """All of the text that the client has."""
    reasoning: str


@define
class _Call:
    """A call as its fragments gave it so far."""

    id: str
    name: str
    arguments: list[str]
    style: str | None = None
    """The form in which it stood in the text; None for a call that the server sent as a call."""


class Attempt:
    """Turns the deltas of one answer into text, reasoning and calls."""

    def __init__(
        self,
        writer: ResponseWriter,
        toolbox: Toolbox,
        *,
        sources: Sources = NO_SOURCES,
        before: Attempt | None = None,
        beginning: str = "",
        most_calls: int | None = None,
        repair: bool = True,
        calls_as_text: bool = False,
        dialect: frozenset[str] | None = None,
    ) -> None:
        """`sources` is what its request shows that it may repeat. `before` is the answer after
        which the model was asked whether it means the calls that it may only have quoted or shown.
        `beginning` is text of the same answer that the client has from an attempt that broke off.
        `most_calls` is how many calls the client takes, those of `before` among them; None: any
        number. With `repair` calls are looked for in the text, and their names and arguments fitted
        to the tools. `calls_as_text`: the model knows no other way to call. `dialect` names the
        forms in which it was taught to call, see `leaks.styles.dialect`."""
        self.usage: UsageDelta | None = None
        """The tokens that the upstream counted."""
        self.quoted: list[RepairedCall] = []
        """Calls that the server sent, and that stand in the result of a tool. They are not
        written: the server may have made them of a text that the model only quoted."""
        self.tools_called: list[str] = list(before.tools_called) if before else []
        self.repairs: Counter[str] = before.repairs if before else Counter()
        """What was repaired in the calls -> how often."""
        self._confirmable = {call.essence for call in before.quoted} if before else frozenset()
        self._before = before
        self._held: list[Piece] = []
        """What came since the first call that the model may only show, and that call itself."""
        self._written: set[tuple[str, bytes]] = set(before._written) if before else set()
        """What the calls mean that were written."""
        self._writer = writer
        self._toolbox = toolbox
        self._most_calls = most_calls
        self._repair = repair
        self._splitter = ThinkSplitter()
        self._sources = sources
        self._judge = Judge(toolbox, sources.read, sources.results, sources.seen)
        self._scanner: LeakScanner | None = None
        if toolbox.offered and (repair or calls_as_text):
            self._scanner = LeakScanner(
                self._judge.known,
                self._judge.accepts,
                is_shown_json=sources.is_shown_json,
                dialect=dialect,
            )
            self._scanner.begin_behind(beginning)
        self._beginning = beginning
        self._echo = "" if beginning else None
        """Text that is held back as long as it may only repeat the beginning; None: it does not."""
        self._calls: list[_Call] = []
        self._calls_size = 0
        self._has_text_behind_call = False
        self._latest: dict[tuple[int, str], _Call] = {}
        """The call that a fragment with this index and id, or without an id, belongs to."""
        self._thoughts: list[str] = []
        self._blank: list[str] = []
        """White space that is text only if text follows."""
        self._said: list[str] = []
        """Its own text, as far as it came."""
        self._has_text: bool = bool(beginning) or (before is not None and before._has_text)
        self._is_muted = before is not None and bool(before.doubtful)
        """Whether its text only says whether the answer before was an example."""
        self._finish_reason = ""
        self._size = 0

    @property
    def text(self) -> str:
        """The messages that were written so far, of answers before this one, too."""
        held = [piece.text if isinstance(piece, Found) else piece for piece in self._held]
        messages = (item for item in self._writer.output if item["type"] == "message")
        texts = [part["text"] for item in messages for part in item["content"]]
        return "".join(["\n".join(texts), *held])

    @property
    def is_cut(self) -> bool:
        """Whether the model had to stop before it was through."""
        return self._finish_reason in CUT

    @property
    def is_empty(self) -> bool:
        """Whether it holds neither text nor calls; reasoning alone is no answer."""
        return not (self._has_text or self.tools_called or self.quoted or self._held)

    def counted(self, prompt_size: int) -> UsageDelta:
        """The tokens of prompt and answer: as counted, else estimated; `prompt_size` in bytes."""
        if self.usage and (self.usage.input_tokens or self.usage.output_tokens):
            return self.usage
        return UsageDelta(prompt_size // BYTES_PER_TOKEN, self._size // BYTES_PER_TOKEN)

    def feed(self, deltas: Iterable[Delta]) -> None:
        """Write what these deltas bring, as far as it is certain."""
        for delta in deltas:
            if isinstance(delta, TextDelta):
                self._split(*self._splitter.feed(self._without_echo(delta.text)))
            elif isinstance(delta, ReasoningDelta):
                self._splitter.note_reasoning()
                self._reasoning(delta.text)
            elif isinstance(delta, ToolCallDelta):
                self._collect(delta)
            elif isinstance(delta, FinishDelta):
                self._finish_reason = delta.reason
            else:
                self.usage = delta

    def finish(self) -> None:
        """Write what was held back until the answer was whole: the rest of the text, the calls."""
        if self._echo:
            echo, self._echo = self._echo, None
            self._split(*self._splitter.feed(echo))
        self._split(*self._splitter.end())
        if self._scanner:
            has_called = any(call.style is None for call in self._calls)
            self._pieces(self._scanner.end(cut=self.is_cut, called=has_called))
        if self._calls or self.is_cut:
            # A model that calls as well only described the other call.
            self.settle()
        if self._before is not None:
            written = [WrittenCall(call.name, "".join(call.arguments)) for call in self._calls]
            self._before.settle(frozenset(map(self._essence, written)))
        self._writer.end_item()
        self._write_calls()
        if self._judge.quotations:
            self.repairs[QUOTED_TEXT] += self._judge.quotations

    @property
    def doubtful(self) -> list[Found]:
        """The calls in its text that the model may only show."""
        return [piece for piece in self._held if isinstance(piece, Found) and piece.calls]

    def settle(self, meant: frozenset[tuple[str, str]] = frozenset()) -> None:
        """Write what was held, without those of the doubtful calls that were `meant`.

        `meant` has the essences of calls, see `RepairedCall.essence`.
        """
        held, self._held = self._held, []
        is_meant = False
        for piece in held:
            if not isinstance(piece, Found):
                self._write(Channel.MESSAGE, piece)
                continue
            if piece.calls:
                # An end tag behind a call, which has none, shares its fate.
                is_meant = {self._essence(call) for call in piece.calls} <= meant
                self.repairs[DOUBT_CONFIRMED if is_meant else DOUBT_AS_TEXT] += 1
            if not is_meant:
                self._write(Channel.MESSAGE, piece.text)
        if held:
            self._writer.end_item()

    def _essence(self, call: WrittenCall) -> tuple[str, str]:
        return self._repaired(call.name, call.arguments, repair=True).essence

    def _repaired(self, name: str, arguments: str, *, repair: bool) -> RepairedCall:
        seen = self._sources.seen
        return repair_call(name, arguments, self._toolbox, repair=repair, seen=seen)

    def has_called_since(self, before: Attempt) -> bool:
        """Whether it wrote calls that `before`, the answer before it, had not."""
        return self is not before and len(self.tools_called) > len(before.tools_called)

    def take_call_from_reasoning(self) -> bool:
        """Write the call with which the reasoning ends, if that is all that there is.

        Small models forget to leave their thoughts before they call. A call counts there only
        between the marks of a form, and only at the end.
        """
        if self._scanner is None or not self.is_empty:
            return False
        scanner = LeakScanner(self._judge.known, self._judge.accepts)
        pieces = [*scanner.feed("".join(self._thoughts)), *scanner.end()]
        calls = [piece for piece in pieces if isinstance(piece, Found)]
        last = next((p for p in reversed(pieces) if isinstance(p, Found) or p.strip()), None)
        if len(calls) != 1 or last is not calls[0] or not last.is_certain or not last.is_tagged:
            return False
        self._pieces(calls)
        self._write_calls()
        self.repairs[IN_REASONING] += 1
        return True

    def refuse_quoted(self) -> None:
        """Write, in place of the quoted calls, that they were not run."""
        names = ", ".join(dict.fromkeys(call.full_name for call in self.quoted))
        # Not by `_write`: the answer that says whether a call was meant is not shown itself.
        self._writer.text(Channel.MESSAGE, NOT_RUN.format(names=names))
        self._writer.end_item()
        self.repairs[QUOTED_CALL] += len(self.quoted)

    @property
    def beginning(self) -> Beginning | None:
        """What the client has of this answer, if the model could go on with it; else None.

        Calls that were not written yet are no part of it: the model makes them again.
        """
        is_first = all(item["type"] == "reasoning" for item in self._writer.output)
        if self._writer.channel is not Channel.MESSAGE or not is_first:
            return None
        if self._has_text_behind_call or self._before is not None:
            return None
        text = "".join([self._beginning, *self._said])
        if len(text) > LONGEST_BEGINNING or len(text.split()) < FEWEST_WORDS:
            return None
        return Beginning(text, "".join(self._thoughts))

    @property
    def has_said(self) -> bool:
        """Whether it wrote text of its own."""
        return bool(self._said)

    def _without_echo(self, text: str) -> str:
        """`text` without the beginning, which a server may send again before it goes on."""
        if self._echo is None:
            return text
        self._echo += text
        if len(self._echo) < len(self._beginning) and self._beginning.startswith(self._echo):
            return ""
        echo, self._echo = self._echo, None
        return echo.removeprefix(self._beginning)

    def _split(self, reasoning: str, text: str) -> None:
        if reasoning:
            self._reasoning(reasoning)
        if text:
            self._pieces(self._scanner.feed(text) if self._scanner else [text])

    def _reasoning(self, text: str) -> None:
        if self._beginning and not self._said:
            # What follows such thoughts would repeat what the client has. The model would do the
            # same again.
            raise UpstreamFailure(FailureKind.GARBLED, "the model began anew")
        if self._scanner:
            # A call that reasoning interrupts may not be whole.
            self._pieces(self._scanner.end(cut=True))
        self._thoughts.append(text)
        self._write(Channel.REASONING, text)

    def _pieces(self, pieces: Iterable[Piece]) -> None:
        """Write text; collect the calls that stood in it."""
        for piece in pieces:
            # A model that was asked to make its call now means what it writes, in any form.
            if isinstance(piece, Found) and (piece.is_certain or self._is_muted):
                self.settle()
                if not piece.calls and piece.style:
                    self.repairs[piece.style] += 1
                for written in piece.calls:
                    self._hold(written.name, written.arguments)
                    self._add_call(_Call("", written.name, [written.arguments], piece.style))
            elif self._held or isinstance(piece, Found):
                self._held.append(piece)
            else:
                self._write(Channel.MESSAGE, piece)

    def _write(self, channel: Channel, text: str) -> None:
        if self._writer.channel is not channel:
            # Models put blank lines around calls and reasoning; those alone are no item.
            if not text.strip():
                self._blank.append(text)
                return
            text = "".join([*self._blank, text])
            self._blank = []
        if text:
            if channel is Channel.MESSAGE:
                self._has_text = True
                self._has_text_behind_call = bool(self._calls)
                self._said.append(text)
            self._size += len(text)
            if not self._is_muted:
                self._writer.text(channel, text)

    def _collect(self, delta: ToolCallDelta) -> None:
        """Join a fragment to its call. A new id under a known index is a new call."""
        self._hold(delta.name, delta.arguments)
        if call := self._latest.get((delta.index, delta.id)):
            call.name = call.name or delta.name
            call.arguments.append(delta.arguments)
            return
        call = _Call(delta.id, delta.name, [delta.arguments])
        self._add_call(call)
        self._latest[delta.index, delta.id] = self._latest[delta.index, ""] = call

    def _hold(self, name: str, arguments: str) -> None:
        """Count what is kept of calls until the answer is whole. Raises UpstreamFailure."""
        self._size += len(arguments)
        self._calls_size += len(name) + len(arguments)
        if self._calls_size > LARGEST_CALLS:
            text = f"more than {LARGEST_CALLS:,} bytes of calls"
            raise UpstreamFailure(FailureKind.OVERSIZED, text)

    def _add_call(self, call: _Call) -> None:
        """Keep a call until the answer is whole. Raises UpstreamFailure."""
        if len(self._calls) == MOST_CALLS:
            raise UpstreamFailure(FailureKind.OVERSIZED, f"more than {MOST_CALLS:,} calls")
        self._calls.append(call)

    def _write_calls(self) -> None:
        """Write all calls, in the order in which they came.

        What a model announced in its text and then called, or wrote twice, is one call. Of more
        calls than the client takes the first ones count, without those that may only be quoted: so
        the model is not asked about a call that could not be made.
        """
        repaired = self._repaired_calls()
        sent = {done.meaning for call, done in repaired if call.style is None}
        already = frozenset(self._written)
        # The server may have made a call of what the model quoted once more, to refuse it.
        is_refused = self._before is not None and refuses("".join(self._said))
        for call, done in repaired:
            arguments = "".join(call.arguments)
            if done.meaning in already:
                continue
            if call.style is not None and (done.meaning in sent or done.meaning in self._written):
                continue
            if self._has_all_calls:
                self.repairs[TOO_MANY] += 1
                continue
            if call.style is None and done.essence in self._confirmable and not is_refused:
                self.repairs[CONFIRMED] += 1
            elif (
                call.style is None
                and done.tool
                and self._judge.has_read(done, call.name, arguments)
            ):
                self.quoted.append(done)
                continue
            if call.style is not None:
                self.repairs[f"leak: {call.style}"] += 1
            self._written.add(done.meaning)
            self.repairs.update(done.steps)
            self.tools_called.append(done.full_name)
            self._writer.call(done, call.id)
        if self._has_all_calls and self.quoted:
            self.repairs[TOO_MANY] += len(self.quoted)
            self.quoted = []

    def _repaired_calls(self) -> list[tuple[_Call, RepairedCall]]:
        """Each call and what becomes of it; of an answer that was cut only those that are whole."""
        repaired = []
        for call in self._calls:
            arguments = "".join(call.arguments)
            if not self.is_cut or _is_object(arguments):
                done = self._repaired(call.name, arguments, repair=self._repair)
                repaired.append((call, done))
        return repaired

    @property
    def _has_all_calls(self) -> bool:
        """Whether the client takes no more calls than were written."""
        return self._most_calls is not None and len(self.tools_called) >= self._most_calls


def _is_object(arguments: str) -> bool:
    try:
        return isinstance(orjson.loads(arguments), dict)
    except orjson.JSONDecodeError:
        return False
