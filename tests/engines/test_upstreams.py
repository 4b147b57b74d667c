"""The list of one server, and the choice between several."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from codex_bridge.engines.budget import Budget, Limits, Phase
from codex_bridge.engines.listing import Listing
from codex_bridge.engines.occupation import Occupation
from codex_bridge.engines.upstreams import Upstreams
from codex_bridge.vocabulary import FailureKind, Json, UpstreamFailure

GONE = UpstreamFailure(FailureKind.UNREACHABLE, "no answer within 5 s")


class Server:
    """Is asked for its list; the test answers."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.questions: list[Deferred[Json | None]] = []
        self.listing = Listing(self.ask, self.clock)

    async def ask(self) -> Json | None:
        self.questions.append(Deferred())
        return await self.questions[-1]

    def tell(self, *names: str) -> None:
        self.questions[-1].callback({"data": [{"id": name} for name in names]})

    def settled(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.listing.settle())


def known(*names: str) -> Server:
    server = Server()
    settled = server.settled()
    assert not settled.called
    server.tell(*names)
    assert settled.called
    assert server.listing.names == set(names)
    return server


def test_a_list_is_asked_for_once_and_by_all_who_wait_together() -> None:
    server = Server()
    waiting = [server.settled() for _ in range(3)]
    server.tell("m")
    assert all(each.called for each in waiting)
    server.clock.advance(29)
    assert server.settled().called
    assert len(server.questions) == 1


def test_an_older_list_is_used_and_renewed_meanwhile_a_very_old_one_before_it_is_used() -> None:
    server = known("m")
    server.clock.advance(30)
    assert server.settled().called
    assert len(server.questions) == 2
    server.tell("n")
    assert server.listing.names == {"n"}
    server.clock.advance(50)
    settled = server.settled()
    assert not settled.called
    server.tell("o")
    assert settled.called


def test_a_doubted_list_is_asked_for_before_it_is_used() -> None:
    server = known("m")
    server.listing.doubt()
    settled = server.settled()
    assert not settled.called
    server.tell("n")
    assert settled.called
    assert server.listing.names == {"n"}
    assert server.settled().called
    assert len(server.questions) == 2


def test_nobody_waits_for_a_server_that_did_not_answer_until_it_does() -> None:
    server = known("m")
    server.listing.doubt()
    settled = server.settled()
    server.questions[-1].errback(GONE)
    assert settled.called
    assert server.listing.is_gone
    assert server.listing.names == {"m"}
    assert server.settled().called
    assert server.settled().called
    assert len(server.questions) == 3
    server.tell("m", "n")
    assert not server.listing.is_gone
    assert server.listing.names == {"m", "n"}


def test_one_who_leaves_ends_the_question_for_no_other() -> None:
    server = Server()
    leaving, staying = server.settled(), server.settled()
    leaving.addErrback(lambda _: None)
    leaving.cancel()
    server.tell("m")
    assert staying.called
    assert server.listing.names == {"m"}


def test_names_are_those_that_a_server_takes() -> None:
    server = Server()
    server.settled()
    entries: list[Any] = [{"id": "m", "aliases": ["n"]}, {"id": "o", "aliases": 5}, {"id": 5}, 6]
    server.questions[-1].callback({"data": entries})
    assert server.listing.names == {"m", "n", "o"}


class Known:
    """An upstream that has every model."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.listing = known("m").listing
        self.occupation = Occupation()

    def has(self, model: str) -> bool:
        return True


@pytest_twisted.ensureDeferred
async def test_conversations_are_remembered_up_to_a_number() -> None:
    a, b = Known("a"), Known("b")
    upstreams = Upstreams([a, b])  # type: ignore[list-item]

    async def asked(conversation: object, meanwhile: object = None) -> Any:
        async with upstreams.serving("m", conversation) as upstream:
            if meanwhile is not None:
                return await asked(meanwhile)
            return upstream

    assert await asked("busy", "first") is b
    assert await asked("first") is b
    for n in range(8000):
        await asked(n)
        if n % 1000 == 0:
            assert await asked("first") is b
    for n in range(4096):
        await asked(n)
    assert await asked("first") is a


@pytest_twisted.ensureDeferred
async def test_one_of_several_gets_less_time_to_list_its_models_than_the_only_one() -> None:
    given: list[Any] = []

    class Asked(Known):
        async def ask(self, method: str, path: str, *, patience: Phase, **_: Any) -> Json:
            clock = Clock()
            asked = Budget(clock, Limits()).within(patience, Deferred())
            asked.addErrback(lambda failure: given.append((clock.seconds(), failure.value.kind)))
            while not asked.called:
                clock.advance(0.5)
            return {}

    only, another = Asked("a"), Asked("b")
    for several in (Upstreams([only]), Upstreams([only, another])):  # type: ignore[list-item]
        ask: Any = partial(Asked.ask, method="GET", path="/v1/models", patience=several.patience)
        await several.ask_all(ask)
    assert given[:1] == [(20.0, FailureKind.UNREACHABLE)]
    assert given[1:] == [(5.0, FailureKind.UNREACHABLE)] * 2
