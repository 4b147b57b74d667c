"""One answer of the upstream: deltas -> text, reasoning and calls for the writer. No I/O.

    attempt.feed(deltas)   text and reasoning are written as they come
    attempt.finish()       the answer is whole: what was held back is written, the calls last
    attempt.quoted         the calls that were not written, because the model may only quote them
    attempt.doubtful       the same, of calls in its text, which it may only show
    attempt.is_swallowed   the server dropped what the model wrote

An answer that is of no use is thrown away with its attempt, and another attempt begins. Calls
wait until the model has finished: a client runs a call as soon as its item is done, and a call
of an answer that then breaks off would be run, and asked for again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from enum import Enum, auto

import orjson
from attrs import frozen

from codex_bridge.leaks.json_calls import WrittenCall
from codex_bridge.leaks.prose import refuses
from codex_bridge.leaks.scanner import Found, LeakScanner, Piece
from codex_bridge.repair.calls import RepairedCall, repair_call
from codex_bridge.repair.judge import Judge
from codex_bridge.repair.structured import fitted, misfit
from codex_bridge.responses.announcements import announces
from codex_bridge.responses.collected_calls import Call, CollectedCalls
from codex_bridge.responses.loops import CUT_OFF, is_of_use, useful_part
from codex_bridge.responses.own_words import OwnWords
from codex_bridge.responses.sources import Sources
from codex_bridge.responses.think_tags import ThinkSplitter
from codex_bridge.responses.writer import Channel, ResponseWriter
from codex_bridge.tools.constrained import read_constrained
from codex_bridge.tools.toolbox import Toolbox
from codex_bridge.vocabulary import (
    Delta,
    FailureKind,
    FinishDelta,
    Json,
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
FORM, REPETITION = "form of the answer", "repetition cut off"
QUOTED_TEXT, QUOTED_CALL = "quoted call left as text", "quoted call not run"
CONFIRMED = "quoted call confirmed"
TOO_MANY = "call beyond the limit left out"
NOT_RUN = (
    "[codex-bridge did not run a call of {names}: it stands word for word in what a tool "
    "returned, and the model did not confirm that it means it.]"
)
"""What the user reads in place of a quoted call that was not confirmed."""
NO_SOURCES = Sources()
FEWEST_WORDS, LONGEST_BEGINNING = 2, 256 * 1024
"""Words and characters of an answer that broke off, for a model to go on with it. A single word,
such as "assistant", may end any prompt; a longer text takes long to read again."""
FEWEST_SWALLOWED = 12
"""Tokens that a server counted and did not deliver, from which a call is missing: the shortest call
takes some fifteen, the marks of a thought and of the end of an answer up to ten."""
CUT = frozenset({"length", "content_filter"})
"""Finish reasons of an answer that the model could not end."""


@frozen
class Beginning:
    """What came of an answer before it broke off."""

    text: str
    """All of the text that the client has."""
    reasoning: str


class Reading(Enum):
    """What the text of an answer is."""

    PARSED = auto()
    """What the server's parsers left of it."""
    OWN_WORDS = auto()
    """What the model wrote, with its calls and its thoughts in it."""
    OWN_WORDS_IN_THOUGHT = auto()
    """The same, behind a prompt that begins the thought."""
    CONSTRAINED = auto()
    """A call or an answer, in the JSON of `tools.constrained`."""


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
        reading: Reading = Reading.PARSED,
        text_format: Json | None = None,
        think_budget: int | None = None,
        tells_cut: bool = True,
    ) -> None:
        """`sources` is what its request shows that it may repeat. `before` is the answer after
        which the model was asked whether it means the calls that it may only have quoted or shown.
        `beginning` is text of the same answer that the client has from an attempt that broke off.
        `most_calls` is how many calls the client takes, those of `before` among them; None: any
        number. With `repair` calls are looked for in the text, and their names and arguments fitted
        to the tools. `calls_as_text`: the model knows no other way to call. `dialect` names the
        forms in which it was taught to call, see `leaks.styles.dialect`. `reading` tells what the
        text is. `text_format` is what a text without calls has to fit; it is held back until it is
        whole. `think_budget` is how many tokens the reasoning may take. With `tells_cut`
        the last item of an answer that was cut is incomplete."""
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
        self._writer, self._toolbox = writer, toolbox
        self._most_calls, self._repair = most_calls, repair
        self._reading = reading
        is_own_words = reading in {Reading.OWN_WORDS, Reading.OWN_WORDS_IN_THOUGHT}
        self._own_words = OwnWords(dialect) if is_own_words else None
        self._dialect = dialect
        # Whoever is asked whether a call was meant gives no answer of its own.
        is_muted = before is not None and bool(before.doubtful)
        self._text_format = None if is_muted else text_format
        self._think_budget, self._tells_cut = think_budget, tells_cut
        self._deltas = 0
        """How many pieces of text and reasoning came: about the number of tokens."""
        self._unchecked: list[str] = []
        """Text that is held back until it is whole: it has to fit a schema, or is a call."""
        self._splitter = ThinkSplitter(inside=reading is Reading.OWN_WORDS_IN_THOUGHT)
        self._sources = sources
        self._judge = Judge(toolbox, sources.read, sources.results, sources.seen)
        has_scanner = toolbox.offered and (repair or calls_as_text or self._own_words)
        self._scanner = self._scanner_for(dialect, beginning) if has_scanner else None
        self._beginning = beginning
        self._echo = "" if beginning else None
        """Text that is held back as long as it may only repeat the beginning; None: it does not."""
        self._calls = CollectedCalls()
        self._has_text_behind_call = False
        self._logprobs: list[Json] = []
        """Tokens with their probabilities that came since the last piece of text was written."""
        self._thoughts: list[str] = []
        self._thought_size = 0
        self._blank: list[str] = []
        """White space that is text only if text follows."""
        self._said: list[str] = []
        """Its own text, as far as it came."""
        self._has_text: bool = bool(beginning) or (before is not None and before._has_text)
        self._is_muted = is_muted
        """Whether its text only says whether the answer before was an example."""
        self._finish_reason = ""
        self._size = 0

    def _scanner_for(self, dialect: frozenset[str] | None, beginning: str) -> LeakScanner:
        scanner = LeakScanner(
            # In its own words a model may use any name; Codex tells it of a wrong one.
            bool if self._own_words else self._judge.known,
            self._accepts_own if self._own_words else self._judge.accepts,
            is_shown_json=self._sources.is_shown_json,
            dialect=dialect,
        )
        scanner.begin_behind(beginning)
        return scanner

    @property
    def text(self) -> str:
        """Its text so far, also what is held back."""
        held = [piece.text if isinstance(piece, Found) else piece for piece in self._held]
        unread = self._own_words.unread if self._own_words else ""
        return "".join([self._beginning, *self._said, *self._unchecked, *held, unread])

    @property
    def reasoning(self) -> str:
        """Its reasoning so far."""
        return "".join(self._thoughts)

    @property
    def is_thinking(self) -> bool:
        """Whether nothing but reasoning came so far."""
        return bool(self._thoughts) and not (self.text.strip() or self._calls)

    @property
    def has_text(self) -> bool:
        """Whether the client has text of it, or will at its end."""
        return not self._is_muted and bool(self._said or self._beginning)

    @property
    def has_said(self) -> bool:
        """Whether the client has text of its own of it, behind a beginning that it was given."""
        return not self._is_muted and bool(self._said)

    @property
    def has_answered_by_call(self) -> bool:
        """Whether it made a call, or was cut before it could."""
        return bool(self.tools_called) or self.is_cut

    @property
    def is_swallowed(self) -> bool:
        """Whether the server counted so many tokens more than it delivered that a call is missing.

        Behind text that is so only if the text announces the call: counts of text are not exact.
        """
        is_silent = not (self.tools_called or self.quoted or self._held)
        has_text = bool(self._said or self._beginning)
        return is_silent and self._lacks_tokens and (not has_text or self.announces)

    @property
    def _lacks_tokens(self) -> bool:
        """Whether the server counted more tokens than it delivered, and the model was not cut."""
        if self.usage is None or self.is_cut or self._own_words:
            return False
        size = self._size + sum(map(len, self._unchecked))
        # Most pieces are a token; of an answer in one piece a character may be one.
        delivered = size if self._deltas == 1 else max(self._deltas, size // BYTES_PER_TOKEN)
        return self.usage.output_tokens - delivered >= FEWEST_SWALLOWED

    @property
    def announces(self) -> bool:
        """Whether it has text and no call, and the text only announces the next step."""
        is_text = bool(self._said) and not (self.tools_called or self.quoted or self._held)
        return is_text and not self.is_cut and announces("".join(self._said))

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
                self._deltas += 1
                self._logprobs += delta.logprobs
                self._split(*self._splitter.feed(self._without_echo(delta.text)))
            elif isinstance(delta, ReasoningDelta):
                self._deltas += 1
                self._splitter.note_reasoning()
                self._reasoning(delta.text)
            elif isinstance(delta, ToolCallDelta):
                self._size += len(delta.arguments)
                self._calls.add_fragment(delta)
            elif isinstance(delta, FinishDelta):
                self._finish_reason = delta.reason
            else:
                self.usage = delta

    def finish(self) -> None:
        """Write what was held back until the answer was whole: the rest of the text, the calls.

        Raises UpstreamFailure where a call, or the whole text, is not in the form that it needs.
        """
        if self._echo:
            echo, self._echo = self._echo, None
            self._split(*self._splitter.feed(echo))
        self._split(*self._splitter.end())
        if self._scanner:
            has_called = any(call.style is None for call in self._calls)
            self._pieces(self._scanner.end(cut=self.is_cut, called=has_called))
        self._take_constrained()
        is_unread = self._own_words is not None and bool(self._own_words.unread)
        if is_unread and not self._calls and not self.is_cut:
            raise UpstreamFailure(FailureKind.SWALLOWED, "")
        if self._calls or self.is_cut or self._text_format is not None:
            # A model that calls as well only described the other call; and where the text has to
            # fit a schema, all of it is the answer.
            self.settle()
        self._check_format()
        if self._before is not None:
            written = [WrittenCall(call.name, call.arguments) for call in self._calls]
            self._before.settle(frozenset(map(self._essence, written)))
        self._end_item()
        self._write_calls()
        if self._judge.quotations:
            self.repairs[QUOTED_TEXT] += self._judge.quotations

    def cut_off(self) -> bool:
        """End it, since it only repeats itself; whether anything of it is of use.

        Calls that came before are written; else the text, and a note behind it. Raises
        UpstreamFailure as `finish`.
        """
        if self._scanner:
            self._pieces(self._scanner.end(cut=True))
        # A call that it could not end is part of the loop.
        self._own_words = None
        if self._text_format is not None:
            self._unchecked = [useful_part("".join(self._unchecked))]
        elif not self._calls:
            if not is_of_use("".join(self._said)):
                return False
            self.settle()
            self._write(Channel.MESSAGE, CUT_OFF)
        self.finish()
        self.repairs[REPETITION] += 1
        return True

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
            self._end_item()

    def _end_item(self) -> None:
        """End the open item; it is incomplete if the model was cut, and no whole call follows."""
        is_cut = self.is_cut and self._tells_cut
        has_call = is_cut and any(_is_object(call.arguments) for call in self._calls)
        self._writer.end_item(is_incomplete=is_cut and not has_call)

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
        if text and self._reading is Reading.CONSTRAINED:
            self._unchecked.append(text)
        elif text:
            self._pieces(self._scanner.feed(text) if self._scanner else [text])

    def _accepts_own(self, call: WrittenCall, strict: bool) -> bool:
        """As `Judge.accepts`; a call between marks only has to be readable, as for a server.

        Where no tool has its name, Codex tells the model which there are.
        """
        if strict:
            return self._judge.accepts(call, strict)
        repaired = self._repaired(call.name, call.arguments, repair=True)
        return repaired.readable or (repaired.tool is None and _is_object(call.arguments))

    def _take_constrained(self) -> None:
        """Take the call, or write the text, of an answer that a grammar constrained.

        Raises UpstreamFailure if it is neither: the server left the grammar out.
        """
        if self._reading is not Reading.CONSTRAINED or self._calls or self.is_cut:
            return
        text, self._unchecked = "".join(self._unchecked), []
        found = read_constrained(text) if text.strip() else ""
        if found is None:
            raise UpstreamFailure(FailureKind.MALFORMED_CALL, "it left the grammar out")
        if isinstance(found, str):
            self._write(Channel.MESSAGE, found)
            return
        self._calls.add(WrittenCall(*found), None)

    def _check_format(self) -> None:
        """Write the text that was held back, in a form that fits. Raises UpstreamFailure."""
        form, self._text_format = self._text_format, None
        if form is None:
            return
        text, self._unchecked = "".join(self._unchecked), []
        if not text.strip() or self._calls or self.is_cut:
            self._write(Channel.MESSAGE, text)
            return
        fit = fitted(text, form)
        if fit is None:
            self._unchecked = [text]
            if self._lacks_tokens and announces(text):
                raise UpstreamFailure(FailureKind.SWALLOWED, "")
            raise UpstreamFailure(FailureKind.UNFIT, misfit(text, form))
        if fit != text:
            self.repairs[FORM] += 1
        self._write(Channel.MESSAGE, fit)

    def _reasoning(self, text: str) -> None:
        if self._beginning and not self._said:
            # What follows such thoughts would repeat what the client has. The model would do the
            # same again.
            raise UpstreamFailure(FailureKind.GARBLED, "the model began anew")
        if self._scanner:
            # A call that reasoning interrupts may not be whole.
            self._pieces(self._scanner.end(cut=True))
        self._thoughts.append(text)
        self._logprobs = []
        self._write(Channel.REASONING, text)
        self._thought_size += len(text)
        budget = self._think_budget
        if budget is not None and self._thought_size > budget * BYTES_PER_TOKEN:
            why = f"its reasoning took more than {budget} tokens"
            raise UpstreamFailure(FailureKind.OVERTHINKING, why)

    def _pieces(self, pieces: Iterable[Piece]) -> None:
        """Write text; collect the calls that stood in it."""
        for piece in map(self._without_quotation, pieces):
            # A model that was asked to make its call now means what it writes, in any form.
            if isinstance(piece, Found) and (piece.is_certain or self._is_muted):
                self.settle()
                if not piece.calls and piece.style:
                    self.repairs[piece.style] += 1
                # Between marks in its own words, a call is what a server makes a call of.
                style = None if self._is_as_sent(piece) else piece.style
                for written in piece.calls:
                    self._size += len(written.arguments)
                    self._calls.add(written, style)
            elif self._held or isinstance(piece, Found):
                self._held.append(piece)
            else:
                self._write(Channel.MESSAGE, self._as_delivered(piece))

    def _as_delivered(self, text: str) -> str:
        """What a server would deliver of `text`, which the model may have written itself."""
        if self._own_words is None or self._scanner is None:
            return text
        return self._own_words.delivered(text, has_unread=self._scanner.has_unread)

    def _is_as_sent(self, found: Found) -> bool:
        """Whether these are calls that a server would make of the model's own words."""
        if self._own_words is None or not found.is_tagged:
            return False
        is_own_form = self._dialect is None or found.style in self._dialect
        return is_own_form and all(self._toolbox.tool(call.name) for call in found.calls)

    def _without_quotation(self, piece: Piece) -> Piece:
        """`piece`; as text if the model quotes calls of which no server would make any."""
        if self._own_words is None or not isinstance(piece, Found) or not piece.is_tagged:
            return piece
        if not self._is_as_sent(piece) and any(map(self._judge.quotes, piece.calls)):
            return piece.text
        return piece

    def _write(self, channel: Channel, text: str) -> None:
        if channel is Channel.MESSAGE and self._text_format is not None:
            self._unchecked.append(text)
            self._has_text = self._has_text or not text.isspace()
            return
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
                # Of what was taken out in between, such as a call, the tokens are among them.
                logprobs = self._logprobs if channel is Channel.MESSAGE else []
                self._writer.text(channel, text, logprobs)
                self._logprobs = []

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
            arguments = call.arguments
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

    def _repaired_calls(self) -> list[tuple[Call, RepairedCall]]:
        """Each call and what becomes of it; of an answer that was cut only those that are whole."""
        repaired = []
        for call in self._calls:
            arguments = call.arguments
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
