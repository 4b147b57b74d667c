"""From a request for a response to the exchange that answers it."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred, succeed

from codex_bridge.clients.traits import traits_of
from codex_bridge.errors import ApiError, internal, invalid, stopping, too_large
from codex_bridge.responses.compaction import (
    is_asked_for,
    opened,
    summary_request,
    user_messages,
)
from codex_bridge.responses.events import ResponseTemplate, compacted
from codex_bridge.responses.request import ResponsesRequest, read
from codex_bridge.responses.writer import ResponseWriter
from codex_bridge.tools.shown import ToolProfile
from codex_bridge.web.access import owner_of
from codex_bridge.web.background import Job, Recording
from codex_bridge.web.caller import Caller
from codex_bridge.web.compacting import CompactingReply
from codex_bridge.web.exchange import Exchange
from codex_bridge.web.intake import Intake, take_in
from codex_bridge.web.journal import Journal
from codex_bridge.web.json_replies import send_error, send_json
from codex_bridge.web.memory import Memory, made_whole
from codex_bridge.web.outlets import EventStream, Outlet
from codex_bridge.web.preparation import Preparation
from codex_bridge.web.reply import EventReply, JsonReply, Reply
from codex_bridge.web.site import BridgeRequest
from codex_bridge.web.state import BridgeState

NewWriter = Callable[[], ResponseWriter]


def serve(http: BridgeRequest, state: BridgeState, *, compacts: bool = False) -> Deferred[bytes]:
    """Answer one POST /v1/responses; fires with what is left to write when the reply has ended.

    Cancelling, which happens when the client is gone, closes the upstream connection. With
    `compacts` it is one POST /v1/responses/compact.
    """
    headers = http.requestHeaders
    caller = Caller(headers, traits_of(headers), state.memory_of(headers))
    intake = taken_in(http, caller, state)
    if compacts:
        intake = evolve(intake, compacts=True)
    elif intake.echo.get("background") is True:
        return _serve_in_background(http, intake, caller, state)

    def new_reply(new_writer: NewWriter) -> Reply:
        if compacts:
            return JsonReply(http, new_writer, compacted)
        if not intake.stream:
            return JsonReply(http, new_writer)
        return event_reply(EventStream(http), new_writer(), caller, state)

    return begin(intake, caller, new_reply, state)


def _serve_in_background(
    http: BridgeRequest, intake: Intake, caller: Caller, state: BridgeState
) -> Deferred[bytes]:
    """Have the response made whether or not the client of `http` stays; otherwise as `serve`."""
    if state.store is None:
        stores_nothing = (
            "background needs a place for the response, and this codex-bridge stores nothing "
            "(--store off). Leave background out, or start it with --store memory."
        )
        intake = evolve(intake, refusal=invalid(stores_nothing, "background"))
    recording = Recording()
    job = Job(recording, caller.memory)

    def new_reply(new_writer: NewWriter) -> Reply:
        return event_reply(recording, new_writer(), caller, state)

    owner = owner_of(caller.headers)
    begin(intake, caller, new_reply, state, job).addBoth(lambda _: state.background.end(owner, job))

    async def replied() -> bytes:
        try:
            await recording.begun
        except ApiError as error:
            return send_error(http, error)
        state.background.add(owner, job)
        if intake.stream:
            return await recording.read(http)
        return send_json(http, 200, recording.snapshot())

    return Deferred.fromCoroutine(replied())


def begin(
    intake: Intake,
    caller: Caller,
    new_reply: Callable[[NewWriter], Reply],
    state: BridgeState,
    job: Job | None = None,
) -> Deferred[bytes]:
    """Answer `intake` in the reply that `new_reply` makes; otherwise as `serve`.

    `job` is given if the response is made in the background.
    """
    serving = _Serving(intake, caller, new_reply, state, job)
    if intake.refusal is not None:
        return succeed(serving.refuse(intake.refusal))
    return state.drain.serve(Deferred.fromCoroutine(serving.run()), serving.abandon)


class _Serving:
    """Takes in one request, and has it answered unless it is refused."""

    def __init__(
        self,
        intake: Intake,
        caller: Caller,
        new_reply: Callable[[NewWriter], Reply],
        state: BridgeState,
        job: Job | None,
    ) -> None:
        self._intake = intake
        self._caller = caller
        self._state = state
        self._job = job
        self._journal = journal = Journal(state, state.new_id("resp"), _model_in(intake))
        wants_store = intake.body.get("store") is not False and not intake.compacts
        echo = intake.echo | {"store": state.store is not None and wants_store}
        # The clock for time limits is not that of the calendar.
        created_at = int(time.time())
        template = ResponseTemplate(journal.exchange, created_at, echo, caller.traits.repeat_prompt)
        self._new_writer = partial(ResponseWriter, template, state.new_id)
        self._reply = new_reply(self._new_writer)
        self._exchange: Exchange | None = None
        self._is_abandoned = False

    async def run(self) -> bytes:
        """Answer the request; return what is left to write when the reply has ended."""
        journal, state = self._journal, self._state
        journal.debug("request", self._intake.body)
        try:
            request = await whole_request(self._intake, self._caller.memory, state)
        except ApiError as error:
            return self.refuse(error)
        except CancelledError:
            self._reply.close()
            raise
        except Exception:
            state.log.failure("{exchange}: a bug of codex-bridge", exchange=journal.exchange)
            return self.refuse(internal(journal.exchange))
        if self._is_abandoned:
            return self.refuse(stopping())
        if self._intake.prepares:
            return await Preparation(request, self._caller, self._reply, journal, state).run()
        reply = self._reply_to(request)
        exchange = self._exchange = Exchange(request, self._caller, reply, journal, state)
        if self._job is None:
            return await exchange.run()
        journal.outcome = "cancelled"
        reply.open()
        await self._job.run(exchange.run(), request.items)
        return b""

    def refuse(self, error: ApiError) -> bytes:
        """Tell the client why its request is not answered; otherwise as `run`."""
        self._journal.outcome = f"failed: {error.message}"
        self._reply.fail(error)
        self._reply.close()
        self._state.tally.served += 1
        self._journal.log_line(self._reply.mode)
        return self._reply.body

    def abandon(self) -> None:
        """End it before its time, since the bridge is being stopped."""
        self._is_abandoned = True
        if self._exchange is not None:
            self._exchange.abandon()

    def _reply_to(self, request: ResponsesRequest) -> Reply:
        """What the exchange writes to: where the client wants a summary, not the reply itself."""
        if not request.is_compaction:
            return self._reply
        kept = user_messages(request.items) if self._intake.compacts else ()
        return CompactingReply(self._reply, self._new_writer, self._state, kept)


async def whole_request(intake: Intake, memory: Memory, state: BridgeState) -> ResponsesRequest:
    """The request that is answered: the client's, or that for a summary. Raises ApiError."""
    settings = state.settings
    whole = await made_whole(intake, memory, settings.max_body_size)
    profile = ToolProfile(settings.tool_profile)
    body = opened(whole.body, state.seal.open, whole.before)
    asked = read(body, size=whole.size, before=whole.before, tool_profile=profile)
    request = evolve(asked, model=intake.model)
    return summary_request(request) if intake.compacts or is_asked_for(request) else request


def event_reply(
    outlet: Outlet, writer: ResponseWriter, caller: Caller, state: BridgeState
) -> EventReply:
    """A reply whose events go to `outlet`."""
    settings = state.settings
    return EventReply(
        outlet,
        writer,
        caller.traits,
        state.clock,
        grace=settings.grace,
        heartbeat=settings.heartbeat,
    )


def taken_in(http: BridgeRequest, caller: Caller, state: BridgeState) -> Intake:
    """What the body of `http` asks for, or why it is refused."""
    refusal = http.refusal
    if state.drain.is_draining:
        refusal = stopping()
    elif refusal is None and http.too_large:
        refusal = too_large(state.settings.max_body_size)
    if refusal is not None:
        return Intake(caller.traits.fails_in_stream, refusal=refusal)
    body = http.content.read()
    # A model may think for an hour; the bytes would be held all the while.
    http.content.close()
    return take_in(body, caller.traits, dict(state.settings.alias))


def _model_in(intake: Intake) -> str:
    """The model as the log names it: as the client named it, and the one that an alias means."""
    named = intake.echo.get("model", intake.model)
    return intake.model if named == intake.model else f"{named} ({intake.model})"
