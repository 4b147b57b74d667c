"""The names of the models that a server lists: asked for when needed, kept for a while, renewed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from codex_bridge.engines.llama_cpp import names_of
from codex_bridge.engines.models import DISTRUST_AFTER, RENEW_AFTER
from codex_bridge.engines.openai_chat import listed_models
from codex_bridge.vocabulary import Json, UpstreamFailure


class Listing:
    """The list of one server. Questions at the same time share one answer.

    A question that is not answered changes nothing in the names. The server then counts as gone,
    and nobody waits for it any more until it answers one.
    """

    def __init__(self, ask: Callable[[], Awaitable[Json | None]], clock: IReactorTime) -> None:
        """`ask` asks for /v1/models; it raises UpstreamFailure where no answer comes."""
        self.names: frozenset[str] | None = None
        """None: the server has not told them yet."""
        self.is_gone = False
        """Whether the last question was not answered."""
        self._ask = ask
        self._clock = clock
        self._time = 0.0
        """When `names` were told, by the clock."""
        self._is_doubted = False
        self._waiting: list[Deferred[None]] = []

    def doubt(self) -> None:
        """The server may have been restarted or replaced: ask again before the names are used."""
        self._is_doubted = True

    async def settle(self) -> None:
        """Return when the names may be used: at once where they are fresh or the server is gone."""
        age = self._clock.seconds() - self._time
        is_trusted = self.names is not None and not self._is_doubted
        if is_trusted and age < RENEW_AFTER:
            return
        renewed = self.renew()
        if not self.is_gone and not (is_trusted and age < DISTRUST_AFTER):
            await renewed

    def renew(self) -> Deferred[None]:
        """Ask now; fires when the question was answered, or was not."""
        renewed: Deferred[None] = Deferred()
        self._waiting.append(renewed)
        if len(self._waiting) == 1:
            Deferred.fromCoroutine(self._look_up()).addBoth(self._tell)
        return renewed

    def _tell(self, outcome: Failure | None) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            # callback() with a Failure, which is a bug here, makes the Deferred fail.
            each.callback(outcome)

    async def _look_up(self) -> None:
        try:
            listed = await self._ask()
        except UpstreamFailure:
            self.is_gone = self._is_doubted = True
            return
        self.names = frozenset(name for entry in listed_models(listed) for name in names_of(entry))
        self.is_gone = self._is_doubted = False
        self._time = self._clock.seconds()
