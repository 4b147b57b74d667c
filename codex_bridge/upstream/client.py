"""Ollama over HTTP: one treq call per exchange, its answer as deltas; everything else raw."""

from __future__ import annotations

from collections.abc import Sequence
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any
from typing import Protocol as Interface

import orjson
from treq.client import HTTPClient
from twisted.internet import error as network
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone, ResponseFailed, ResponseNeverReceived
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer, IResponse

from codex_bridge.upstream import chat
from codex_bridge.upstream.agent import RawAgent, Server, make_agent, make_endpoint, make_pool
from codex_bridge.upstream.body import BytesBody, read_limited
from codex_bridge.vocabulary import ChatRequest, Delta, FailureKind, UpstreamFailure

LINGER = 1.0
"""Seconds that the body of an answer may still take to end when all of it has been said."""
ERROR_BODY_LIMIT = 64 * 1024
"""Bytes of an error's body that are read."""


class Decoder(Interface):
    """Bytes of an answer -> deltas; see `chat.StreamDecoder`."""

    over: bool

    def feed(self, data: bytes) -> Sequence[Delta]: ...
    def eof(self) -> Sequence[Delta]: ...


class Receiver(Interface):
    """Who is told of an answer. Exactly one of the last two is called, once, at the end."""

    def deltas_received(self, deltas: Sequence[Delta]) -> None:
        """Everything that one read from the network brought."""

    def answer_ended(self) -> None:
        """The answer is whole: a finish reason came."""

    def answer_failed(self, failure: UpstreamFailure) -> None:
        """The answer is not whole."""


class Upstream:
    """The server at one base URL."""

    def __init__(self, reactor: Any, url: str) -> None:
        self.url = url
        self._reactor = reactor
        self._pool = make_pool(reactor, persistent=True)
        # One client for all exchanges: a cookie set in one must not be sent with the next.
        no_cookies: Any = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
        self._server = Server(make_endpoint(reactor, url))
        agent = make_agent(reactor, self._server, self._pool)
        self._http = HTTPClient(agent, no_cookies, data_to_body_producer=BytesBody)
        # A streamed body cannot be sent again when a kept connection turns out to be dead.
        self._raw = RawAgent(reactor, self._server, url)

    async def open_chat(self, request: ChatRequest, *, stream: bool) -> ChatAnswer:
        """Send `request`; return when the answer begins. Raises UpstreamFailure.

        Cancelling closes the connection, which makes Ollama stop generating.
        """
        body = chat.encode(request, stream=stream)
        response = await self._post(chat.PATH, body)
        if response.code != 200:
            raise await _refusal(response)
        content_type = (response.headers.getRawHeaders(b"content-type") or [b""])[0]
        whole = not stream or content_type.startswith(b"application/json")
        decoder: Decoder = chat.AnswerDecoder() if whole else chat.StreamDecoder()
        return ChatAnswer(response, decoder, self._reactor)

    async def _post(self, path: str, body: bytes) -> Any:
        try:
            return await self._send("POST", path, body)
        except _ConnectionWentStale:
            # Ollama closed a kept connection just as it was used: nothing is generating there.
            return await self._send("POST", path, body)

    async def _send(self, method: str, path: str, body: bytes | None = None) -> Any:
        headers = {b"content-type": [b"application/json"]} if body is not None else {}
        before, is_reused = self._server.connections, False
        try:
            answer = self._http.request(
                method,
                self.url + path,
                headers=Headers(headers),
                data=body,
                allow_redirects=False,
                unbuffered=True,
                reactor=self._reactor,
            )
            is_reused = self._server.connections == before
            return await answer
        except Exception as error:
            raise _unreachable(error, is_reused) from error

    async def version(self) -> str | None:
        """Ollama's version; None from a server that has none. Raises UpstreamFailure."""
        response = await self._send("GET", "/api/version")
        try:
            answer = orjson.loads(await read_limited(response, ERROR_BODY_LIMIT))
            return str(answer["version"])
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return None
        except ResponseFailed as error:
            raise _unreachable(error) from error

    async def forward(
        self, method: bytes, target: bytes, headers: Headers, body: IBodyProducer | None
    ) -> IResponse:
        """Send a request as it is: no redirects, no cookies, no decoding of the answer.

        `target` is path and query as they stand in the request line. Raises UpstreamFailure,
        and ValueError for a target or method that HTTP does not allow.
        """
        try:
            return await self._raw.request(method, target, headers, body)
        except ValueError:
            raise
        except Exception as error:
            raise _unreachable(error) from error

    async def close(self) -> None:
        """Close the idle connections."""
        await self._pool.closeCachedConnections()


class ChatAnswer:
    """An answer that has begun. Nothing is read before `deliver_to`, which must be called."""

    def __init__(self, response: IResponse, decoder: Decoder, clock: IReactorTime) -> None:
        self._response = response
        self._decoder = decoder
        self._clock = clock
        self._reader: _Reader | None = None

    def deliver_to(self, receiver: Receiver) -> None:
        """Tell `receiver` of everything that comes."""
        self._reader = _Reader(self._decoder, receiver, self._clock)
        self._response.deliverBody(self._reader)

    def pause(self) -> None:
        """Read no more for now; the upstream waits."""
        if self._reader:
            self._reader.body.pauseProducing()

    def resume(self) -> None:
        """Read on."""
        if self._reader:
            self._reader.body.resumeProducing()

    def close(self) -> None:
        """Hang up. The receiver is told nothing more."""
        if self._reader is None:
            self.deliver_to(_Nobody())
        if self._reader:
            self._reader.hang_up()


class _Reader(Protocol):
    """Feeds a response's body to the decoder and its deltas to the receiver."""

    def __init__(self, decoder: Decoder, receiver: Receiver, clock: IReactorTime) -> None:
        self._decoder = decoder
        self._receiver = receiver
        self._clock = clock
        self._told = False
        self._lingering: IDelayedCall | None = None

    def dataReceived(self, data: bytes) -> None:
        if self._told:
            return
        deltas = self._decoder.feed(data)
        if deltas:
            self._receiver.deltas_received(deltas)
        if self._decoder.over and not self._told:
            # A kept connection is worth the moment that the rest of the body takes.
            self._lingering = self._clock.callLater(LINGER, self.hang_up)
            self._end()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._lingering is not None and self._lingering.active():
            self._lingering.cancel()
        if self._told:
            return
        self._end(is_clean=bool(reason.check(ResponseDone, PotentialDataLoss)))

    @property
    def body(self) -> Any:
        """The response's body as a push producer."""
        return self.transport

    def hang_up(self) -> None:
        self._told = True
        if self.transport:
            self.transport.loseConnection()

    def _end(self, *, is_clean: bool = True) -> None:
        """Tell the end. A connection lost behind the finish reason took nothing with it."""
        self._told = True
        try:
            deltas = self._decoder.eof()
        except UpstreamFailure as failure:
            lost = UpstreamFailure(FailureKind.BROKEN, "its connection was lost")
            self._receiver.answer_failed(failure if is_clean else lost)
            return
        if deltas:
            self._receiver.deltas_received(deltas)
        self._receiver.answer_ended()


class _Nobody:
    """Receives an answer that nobody waits for any more."""

    def deltas_received(self, deltas: Sequence[Delta]) -> None:
        """Drop them."""

    def answer_ended(self) -> None:
        """Drop it."""

    def answer_failed(self, failure: UpstreamFailure) -> None:
        """Drop it."""


class _ConnectionWentStale(UpstreamFailure):
    """A kept connection closed before anything of an answer came."""


async def _refusal(response: IResponse) -> UpstreamFailure:
    """What an answer other than 200 says, in either of Ollama's shapes or as plain text."""
    try:
        body = await read_limited(response, ERROR_BODY_LIMIT)
    except CancelledError:
        raise
    except Exception:
        body = b""
    try:
        parsed = orjson.loads(body)
        has_error = isinstance(parsed, dict) and parsed.get("error")
        message = chat.error_message(parsed) if has_error else body.decode(errors="replace")
    except orjson.JSONDecodeError:
        message = body.decode(errors="replace")
    phrase = response.phrase.decode(errors="replace")
    return UpstreamFailure(FailureKind.REFUSED, message.strip() or phrase, response.code)


def _unreachable(error: Exception, is_reused: bool = False) -> Exception:
    """Why no answer began, in a few words; cancellation stays cancellation."""
    if isinstance(error, CancelledError):
        return error
    reasons = getattr(error, "reasons", [])
    causes: list[Any] = [reason.value for reason in reasons if isinstance(reason, Failure)]
    if any(isinstance(cause, CancelledError) for cause in causes):
        return CancelledError()
    if isinstance(error, ResponseNeverReceived) and any(
        isinstance(cause, network.ConnectionDone | network.ConnectionLost) for cause in causes
    ):
        kind = _ConnectionWentStale if is_reused else UpstreamFailure
        return kind(FailureKind.UNREACHABLE, "it closed the connection without an answer")
    return UpstreamFailure(FailureKind.UNREACHABLE, describe(causes[0] if causes else error))


def describe(error: BaseException) -> str:
    """A connection's failure in a few plain words."""
    if isinstance(error, network.ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, network.DNSLookupError):
        return "its host name is unknown"
    if isinstance(error, network.TimeoutError):
        return "the connection timed out"
    first = str(error).strip().splitlines()
    return first[0].rstrip(".") if first else type(error).__name__
