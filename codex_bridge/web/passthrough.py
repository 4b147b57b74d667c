"""Every route that is not the bridge's own: byte for byte, streamed in both directions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from http import HTTPStatus
from typing import Any, TypeVar

import orjson
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import NO_BODY_CODES, PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer, IResponse
from zope.interface import implementer

from codex_bridge.engines.bodies import BytesBody
from codex_bridge.engines.upstream import Upstream
from codex_bridge.engines.upstreams import Upstreams
from codex_bridge.errors import ApiError, from_upstream, invalid
from codex_bridge.text import printable
from codex_bridge.vocabulary import FailureKind, UpstreamFailure
from codex_bridge.web.json_replies import send_error
from codex_bridge.web.site import BridgeRequest, Upload

T = TypeVar("T")
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Headers that speak of one connection only (RFC 9110, 7.6.1)."""
FRAMING = frozenset({b"host", b"content-length", b"expect"})
"""Request headers that the connection to the upstream sets for itself."""
CONTROLS = bytes({*range(32), 127} - {ord("\t")})
"""Characters that no header may hold. Ollama sends none of them, an attacker may."""

AT_START = frozenset({b"/v1/models", b"/api/version", b"/api/tags"})
"""What Codex asks with --oss before it does anything. It ends at the first error, and waits for an
answer as long as it takes."""
PATIENCE = 5.0
"""Seconds that such a question is held while Ollama is not running."""
LOADING_PATIENCE = 120.0
"""Seconds that it is held while a server still loads its model and answers with a 503, as that of
llama.cpp does."""
PAUSE = 0.5
"""Seconds between two tries."""
SHARING = frozenset({b"/api/chat", b"/api/generate"})
"""Routes that take a context. In /v1/chat/completions Ollama ignores one."""
BLOBS = b"/api/blobs/"
SHOW = b"/api/show"
"""A POST that no model answers."""


class PassThrough:
    """Hands requests on to the upstream and its answers back."""

    def __init__(
        self,
        upstreams: Upstreams,
        clock: IReactorTime,
        log: Logger,
        withheld: frozenset[bytes] = frozenset(),
        *,
        reads_up_to: int = 0,
        shares: bool = False,
    ) -> None:
        """Request headers named in `withheld` (lower case) are not sent to the upstream.

        `shares`: whether native requests are given the context with which the bridge asks the same
        model. `reads_up_to`: the most bytes of a body that is read for this, or to choose between
        several upstreams by its model.
        """
        self._reads_up_to = reads_up_to
        self._shares = shares
        self._withheld = FRAMING | withheld
        self._upstreams = upstreams
        self._clock = clock
        self._log = log

    async def handle(self, request: BridgeRequest) -> bytes | None:
        """Answer `request` as the upstream does; returns when the answer has ended.

        Cancelling, which happens when the client is gone, closes the upstream connection.
        """
        started = self._clock.seconds()
        outcome = "client gone"
        try:
            with ExitStack() as answering:
                response = await self._forward(request, answering)
                outcome = str(response.code)
                _copy_head(response, request)
                await _Relay(request).run(response)
            return None
        except ApiError as error:
            outcome = f"{error.status}, {error.message}"
            return send_error(request, error)
        finally:
            self._log.info(
                "{method} {path} {outcome}, {duration:.3f} s",
                method=printable(request.method),
                path=printable(request.uri.split(b"?", 1)[0]),
                outcome=outcome,
                duration=self._clock.seconds() - started,
            )

    async def chosen(self, request: BridgeRequest) -> Upstream:
        """The upstream that a request is for, by the model that its body names."""
        read = await self._read(request)
        return await self._upstreams.for_model(model_in(read) if read else None)

    async def _forward(self, request: BridgeRequest, answering: ExitStack) -> IResponse:
        """The upstream's response. `answering` lasts for as long as its body is read."""
        headers = end_to_end(request.requestHeaders, self._withheld)
        read = await self._read(request)
        model = model_in(read) if read else None
        upstream = self._upstreams.first
        # Also if Ollama has never answered: the bridge starts only when it does, so it is coming
        # back.
        is_held = request.method == b"GET" and request.path in AT_START and request.upload is None

        async def ask() -> IResponse:
            nonlocal upstream
            upstream = await self._upstreams.for_model(model)
            if request.method == b"POST" and request.path != SHOW:
                # Its prompt is not known here.
                upstream.forget_beginnings()
                answering.enter_context(upstream.occupation.answering())
            body = self._body(request, read, upstream)
            response = await upstream.forward(request.method, request.uri, headers, body)
            is_llama_cpp = response.headers.getRawHeaders(b"server") == [b"llama.cpp"]
            if is_held and is_llama_cpp and response.code == HTTPStatus.SERVICE_UNAVAILABLE:
                await upstream.budget().refusal_in(response)
                raise UpstreamFailure(FailureKind.LOADING, "it answers with a 503", response.code)
            return response

        try:
            return await held(ask, self._clock, PATIENCE if is_held else 0.0)
        except UpstreamFailure as failure:
            raise from_upstream(failure, "", upstream.words) from failure
        except ValueError:
            raise invalid("HTTP does not allow this method or request target.") from None

    async def _read(self, request: BridgeRequest) -> bytes | None:
        """The body, where it has to be read before it is sent; None: it is streamed, or too large.

        The data of a model (/api/blobs) is streamed: it may be gigabytes, and names no model.
        """
        if request.upload is None:
            return None
        chooses = self._upstreams.are_several and not request.path.startswith(BLOBS)
        if not chooses and not self._shares_with(request):
            return None
        return await request.upload.collect(self._reads_up_to)

    def _shares_with(self, request: BridgeRequest) -> bool:
        return self._shares and request.method == b"POST" and request.path in SHARING

    def _body(
        self, request: BridgeRequest, read: bytes | None, upstream: Upstream
    ) -> IBodyProducer | None:
        """The body for `upstream`: the client's own, or with the context that is shared."""
        if request.upload is None:
            return None
        if read and self._shares_with(request):
            changed = with_context(read, upstream.shared_context)
            if changed:
                return BytesBody(changed)
        return UploadBody(request.upload)


def model_in(body: bytes) -> str | None:
    """The model that a native request names; older clients write `name`. None if it names none."""
    try:
        asked = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    named = (asked.get("model") or asked.get("name")) if isinstance(asked, dict) else None
    return named if isinstance(named, str) else None


async def held(ask: Callable[[], Awaitable[T]], clock: IReactorTime, seconds: float) -> T:
    """What `ask` returns; it is called again for so many seconds while the server is not running.

    Unless `seconds` is 0, it is also called again while the server loads its model, for
    LOADING_PATIENCE. Raises UpstreamFailure.
    """
    begun = clock.seconds()
    limits = {
        FailureKind.NOT_RUNNING: seconds,
        FailureKind.LOADING: LOADING_PATIENCE if seconds else 0.0,
    }
    while True:
        try:
            return await ask()
        except UpstreamFailure as failure:
            if clock.seconds() - begun >= limits.get(failure.kind, 0.0):
                raise
        await deferLater(clock, PAUSE)


def with_context(body: bytes, num_ctx_for: Callable[[str], int | None]) -> bytes | None:
    """A native request that asks for the context of its model; None: it stays as it is.

    `num_ctx_for` tells the tokens for the model of that name. A request that names a context, or is
    none that Ollama would take, stays as it is.
    """
    try:
        asked = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(asked, dict) or not isinstance(asked.get("model"), str):
        return None
    options = {} if asked.get("options") is None else asked["options"]
    num_ctx = num_ctx_for(asked["model"])
    if num_ctx is None or not isinstance(options, dict) or options.get("num_ctx") is not None:
        return None
    return orjson.dumps(asked | {"options": options | {"num_ctx": num_ctx}})


def end_to_end(headers: Headers, withheld: frozenset[bytes] = frozenset()) -> Headers:
    """`headers` without those of the connection, those that Connection names, and `withheld`."""
    named = {
        token.strip().lower()
        for value in headers.getRawHeaders(b"connection", [])
        for token in value.split(b",")
    }
    dropped = HOP_BY_HOP | named | withheld
    return Headers(
        {name: values for name, values in headers.getAllRawHeaders() if name.lower() not in dropped}
    )


def _copy_head(response: IResponse, request: BridgeRequest) -> None:
    """Give `request` the status and headers of the upstream's answer, and no others."""
    request.setResponseCode(response.code, response.phrase.translate(None, CONTROLS))
    request.responseHeaders.removeHeader(b"server")
    for name, values in end_to_end(response.headers).getAllRawHeaders():
        clean = [value.translate(None, CONTROLS) for value in values]
        request.responseHeaders.setRawHeaders(name, clean)
    has_body = request.method != b"HEAD" and response.code not in NO_BODY_CODES
    if has_body and response.length is not UNKNOWN_LENGTH:
        request.setHeader(b"content-length", b"%d" % response.length)


@implementer(IBodyProducer)
class UploadBody:
    """A client's upload as the body of the request to the upstream, at the upstream's pace."""

    def __init__(self, upload: Upload) -> None:
        self.length: Any = UNKNOWN_LENGTH if upload.length is None else upload.length
        self._upload = upload
        self._done: Deferred[None] = Deferred()

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        self._upload.deliver_to(consumer.write, self._ended)
        return self._done

    def pauseProducing(self) -> None:
        self._upload.pause()

    def resumeProducing(self) -> None:
        self._upload.resume()

    def stopProducing(self) -> None:
        self._upload.discard()

    def _ended(self) -> None:
        if not self._done.called:
            self._done.callback(None)


class _Relay(Protocol):
    """The upstream's body on its way to the client, at the client's pace."""

    def __init__(self, request: BridgeRequest) -> None:
        self._request = request
        self._done: Deferred[None] = Deferred(lambda _: self._hang_up())

    def run(self, response: IResponse) -> Deferred[None]:
        """Fires when the whole body was written. Cancelling closes the upstream connection."""
        response.deliverBody(self)
        return self._done

    def connectionMade(self) -> None:
        if self._request.is_connected:
            self._request.registerProducer(self.transport, True)

    def dataReceived(self, data: bytes) -> None:
        if self._request.is_connected:
            self._request.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self._request.is_connected:
            return
        self._request.unregisterProducer()
        if reason.check(ResponseDone, PotentialDataLoss):
            if not self._done.called:
                self._done.callback(None)
        else:
            # Any other end would make half a body look like a whole one. Cutting the client off
            # cancels this relay.
            self._request.transport.abortConnection()

    def _hang_up(self) -> None:
        if self.transport:
            self.transport.loseConnection()
