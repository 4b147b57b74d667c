"""The replies to requests for a compaction: the client gets a sealed item, and not the summary."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from codex_bridge.errors import ApiError
from codex_bridge.responses.compaction import as_output, summary_in
from codex_bridge.responses.writer import ResponseWriter
from codex_bridge.vocabulary import Json, UsageDelta
from codex_bridge.web.reply import Collector, Reply
from codex_bridge.web.state import BridgeState


class CompactingReply(Collector):
    """Collects what the model writes, and gives `reply` one item in its place."""

    def __init__(
        self,
        reply: Reply,
        new_writer: Callable[[], ResponseWriter],
        state: BridgeState,
        kept: Iterable[Json],
    ) -> None:
        """`kept` are messages of the user that the client gets before the summary."""
        super().__init__(new_writer)
        self.mode = f"{reply.mode}, compacted"
        self._reply = reply
        self._state = state
        self._kept = kept

    @property
    def body(self) -> bytes:
        return self._reply.body

    def open(self) -> None:
        self._reply.open()

    def whole(self, usage: UsageDelta, *, now: int, is_incomplete: bool) -> Json:
        writer = self._reply.writer
        writer.output.extend(as_output(each, self._state.new_id) for each in self._kept)
        writer.compaction(self._state.seal.close(summary_in(self.writer.output)))
        return self._reply.whole(usage, now=now, is_incomplete=is_incomplete)

    def complete(self, response: Json) -> None:
        self._reply.complete(response)

    def fail(self, error: ApiError) -> None:
        self._reply.fail(error)

    def close(self) -> None:
        self._reply.close()
