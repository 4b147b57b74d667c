"""What is known of a server and of its models: asked for once, kept for a while, then renewed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from attrs import Factory, define, evolve
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from codex_bridge.engines.connections import KEEP_ALIVE
from codex_bridge.engines.engine import Ask, ContextPolicy, Engine, Plan, called
from codex_bridge.engines.lock import Lock
from codex_bridge.engines.ollama import canonical
from codex_bridge.engines.recognition import engine_for, recognise
from codex_bridge.vocabulary import FailureKind, Json, ModelInfo, UpstreamFailure

RENEW_AFTER = 30.0
"""Age of a fact, in seconds, from which a use still gets it, but also asks for it again."""
DISTRUST_AFTER = float(KEEP_ALIVE)
"""Age, in seconds, from which a fact is asked for again before it is used. Until that age an idle
connection is kept, and its end would tell that the server was restarted."""
FORGET_AFTER = 600.0
"""Seconds after which a model that was refused tools or pictures is given another chance: its
server may have been started anew. Many servers close idle connections, so that tells nothing."""
LOST_CALLS = 2
"""Calls that a server has dropped, after which a model is asked in the other way from the start."""
MAX_MODELS = 64
"""Models of which something is kept. Beyond that the one that was unused for longest is dropped;
one that was loaded to learn its context, only after all others."""

LOOKED_BACK = 10
"""Requests to a model whose loads are remembered."""


@define(eq=False)
class Reloads:
    """What is remembered of the loads that other programs cause; see `reloads.py`."""

    recent: deque[bool] = Factory(lambda: deque(maxlen=LOOKED_BACK))
    """Whether each of the last requests had the model loaded anew because of another context."""
    total: int = 0
    """How many requests had, ever."""
    is_suspected: bool = False
    """Whether the last answer came after what may have been a load."""
    is_logged: bool = False
    """Whether the log has the warning."""


@define(eq=False)
class Model:
    """All that is kept of one model, under whichever spelling it is asked for."""

    name: str
    """The spelling under which it was first asked for."""
    info: ModelInfo | None = None
    info_time: float = 0.0
    """When `info` was told, by the reactor's clock."""
    is_info_doubted: bool = False
    """Whether the server may have been restarted or replaced since `info` was told."""
    lacks: frozenset[str] = frozenset()
    """Capabilities that the server refused, or that its prompts showed to be missing."""
    learned: float = 0.0
    """When the last of these was seen, by the reactor's clock."""
    swallowed: int = 0
    """How many calls came once they were asked for in another way: the server had dropped them."""
    gives_own_words: bool = False
    """Whether that way is used from the start."""
    is_tried: bool = False
    """Whether it was seen if the model is shown tools."""
    waiting: list[Deferred[ModelInfo]] = Factory(list)
    """Those that wait for the answer to the question that is on its way."""
    default_context: int | None = None
    """Tokens of context that the server allocates by itself. 0: the server did not say; None: the
    model was not loaded yet."""
    is_default_doubted: bool = False
    last_load: tuple[str, float] | None = None
    """Why and when, by the reactor's clock, it was last loaded to see which context it gets."""
    loading: Lock = Factory(Lock)
    plan: Plan | None = None
    """The one that was logged last."""
    beginning: bytes | None = None
    """A digest of the beginning of the prompt that it read last; None: not known."""
    is_cut_logged: bool = False
    """Whether the log has the warning that the server seems to cut its prompts."""
    reloads: Reloads = Factory(Reloads)

    @property
    def is_in_use(self) -> bool:
        return bool(self.waiting) or self.loading.locked


class ModelTable:
    """The models of one server, and the engine that speaks to it.

    The first question about a model waits for the answer. Later ones get at once what is known.
    Where that is old, it is renewed meanwhile; where it is very old or doubted, before it is used.
    Questions at the same time share one answer.

    A question that is not answered changes nothing: what is known stays, and if nothing is known,
    the question fails.
    """

    def __init__(self, ask: Ask, policy: ContextPolicy, clock: IReactorTime, log: Logger) -> None:
        self._ask = ask
        self._policy = policy
        self._clock = clock
        self._log = log
        self._recognised: Engine | None = None
        self._is_engine_doubted = False
        """Whether another server may answer now than the one that was recognised."""
        self._models: dict[str, Model] = {}

    def __iter__(self) -> Iterator[Model]:
        return iter(self._models.values())

    @property
    def engine(self) -> Engine:
        """The one for this server; before the server told what it is, the one for any server."""
        return self._recognised or engine_for(self._policy, None)

    def get(self, name: str) -> Model:
        """The model that goes by this name."""
        key = self.key(name)
        model = self._models.pop(key, None) or Model(name)
        self._models[key] = model
        excess = len(self._models) - MAX_MODELS
        if excess > 0:
            idle = [each for each in self._models.items() if not each[1].is_in_use]
            # To learn a default again costs a load, anything else a question.
            idle.sort(key=lambda each: each[1].default_context is not None)
            for known, _ in idle[:excess]:
                if known != key:
                    del self._models[known]
        return model

    def plan(self, name: str) -> Plan | None:
        """The plan for the model that goes by this name, if the bridge has asked it."""
        model = self._models.get(self.key(name))
        return model.plan if model else None

    async def info(self, name: str) -> ModelInfo:
        """What is known of a model; of one that the server does not have, just its name.

        Raises UpstreamFailure where nothing is known and the server does not answer.
        """
        model = self.get(name)
        if self._clock.seconds() - model.learned >= FORGET_AFTER:
            model.lacks, model.is_tried = frozenset(), False
        age = self._clock.seconds() - model.info_time
        if model.info is None or model.is_info_doubted or age >= DISTRUST_AFTER:
            return _with_learned(await self._asked(model), model)
        if age >= RENEW_AFTER and not model.waiting:
            self._asked(model).addErrback(lambda failure: failure.trap(UpstreamFailure))
        return _with_learned(model.info, model)

    def note_trial(self, name: str) -> None:
        """It was seen whether the model is shown tools."""
        model = self.get(name)
        model.is_tried, model.learned = True, self._clock.seconds()

    def note_lack(self, name: str, capability: str) -> None:
        """The model turned out not to have a capability, whatever the server tells of it."""
        model = self.get(name)
        model.lacks |= {capability}
        model.learned = self._clock.seconds()

    def note_swallowed(self, name: str, *, own_words: bool) -> None:
        """A call came that the server had dropped, now that it was asked for in another way.

        `own_words`: for the model's own words, else with the tools told in words. From the second
        time on this way is used from the start.
        """
        model = self.get(name)
        model.swallowed += 1
        is_known = model.gives_own_words or "tools" in model.lacks
        if model.swallowed < LOST_CALLS or is_known:
            return
        if own_words:
            model.gives_own_words = True
        else:
            self.note_lack(name, "tools")
        self._log.info(
            "{server} drops or refuses calls that {model} writes. From now on {way}",
            server=self.engine.server,
            model=model.name,
            way="codex-bridge reads what the model writes itself"
            if own_words
            else "the model is told of its tools in words",
        )

    def note_no_prompt(self, name: str) -> None:
        """The server showed no prompt, so it does not give the model's own words any more."""
        model = self.get(name)
        if model.gives_own_words:
            model.swallowed, model.gives_own_words = 0, False

    async def renewed(self, name: str) -> ModelInfo:
        """What is known of a model, as by `info`, but asked for now. Raises UpstreamFailure."""
        model = self.get(name)
        if model.waiting:
            # A part of that answer may be older than what the caller wants to see.
            await self._asked(model).addErrback(lambda failure: failure.trap(UpstreamFailure))
        return await self._asked(model)

    def forget(self, name: str) -> None:
        """The server does not have the model (any more): ask again before it is used."""
        self.get(name).info = None

    async def identify(self, ask: Ask | None = None) -> Engine:
        """Ask the server what it is, through `ask` if that is given; speak to it accordingly.

        Raises UpstreamFailure where it does not answer.
        """
        engine = await recognise(self._policy, ask or self._ask)
        self._is_engine_doubted = False
        self._take(engine)
        return engine

    async def recognised(self) -> Engine:
        """The engine for this server, which is asked what it is unless that is known for sure.

        Raises UpstreamFailure where it does not answer and never has.
        """
        if self._recognised is None or self._is_engine_doubted:
            try:
                return await self.identify()
            except UpstreamFailure:
                if self._recognised is None:
                    raise
        return self._recognised

    def doubt(self, name: str | None = None) -> None:
        """The model `name` (None: any model) may have changed: ask again before it is used."""
        self._is_engine_doubted = self._is_engine_doubted or name is None
        for model in self if name is None else [self.get(name)]:
            model.is_info_doubted = model.is_default_doubted = True
            model.beginning = None

    def key(self, name: str) -> str:
        """The same for all spellings of a name that mean the same model."""
        # While the server is unknown, take it for an Ollama: two names share an entry at worst.
        return self._recognised.key(name) if self._recognised else canonical(name)

    def _asked(self, model: Model) -> Deferred[ModelInfo]:
        """The answer to the question that is on its way, or to a new one."""
        answer: Deferred[ModelInfo] = Deferred()
        model.waiting.append(answer)
        if len(model.waiting) > 1:
            return answer

        def tell(outcome: ModelInfo | Failure) -> None:
            waiting, model.waiting = model.waiting, []
            for each in waiting:
                # callback() with a Failure makes the Deferred fail.
                each.callback(outcome)

        Deferred.fromCoroutine(self._look_up(model)).addBoth(tell)
        return answer

    async def _look_up(self, model: Model) -> ModelInfo:
        ask = _once_each(self._ask)
        try:
            engine = await self.identify(ask)
        except UpstreamFailure as failure:
            return self._without_answer(model, failure)
        try:
            info = await engine.describe(model.name, ask)
        except UpstreamFailure:
            # It did not tell of the model this time.
            if model.info is None or not model.info.is_described:
                return ModelInfo(model.name, server_version=engine.version)
            info = evolve(model.info, server_version=engine.version)
        else:
            if info.is_missing:
                # Ollama does not have the model, or it is being replaced right now.
                model.info = None
                return info
            model.is_info_doubted = False
        model.info, model.info_time = info, self._clock.seconds()
        return info

    def _without_answer(self, model: Model, failure: UpstreamFailure) -> ModelInfo:
        if model.info is not None and not model.is_info_doubted:
            # Otherwise each exchange would wait for a server that is too busy to answer questions.
            model.info_time = self._clock.seconds()
            return model.info
        is_known = model.info is not None and model.info.is_described
        if failure.is_unreachable or failure.kind is FailureKind.LOADING or is_known:
            raise failure
        # The server answers with an error: it tells nothing, unless it is known to tell something.
        return ModelInfo(model.name, server_version=self.engine.version)

    def _take(self, engine: Engine) -> None:
        """Speak to the server through `engine` from now on."""
        if engine == self._recognised:
            return
        self._recognised = engine
        self._log.info("upstream: {server}", server=called(engine))
        self._models = {engine.key(model.name): model for model in self}
        if engine.warning:
            self._log.warn("{warning}", warning=engine.warning)


def _with_learned(info: ModelInfo, model: Model) -> ModelInfo:
    """`info`, and what was learned of the model by asking it."""
    return evolve(info, lacks=model.lacks, gives_own_words=model.gives_own_words)


def _once_each(ask: Ask) -> Ask:
    """`ask`, with the same answer each time to the same GET."""
    answers: dict[str, Json | None] = {}

    async def asked(method: str, path: str, body: Json | None) -> Json | None:
        if method != "GET":
            return await ask(method, path, body)
        if path not in answers:
            answers[path] = await ask(method, path, body)
        return answers[path]

    return asked
