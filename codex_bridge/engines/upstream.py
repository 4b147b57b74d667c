"""The server behind the bridge, as the rest of the bridge sees it."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer, IResponse

from codex_bridge.engines.answer import Answer
from codex_bridge.engines.budget import Budget, Limits, Phase
from codex_bridge.engines.client import Client
from codex_bridge.engines.contexts import Contexts
from codex_bridge.engines.engine import DEFAULT_NUM_CTX, ContextPolicy, Engine, Plan
from codex_bridge.engines.listing import Listing
from codex_bridge.engines.llama_cpp import names_of
from codex_bridge.engines.models import ModelTable
from codex_bridge.engines.occupation import Occupation
from codex_bridge.engines.openai_chat import listed_models
from codex_bridge.engines.parsing import object_in, objects_in, whole_number
from codex_bridge.engines.prompts import Conversations, Prompt, beginning_of, measured
from codex_bridge.engines.reloads import ReloadWatch
from codex_bridge.vocabulary import (
    ChatRequest,
    Delta,
    FailureKind,
    Json,
    ModelInfo,
    ServerWords,
    UpstreamFailure,
    UsageDelta,
)

BY_SERVER, OWN_WORDS = "read by the server", "read from the model's own words"
"""Who reads a model's calls, as /__health says it."""


class Upstream:
    """The server at one base URL. It asks once; whether to ask again is for the caller to say."""

    def __init__(
        self,
        reactor: Any,
        url: str,
        policy: ContextPolicy = ContextPolicy(),  # noqa: B008 - it is frozen
        log: Logger = Logger(),  # noqa: B008
        limits: Limits = Limits(),  # noqa: B008
        key: str | None = None,
        name: str = "",
    ) -> None:
        """`key` is sent to the server with every request. `name`: what the user calls it, where
        there are several; "" for the only one."""
        self.url = url
        self.name = name
        self._policy = policy
        self._log = log
        self._models: ModelTable
        self._client = Client(reactor, url, limits, self._doubt, key)
        self._models = ModelTable(self._question, policy, reactor, log)
        self.listing = Listing(self._list, reactor)
        self.occupation = Occupation()
        self._contexts = Contexts(self._models, self._client.succeeds, log, reactor)
        self._conversations = Conversations()
        self.note_lack = self._models.note_lack
        self.note_swallowed = self._models.note_swallowed
        self._reloads = ReloadWatch(self._models, self._client.ask, log)
        self.ask = self._client.ask
        self.budget = self._client.budget
        self.wake = self._client.wake
        self.close = self._client.close

    def has(self, model: str) -> bool | None:
        """Whether the server lists a model; None: it has not told its list yet."""
        key = self._models.key
        if self.listing.names is None:
            return None
        names = {key(name) for name in self.listing.names}
        # The `ollama` command and others add ":latest".
        return key(model) in names or key(model.removesuffix(":latest")) in names

    async def info(self, model: str) -> ModelInfo:
        """What is known of a model. May ask the server, loads nothing. Raises UpstreamFailure."""
        return await self._models.info(model)

    async def prepared(self, model: str, budget: Budget) -> ModelInfo:
        """What is known of a model when all is known that its request depends on.

        Where only that tells it, the model is loaded, and asked twice for a single token.
        Raises UpstreamFailure.
        """
        info = await self._models.info(model)
        engine = self._models.engine
        if engine.load_request(info) is not None:
            await self._planned(info, budget)
            info = await self._models.info(model)
        trial = engine.tool_trial(info)
        if trial is None or self._models.get(model).is_tried:
            return info
        path, *bodies = trial
        with_function, without = [await self._prompt_size(path, body, budget) for body in bodies]
        self._models.note_trial(model)
        # Where the server refuses the function, it refuses those of the request as well.
        if without and with_function == without:
            self.note_lack(model, "tools")
        return await self._models.info(model)

    async def _prompt_size(self, path: str, body: bytes, budget: Budget) -> int | None:
        """The tokens that the server counts for a prompt; None where it refuses or counts none."""
        answer = await self._client.object_from(path, body, budget) or {}
        return whole_number(object_in(answer.get("usage")).get("prompt_tokens")) or None

    def _question(self, method: str, path: str, body: Json | None) -> Awaitable[Json | None]:
        # Who is denied this answer cannot tell what the server is.
        return self._client.ask(method, path, body, needs_access=path == "/api/version")

    @property
    def is_ollama(self) -> bool:
        """Whether the server is known to be an Ollama."""
        return self._models.engine.is_ollama

    async def names(self) -> dict[str, str]:
        """Each name that the server takes for one of its models -> the name in its list.

        Raises UpstreamFailure.
        """
        answer = await self.ask("GET", "/v1/models", needs_access=True)
        if answer is None:
            raise UpstreamFailure(FailureKind.REFUSED, "it has no list of models")
        entries = listed_models(answer)
        return {name: entry["id"] for entry in entries for name in names_of(entry)}

    async def open(
        self,
        request: ChatRequest,
        info: ModelInfo,
        budget: Budget,
        *,
        stream: bool,
        prompt: str | None = None,
    ) -> Answer:
        """Send `request`; return when the answer begins. Raises UpstreamFailure.

        With `prompt`, which `prompt_of` gave, the answer is what the model writes, before any
        parser. Where the context is not known yet, the model is loaded first. Among the failures:
        STALE (a kept connection was closed; nothing was generated, so ask again with new `info`),
        TOO_LONG (see `has_more_context`) and NO_EFFORT (ask again without an effort).
        Cancelling closes the connection, which makes Ollama stop generating.
        """
        size = measured(request)
        before = await self._reloads.before(info.name)
        plan = await self._planned(info, budget)
        engine, key = self._models.engine, self._models.key(info.name)
        if self._policy.guard and plan.context is not None:
            is_strict = engine.cuts_in_silence and not info.is_remote
            self._conversations.check(key, size, plan.context, is_strict=is_strict)
        if request.logprobs is not None and not engine.gives_logprobs:
            raise UpstreamFailure(FailureKind.NO_LOGPROBS, "")
        own_words = prompt and engine.own_words_request(request, prompt, info, plan, stream=stream)
        path, body = own_words or engine.encode(request, info, plan, stream=stream)
        budget.requests += 1
        model = self._models.get(info.name)
        model.beginning = None
        try:
            response = await self._client.post(path, body, budget)
        except UpstreamFailure as error:
            # Where nobody listens, nothing was sent.
            budget.requests -= error.kind is FailureKind.NOT_RUNNING
            raise
        if response.code == 404:
            self._models.forget(info.name)
            self.listing.doubt()
        if response.code != 200:
            is_cloud = info.is_ollamas and info.is_remote
            failure = await self._client.refusal(
                response, path, budget, engine.refusal, is_cloud=is_cloud
            )
            failure.context = plan.context
            # A server that still loads its model has done nothing for the request.
            budget.requests -= failure.kind is FailureKind.LOADING
            raise failure
        model.beginning = beginning_of(request)

        def on_usage(usage: UsageDelta) -> None:
            self._learn(info, size, usage)
            self._reloads.after(info, before, usage.load_seconds)

        return Answer(
            response,
            engine.decoder(response.headers, stream=stream),
            budget,
            plan.context,
            on_usage,
        )

    async def count(self, request: ChatRequest, info: ModelInfo, budget: Budget) -> int:
        """How many tokens the prompt of `request` has; 0 where the server counts none.

        A server without a route for that has the model read the prompt and write one token; then
        the prompt is in its cache. Raises UpstreamFailure.
        """
        tokens = await self._tokens(request, info, budget)
        if tokens is not None:
            return len(tokens)
        shortest = evolve(request, max_tokens=1, logprobs=None)
        answer = await self.open(shortest, info, budget, stream=False)
        counts: list[int] = []

        def note(deltas: Sequence[Delta]) -> None:
            counts.extend(each.input_tokens for each in deltas if isinstance(each, UsageDelta))

        try:
            await answer.deliver_to(note)
        except BaseException:
            answer.stopProducing()
            raise
        return sum(counts)

    async def _tokens(
        self, request: ChatRequest, info: ModelInfo, budget: Budget
    ) -> list[Any] | None:
        """The tokens of the prompt; None where the server does not tell them."""
        engine, plan = self._models.engine, await self._planned(info, budget)
        asked = engine.render_request(request, info, plan)
        # A picture is no text, and has tokens nevertheless.
        if asked is None or request.has_images or engine.tokenize_request("", info) is None:
            return None
        prompt = engine.rendered(await self._client.object_from(*asked, budget) or {})
        tokenizing = engine.tokenize_request(prompt, info)
        if not prompt or tokenizing is None:
            return None
        answer = await self._client.object_from(*tokenizing, budget) or {}
        tokens = answer.get("tokens")
        return tokens if isinstance(tokens, list) else None

    async def continues(self, request: ChatRequest, info: ModelInfo, budget: Budget) -> bool:
        """Whether the model goes on with the last message, which is the beginning of an answer.

        Most templates leave that message open, some end it and begin another. So the server is
        asked which prompt it makes: that has to end with the beginning. Raises UpstreamFailure.
        """
        plan = await self._planned(info, budget)
        engine = self._models.engine
        asked = engine.render_request(request, info, plan)
        if asked is None or request.response_format or request.max_tokens:
            # A grammar for the answer, and the count of its tokens, would begin anew.
            return False
        answer = await self._client.object_from(*asked, budget)
        return engine.rendered(answer or {}).endswith(request.messages[-1]["content"])

    async def prompt_of(self, request: ChatRequest, info: ModelInfo, budget: Budget) -> str | None:
        """The prompt that the server makes of `request`, to ask for the model's own words behind.

        None where it cannot give those. Raises UpstreamFailure.
        """
        plan = await self._planned(info, budget)
        engine = self._models.engine
        if engine.own_words_request(request, "", info, plan, stream=False) is None:
            return None
        asked = engine.render_request(request, info, plan)
        if asked is None:
            return None
        prompt = engine.rendered(await self._client.object_from(*asked, budget) or {})
        if not prompt:
            self._models.note_no_prompt(info.name)
        return prompt or None

    async def gains_by_reading(self, request: ChatRequest, info: ModelInfo) -> bool:
        """Whether a later request is answered sooner if the server reads this one's beginning now.

        Not where the prompt before begins in the same way: the model still has that, and what
        followed it would be lost. Nor where the model would first have to be loaded while another
        one may need the memory, nor on a server that may keep nothing, or cost money.
        Raises UpstreamFailure.
        """
        if info.is_remote or info.is_missing or info.is_loaded is False:
            return False
        if not self._models.engine.can_read_ahead:
            return False
        model = self._models.get(info.name)
        if self.is_ollama:
            running = await self.ask("GET", "/api/ps") or {}
            names = {
                self._models.key(str(each.get("name")))
                for each in objects_in(running.get("models"))
            }
            if self._models.key(info.name) not in names:
                return not names
        return model.beginning != beginning_of(request)

    async def has_more_context(self, model: str, failure: UpstreamFailure) -> bool:
        """Whether a model gets more context than it had when a prompt was TOO_LONG for it.

        May load the model to find out, at most once in 5 s. Raises UpstreamFailure.
        """
        return await self._contexts.has_more(await self.info(model), failure.context)

    def expected_context(self, info: ModelInfo) -> int | None:
        """Tokens of context that a model will get, as far as they can be told without a load."""
        return self._contexts.expected(info)

    @property
    def words(self) -> ServerWords:
        """What messages say of the server."""
        return self._models.engine.words(self.url)

    def plans(self) -> Json:
        """How each model is asked: its name -> {"api", "context", "reason", "reloads", "calls"}.

        "reloads": how many of the last requests had it loaded anew, because of other programs.
        "calls": who reads its calls.
        """
        api = self._models.engine.name
        return {
            self._models.key(model.name): {
                "api": api,
                "context": model.plan.context,
                "reason": model.plan.reason,
                "reloads": sum(model.reloads.recent),
                "calls": OWN_WORDS if model.gives_own_words else BY_SERVER,
            }
            for model in self._models
            if model.plan
        }

    async def identify(self) -> Engine:
        """Ask the server what it is. Raises UpstreamFailure where it does not answer."""
        return await self._models.identify()

    async def recognised(self) -> Engine:
        """The engine for the server, which is asked what it is unless that is known.

        Raises UpstreamFailure where it does not answer.
        """
        return await self._models.recognised()

    def shared_context(self, name: str) -> int | None:
        """Tokens of context that the bridge asks for with every request to a model; None: none."""
        plan = self._models.plan(name)
        return plan.num_ctx if plan else None

    def forget_beginnings(self) -> None:
        """A model may have read a prompt that the bridge does not know."""
        for model in self._models:
            model.beginning = None

    async def forward(
        self, method: bytes, target: bytes, headers: Headers, body: IBodyProducer | None
    ) -> IResponse:
        """Send a request as it is; see `Client.forward`. Raises UpstreamFailure and ValueError."""
        try:
            return await self._client.forward(method, target, headers, body)
        except UpstreamFailure:
            self.listing.doubt()
            raise

    def _doubt(self) -> None:
        """The server may have been restarted or replaced."""
        self._models.doubt()
        self.listing.doubt()

    async def _list(self) -> Json | None:
        return await self.ask("GET", "/v1/models", needs_access=True, patience=Phase.LISTING)

    def _planned(self, info: ModelInfo, budget: Budget) -> Deferred[Plan]:
        planning = Deferred.fromCoroutine(self._contexts.plan_for(info))
        return budget.within(Phase.LOAD, planning)

    def _learn(self, info: ModelInfo, prompt: Prompt, usage: UsageDelta) -> None:
        """Remember what the server counted for a prompt; warn if it seems to have cut it."""
        counted, key = usage.input_tokens, self._models.key(info.name)
        engine = self._models.engine
        if counted <= 0 or not engine.counts_whole_prompt:
            return
        if not engine.cuts_in_silence or not self._conversations.is_cut(key, prompt, counted):
            self._conversations.learn(key, prompt, counted)
            return
        model = self._models.get(info.name)
        self._models.doubt(info.name)
        if not model.is_cut_logged:
            model.is_cut_logged = True
            wanted = f"OLLAMA_CONTEXT_LENGTH={DEFAULT_NUM_CTX} for Ollama"
            self._log.warn(
                "{model} counted {counted} tokens for a prompt of about {expected}: it seems that "
                "{server} cut it. Give it more context: {advice}",
                model=info.name,
                counted=counted,
                server=engine.server,
                advice=f"leave --upstream-api at auto, or set {wanted}"
                if engine.is_ollama
                else f"raise {engine.remedy}",
                expected=self._conversations.bounds(key, prompt)[1],
            )
