"""Connections to the upstream: kept, lost, cancelled; what its refusals say."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_twisted
from attrs import evolve
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.web._newclient import HTTP11ClientProtocol
from twisted.web.http_headers import Headers

from codex_bridge.engines.answer import Answer
from codex_bridge.engines.connections import Server, make_endpoint
from codex_bridge.engines.upstream import Upstream
from codex_bridge.vocabulary import (
    Delta,
    FailureKind,
    FinishDelta,
    TextDelta,
    UpstreamFailure,
)
from tests.engines.servers import ASK, INFO, sized
from tests.fake_ollama import FakeOllama
from tests.wires import Wire, WireServer

EVENTS = (
    b'data: {"model":"m","choices":[{"delta":{"content":"Hi"}}]}\n\n'
    b'data: {"model":"m","choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
)
DONE = b"data: [DONE]\n\n"
END_OF_REQUEST = b'"include_usage":true}}'


def chunked(body: bytes, content_type: bytes = b"text/event-stream", end: bool = True) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: " + content_type
    head += b"\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"%x\r\n%b\r\n" % (len(body), body) + (b"0\r\n\r\n" if end else b"")


@pytest_twisted.async_yield_fixture
async def upstream(server: WireServer) -> AsyncIterator[Upstream]:
    made = Upstream(reactor, server.url)
    yield made
    await made.close()


def ask(upstream: Upstream) -> Deferred[Answer]:
    return Deferred.fromCoroutine(upstream.open(ASK, INFO, upstream.budget(), stream=True))


async def asked(server: WireServer, upstream: Upstream) -> tuple[Deferred[Answer], Wire]:
    """An exchange whose request has arrived whole at the upstream."""
    answer = ask(upstream)
    wire = await server.next_connection()
    await wire.until(END_OF_REQUEST)
    return answer, wire


async def whole(answer: Deferred[Answer]) -> list[Delta]:
    """The deltas of an answer, when it is whole."""
    deltas: list[Delta] = []
    await (await answer).deliver_to(deltas.extend)
    return deltas


@pytest_twisted.ensureDeferred
async def test_a_connection_is_used_again(server: WireServer, upstream: Upstream) -> None:
    first, wire = await asked(server, upstream)
    wire.say(chunked(EVENTS + DONE))
    await whole(first)
    await deferLater(reactor, 0)  # the connection goes back to the pool
    wire.received = b""
    second = ask(upstream)
    await wire.until(END_OF_REQUEST)
    wire.say(chunked(EVENTS + DONE))
    assert await whole(second) == [TextDelta("Hi"), FinishDelta("stop")]
    assert len(server.wires) == 1


@pytest_twisted.ensureDeferred
async def test_a_connection_is_kept_though_the_exchange_is_over_before_the_last_bytes(
    server: WireServer, upstream: Upstream
) -> None:
    first, wire = await asked(server, upstream)
    wire.say(chunked(EVENTS + DONE, end=False))
    answer = await first
    await answer.deliver_to(lambda _: None)
    answer.stopProducing()
    wire.received = b""
    wire.say(b"0\r\n\r\n")
    for _ in range(20):
        await deferLater(reactor, 0)
    second = ask(upstream)
    await deferLater(reactor, 0)
    assert upstream._client._server.connections == 1
    await wire.until(END_OF_REQUEST)
    wire.say(chunked(EVENTS + DONE))
    await whole(second)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"error":{"message":"\\"m\\" does not support thinking"}}', FailureKind.NO_EFFORT),
        (b'{"error":"input length exceeds the context"}', FailureKind.TOO_LONG),
        (b'{"error":"server busy"}', FailureKind.BUSY),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_refusal_is_told_by_its_kind_and_nothing_is_asked_again(
    server: WireServer, upstream: Upstream, body: bytes, kind: FailureKind
) -> None:
    asking = upstream.open(evolve(ASK, effort="high"), INFO, upstream.budget(), stream=True)
    answer = Deferred.fromCoroutine(asking)
    wire = await server.next_connection()
    assert b'"reasoning_effort":"high"' in await wire.until(END_OF_REQUEST)
    wire.received = b""
    wire.say(sized(b"400 Bad Request", body))
    with pytest.raises(UpstreamFailure) as caught:
        await answer
    assert caught.value.kind is kind
    assert (wire.received, len(server.wires)) == (b"", 1)


@pytest_twisted.ensureDeferred
async def test_a_kept_connection_that_died_is_told_as_stale_and_not_asked_again(
    server: WireServer, upstream: Upstream
) -> None:
    first, wire = await asked(server, upstream)
    wire.say(chunked(EVENTS + DONE))
    await whole(first)
    await deferLater(reactor, 0)  # the connection goes back to the pool
    wire.received = b""
    second = ask(upstream)
    await wire.until(END_OF_REQUEST)
    wire.transport.loseConnection()
    with pytest.raises(UpstreamFailure) as caught:
        await second
    assert caught.value.kind is FailureKind.STALE
    assert len(server.wires) == 1


@pytest.mark.parametrize("closes", ["idle", "used", "ours"])
@pytest_twisted.ensureDeferred
async def test_a_server_that_closes_a_kept_connection_may_be_another_one_by_now(
    server: WireServer, upstream: Upstream, closes: str
) -> None:
    first, wire = await asked(server, upstream)
    wire.say(chunked(EVENTS + DONE))
    await whole(first)
    await deferLater(reactor, 0)  # the connection goes back to the pool
    doubted: Deferred[None] = Deferred()
    upstream._models.doubt = lambda: doubted.called or doubted.callback(None)  # type: ignore
    if closes == "ours":
        await upstream.close()
        await wire.lost
        assert not doubted.called
        return
    if closes == "used":
        wire.received = b""
        second = ask(upstream)
        await wire.until(END_OF_REQUEST)
        wire.transport.loseConnection()
        with pytest.raises(UpstreamFailure):
            await second
    else:
        wire.transport.loseConnection()
    await doubted


@pytest_twisted.ensureDeferred
async def test_a_new_connection_that_closes_without_an_answer_is_not_asked_again(
    server: WireServer, upstream: Upstream
) -> None:
    """The model may have worked on it: a second generation is not ours to start."""
    answer, wire = await asked(server, upstream)
    wire.transport.loseConnection()
    with pytest.raises(UpstreamFailure, match="without an answer") as caught:
        await answer
    assert caught.value.kind is FailureKind.UNREACHABLE
    assert len(server.wires) == 1


@pytest_twisted.ensureDeferred
async def test_an_answer_whose_connection_is_lost_behind_the_finish_is_whole(
    server: WireServer, upstream: Upstream
) -> None:
    answer, wire = await asked(server, upstream)
    wire.say(chunked(EVENTS, end=False))
    ended = whole(answer)
    wire.transport.loseConnection()
    assert await ended == [TextDelta("Hi"), FinishDelta("stop")]


@pytest_twisted.ensureDeferred
async def test_an_answer_is_over_at_done_whatever_the_connection_does(
    server: WireServer, upstream: Upstream
) -> None:
    answer, wire = await asked(server, upstream)
    wire.say(chunked(EVENTS + DONE, end=False))
    assert await whole(answer) == [TextDelta("Hi"), FinishDelta("stop")]


@pytest_twisted.ensureDeferred
async def test_cancelling_before_an_answer_closes_the_connection(
    server: WireServer, upstream: Upstream
) -> None:
    answer, wire = await asked(server, upstream)
    answer.cancel()
    await wire.lost
    with pytest.raises(CancelledError):
        await answer


@pytest.mark.parametrize("ends", ["cancelled", "stopped", "stopped before it was read"])
@pytest_twisted.ensureDeferred
async def test_an_answer_that_nobody_wants_any_more_closes_its_connection(
    server: WireServer, upstream: Upstream, ends: str
) -> None:
    opening, wire = await asked(server, upstream)
    wire.say(chunked(EVENTS, end=False))
    answer = await opening
    if ends == "stopped before it was read":
        answer.stopProducing()
        await wire.lost
        return
    delivered = answer.deliver_to(lambda _: None)
    if ends == "cancelled":
        delivered.cancel()
    else:
        answer.stopProducing()
    await wire.lost
    with pytest.raises(CancelledError):
        await delivered


@pytest_twisted.ensureDeferred
async def test_one_json_answer_is_taken_where_a_stream_was_asked_for(
    server: WireServer, upstream: Upstream
) -> None:
    answer, wire = await asked(server, upstream)
    body = b'{"choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}]}'
    wire.say(chunked(body, b"application/json"))
    assert await whole(answer) == [TextDelta("Hi"), FinishDelta("stop")]


REFUSALS = {
    "OpenAI's shape": (b'{"error":{"message":"no such model","type":"x"}}', "no such model"),
    "Ollama's own shape": (b'{"error":"cloud is disabled"}', "cloud is disabled"),
    "plain text": (b"404 page not found\n", "404 page not found"),
    "other JSON": (b'{"detail":"no"}', "no"),
    "nothing": (b"", "Nope"),
    "no UTF-8": (b"\xff\xfe", "\ufffd\ufffd"),
}


@pytest.mark.parametrize(("body", "message"), REFUSALS.values(), ids=REFUSALS.keys())
@pytest_twisted.ensureDeferred
async def test_a_refusal_keeps_the_upstreams_sentence(
    server: WireServer, upstream: Upstream, body: bytes, message: str
) -> None:
    answer, wire = await asked(server, upstream)
    wire.say(sized(b"418 Nope", body))
    with pytest.raises(UpstreamFailure) as caught:
        await answer
    failure = caught.value
    assert (failure.kind, failure.status) == (FailureKind.REFUSED, 418)
    assert failure.message == message


@pytest_twisted.ensureDeferred
async def test_an_endless_refusal_is_cut(server: WireServer, upstream: Upstream) -> None:
    answer, wire = await asked(server, upstream)
    wire.say(b"HTTP/1.1 500 Oops\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 70_000)
    with pytest.raises(UpstreamFailure) as caught:
        await answer
    assert len(caught.value.message) == 65536
    await wire.lost


@pytest_twisted.ensureDeferred
async def test_a_redirect_is_not_followed_and_no_cookie_is_kept(
    server: WireServer, upstream: Upstream
) -> None:
    answer, wire = await asked(server, upstream)
    wire.say(
        b"HTTP/1.1 307 Moved\r\nLocation: http://192.0.2.1/\r\nSet-Cookie: a=b\r\n"
        b"Content-Length: 0\r\n\r\n"
    )
    with pytest.raises(UpstreamFailure) as caught:
        await answer
    assert caught.value.status == 307
    wire.received = b""
    following = ask(upstream)
    received = await wire.until(END_OF_REQUEST)
    assert b"cookie" not in received.lower()
    wire.say(chunked(EVENTS + DONE))
    await whole(following)


@pytest.mark.parametrize(
    ("url", "kind", "says", "requests"),
    [
        ("http://127.0.0.1:1", FailureKind.NOT_RUNNING, "connection refused", 0),
        ("http://localhost:1", FailureKind.NOT_RUNNING, "connection refused", 0),
        (
            "http://no-such-host.invalid:1",
            FailureKind.UNREACHABLE,
            "its host name is unknown",
            1,
        ),
    ],
)
@pytest_twisted.ensureDeferred
async def test_why_nobody_answers_is_told_in_a_few_words_and_a_refused_connection_costs_nothing(
    url: str, kind: FailureKind, says: str, requests: int
) -> None:
    upstream = Upstream(reactor, url)
    budget = upstream.budget()
    with pytest.raises(UpstreamFailure) as caught:
        await upstream.open(ASK, INFO, budget, stream=True)
    assert (caught.value.kind, caught.value.message) == (kind, says)
    assert budget.requests == requests


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("http://127.0.0.1:1", "TCP4ClientEndpoint"),
        ("http://[::1]:1", "TCP6ClientEndpoint"),
        ("http://gpu:1", "HostnameEndpoint"),
        ("https://gpu", "_WrapperEndpoint"),
        ("http://localhost:1", "_Localhost"),
    ],
)
def test_addresses_are_settled_once(url: str, kind: str) -> None:
    endpoint: Any = make_endpoint(reactor, url)
    assert type(endpoint).__name__ == kind


@pytest_twisted.ensureDeferred
async def test_a_machine_that_is_gone_without_a_word_is_missed() -> None:
    wires = WireServer(reactor)
    server = Server(make_endpoint(reactor, wires.url))
    protocol: Any = await server.connect(Factory.forProtocol(HTTP11ClientProtocol))
    handle = protocol.transport.getHandle()
    assert protocol.transport.getTcpKeepAlive()
    if hasattr(socket, "TCP_KEEPIDLE"):
        assert handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60
    protocol.transport.abortConnection()
    await wires.stop()


@pytest_twisted.ensureDeferred
async def test_a_server_may_have_an_ipv6_address() -> None:
    fake = FakeOllama(reactor)
    try:
        fake.listen(interface="::1")
    except CannotListenError:
        pytest.skip("this machine has no IPv6")
    upstream = Upstream(reactor, fake.url)
    assert (await upstream.identify()).release == "0.33.0"
    response = await upstream.forward(b"GET", b"/api/version", Headers(), None)
    assert await upstream.budget().answer_in(response) == b'{"version":"0.33.0"}'
    await upstream.close()
    await fake.stop()
