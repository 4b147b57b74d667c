"""An answer on its way in: every state it can be in, and what leads from one to the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone, ResponseFailed

from codex_bridge.engines.answer import Answer
from codex_bridge.engines.budget import Budget, Limits
from codex_bridge.engines.openai_chat import StreamDecoder
from codex_bridge.vocabulary import (
    Delta,
    FailureKind,
    FinishDelta,
    TextDelta,
    UpstreamFailure,
    UsageDelta,
)

TEXT = b'data: {"model":"m","choices":[{"delta":{"content":"Hi"}}]}\n\n'
STOP = b'data: {"model":"m","choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"model":"m","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":1}}\n\n'
DONE = b"data: [DONE]\n\n"
ERROR = b'data: {"error":"it broke"}\n\n'
PATIENCE = 60.0
MOST = 1000
"""Bytes that are kept of an answer."""


class Body:
    """A response and its transport; `log` has what was asked of the transport."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.reader: Any = None

    def deliverBody(self, reader: Any) -> None:
        assert self.reader is None
        self.reader = reader
        reader.makeConnection(self)

    def pauseProducing(self) -> None:
        self.log.append("pause")

    def resumeProducing(self) -> None:
        self.log.append("resume")

    def loseConnection(self) -> None:
        self.log.append("close")

    def ends(self, reason: Exception | None = None) -> None:
        self.reader.connectionLost(Failure(reason or ResponseDone()))


class Scene:
    """An answer, and all that becomes of it."""

    def __init__(self, most: int = MOST) -> None:
        self.clock = Clock()
        self.body: Any = Body()
        self.deltas: list[Delta] = []
        self.counts: list[UsageDelta] = []
        self.outcome: list[Any] = []
        self.answer = Answer(
            self.body,
            StreamDecoder(),
            Budget(self.clock, Limits(silence=PATIENCE, answer_size=most)),
            4096,
            self.counts.append,
        )

    def deliver(self, sink: Any = None) -> Deferred[Any]:
        delivered: Deferred[Any] = self.answer.deliver_to(sink or self.deltas.extend)
        delivered.addBoth(self.outcome.append)
        return delivered

    def says(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.body.reader.dataReceived(piece)

    @property
    def failure(self) -> Any:
        (failure,) = self.outcome
        return failure.value


@pytest.fixture
def scene() -> Scene:
    return Scene()


LOST = ResponseFailed([Failure(ConnectionLost())])


def test_what_comes_is_delivered_read_by_read_and_the_end_when_the_body_ends(scene: Scene) -> None:
    scene.deliver()
    scene.says(TEXT, STOP + USAGE)
    assert scene.deltas == [TextDelta("Hi"), FinishDelta("stop"), UsageDelta(5, 1)]
    assert scene.outcome == []
    scene.body.ends()
    assert scene.outcome == [None]
    assert scene.counts == [UsageDelta(5, 1)]
    assert scene.answer.context == 4096
    assert scene.clock.getDelayedCalls() == []


def test_a_whole_answer_waits_a_moment_for_the_end_of_its_body(scene: Scene) -> None:
    scene.deliver()
    scene.says(TEXT + STOP + DONE)
    assert (scene.outcome, scene.body.log) == ([None], ["resume"])
    scene.clock.advance(0.9)
    scene.answer.stopProducing()
    scene.answer.pauseProducing()
    scene.says(TEXT)
    assert scene.body.log == ["resume"]
    scene.clock.advance(0.1)
    assert scene.body.log == ["resume", "close"]
    assert scene.deltas == [TextDelta("Hi"), FinishDelta("stop")]


def test_the_end_of_the_body_ends_that_wait(scene: Scene) -> None:
    scene.deliver()
    scene.says(TEXT + STOP + DONE)
    scene.body.ends()
    assert scene.clock.getDelayedCalls() == []
    assert scene.outcome == [None]


def test_an_answer_that_tells_an_error_fails_with_it(scene: Scene) -> None:
    scene.deliver()
    scene.says(TEXT + ERROR)
    assert scene.failure.message == "it broke"
    assert scene.deltas == [TextDelta("Hi")]


@pytest.mark.parametrize(
    ("pieces", "reason", "kind", "says"),
    [
        ([TEXT], None, FailureKind.BROKEN, "without a finish reason"),
        ([TEXT], LOST, FailureKind.BROKEN, "connection was lost"),
        ([], LOST, FailureKind.BROKEN, "connection was lost"),
        ([b"hello\n"], None, FailureKind.GARBLED, "no events"),
    ],
)
def test_an_answer_that_is_not_whole_fails(
    scene: Scene, pieces: list[bytes], reason: Any, kind: FailureKind, says: str
) -> None:
    scene.deliver()
    scene.says(*pieces)
    scene.body.ends(reason)
    assert (scene.failure.kind, says in scene.failure.message) == (kind, True)


def test_a_connection_lost_behind_the_finish_reason_took_nothing_with_it(scene: Scene) -> None:
    scene.deliver()
    scene.says(TEXT + STOP)
    scene.body.ends(LOST)
    assert scene.outcome == [None]


@pytest.mark.parametrize("ends", ["cancel", "stop"])
def test_cancelling_closes_the_connection_and_delivers_nothing_more(
    scene: Scene, ends: str
) -> None:
    delivered = scene.deliver()
    scene.says(TEXT)
    if ends == "cancel":
        delivered.cancel()
    else:
        scene.answer.stopProducing()
    assert scene.body.log == ["close"]
    scene.says(TEXT, STOP, DONE)
    scene.body.ends(LOST)
    assert scene.deltas == [TextDelta("Hi")]
    assert isinstance(scene.failure, CancelledError)
    assert scene.clock.getDelayedCalls() == []


def test_an_answer_that_is_stopped_before_it_was_read_closes_its_connection(scene: Scene) -> None:
    scene.answer.stopProducing()
    scene.says(TEXT)
    scene.body.ends()
    assert scene.body.log == ["close"]
    with pytest.raises(RuntimeError, match="ended"):
        scene.deliver()


def test_an_answer_is_delivered_once(scene: Scene) -> None:
    scene.deliver()
    with pytest.raises(RuntimeError, match="delivering"):
        scene.deliver()


def test_a_sink_that_fails_ends_the_answer_with_its_failure(scene: Scene) -> None:
    def broken(deltas: Sequence[Delta]) -> None:
        raise KeyError("x")

    scene.deliver(broken)
    scene.says(TEXT)
    assert isinstance(scene.failure, KeyError)
    assert scene.body.log == ["close"]


def test_a_sink_that_fails_at_the_end_does_so_too(scene: Scene) -> None:
    def broken(deltas: Sequence[Delta]) -> None:
        raise KeyError("x")

    scene.deliver(broken)
    scene.says(STOP.removesuffix(b"\n"))
    scene.body.ends()
    assert isinstance(scene.failure, KeyError)


def test_a_sink_may_cancel_in_the_middle_of_a_read(scene: Scene) -> None:
    scene.deliver(lambda deltas: scene.answer.stopProducing())
    scene.says(TEXT + STOP + DONE)
    assert isinstance(scene.failure, CancelledError)
    assert scene.body.log == ["close"]


def test_a_sink_may_cancel_at_the_very_end(scene: Scene) -> None:
    scene.deliver(lambda deltas: scene.answer.stopProducing())
    scene.says(STOP.removesuffix(b"\n"))
    scene.body.ends()
    assert isinstance(scene.failure, CancelledError)
    assert (scene.clock.getDelayedCalls(), scene.body.log) == ([], ["close"])


def test_a_pause_and_what_follows_it_reach_the_connection(scene: Scene) -> None:
    scene.answer.pauseProducing()
    scene.answer.resumeProducing()
    scene.deliver()
    assert scene.body.log == []
    scene.answer.pauseProducing()
    scene.answer.resumeProducing()
    assert scene.body.log == ["pause", "resume"]


def test_an_answer_that_was_paused_before_it_is_read_waits_to_be_resumed(scene: Scene) -> None:
    scene.answer.pauseProducing()
    scene.deliver()
    assert scene.body.log == ["pause"]
    scene.clock.advance(10 * PATIENCE)
    scene.answer.resumeProducing()
    assert (scene.body.log, scene.outcome) == (["pause", "resume"], [])


def test_an_upstream_that_falls_silent_is_given_up(scene: Scene) -> None:
    scene.clock.advance(PATIENCE)
    scene.deliver()
    scene.clock.advance(PATIENCE - 1)
    scene.says(TEXT)
    scene.clock.advance(PATIENCE - 1)
    assert scene.outcome == []
    scene.clock.advance(1)
    assert scene.failure.kind is FailureKind.SILENT
    assert "60 s" in scene.failure.message
    assert scene.body.log == ["close"]


def test_the_upstream_is_not_to_blame_for_the_silence_of_a_pause(scene: Scene) -> None:
    scene.deliver()
    scene.answer.pauseProducing()
    scene.clock.advance(10 * PATIENCE)
    assert scene.outcome == []
    scene.answer.resumeProducing()
    scene.clock.advance(PATIENCE)
    assert isinstance(scene.failure, UpstreamFailure)


def test_a_body_that_is_all_there_is_delivered_at_once(scene: Scene) -> None:
    def deliver_all(reader: Any) -> None:
        Body.deliverBody(scene.body, reader)
        scene.says(TEXT + STOP)
        scene.body.ends()

    scene.body.deliverBody = deliver_all
    scene.deliver()
    assert scene.outcome == [None]
    assert scene.deltas == [TextDelta("Hi"), FinishDelta("stop")]


def test_behind_the_finish_reason_an_open_stream_is_not_waited_for(scene: Scene) -> None:
    scene.deliver()
    scene.says(TEXT + STOP)
    scene.clock.advance(2.9)
    assert scene.outcome == []
    scene.says(USAGE)
    scene.clock.advance(0.2)
    assert scene.outcome == [None]
    assert scene.deltas == [TextDelta("Hi"), FinishDelta("stop"), UsageDelta(5, 1)]
    assert scene.body.log == ["resume"]
    scene.clock.advance(1)
    assert scene.body.log == ["resume", "close"]
    assert scene.clock.getDelayedCalls() == []


def test_a_client_that_reads_slowly_does_not_end_the_stream(scene: Scene) -> None:
    scene.deliver()
    scene.says(TEXT + STOP)
    scene.answer.pauseProducing()
    scene.clock.pump(4 * [3])
    assert scene.outcome == []
    scene.answer.resumeProducing()
    scene.clock.advance(3)
    assert scene.outcome == [None]


def test_the_end_of_the_stream_ends_that_wait_too(scene: Scene) -> None:
    scene.deliver()
    scene.says(TEXT + STOP)
    scene.says(DONE)
    scene.body.ends()
    assert scene.clock.getDelayedCalls() == []


@pytest.mark.parametrize(
    "piece",
    [
        pytest.param(b"data: " + b"x" * 94, id="a line without an end"),
        pytest.param(TEXT.replace(b"Hi", b"x" * 84), id="text"),
        pytest.param(
            TEXT.replace(b"content", b"reasoning").replace(b"Hi", b"x" * 84), id="thought"
        ),
    ],
)
def test_only_so_much_of_an_answer_is_kept(scene: Scene, piece: bytes) -> None:
    scene.deliver()
    scene.says(*[piece] * 10)
    assert scene.outcome == []
    scene.says(piece)
    (failure,) = scene.outcome
    assert failure.value.kind is FailureKind.OVERSIZED
    assert scene.body.log == ["close"]
    assert scene.clock.getDelayedCalls() == []


def test_a_finish_reason_that_is_repeated_does_not_keep_an_answer_open(scene: Scene) -> None:
    scene.deliver()
    for _ in range(3):
        scene.says(STOP)
        assert scene.outcome == []
        scene.clock.advance(1)
    assert scene.outcome == [None]


LARGE = TEXT.replace(b"Hi", b"x" * 20_000)


@pytest.fixture
def large() -> Scene:
    return Scene(most=100_000)


def sizes(deltas: list[Delta]) -> list[int]:
    return [len(each.text) for each in deltas if isinstance(each, TextDelta)]


def test_a_large_piece_is_delivered_in_several_turns(large: Scene) -> None:
    turns: list[int] = []

    def sink(deltas: Sequence[Delta]) -> None:
        large.deltas.extend(deltas)
        # Whoever asked for a turn before gets it before the next portion.
        turns.append(-1)

    large.deliver(sink)
    large.says(LARGE)
    assert (large.deltas, large.body.log) == ([], ["pause"])
    large.clock.callLater(0, turns.append, 1)
    # What is read meanwhile comes behind it.
    large.says(TEXT, STOP, DONE)
    assert large.outcome == []
    large.clock.advance(0)
    assert turns[:3] == [-1, 1, -1]
    assert sizes(large.deltas) == [8192, 8192, 20_000 - 2 * 8192, 2]
    assert isinstance(large.deltas[-1], FinishDelta)
    assert large.outcome == [None]


def test_reading_goes_on_behind_a_large_piece(large: Scene) -> None:
    large.deliver()
    large.says(LARGE)
    large.clock.pump([0] * 3)
    assert large.body.log == ["pause", "resume"]
    large.says(STOP)
    assert isinstance(large.deltas[-1], FinishDelta)


def test_a_client_that_does_not_read_holds_up_a_large_piece(large: Scene) -> None:
    def sink(deltas: Sequence[Delta]) -> None:
        large.deltas.extend(deltas)
        if len(large.deltas) == 1:
            large.answer.pauseProducing()

    large.deliver(sink)
    large.says(LARGE)
    large.clock.advance(PATIENCE * 2)
    assert (sizes(large.deltas), large.outcome) == ([8192], [])
    large.answer.resumeProducing()
    large.clock.advance(0)
    assert sum(sizes(large.deltas)) == 20_000
    assert large.body.log[-1] == "resume"


def test_a_connection_that_is_lost_behind_a_large_piece_loses_none_of_it(large: Scene) -> None:
    large.deliver()
    large.says(LARGE)
    large.body.ends(ResponseFailed([Failure(ConnectionLost())]))
    assert large.outcome == []
    large.clock.pump([0] * 3)
    assert sum(sizes(large.deltas)) == 20_000
    (failure,) = large.outcome
    assert failure.value.kind is FailureKind.BROKEN


def test_nothing_more_of_a_large_piece_is_delivered_when_the_client_left(large: Scene) -> None:
    def sink(deltas: Sequence[Delta]) -> None:
        large.deltas.extend(deltas)
        delivered.cancel()

    delivered = large.deliver(sink)
    large.says(LARGE)
    large.clock.advance(0)
    assert sizes(large.deltas) == [8192]
    assert large.outcome[0].check(CancelledError)
    assert large.clock.getDelayedCalls() == []


def test_a_sink_that_fails_at_a_later_portion_fails_the_answer(large: Scene) -> None:
    def fail(deltas: Sequence[Delta]) -> None:
        raise ZeroDivisionError

    large.deliver(fail)
    large.says(LARGE)
    large.clock.advance(0)
    assert large.outcome[0].check(ZeroDivisionError)
    assert (large.body.log[-1], large.clock.getDelayedCalls()) == ("close", [])


def test_many_small_pieces_of_one_read_share_their_turns(large: Scene) -> None:
    deliveries: list[int] = []
    large.deliver(lambda deltas: deliveries.append(len(deltas)))
    large.says(TEXT.replace(b"Hi", b"x" * 100) * 200)
    large.clock.pump([0] * 9)
    assert (sum(deliveries), len(deliveries)) == (200, 3)


def test_a_pause_holds_up_also_the_portion_that_is_due(large: Scene) -> None:
    large.deliver()
    large.says(LARGE)
    large.answer.pauseProducing()
    large.clock.advance(0)
    assert large.deltas == []
    large.answer.resumeProducing()
    large.clock.advance(0)
    assert sum(sizes(large.deltas)) == 20_000
