"""Has a model read instructions and tools before the user has typed.

The first turn of a conversation then waits only for the model to read the user's words. Codex
tells that a turn is coming: over WebSocket by a request that generates nothing; with --oss by the
questions of its start, which name neither a model nor a client.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.http_headers import Headers

from codex_bridge.clients.traits import CODEX
from codex_bridge.engines.answer import Answer
from codex_bridge.engines.upstream import Upstream
from codex_bridge.engines.upstreams import Upstreams
from codex_bridge.responses.beginnings import beginning, is_first_turn
from codex_bridge.responses.chat import translate
from codex_bridge.responses.request import ResponsesRequest
from codex_bridge.settings import Settings
from codex_bridge.text import printable
from codex_bridge.vocabulary import ChatRequest, Delta, Json, ModelInfo, UpstreamFailure, UsageDelta
from codex_bridge.web.caller import Caller
from codex_bridge.web.drain import Drain

START_QUESTIONS = (b"/api/version", b"/api/tags")
"""What Codex asks at its start with --oss, in this order (0.101 to 0.169)."""
START_HEADERS = frozenset({b"accept", b"host"})
"""The headers of these questions, and no others: Codex's client sends no User-Agent."""
START_SECONDS = 10.0
"""Seconds within which Codex asks both. Other programs repeat the second one alone."""
SUB_AGENT_HEADERS = ("x-openai-subagent", "x-codex-parent-thread-id")


class ReadAhead:
    """Decides when a model reads ahead, and what."""

    def __init__(
        self,
        settings: Settings,
        upstreams: Upstreams,
        clock: IReactorTime,
        log: Logger,
        drain: Drain,
    ) -> None:
        self._settings = settings
        self._upstreams = upstreams
        self._clock = clock
        self._log = log
        self._drain = drain
        self._seen: ResponsesRequest | None = None
        """What the last first turn of Codex began with. It holds instructions, so it is never
        written anywhere."""
        self._started = -START_SECONDS
        """When the first question of a start came, by the clock."""
        self._may_guess = False
        """Whether there was an exchange since a model read ahead."""
        self._done = self._cancelled = 0

    def note(self, request: ResponsesRequest, caller: Caller) -> None:
        """An exchange begins."""
        self._may_guess = True
        is_sub_agent = any(caller.headers.hasHeader(name) for name in SUB_AGENT_HEADERS)
        if caller.traits is CODEX and not is_sub_agent and is_first_turn(request):
            self._seen = beginning(request)

    def watch(self, method: bytes, path: bytes, headers: Headers) -> None:
        """A request came that is no exchange. With the last question of Codex's start, begin.

        At most once until the next exchange: other programs may ask the same again and again.
        """
        if method != b"GET" or path not in START_QUESTIONS:
            return
        if {name.lower() for name, _ in headers.getAllRawHeaders()} != START_HEADERS:
            return
        now = self._clock.seconds()
        if path == START_QUESTIONS[0]:
            self._started = now
        elif now - self._started < START_SECONDS and self._may_guess and self._seen is not None:
            self.begin(self._seen)

    def begin(self, request: ResponsesRequest, conversation: Hashable = None) -> Deferred[None]:
        """Have the instructions and tools of `request` read, unless that would be in the way.

        `conversation`: the key of the one that it begins, as `conversation_of` makes it; None for
        one that is not known yet. Fires when that is over, however it went; nothing has to wait
        for it.
        """
        if not self._settings.read_ahead:
            return succeed(None)
        return Deferred.fromCoroutine(self._begin(beginning(request), conversation))

    @property
    def counts(self) -> Json:
        """How often a model has read ahead since the start, and how often it was stopped."""
        return {"done": self._done, "cancelled": self._cancelled}

    def stop(self) -> None:
        """End all reading."""
        for upstream in self._upstreams:
            upstream.occupation.stop_idle_work()

    async def _begin(self, request: ResponsesRequest, conversation: Hashable) -> None:
        try:
            upstream = await self._upstreams.home(request.model, conversation)
            if upstream.occupation.is_idle and not self._drain.is_draining:
                await upstream.occupation.in_idle_time(self._read(request, upstream))
        except CancelledError:
            return
        except UpstreamFailure as failure:
            # The turn will tell, if it is still so.
            self._log.debug("read ahead: {model}: {why}", model=request.model, why=failure.message)
        except Exception:
            self._log.failure("read ahead: a bug of codex-bridge")

    async def _read(self, request: ResponsesRequest, upstream: Upstream) -> None:
        """Have `upstream` read. Raises UpstreamFailure."""
        started, budget = self._clock.seconds(), upstream.budget()
        info = await upstream.info(request.model)
        if not await upstream.gains_by_reading(self._asked(request, info), info):
            return
        self._may_guess = False
        model = printable(request.model) + (f" at {upstream.name}" if upstream.name else "")
        try:
            info = await upstream.prepared(request.model, budget)
            answer = await upstream.open(self._asked(request, info), info, budget, stream=True)
            tokens = await _tokens_in(answer)
        except CancelledError:
            self._cancelled += 1
            self._log.info(
                "read ahead: {model}, cancelled after {duration:.1f} s",
                model=model,
                duration=self._clock.seconds() - started,
            )
            raise
        self._done += 1
        self._log.info(
            "read ahead: {model}, {tokens:,} tokens in {duration:.1f} s",
            model=model,
            tokens=tokens,
            duration=self._clock.seconds() - started,
        )

    def _asked(self, request: ResponsesRequest, info: ModelInfo) -> ChatRequest:
        """What the model is asked: as in the turn up to the user's words, and for one token.

        A limit of 0 tokens means none to some servers, MLX in Ollama among them, and llama.cpp
        takes it for 1.
        """
        chat = translate(request, info, directives=self._settings.directives).chat
        return evolve(chat, max_tokens=1)


async def _tokens_in(answer: Answer) -> int:
    """Receive `answer`; return the tokens of its prompt. Raises UpstreamFailure."""
    tokens = 0

    def count(deltas: Sequence[Delta]) -> None:
        nonlocal tokens
        tokens += sum(each.input_tokens for each in deltas if isinstance(each, UsageDelta))

    try:
        await answer.deliver_to(count)
    except BaseException:
        # Without a reader the model would go on.
        answer.stopProducing()
        raise
    return tokens
