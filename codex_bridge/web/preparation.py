"""A request that asks for no answer, because its client will go on from it (`generate: false`)."""

from __future__ import annotations

import time

from codex_bridge.responses.request import ResponsesRequest
from codex_bridge.vocabulary import UsageDelta
from codex_bridge.web.caller import Caller
from codex_bridge.web.journal import Journal
from codex_bridge.web.prefixes import conversation_of
from codex_bridge.web.reply import Reply
from codex_bridge.web.state import BridgeState


class Preparation:
    """Stands in the place of an exchange: takes a request in, and has the model read ahead."""

    def __init__(
        self,
        request: ResponsesRequest,
        caller: Caller,
        reply: Reply,
        journal: Journal,
        state: BridgeState,
    ) -> None:
        self._request = request
        self._caller = caller
        self._reply = reply
        self._journal = journal
        self._state = state

    async def run(self) -> bytes:
        """Tell the client at once that its request was taken in; otherwise as for an exchange."""
        request, caller, reply = self._request, self._caller, self._reply
        reply.open()
        response = reply.writer.whole(UsageDelta(0, 0), now=int(time.time()))
        response["store"] = await caller.memory.keep(request.items, response)
        reply.complete(response)
        reply.close()
        self._state.read_ahead.begin(request, conversation_of(request, caller.headers))
        self._state.tally.served += 1
        self._journal.log_prepared(reply.mode)
        return reply.body
