"""Many at once, each on its own."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults

from codex_bridge.responses.attempt import Attempt
from tests.conftest import LogBook, Start
from tests.fake_ollama import Answer, FakeOllama, Hold, ModelFacts, Say
from tests.responses.grammar import text_of

MANY = 200


class Gate:
    """A model that says its name once as many are asked as are awaited."""

    def __init__(self, awaited: int) -> None:
        self.waiting: list[Deferred[None]] = []
        self._awaited = awaited

    def __call__(self, request: Any) -> Answer:
        hold: Deferred[None] = Deferred()
        self.waiting.append(hold)
        if len(self.waiting) == self._awaited:
            for each in self.waiting:
                each.callback(None)
        return [Hold(hold), Say(f"I am {request['model']}.")]


def crowd(reactor: Any) -> FakeOllama:
    facts = [ModelFacts(name=f"m{n}:1b", num_ctx=32768) for n in range(MANY)]
    return FakeOllama(reactor, model=Gate(MANY), models=facts)


@pytest.mark.expects_errors
@pytest_twisted.ensureDeferred
async def test_two_hundred_answers_at_once_and_a_bug_in_one_touches_no_other(
    start: Start, reactor_under_test: Any, monkeypatch: pytest.MonkeyPatch, logged: LogBook
) -> None:
    real = Attempt.feed

    def feed(self: Attempt, deltas: Any) -> Any:
        if any("m7:1b" in getattr(delta, "text", "") for delta in deltas):
            raise RuntimeError("a bug")
        return real(self, deltas)

    monkeypatch.setattr(Attempt, "feed", feed)
    setup = await start(fake=crowd(reactor_under_test))
    asked = [Deferred.fromCoroutine(setup.ask({"model": f"m{n}:1b"})) for n in range(MANY)]
    replies = await gatherResults(asked)
    for n, reply in enumerate(replies):
        response = reply.response
        if n == 7:
            assert response["error"]["code"] == "server_error"
            failures = [event for event in logged.errors() if "exchange" in event]
            assert [event["exchange"] for event in failures] == [response["id"]]
            assert response["id"] in response["error"]["message"]
        else:
            said = "".join(text_of(item) for item in response["output"])
            assert said == f"I am m{n}:1b."
    assert (await setup.request("GET", "/__health")).json["exchanges"]["open"] == 0
