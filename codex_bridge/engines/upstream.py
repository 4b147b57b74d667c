"""Ollama over HTTP: one treq call per exchange, its answer as deltas; everything else raw."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import orjson
from attrs import evolve
from treq.client import HTTPClient
from twisted.internet import error as network
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import ResponseFailed, ResponseNeverReceived
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer, IResponse

from codex_bridge.engines import ollama_chat as native
from codex_bridge.engines import openai_chat as chat
from codex_bridge.engines.answer import ChatAnswer, Decoder, silent_for
from codex_bridge.engines.bodies import BytesBody, read_limited
from codex_bridge.engines.connections import (
    RawAgent,
    Server,
    make_agent,
    make_endpoint,
    make_pool,
    without_ipv6,
)
from codex_bridge.engines.contexts import ContextPolicy, Contexts, Plan
from codex_bridge.engines.models import ModelTable
from codex_bridge.engines.prompt_size import Prompt, measured
from codex_bridge.engines.refusals import refusal
from codex_bridge.vocabulary import ChatRequest, FailureKind, Json, ModelInfo, UpstreamFailure

SILENCE = 1800.0
"""Seconds that an answer may be silent, unless told otherwise."""
PATIENCE = 20.0
"""Seconds that a question about a model may take: without the answer nothing can be sent."""
GATEWAY = frozenset({502, 503, 504})
"""HTTP statuses by which a proxy tells that the server behind it does not answer."""
ERROR_BODY_LIMIT = 64 * 1024
"""Bytes of an error's body that are read."""
ANSWER_LIMIT = 4 * 1024 * 1024
"""Bytes of an answer about models: /api/show sends whole licences and templates."""


class Upstream:
    """The server at one base URL."""

    def __init__(
        self,
        reactor: Any,
        url: str,
        policy: ContextPolicy = ContextPolicy(),  # noqa: B008 - it is frozen
        log: Logger = Logger(),  # noqa: B008
        patience: float = SILENCE,
    ) -> None:
        """`patience` is for an exchange: seconds that the server may say nothing at all."""
        self.url = url
        self._base = without_ipv6(url)
        self.models = ModelTable(self.ask, reactor)
        self.contexts = Contexts(policy, self.models, self._load, log, reactor)
        self._reactor = reactor
        self._patience = patience
        self._pool = make_pool(reactor, persistent=True)
        # One client for all exchanges: a cookie set in one must not be sent with the next.
        no_cookies: Any = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
        # A server that ends closes its connections; the next one may have other contexts.
        self._server = Server(make_endpoint(reactor, url), self.contexts.doubt)
        agent = make_agent(reactor, self._server, self._pool)
        self._http = HTTPClient(agent, no_cookies, data_to_body_producer=BytesBody)
        # A streamed body cannot be sent again when a kept connection turns out to be dead.
        self._raw = RawAgent(reactor, self._server, url)

    async def info(self, name: str) -> ModelInfo:
        return await self.models.info(name)

    async def open(self, request: ChatRequest, info: ModelInfo, *, stream: bool) -> Any:
        from codex_bridge.engines.answer import Answer

        return Answer(await self.open_chat(request, info, stream=stream))

    async def has_more_context(self, info: ModelInfo) -> bool:
        return False

    @property
    def context_remedy(self) -> str:
        return self.contexts.remedy

    async def open_chat(self, request: ChatRequest, info: ModelInfo, *, stream: bool) -> ChatAnswer:
        """Send `request`; return when the answer begins. Raises UpstreamFailure.

        Cancelling closes the connection, which makes Ollama stop generating.
        """
        try:
            return await self._open_planned(request, info, stream)
        except _ConnectionWentStale:
            # Ollama closed a kept connection just as it was used: nothing is generating there.
            # It may have been started anew, and give another context.
            if info.is_ollamas:
                info = await self.models.info(info.name)
        return await self._open_planned(request, info, stream)

    async def _open_planned(
        self, request: ChatRequest, info: ModelInfo, stream: bool
    ) -> ChatAnswer:
        prompt = measured(request)
        made = await self.contexts.plan_for(info)
        try:
            return await self._open_fitting(request, info, made, prompt, stream)
        except UpstreamFailure as failure:
            is_ollamas_wish = made.api == "chat" and info.is_ollamas and not info.is_remote
            if failure.kind is not FailureKind.TOO_LONG or not is_ollamas_wish:
                raise
            again = await self.contexts.reconsidered(info)
            if again == made:
                raise
        return await self._open_fitting(request, info, again, prompt, stream)

    async def _open_fitting(
        self, request: ChatRequest, info: ModelInfo, made: Plan, prompt: Prompt, stream: bool
    ) -> ChatAnswer:
        plan = self.contexts.fitting(info, made, prompt)
        try:
            return await self._open_chat(request, info, plan, prompt, stream)
        except UpstreamFailure as failure:
            if request.effort is None or failure.kind is not FailureKind.NO_EFFORT:
                raise
            # The model knows no effort, or not this one: its own is better than none.
            request = evolve(request, effort=None)
            return await self._open_chat(request, info, plan, prompt, stream)

    async def _open_chat(
        self, request: ChatRequest, info: ModelInfo, plan: Plan, prompt: Prompt, stream: bool
    ) -> ChatAnswer:
        path, body, decoder = _encoded(request, info, plan, self.contexts.policy, stream)
        try:
            response = await self._begun(self._send("POST", path, body))
        except UpstreamFailure:
            self.contexts.doubt()
            raise
        if response.code == 404:
            self.models.forget(info.name)
        if response.code != 200:
            raise await _refusal(response)
        return ChatAnswer(
            response,
            decoder(response.headers),
            self._reactor,
            self._patience,
            lambda usage: self.contexts.learn(info, plan, prompt, usage),
            plan.context,
        )

    async def _begun(self, asking: Coroutine[Any, Any, IResponse]) -> Any:
        """The response that is asked for, once it begins; for a while nothing may come."""
        asked = Deferred.fromCoroutine(asking)
        asked.addTimeout(self._patience, self._reactor)
        try:
            return await asked
        except DeferredTimeout:
            raise silent_for(self._patience) from None

    async def ask(self, method: str, path: str, body: Json | None = None) -> Json | None:
        """A small JSON object; None where the server refuses or has none. Raises UpstreamFailure.

        For questions that Ollama answers at once; one that takes longer than PATIENCE fails.
        """
        asked = Deferred.fromCoroutine(self._ask(method, path, body))
        asked.addTimeout(PATIENCE, self._reactor)
        try:
            return await asked
        except DeferredTimeout:
            text = f"no answer within {PATIENCE:.0f} s"
            raise UpstreamFailure(FailureKind.UNREACHABLE, text) from None

    async def _ask(self, method: str, path: str, body: Json | None) -> Json | None:
        data = None if body is None else orjson.dumps(body)
        try:
            response = await self._send(method, path, data)
        except _ConnectionWentStale:
            self.contexts.doubt()
            response = await self._send(method, path, data)
        try:
            answer = orjson.loads(await read_limited(response, ANSWER_LIMIT))
        except orjson.JSONDecodeError:
            answer = None
        except ResponseFailed as error:
            raise _unreachable(error) from error
        if response.code >= 500:
            is_gone = response.code in GATEWAY
            kind = FailureKind.UNREACHABLE if is_gone else FailureKind.REFUSED
            raise UpstreamFailure(kind, f"HTTP status {response.code}", response.code)
        if response.code != 200 or not isinstance(answer, dict) or answer.get("error"):
            # Some servers refuse with a 200.
            return None
        return answer

    async def _load(self, model: str) -> bool:
        """Have a model loaded, as long as that takes. What fails will fail, and be told, again."""
        body = orjson.dumps({"model": model})
        response = await self._begun(self._send("POST", "/api/generate", body))
        await read_limited(response, ANSWER_LIMIT)
        return bool(response.code == 200)

    async def _send(self, method: str, path: str, body: bytes | None = None) -> Any:
        headers = {b"content-type": [b"application/json"]} if body is not None else {}
        before, is_reused = self._server.connections, False
        try:
            answer = self._http.request(
                method,
                self._base + path,
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
        try:
            answer = await self.ask("GET", "/api/version")
        except UpstreamFailure as failure:
            if failure.kind is FailureKind.UNREACHABLE:
                raise
            return None
        return str(answer["version"]) if answer and "version" in answer else None

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


def _encoded(
    request: ChatRequest, info: ModelInfo, plan: Plan, policy: ContextPolicy, stream: bool
) -> tuple[str, bytes, Callable[[Headers], Decoder]]:
    """Path and body for `request` as planned, and what makes a decoder for the answer."""
    if plan.api == "ollama":
        body = native.encode(
            request,
            stream=stream,
            # Unlike in chat completions, a model that cannot is refused where it is asked to.
            thinks=info.capabilities is not None and info.can("thinking"),
            num_ctx=plan.num_ctx,
            keep_alive=policy.keep_alive,
            truncate=not policy.guard,
        )
        return native.PATH, body, lambda _: native.LineDecoder()

    def decoder(headers: Headers) -> Decoder:
        content_type = (headers.getRawHeaders(b"content-type") or [b""])[0]
        whole = not stream or content_type.startswith(b"application/json")
        return chat.AnswerDecoder() if whole else chat.StreamDecoder()

    return chat.PATH, chat.encode(request, stream=stream), decoder


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
    return refusal(message.strip() or phrase, response.code)


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
