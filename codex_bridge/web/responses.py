"""One exchange: a POST /v1/responses from its acceptance to its last event."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar, cast

import attrs
import orjson
from attrs import Factory, define, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from codex_bridge.clients.profiles import profile_for
from codex_bridge.ids import IdSource
from codex_bridge.settings import Settings
from codex_bridge.translate.errors import ApiError, from_upstream, internal, too_large
from codex_bridge.translate.events import STREAM_TYPE, ResponseTemplate, frame
from codex_bridge.translate.request import Translation, model_name, parse, translate
from codex_bridge.translate.stream import ResponseStream
from codex_bridge.translate.tool_profiles import ToolProfile
from codex_bridge.translate.toolbox import Toolbox
from codex_bridge.upstream.answer import ChatAnswer
from codex_bridge.upstream.client import Upstream
from codex_bridge.vocabulary import Delta, Json, ModelInfo, UpstreamFailure
from codex_bridge.web.answers import printable, send_error, send_json
from codex_bridge.web.prefixes import Prefixes, conversation_of
from codex_bridge.web.site import BridgeRequest

DEBUG_BODY_LIMIT = 20_000
"""Characters of a body that --debug logs."""
Method = TypeVar("Method", bound=Callable[..., None])


@frozen
class Context:
    """What every exchange of one bridge shares."""

    settings: Settings
    upstream: Upstream
    clock: IReactorTime
    log: Logger
    new_id: IdSource
    tally: Tally
    prefixes: Prefixes = Factory(Prefixes)
    """For --debug: where the prompts of one conversation differ."""


@define
class Tally:
    """Exchanges since the start."""

    open: int = 0
    served: int = 0
    repairs: Counter[str] = Factory(Counter)
    """What was mended in all of them -> how often."""


def _survives(method: Method) -> Method:
    """A bug in what `method` does fails this exchange in the client's words, and no other."""

    @wraps(method)
    def guarded(self: Exchange, *args: Any) -> None:
        if self._ended.called:
            return
        try:
            method(self, *args)
        except Exception:
            self._fail_inside()

    return cast(Method, guarded)


class Exchange:
    """Receives the deltas of one answer and writes the events they give rise to."""

    def __init__(self, request: BridgeRequest, context: Context) -> None:
        self.id = context.new_id("resp")
        self.context = context
        self._request = request
        self._profile = profile_for(request.requestHeaders)
        self._started = context.clock.seconds()
        self._first_delta: float | None = None
        self._model = ""
        # A client that is told in the stream is told so before its wish is known, too.
        self._wants_stream = self._profile.fails_in_stream
        self._streaming = False
        self._stream = self._new_stream({}, Toolbox(), 0)
        self._answer: ChatAnswer | None = None
        self._outcome = "client gone"
        self._body = b""
        self._ended: Deferred[None] = Deferred(lambda _: self._hang_up())

    async def run(self) -> bytes:
        """Answer the request; return what is left to write when the answer has ended.

        Cancelling, which happens when the client is gone, closes the upstream connection.
        """
        tally = self.context.tally
        tally.open += 1
        try:
            await self._exchange()
        except ApiError as error:
            self._finish_with(error)
        except UpstreamFailure as failure:
            self._finish_with(from_upstream(failure, self._model, self.context.upstream.url))
        except CancelledError:
            raise
        except Exception:
            self._fail_inside()
        finally:
            tally.open -= 1
            tally.served += 1
            tally.repairs += self._stream.repairs
            self._log_line()
        return self._body

    async def _exchange(self) -> None:
        request, size = self._read()
        upstream = self.context.upstream
        info = await upstream.models.info(self._model)
        translation = self._translate(request, info, size)
        self._answer = await upstream.open_chat(
            translation.chat, info, stream=self.context.settings.upstream_stream
        )
        if self._wants_stream:
            self._start_events()
            self._request.registerProducer(_Flow(self._answer), True)
        self._answer.deliver_to(self)
        await self._ended

    def _read(self) -> tuple[Json, int]:
        """The request, and its size in bytes. Raises ApiError."""
        if self._request.too_large:
            raise too_large(self.context.settings.max_body_size)
        body = self._request.content.read()
        # A model may think for an hour; the bytes would be held all the while.
        self._request.content.close()
        request = parse(body)
        self._model = model_name(request)
        return request, len(body)

    def _translate(self, request: Json, info: ModelInfo, size: int) -> Translation:
        """What the model is asked. Raises ApiError."""
        settings = self.context.settings
        translation = translate(
            request,
            info,
            tool_profile=ToolProfile(settings.tool_profile),
            directives=settings.directives,
        )
        self._wants_stream = translation.stream
        self._stream = self._new_stream(request, translation.toolbox, size)
        self._debug("request", request)
        self._debug("chat request", translation.chat)
        if settings.debug:
            headers = self._request.requestHeaders
            shared = self.context.prefixes.compare(
                conversation_of(request, headers), self.id, translation.chat
            )
            if shared:
                self._debug("prompt", shared)
        return translation

    def _new_stream(self, request: Json, toolbox: Toolbox, prompt_size: int) -> ResponseStream:
        template = ResponseTemplate(
            self.id, int(self.context.clock.seconds()), request, self._profile.repeat_prompt
        )
        return ResponseStream(
            template,
            toolbox,
            self.context.new_id,
            prompt_size=prompt_size,
            length_completes=self._profile.length_completes,
            repair=self.context.settings.repair,
        )

    @_survives
    def deltas_received(self, deltas: Sequence[Delta]) -> None:
        """Everything that one read from the upstream brought, in one write."""
        if self._first_delta is None:
            self._first_delta = self.context.clock.seconds()
        self._write(self._stream.feed(deltas))

    @_survives
    def answer_ended(self) -> None:
        """The answer is whole."""
        events = self._stream.end(int(self.context.clock.seconds()))
        response = events[-1]["response"]
        self._outcome = response["status"]
        self._debug("response", response)
        self._write(events)
        if not self._wants_stream:
            self._body = send_json(self._request, 200, response)
        self._end()

    @_survives
    def answer_failed(self, failure: UpstreamFailure) -> None:
        """The answer broke off."""
        self._finish_with(from_upstream(failure, self._model, self.context.upstream.url))

    def _finish_with(self, error: ApiError) -> None:
        """End with a failure, told as this client wants it."""
        self._outcome = f"failed: {error.message}"
        if self._wants_stream and (self._streaming or self._profile.fails_in_stream):
            if not self._streaming:
                self._start_events()
            self._write(self._stream.fail(error, self._profile.failure_code(error)))
        else:
            self._body = send_error(self._request, error)
        self._end()

    def _fail_inside(self) -> None:
        """End with the exception at hand, a bug of ours: the client gets an id to look up."""
        self.context.log.failure("{exchange} failed inside", exchange=self.id)
        self._hang_up()
        self._finish_with(internal(self.id))

    def _start_events(self) -> None:
        self._streaming = True
        request = self._request
        request.setHeader(b"content-type", STREAM_TYPE)
        request.setHeader(b"cache-control", b"no-cache")
        request.setHeader(b"x-accel-buffering", b"no")
        self._write(self._stream.start())

    def _write(self, events: Sequence[Json]) -> None:
        if self._streaming and events and self._request.is_connected:
            self._request.write(b"".join(map(frame, events)))

    def _end(self) -> None:
        if self._request.producer is not None:
            self._request.unregisterProducer()
        if not self._ended.called:
            self._ended.callback(None)

    def _hang_up(self) -> None:
        if self._answer is not None:
            self._answer.close()

    def _debug(self, what: str, body: Any) -> None:
        if self.context.settings.debug:
            self.context.log.debug(
                "{exchange} {what}: {body}", exchange=self.id, what=what, body=_pretty(body)
            )

    def _log_line(self) -> None:
        seconds, usage = self.context.clock.seconds(), self._stream.usage
        first = self._first_delta
        self.context.log.info(
            "{exchange} {model} {mode}: {input} in, {output} out, first token {first}, "
            "{duration:.3f} s, tools: {tools}; repairs: {repairs}; {outcome}",
            exchange=self.id,
            model=printable(self._model),
            mode="streamed" if self._wants_stream else "whole",
            input=usage.input_tokens if usage else "?",
            output=usage.output_tokens if usage else "?",
            first="never" if first is None else f"{first - self._started:.3f} s",
            duration=seconds - self._started,
            tools=printable(", ".join(self._stream.tools_called) or "none", 500),
            repairs=printable(_counts(self._stream.repairs) or "none", 500),
            outcome=printable(self._outcome, 500),
        )


@implementer(IPushProducer)
@frozen
class _Flow:
    """Lets a client that reads slowly slow the upstream down."""

    answer: ChatAnswer

    def pauseProducing(self) -> None:
        self.answer.pause()

    def resumeProducing(self) -> None:
        self.answer.resume()

    def stopProducing(self) -> None:
        """The client is gone; the exchange is cancelled for that."""


def _counts(counter: Counter[str]) -> str:
    """What was counted, a number behind what happened more than once."""
    return ", ".join(f"{what} x{n}" if n > 1 else what for what, n in counter.items())


def _pretty(body: Any) -> str:
    """A body for the debug log: a sentence, or indented JSON cut at a sane length."""
    if isinstance(body, str):
        return body
    text = orjson.dumps(body, default=_plain, option=orjson.OPT_INDENT_2).decode()
    if len(text) <= DEBUG_BODY_LIMIT:
        return text
    return f"{text[:DEBUG_BODY_LIMIT]}… ({len(text)} characters in all)"


def _plain(value: Any) -> Any:
    """An attrs object as a dict, less what is not set."""
    return attrs.asdict(value, filter=lambda _, member: member is not None, recurse=False)
