"""One exchange: an accepted request, until its client has its last event."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater

from codex_bridge.engines.retries import (
    REFUSED_CAPABILITY,
    SLIPS,
    Change,
    Retries,
    Retry,
    costs_generation,
    is_tried_elsewhere,
    leaves_an_answer,
)
from codex_bridge.engines.upstream import Upstream
from codex_bridge.errors import ApiError, from_upstream, internal, stopping
from codex_bridge.repair.complaints import call_from_complaint
from codex_bridge.responses import follow_ups
from codex_bridge.responses.attempt import Attempt
from codex_bridge.responses.chat import Translation, translate
from codex_bridge.responses.compaction import ASKED, summary_in, user_messages, without_tools
from codex_bridge.responses.follow_ups import Approach
from codex_bridge.responses.loops import LoopWatch, overthinking
from codex_bridge.responses.request import ResponsesRequest
from codex_bridge.responses.sources import Sources
from codex_bridge.vocabulary import (
    ChatRequest,
    Delta,
    FailureKind,
    FinishDelta,
    ModelInfo,
    UpstreamFailure,
)
from codex_bridge.web.caller import Caller
from codex_bridge.web.changes import is_followed_up, next_approach
from codex_bridge.web.journal import Journal
from codex_bridge.web.prefixes import conversation_of
from codex_bridge.web.reply import Reply
from codex_bridge.web.state import BridgeState

GOES_ON = "broken answer continued"
NO_TEXT = "it said nothing, or called a function"
"""Why an answer is no summary."""
FULL_RATIO = 0.98
"""If prompt and answer took this part of the context, an answer was cut because it was full."""


def _seen_through(failure: UpstreamFailure, attempt: Attempt, watch: LoopWatch) -> UpstreamFailure:
    """`failure`, or that of the loop because of which `attempt` broke off."""
    if failure.kind is FailureKind.BROKEN:
        try:
            watch.check_end()
        except UpstreamFailure as loop:
            failure = loop
    is_in_thought = failure.kind is FailureKind.REPETITIVE and attempt.is_thinking
    return overthinking() if is_in_thought else failure


class Exchange:
    """Has an accepted request answered, and tells its client."""

    def __init__(
        self,
        request: ResponsesRequest,
        caller: Caller,
        reply: Reply,
        journal: Journal,
        state: BridgeState,
    ) -> None:
        self._request = request
        self._conversation = conversation_of(request, caller.headers)
        self._memory = caller.memory
        self._traits = caller.traits
        self._reply = reply
        self._journal = journal
        self._state = state
        self._toolbox = request.toolbox
        """What the model may try to call, also when it is no longer offered."""
        self._sources = Sources.of(request)
        state.read_ahead.note(request, caller)
        self._budget = state.upstreams.budget()
        self._retries = Retries(state.clock, self._budget)
        self._upstream = state.upstreams.first
        """The one that is asked, or was asked last."""
        self._failed: set[Upstream] = set()
        """Those that failed one after another, so that the next one was asked at once."""
        self._attempt: Attempt | None = None
        """The one that is under way, or was kept."""
        self._approach = Approach(turns=ASKED if request.is_compaction else ())
        """How the next attempt is asked."""
        self._interrupted: UpstreamFailure | None = None
        """Why the answer broke off that the model was asked to go on with."""
        self._standing: Attempt | None = None
        """An answer with which the exchange ends where a further one comes to nothing."""
        self._work: Deferred[None] | None = None
        self._is_abandoned = False

    async def run(self) -> bytes:
        """Answer the request; return what is left to write when the reply has ended."""
        tally, journal = self._state.tally, self._journal
        tally.open += 1
        try:
            self._work = Deferred.fromCoroutine(self._answer())
            await self._work
        except ApiError as error:
            self._fail(error)
        except CancelledError:
            if not self._is_abandoned:
                raise
            self._fail(stopping())
        except Exception:
            # A bug of ours: the client gets an id to look up, and no other exchange is touched.
            self._state.log.failure("{exchange}: a bug of codex-bridge", exchange=journal.exchange)
            self._fail(internal(journal.exchange))
        finally:
            self._reply.close()
            tally.open -= 1
            tally.served += 1
            if self._attempt:
                tally.repairs += self._attempt.repairs
            journal.log_line(self._reply.mode, self._attempt, self._budget.requests)
        return self._reply.body

    def abandon(self) -> None:
        """End it before its time: the client is told that the bridge is being stopped."""
        self._is_abandoned = True
        if self._work is not None:
            self._work.cancel()

    def _fail(self, error: ApiError) -> None:
        # The sentence names what the client's schema allows, and may name what the model wrote.
        is_unfit = error.code == "answer_unfit"
        self._journal.outcome = f"failed: {error.code if is_unfit else error.message}"
        self._reply.fail(error)

    async def _answer(self) -> None:
        """Have the model answer, and end the reply. Raises ApiError."""
        attempt, journal = await self._generate(), self._journal
        attempt.usage = attempt.counted(self._request.size)
        response = self._reply.whole(
            attempt.usage,
            now=int(time.time()),
            is_incomplete=attempt.is_cut and not self._traits.length_completes,
        )
        # The client may be told of a response that is kept only when it is safe.
        items = self._request.items
        if self._request.is_compaction:
            # All else is in the summary.
            items = user_messages(items)
        response["store"] = await self._memory.keep(items, response)
        self._reply.complete(response)
        journal.outcome = response["status"]
        journal.debug("response", response)

    async def _generate(self) -> Attempt:
        """Make attempts until an answer is whole, or another one cannot help. Raises ApiError."""
        retry: Retry | None = None
        while True:
            failed, self._attempt = self._attempt, None
            try:
                if retry is not None:
                    await self._change(retry, failed)
                if failed is not None and self._approach.before is not None:
                    self._reply.writer.end_item()
                elif failed is not None and self._approach.beginning is None:
                    self._reply.begin_anew()
                if retry is not None:
                    self._journal.log_retry(retry)
                    await deferLater(self._state.clock, retry.step.wait)
                return self._settled(await self._try())
            except UpstreamFailure as failure:
                if await self._can_move(failure):
                    retry = None
                    self._journal.log_move(failure)
                else:
                    self._failed.clear()
                    if leaves_an_answer(failure):
                        self._standing = self._attempt
                    retry = self._retries.after(failure) if self._may_ask_again(failure) else None
                    if retry is None:
                        return self._last_word(failure)

    def _last_word(self, failure: UpstreamFailure) -> Attempt:
        """The answer with which the exchange ends, though it failed. Raises ApiError if none."""
        attempt, standing = self._attempt, self._standing
        if standing is not None:
            self._journal.debug("not answered", failure.message)
            if attempt is not None and attempt.has_called_since(standing):
                # The answer was whole, and its calls are with the client.
                standing = attempt
            return self._settled(standing)
        if attempt and failure.kind is FailureKind.EMPTY and not self._traits.empty_fails:
            return self._settled(attempt)
        if self._interrupted is not None and not self._has_gone_on(failure):
            failure = self._interrupted
        raise self._explained(failure) from failure

    def _settled(self, attempt: Attempt) -> Attempt:
        """`attempt`, with all that was held back in doubt given as text."""
        self._attempt = attempt
        attempt.repairs.update(self._approach.ways)
        attempt.settle()
        if attempt.quoted:
            attempt.refuse_quoted()
        self._reply.writer.end_item()
        self._reply.send()
        return attempt

    async def _can_move(self, failure: UpstreamFailure) -> bool:
        """Whether another upstream is asked at once, in place of the one that failed."""
        if self._reply.has_delivered or not is_tried_elsewhere(failure):
            return False
        self._failed.add(self._upstream)
        return await self._state.upstreams.has_other(self._request.model, self._failed)

    def _may_ask_again(self, failure: UpstreamFailure) -> bool:
        """Whether another attempt cannot give the client anything twice.

        If the client has text of an answer that broke off, the model is asked to go on with it,
        until it has begun to. What it is told behind an answer, it answers behind that.
        """
        if failure.kind in SLIPS and not self._state.settings.repair:
            return False
        if self._standing is not None and failure.kind is FailureKind.EMPTY:
            # The model has nothing to add to the answer before.
            return False
        if is_followed_up(failure):
            return True
        if self._approach.before is not None:
            return self._attempt is None or not self._attempt.has_said
        if not self._reply.has_delivered:
            return True
        if self._approach.beginning is None:
            return self._attempt is not None and self._attempt.beginning is not None
        return not costs_generation(failure)

    def _has_gone_on(self, failure: UpstreamFailure) -> bool:
        """Whether the model went on with an answer that broke off, before this failure."""
        has_said = self._attempt is not None and self._attempt.has_said
        return has_said or failure.kind in {FailureKind.CONTEXT_FULL, FailureKind.OVERSIZED}

    async def _change(self, retry: Retry, attempt: Attempt | None) -> None:
        """Make the change that `retry` asks for; `attempt` is the one that failed.

        Raises UpstreamFailure: that of the last attempt where nothing can be changed.
        """
        failure, change = retry.failure, retry.step.change
        if change is Change.CONTEXT:
            if not await self._upstream.has_more_context(self._request.model, failure):
                raise failure
        elif change is Change.EFFORT:
            if self._request.effort is None:
                raise failure
            # The model accepts no effort, or not this one. Its default is better than a failure.
            self._request = evolve(self._request, effort=None)
        elif change is Change.TOOLLESS:
            if not self._request.toolbox.offered:
                raise failure
            self._request = without_tools(self._request)
        elif change is Change.CAPABILITY:
            self._upstream.note_lack(self._request.model, REFUSED_CAPABILITY[failure.kind])
        elif change is not Change.NOTHING:
            self._approach = next_approach(self._approach, failure, change, attempt, self._request)
        elif attempt and self._is_continued(attempt):
            self._approach = evolve(self._approach, beginning=attempt.beginning)
            self._interrupted = failure

    def _is_continued(self, attempt: Attempt) -> bool:
        """Whether the model has to go on with an answer of which the client has the beginning."""
        is_first = self._approach.beginning is None
        return is_first and self._reply.has_delivered and attempt.beginning is not None

    async def _try(self) -> Attempt:
        """Ask once, and receive the whole answer. Raises UpstreamFailure."""
        serving = self._state.upstreams.serving(
            self._request.model,
            self._conversation,
            failed=self._failed,
            only=self._upstream if self._reply.has_delivered else None,
        )
        async with serving as self._upstream:
            self._journal.upstream = self._upstream.name
            if self._request.is_compaction:
                return await self._summarise(self._upstream)
            return await self._try_there(self._upstream)

    async def _summarise(self, upstream: Upstream) -> Attempt:
        """As `_try_there`, but every answer that is no summary has failed in the same way."""
        try:
            attempt = await self._try_there(upstream)
        except UpstreamFailure as failure:
            if failure.kind in SLIPS or failure.kind is FailureKind.UNCERTAIN:
                raise UpstreamFailure(FailureKind.NO_SUMMARY, NO_TEXT) from failure
            raise
        attempt.settle()
        if attempt.is_cut:
            raise UpstreamFailure(FailureKind.CONTEXT_FULL, "the summary was cut")
        if attempt.quoted or not summary_in(self._reply.writer.output):
            raise UpstreamFailure(FailureKind.NO_SUMMARY, NO_TEXT)
        return attempt

    async def _try_there(self, upstream: Upstream) -> Attempt:
        request, settings, approach = self._request, self._state.settings, self._approach
        info = await upstream.prepared(request.model, self._budget)
        chat, translation = self._asked(approach, info)
        prompt = None
        is_asked_raw = approach.own_words or (info.gives_own_words and chat.functions)
        if is_asked_raw and chat.response_format is None:
            prompt = await upstream.prompt_of(chat, info, self._budget)
            if prompt is None and approach.otherwise is not None:
                approach = self._approach = approach.otherwise
                chat, translation = self._asked(approach, info)
        if prompt is not None:
            # Also where that is asked for from the start.
            self._retries.made.add(Change.OWN_WORDS)
        beginning = approach.beginning
        if beginning is not None and not await upstream.continues(chat, info, self._budget):
            raise UpstreamFailure(FailureKind.GARBLED, "it does not go on with a beginning")
        self._note(translation, chat)
        attempt = self._attempt = Attempt(
            self._reply.writer,
            self._toolbox,
            sources=self._sources,
            before=approach.before,
            beginning=beginning.text if beginning else "",
            most_calls=request.most_calls,
            repair=settings.repair,
            calls_as_text=translation.calls_as_text,
            dialect=translation.dialect,
            reading=approach.reading_of(prompt),
            text_format=request.text_format if settings.repair else None,
            think_budget=None if approach.is_thinking_over else self._think_budget,
            tells_cut=not self._traits.length_completes,
        )
        try:
            context = await self._received(attempt, chat, info, prompt)
        except UpstreamFailure as failure:
            if not self._take_call(attempt, failure) and not self._cut_off(attempt, failure):
                raise
            return attempt
        if beginning is not None:
            attempt.repairs[GOES_ON] += 1
        if settings.repair and not attempt.is_cut:
            attempt.take_call_from_reasoning()
        self._reply.send()
        self._check_whole(attempt, context)
        before = len(approach.before.tools_called) if approach.before else 0
        is_otherwise = approach.own_words or approach.tools_in_words
        if is_otherwise and len(attempt.tools_called) > before:
            upstream.note_swallowed(request.model, own_words=prompt is not None)
        return attempt

    def _asked(self, approach: Approach, info: ModelInfo) -> tuple[ChatRequest, Translation]:
        """What the model is asked, and the translation of the client's request in it."""
        if approach.tools_in_words:
            info = evolve(info, lacks=info.lacks | {"tools"})
        directives = self._state.settings.directives
        translation = translate(self._request, info, directives=directives)
        return follow_ups.asked(translation, approach, self._request, info), translation

    @property
    def _think_budget(self) -> int | None:
        """Tokens that the model may think."""
        return self._request.think_budget or self._state.settings.think_budget

    async def _received(
        self, attempt: Attempt, chat: ChatRequest, info: ModelInfo, prompt: str | None
    ) -> int | None:
        """Ask the model, and feed its whole answer to `attempt`. Raises UpstreamFailure.

        With `prompt` the model's own words behind it are asked for. Returns the tokens that prompt
        and answer may take together; None where nobody knows.
        """
        upstream, stream = self._upstream, self._state.settings.upstream_stream
        watch = LoopWatch()
        answer = await upstream.open(chat, info, self._budget, stream=stream, prompt=prompt)
        try:
            self._reply.open()
            self._reply.follow(answer)
            await answer.deliver_to(partial(self._receive, attempt, watch))
        except UpstreamFailure as failure:
            answer.stopProducing()
            raise _seen_through(failure, attempt, watch) from failure.__cause__
        except BaseException:
            # Without a reader the model would go on generating.
            answer.stopProducing()
            raise
        attempt.finish()
        return answer.context

    def _receive(self, attempt: Attempt, watch: LoopWatch, deltas: Sequence[Delta]) -> None:
        """Write everything that one read from the upstream brought, in one piece."""
        self._journal.note_delta()
        attempt.feed(deltas)
        self._reply.send()
        watch.feed(deltas)

    def _check_whole(self, attempt: Attempt, context: int | None) -> None:
        """Raises UpstreamFailure for an answer that has a finish reason and yet is of no use.

        `context` in tokens, None where nobody knows.
        """
        settings, request = self._state.settings, self._request
        if settings.repair and request.toolbox.offered and attempt.is_swallowed:
            raise UpstreamFailure(FailureKind.SWALLOWED, "")
        if attempt.is_empty and not attempt.is_cut:
            raise UpstreamFailure(FailureKind.EMPTY, "it said nothing")
        used = attempt.usage
        if (
            self._traits.length_completes
            and attempt.is_cut
            and context
            and used
            and self._request.max_output_tokens is None
            and used.input_tokens + used.output_tokens >= context * FULL_RATIO
        ):
            # Codex compacts only when it is told context_length_exceeded.
            raise UpstreamFailure(
                FailureKind.CONTEXT_FULL, f"all {context} tokens of the context are used"
            )
        if settings.repair and attempt.is_cut and request.text_format:
            if self._traits.length_completes:
                # The client would take the half for the whole.
                raise UpstreamFailure(FailureKind.UNFIT, "it was cut at the limit of its tokens")
            return
        if settings.confirm and (attempt.quoted or attempt.doubtful):
            raise UpstreamFailure(FailureKind.UNCERTAIN, "")
        if settings.repair and request.is_call_required and not attempt.has_answered_by_call:
            raise UpstreamFailure(FailureKind.NOT_CALLED, "")
        if settings.nudge and request.is_at_work and attempt.announces:
            raise UpstreamFailure(FailureKind.ANNOUNCED, "")

    def _take_call(self, attempt: Attempt, failure: UpstreamFailure) -> bool:
        """End `attempt` with the call that the upstream could not read, if the bridge can."""
        if failure.kind is not FailureKind.MALFORMED_CALL or not self._state.settings.repair:
            return False
        call = call_from_complaint(failure.message, self._request.toolbox)
        if call is None:
            return False
        self._reply.open()
        attempt.repairs["unread call"] += 1
        attempt.feed([call, FinishDelta("tool_calls")])
        attempt.finish()
        self._reply.send()
        return True

    def _cut_off(self, attempt: Attempt, failure: UpstreamFailure) -> bool:
        """End `attempt` with what came before it began to repeat itself, if that is of use."""
        is_kept = failure.kind is FailureKind.REPETITIVE and attempt.cut_off()
        self._reply.send()
        return is_kept

    def _explained(self, failure: UpstreamFailure) -> ApiError:
        """The failure as the client reads it. Clients need not repeat what was repeated here."""
        words = self._upstream.words
        tried = not self._reply.has_delivered or is_followed_up(failure)
        return from_upstream(failure, self._request.model, words, tried=tried)

    def _note(self, translation: Translation, chat: ChatRequest) -> None:
        journal = self._journal
        journal.log_downgrades(translation.downgrades)
        journal.debug("chat request", chat)
        if self._state.settings.debug:
            prefixes = self._state.prefixes
            if shared := prefixes.compare(self._conversation, journal.exchange, chat):
                journal.debug("prompt", shared)
