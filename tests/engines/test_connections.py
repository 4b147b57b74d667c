"""Connections that are not made."""

from __future__ import annotations

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.testing import MemoryReactorClock

from codex_bridge.engines.upstream import Upstream
from codex_bridge.vocabulary import ChatRequest, ModelInfo


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_who_leaves_while_it_is_connected_to_ollama_is_gone_and_nothing_is_asked_again(
    host: str,
) -> None:
    reactor = MemoryReactorClock()
    upstream = Upstream(reactor, f"http://{host}:11433")
    asking = Deferred.fromCoroutine(
        upstream.open_chat(ChatRequest("m", []), ModelInfo("m"), stream=True)
    )
    assert len(reactor.tcpClients) == 1
    asking.cancel()
    outcome: list[type] = []
    asking.addErrback(lambda failure: outcome.append(failure.type))
    assert outcome == [CancelledError]
    assert len(reactor.tcpClients) == 1
