"""The servers behind one bridge, and which of them is asked.

With one server nothing is asked here, and nothing is remembered.
"""

from __future__ import annotations

from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Hashable,
    Iterator,
    Sequence,
)
from contextlib import asynccontextmanager

from twisted.internet.defer import Deferred

from codex_bridge.engines.budget import Budget, Phase
from codex_bridge.engines.retries import is_tried_elsewhere
from codex_bridge.engines.upstream import Upstream
from codex_bridge.vocabulary import Json, UpstreamFailure

MAX_CONVERSATIONS = 4096
"""Conversations whose upstream is remembered; beyond that, the one that was silent for longest is
forgotten. It costs the reading of one prompt, at worst."""


class Upstreams:
    """One or several upstreams. Each has its own models, contexts, connections and key.

    A request goes to an upstream that lists its model. A conversation stays where it is: that
    server has its prompt in the cache. A new one goes to the upstream with the fewest exchanges.
    """

    def __init__(self, upstreams: Sequence[Upstream]) -> None:
        """`upstreams`: one at least; where several are as good, the first of them is taken."""
        self._all = tuple(upstreams)
        self._homes: dict[int, Upstream] = {}
        """Hash of model and conversation -> the upstream that was asked last; the newest last."""

    def __iter__(self) -> Iterator[Upstream]:
        return iter(self._all)

    @property
    def first(self) -> Upstream:
        """The one that was given first."""
        return self._all[0]

    @property
    def are_several(self) -> bool:
        """Whether there is a choice."""
        return len(self._all) > 1

    def budget(self) -> Budget:
        """A new budget for one exchange, whichever upstreams it asks: all have the same limits."""
        return self.first.budget()

    def wake(self) -> None:
        """The machine slept."""
        for upstream in self._all:
            upstream.wake()

    async def close(self) -> None:
        """Close the idle connections."""
        for upstream in self._all:
            await upstream.close()

    async def for_model(self, model: str | None) -> Upstream:
        """The first upstream that has a model; for None the first one that answers.

        If none lists the model, it is one that does not tell what it has, or else the first.
        """
        return (await self._candidates(model))[0]

    @asynccontextmanager
    async def serving(
        self,
        model: str,
        conversation: Hashable,
        *,
        failed: Collection[Upstream] = (),
        only: Upstream | None = None,
    ) -> AsyncIterator[Upstream]:
        """The upstream for one attempt, which counts there for as long as the context lasts.

        `failed`: those that have just failed, and are left out while there are others. `only`: the
        one that has to be taken.
        """
        upstream = only or await self.home(model, conversation, failed)
        with upstream.occupation.answering():
            try:
                yield upstream
            except UpstreamFailure as failure:
                if is_tried_elsewhere(failure):
                    upstream.listing.doubt()
                raise

    async def home(
        self, model: str, conversation: Hashable, failed: Collection[Upstream] = ()
    ) -> Upstream:
        """The upstream that is asked for the next answer in a conversation; it is remembered.

        For None it is the one that a new conversation would go to now.
        """
        if not self.are_several:
            return self.first
        key = None if conversation is None else hash((model, conversation))
        home = None if key is None else self._homes.get(key)
        if home is None or home in failed or not await _is_there(home, model):
            candidates = await self._candidates(model, failed)
            home = min(candidates, key=lambda upstream: upstream.occupation.answers)
        if key is None:
            return home
        self._homes.pop(key, None)
        self._homes[key] = home
        while len(self._homes) > MAX_CONVERSATIONS:
            del self._homes[next(iter(self._homes))]
        return home

    async def has_other(self, model: str, failed: Collection[Upstream]) -> bool:
        """Whether an upstream besides those that `failed` has a model, and answers."""
        others = [upstream for upstream in self._all if upstream not in failed]
        for upstream in others:
            await upstream.listing.settle()
        return any(upstream.has(model) and not upstream.listing.is_gone for upstream in others)

    @property
    def patience(self) -> Phase:
        """How long an upstream may take to answer, where the others' answers wait for it."""
        return Phase.LISTING if self.are_several else Phase.QUESTION

    async def ask_all(self, ask: Callable[[Upstream], Awaitable[Json | None]]) -> list[Json]:
        """What `ask` gets of each upstream; one that has no answer is left out.

        Raises UpstreamFailure, that of the first upstream, if none answers.
        """

        async def outcome(upstream: Upstream) -> Json | UpstreamFailure | None:
            try:
                return await ask(upstream)
            except UpstreamFailure as failure:
                return failure

        asking = [Deferred.fromCoroutine(outcome(upstream)) for upstream in self._all]
        outcomes = [await each for each in asking]
        failures = [each for each in outcomes if isinstance(each, UpstreamFailure)]
        if len(failures) == len(outcomes):
            raise failures[0]
        return [each for each in outcomes if isinstance(each, dict)]

    def plans(self) -> Json:
        """How each model is asked, as `Upstream.plans`; where several have it, by the first."""
        merged: Json = {}
        for upstream in reversed(self._all):
            merged |= upstream.plans()
        return merged

    async def _candidates(
        self, model: str | None, failed: Collection[Upstream] = ()
    ) -> Sequence[Upstream]:
        """The upstreams that may be asked, one at least, all equally good."""
        if not self.are_several:
            return self._all
        left = [upstream for upstream in self._all if upstream not in failed] or self._all
        settling = [Deferred.fromCoroutine(upstream.listing.settle()) for upstream in left]
        for settled in settling:
            await settled
        if model is None:
            return _answering(left)
        if not any(upstream.has(model) for upstream in left):
            # It may have been pulled since.
            for renewed in [each.listing.renew() for each in left if not each.listing.is_gone]:
                await renewed
        having = [upstream for upstream in left if upstream.has(model)]
        unknown = [upstream for upstream in left if upstream.has(model) is None]
        return _answering(having or unknown or left)


async def _is_there(upstream: Upstream, model: str) -> bool:
    await upstream.listing.settle()
    return bool(upstream.has(model)) and not upstream.listing.is_gone


def _answering(upstreams: Sequence[Upstream]) -> Sequence[Upstream]:
    """Those that answered the last question; all of them, if none did."""
    return [upstream for upstream in upstreams if not upstream.listing.is_gone] or upstreams
