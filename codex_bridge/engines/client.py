"""HTTP to the upstream: what is sent, and why no answer began."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any
from weakref import WeakSet

import orjson
from OpenSSL import SSL
from treq.client import HTTPClient
from twisted.internet import error as network
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.web.client import ResponseFailed, ResponseNeverReceived
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer, IResponse

from codex_bridge.engines import redirects
from codex_bridge.engines.bodies import BytesBody
from codex_bridge.engines.budget import Budget, Limits, Phase
from codex_bridge.engines.connections import (
    RawAgent,
    Server,
    make_agent,
    make_endpoint,
    make_pool,
    without_ipv6,
)
from codex_bridge.engines.parsing import error_message
from codex_bridge.engines.refusals import error_text, refusal
from codex_bridge.engines.tls import (
    SPEAKS_NO_TLS,
    SPEAKS_TLS,
    UntrustedCertificateError,
    is_plain,
    reasons,
)
from codex_bridge.twisted_private import is_no_http
from codex_bridge.vocabulary import FailureKind, Json, UpstreamFailure

GATEWAY = frozenset({502, 503, 504})
"""HTTP statuses by which a proxy tells that the server behind it does not answer."""
DENIED = frozenset({401, 403})
"""HTTP statuses by which a server asks for a key, or refuses one."""


class Client:
    """Sends requests to the server at one base URL."""

    def __init__(
        self,
        reactor: Any,
        url: str,
        limits: Limits,
        on_doubt: Callable[[], None],
        key: str | None = None,
    ) -> None:
        """`on_doubt` is called when the server may have been restarted or replaced: it closed a
        kept connection, or did not answer. `key` is sent with every request.
        """
        self._url = url
        self._key = key
        self._reactor = reactor
        self._limits = limits
        self._budgets: WeakSet[Budget] = WeakSet()
        self._on_doubt = on_doubt
        self._base = without_ipv6(url)
        self._pool = make_pool(reactor, persistent=True)
        # One client for all exchanges: a cookie set in one must not be sent with the next.
        no_cookies: Any = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
        # A server that stops closes its connections; the one that is started next may allocate
        # other contexts.
        self._server = Server(make_endpoint(reactor, url), on_doubt)
        agent = make_agent(reactor, self._server, self._pool)
        self._http = HTTPClient(agent, no_cookies, data_to_body_producer=BytesBody)
        # A streamed body cannot be sent again when a kept connection turns out to be dead.
        self._raw = RawAgent(reactor, self._server, url)

    def budget(self) -> Budget:
        """A new budget, for one exchange or one question."""
        budget = Budget(self._reactor, self._limits)
        self._budgets.add(budget)
        return budget

    async def post(self, path: str, body: bytes, budget: Budget) -> Any:
        """The response, once it begins. Raises UpstreamFailure, after a call of `on_doubt`."""
        asked = Deferred.fromCoroutine(self._send("POST", path, body))
        try:
            return await budget.within(Phase.HEAD, asked)
        except UpstreamFailure:
            self._on_doubt()
            raise

    async def succeeds(self, path: str, body: bytes) -> bool:
        """Whether the answer to a POST is a 200. Raises UpstreamFailure where none begins."""
        budget = self.budget()
        response = await self.post(path, body, budget)
        with suppress(UpstreamFailure):
            await _whole(response, budget)
        return bool(response.code == 200)

    async def object_from(self, path: str, body: bytes, budget: Budget) -> Json | None:
        """The JSON object that answers a POST; None if none does. Raises UpstreamFailure.

        Unlike for a question, the answer may take long to begin: a model may have to be loaded.
        """
        response = await self.post(path, body, budget)
        data = await _whole(response, budget)
        return _object(data) if response.code == 200 else None

    async def ask(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        needs_access: bool = False,
        patience: Phase = Phase.QUESTION,
    ) -> Json | None:
        """Ask for a small JSON object; None if the server sends none. Raises UpstreamFailure.

        For questions that Ollama answers at once; one that takes longer fails. A 401 or 403 is
        a failure only with `needs_access`: servers may deny what others do not have. `patience`:
        the phase that says how long the answer may take.
        """
        budget = self.budget()
        asked = Deferred.fromCoroutine(self._ask(method, path, body, budget, needs_access))
        return await budget.within(patience, asked)

    async def _ask(
        self, method: str, path: str, body: Json | None, budget: Budget, needs_access: bool
    ) -> Json | None:
        data = None if body is None else orjson.dumps(body)
        try:
            response = await self._send(method, path, data)
        except UpstreamFailure as failure:
            if failure.kind is not FailureKind.STALE:
                raise
            self._on_doubt()
            response = await self._send(method, path, data)
        content = await _whole(response, budget)
        answer, location = _object(content), _location(response)
        if location and redirects.moved_to(self._url, path, location):
            raise self._redirected(path, location, response.code)
        if needs_access and response.code in DENIED:
            raise self._denied(_sentence(content, response), response.code)
        if response.code >= 500:
            refused = refusal(error_text(answer), response.code)
            if refused.kind is FailureKind.LOADING:
                raise refused
            is_gone = response.code in GATEWAY
            kind = FailureKind.UNREACHABLE if is_gone else FailureKind.REFUSED
            raise UpstreamFailure(kind, f"HTTP status {response.code}", response.code)
        if response.code != 200 or answer is None or answer.get("error"):
            # Some servers refuse with a 200.
            return None
        return answer

    async def _send(self, method: str, path: str, body: bytes | None) -> Any:
        headers = self._with_key(Headers())
        if body is not None:
            headers.setRawHeaders(b"content-type", [b"application/json"])
        before, is_reused = self._server.connections, False
        try:
            answer = self._http.request(
                method,
                self._base + path,
                headers=headers,
                data=body,
                allow_redirects=False,
                unbuffered=True,
                reactor=self._reactor,
            )
            is_reused = self._server.connections == before
            return await answer
        except Exception as error:
            raise _unreachable(error, is_reused) from error

    async def refusal(
        self,
        response: IResponse,
        path: str,
        budget: Budget,
        meaning: Callable[[str, int], UpstreamFailure],
        *,
        is_cloud: bool,
    ) -> UpstreamFailure:
        """What an answer other than 200 to a POST of `path` means.

        `meaning` tells the failure by the server's sentence and the status. `is_cloud`: the model
        is one that Ollama runs in the cloud, so a 401 or 403 is about the sign-in there.
        """
        message = await _refusal_text(response, budget)
        if location := _location(response):
            return self._redirected(path, location, response.code)
        failure = meaning(self._without_key(message), response.code)
        if failure.kind is FailureKind.NO_ACCESS and not is_cloud:
            return self._denied(failure.message, response.code)
        if failure.kind is FailureKind.MISCONFIGURED and self._url.startswith("http://"):
            return UpstreamFailure(failure.kind, SPEAKS_TLS, response.code)
        return failure

    def _redirected(self, path: str, location: str, status: int) -> UpstreamFailure:
        words = redirects.told(self._url, path, location)
        return UpstreamFailure(FailureKind.MISCONFIGURED, words, status)

    def _denied(self, message: str, status: int) -> UpstreamFailure:
        words = denied(self._without_key(message), status, has_key=self._key is not None)
        return UpstreamFailure(FailureKind.NO_KEY, words, status)

    def _with_key(self, headers: Headers) -> Headers:
        """`headers` with the key of the bridge, if it has one, in place of any other."""
        if self._key is None:
            return headers
        headers = headers.copy()
        headers.setRawHeaders(b"authorization", [b"Bearer " + self._key.encode()])
        return headers

    def _without_key(self, message: str) -> str:
        """What the server said, without the key: some servers repeat the one that they refuse."""
        return message.replace(self._key, "(the key)") if self._key else message

    async def forward(
        self, method: bytes, target: bytes, headers: Headers, body: IBodyProducer | None
    ) -> IResponse:
        """Send a request as it is: no redirects, no cookies, no decoding of the answer.

        `target` is path and query as they stand in the request line. Raises UpstreamFailure,
        and ValueError for a target or method that HTTP does not allow.
        """
        try:
            return await self._raw.request(method, target, self._with_key(headers), body)
        except ValueError:
            raise
        except Exception as error:
            raise _unreachable(error) from error

    def wake(self) -> None:
        """The machine slept: the server may be gone, or other connections between it and us."""
        for budget in self._budgets:
            budget.restart()
        self._on_doubt()
        self._server.probe()
        self._pool.closeCachedConnections()

    async def close(self) -> None:
        """Close the idle connections."""
        await self._pool.closeCachedConnections()


async def _whole(response: IResponse, budget: Budget) -> bytes:
    """The body of an answer that is read as a whole. Raises UpstreamFailure."""
    try:
        return await budget.answer_in(response)
    except ResponseFailed as error:
        raise _unreachable(error) from error


def _object(data: bytes) -> Json | None:
    """A JSON object; None for anything else."""
    with suppress(orjson.JSONDecodeError):
        value = orjson.loads(data)
        return value if isinstance(value, dict) else None
    return None


def _location(response: IResponse) -> str | None:
    """Where an answer redirects to; None if it does not."""
    values = response.headers.getRawHeaders(b"location")
    if response.code not in redirects.CODES or not values:
        return None
    return bytes(values[0]).decode(errors="replace")


def denied(message: str, status: int, *, has_key: bool) -> str:
    """What a 401 or 403 means and what to do about it; `message` is what the server says to it."""
    advice = (
        "it refuses the key in CODEX_BRIDGE_UPSTREAM_API_KEY"
        if has_key
        else "if it wants a key, set CODEX_BRIDGE_UPSTREAM_API_KEY where the bridge runs"
    )
    return f"{message.rstrip('.')} ({status}); {advice}"


async def _refusal_text(response: IResponse, budget: Budget) -> str:
    """What an answer other than 200 says, in either of Ollama's shapes or as plain text."""
    try:
        body = await budget.refusal_in(response)
    except CancelledError:
        raise
    except Exception:
        body = b""
    return _sentence(body, response)


def _sentence(body: bytes, response: IResponse) -> str:
    message, parsed = body.decode(errors="replace"), _object(body)
    if parsed and (parsed.get("error") or error_text(parsed)):
        message = error_message(parsed)
    return message.strip() or response.phrase.decode(errors="replace")


def _unreachable(error: Exception, is_reused: bool = False) -> Exception:
    """The UpstreamFailure for an answer that did not begin; CancelledError if it was cancelled."""
    if isinstance(error, CancelledError):
        return error
    reasons = getattr(error, "reasons", [])
    causes: list[Any] = [reason.value for reason in reasons if isinstance(reason, Failure)]
    if any(isinstance(cause, CancelledError) for cause in causes):
        return CancelledError()
    if isinstance(error, ResponseNeverReceived) and any(
        isinstance(cause, network.ConnectionDone | network.ConnectionLost) for cause in causes
    ):
        kind = FailureKind.STALE if is_reused else FailureKind.UNREACHABLE
        return UpstreamFailure(kind, "it closed the connection without an answer")
    for cause in causes:
        if isinstance(cause, UntrustedCertificateError):
            return UpstreamFailure(FailureKind.MISCONFIGURED, str(cause))
        if is_plain(cause):
            return UpstreamFailure(FailureKind.MISCONFIGURED, SPEAKS_NO_TLS)
    if any(map(is_no_http, causes)):
        return UpstreamFailure(FailureKind.GARBLED, "its answer is no HTTP")
    cause = causes[0] if causes else error
    is_refused = isinstance(cause, network.ConnectionRefusedError)
    kind = FailureKind.NOT_RUNNING if is_refused else FailureKind.UNREACHABLE
    return UpstreamFailure(kind, _in_words(cause))


def _in_words(error: BaseException) -> str:
    """A connection's failure in a few plain words."""
    if isinstance(error, network.ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, network.DNSLookupError):
        return "its host name is unknown"
    if isinstance(error, network.TimeoutError):
        return "the connection timed out"
    if isinstance(error, SSL.Error):
        return f"TLS failed, {', '.join(reasons(error)) or 'without a reason'}"
    first = str(error).strip().splitlines()
    return first[0].rstrip(".") if first else type(error).__name__
