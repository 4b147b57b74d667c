"""One exchange: a POST /v1/responses from its acceptance to its last event."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from codex_bridge.clients.traits import traits_of
from codex_bridge.engines.answer import ChatAnswer
from codex_bridge.engines.retries import Retries
from codex_bridge.errors import ApiError, from_upstream, internal, stopping, too_large
from codex_bridge.repair.complaints import call_from_complaint
from codex_bridge.responses.events import ResponseTemplate
from codex_bridge.responses.request import model_name, parse, translate
from codex_bridge.responses.stream import ResponseStream
from codex_bridge.tools.shown import ToolProfile
from codex_bridge.tools.toolbox import Toolbox
from codex_bridge.vocabulary import (
    ChatRequest,
    Delta,
    FailureKind,
    FinishDelta,
    Json,
    ModelInfo,
    UpstreamFailure,
)
from codex_bridge.web.answers import send_error, send_json
from codex_bridge.web.journal import Journal
from codex_bridge.web.prefixes import conversation_of
from codex_bridge.web.reply import EventStream
from codex_bridge.web.site import BridgeRequest
from codex_bridge.web.state import BridgeState

NEARLY = 0.98
"""The part of a context that an answer has used which was cut for the lack of any more."""


class Exchange:
    """Has a request answered, and tells its client: the answer as it comes, or why there is none.

    Receives the deltas of the answer, see `upstream.answer.Receiver`.
    """

    def __init__(self, request: BridgeRequest, context: BridgeState) -> None:
        self.id = context.new_id("resp")
        self.context = context
        self._request = request
        self._profile = traits_of(request.requestHeaders)
        self._journal = Journal(
            self.id,
            context.log,
            context.clock,
            context.settings.debug,
            context.clock.seconds(),
            context.told,
        )
        self._model = ""
        # A client that is told in the stream is told so before its wish is known, too.
        self._wants_stream = self._profile.fails_in_stream
        self._toolbox = Toolbox()
        self._stream = self._new_stream({}, 0)
        self._events = EventStream(
            request, context.clock, context.settings.heartbeat, lambda: self._stream.heartbeat()
        )
        self._grace: IDelayedCall | None = None
        self._answer: ChatAnswer | None = None
        self._ended: Deferred[None] = Deferred()
        self._working: Deferred[None] | None = None
        self._abandoned = False
        self._body = b""

    async def run(self) -> bytes:
        """Answer the request; return what is left to write when the answer has ended.

        Cancelling, which happens when the client is gone, closes the upstream connection.
        """
        tally = self.context.tally
        tally.open += 1
        try:
            self._working = Deferred.fromCoroutine(self._work())
            await self._working
        except ApiError as error:
            self._finish_with(error)
        except CancelledError:
            if not self._abandoned:
                raise
            self._finish_with(stopping())
        except Exception:
            # A bug of ours: the client gets an id to look up, and nobody else is touched.
            self.context.log.failure("{exchange} failed inside", exchange=self.id)
            self._finish_with(internal(self.id))
        finally:
            self._close()
            tally.open -= 1
            tally.served += 1
            tally.repairs += self._stream.repairs
            self._journal.line(self._stream, "streamed" if self._wants_stream else "whole")
        return self._body

    def abandon(self) -> None:
        """End it before its time: the client is told that the bridge is being stopped."""
        self._abandoned = True
        if self._working is not None:
            self._working.cancel()

    async def _work(self) -> None:
        self.context.drain.admit()
        request, size = self._read()
        self._stream = self._new_stream(request, size)
        if self._wants_stream:
            self._grace = self.context.clock.callLater(
                self.context.settings.grace, self._open_events
            )
        await self._generate(request, size)
        events = self._stream.end(int(self.context.clock.seconds()))
        response = events[-1]["response"]
        self._journal.outcome = response["status"]
        self._journal.debug("response", response)
        self._events.write(events)
        if not self._wants_stream:
            self._body = send_json(self._request, 200, response)

    def _read(self) -> tuple[Json, int]:
        """The request, and its size in bytes. Raises ApiError."""
        if self._request.refusal is not None:
            raise self._request.refusal
        if self._request.too_large:
            raise too_large(self.context.settings.max_body_size)
        body = self._request.content.read()
        # A model may think for an hour; the bytes would be held all the while.
        self._request.content.close()
        request = parse(body)
        self._model = self._journal.model = model_name(request)
        wish = request.get("stream")
        if wish is None or isinstance(wish, bool):
            self._wants_stream = bool(wish)
        return request, len(body)

    async def _generate(self, request: Json, size: int) -> None:
        """Have the model answer; again, where that may help and the client was given nothing.

        Raises ApiError.
        """
        retries = Retries(self.context.clock)
        while True:
            try:
                await self._attempt(request, size)
                return
            except UpstreamFailure as failure:
                if self._recover(failure):
                    return
                wait = None if self._has_delivered else retries.wait(failure.kind)
                if wait is None:
                    if failure.kind is FailureKind.EMPTY and not self._profile.empty_fails:
                        return
                    raise self._told(failure) from failure
                self._journal.retry(failure, wait)
            if self._wants_stream:
                self._events.write(self._stream.again())
            else:
                self._stream = self._new_stream(request, size)
            await deferLater(self.context.clock, wait)

    @property
    def _has_delivered(self) -> bool:
        """Whether the client was given something that cannot be taken back."""
        return self._wants_stream and self._stream.has_answered

    async def _attempt(self, request: Json, size: int) -> None:
        """One request to the upstream, to the end of its answer. Raises UpstreamFailure."""
        upstream = self.context.upstream
        info = await upstream.models.info(self._model)
        chat = self._translate(request, info, size)
        self._journal.asked += 1
        self._answer = answer = await upstream.open_chat(
            chat, info, stream=self.context.settings.upstream_stream
        )
        self._ended = Deferred(lambda _: answer.close())
        self._open_events()
        answer.deliver_to(self)
        self._events.follow(answer)
        await self._ended
        self._events.write(self._stream.settle())
        self._check_whole(request, answer.context)

    def _translate(self, request: Json, info: ModelInfo, size: int) -> ChatRequest:
        """What the model is asked. Raises ApiError."""
        settings, journal = self.context.settings, self._journal
        translation = translate(
            request,
            info,
            tool_profile=ToolProfile(settings.tool_profile),
            directives=settings.directives,
        )
        self._toolbox = translation.toolbox
        self._stream.equip(self._toolbox, in_words=translation.tells_tools)
        journal.downgrades(translation.downgrades)
        if not journal.asked:
            journal.debug("request", request)
        journal.debug("chat request", translation.chat)
        if settings.debug:
            conversation = conversation_of(request, self._request.requestHeaders)
            shared = self.context.prefixes.compare(conversation, self.id, translation.chat)
            if shared:
                journal.debug("prompt", shared)
        return translation.chat

    def _new_stream(self, request: Json, prompt_size: int) -> ResponseStream:
        template = ResponseTemplate(
            self.id, int(self.context.clock.seconds()), request, self._profile.repeat_prompt
        )
        return ResponseStream(
            template,
            self._toolbox,
            self.context.new_id,
            prompt_size=prompt_size,
            length_completes=self._profile.length_completes,
            repair=self.context.settings.repair,
        )

    def _check_whole(self, request: Json, context: int | None) -> None:
        """Raises UpstreamFailure for an answer that ended well and yet is none."""
        stream = self._stream
        if not stream.has_answered and not stream.is_cut:
            raise UpstreamFailure(FailureKind.EMPTY, "it said nothing")
        used = stream.usage
        if (
            self._profile.length_completes
            and stream.is_cut
            and context
            and used
            and request.get("max_output_tokens") is None
            and used.input_tokens + used.output_tokens >= context * NEARLY
        ):
            # Whoever is told that sums up; told of an answer that ended, nobody would.
            raise UpstreamFailure(
                FailureKind.CONTEXT_FULL, f"it has {context} tokens, and all of them are used"
            )

    def _recover(self, failure: UpstreamFailure) -> bool:
        """Go on with the call that the upstream could not read, if it can be read all the same."""
        if failure.kind is not FailureKind.MALFORMED_CALL or not self.context.settings.repair:
            return False
        call = call_from_complaint(failure.message, self._toolbox)
        if call is None:
            return False
        self._stream.repairs["unread call"] += 1
        self._open_events()
        self._events.write(self._stream.feed([call, FinishDelta("tool_calls")]))
        self._events.write(self._stream.settle())
        return True

    def deltas_received(self, deltas: Sequence[Delta]) -> None:
        """Everything that one read from the upstream brought, in one write."""
        self._journal.delta()
        try:
            self._events.write(self._stream.feed(deltas))
        except Exception:
            self._end(Failure())

    def answer_ended(self) -> None:
        """The answer is whole."""
        self._end(None)

    def answer_failed(self, failure: UpstreamFailure) -> None:
        """The answer broke off."""
        self._end(Failure(failure))

    def _end(self, outcome: Failure | None) -> None:
        if not self._ended.called:
            self._ended.callback(outcome)

    def _open_events(self) -> None:
        """Begin the client's stream, if it wants one and has none yet."""
        if self._grace is not None and self._grace.active():
            self._grace.cancel()
        if self._wants_stream and not self._events.is_open:
            self._events.open(self._stream.start())

    def _told(self, failure: UpstreamFailure) -> ApiError:
        """`failure` for the client; there is no point in repeating what was repeated here."""
        tried = not self._has_delivered
        upstream = self.context.upstream
        remedy = upstream.contexts.remedy
        return from_upstream(failure, self._model, upstream.url, tried=tried, remedy=remedy)

    def _finish_with(self, error: ApiError) -> None:
        """End with a failure, told as this client wants it."""
        self._journal.outcome = f"failed: {error.message}"
        if self._wants_stream and (self._events.is_open or self._profile.fails_in_stream):
            self._open_events()
            self._events.write(self._stream.fail(error, self._profile.failure_code(error)))
        else:
            self._body = send_error(self._request, error)

    def _close(self) -> None:
        if self._grace is not None and self._grace.active():
            self._grace.cancel()
        if self._answer is not None:
            self._answer.close()
        self._events.close()
