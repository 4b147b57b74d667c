"""POST /v1/responses/input_tokens: how many tokens the prompt of a request has."""

from __future__ import annotations

from codex_bridge.clients.traits import traits_of
from codex_bridge.engines.upstream import Upstream
from codex_bridge.errors import from_upstream
from codex_bridge.responses.attempt import BYTES_PER_TOKEN
from codex_bridge.responses.chat import translate
from codex_bridge.responses.request import ResponsesRequest
from codex_bridge.vocabulary import UpstreamFailure
from codex_bridge.web.accept import taken_in, whole_request
from codex_bridge.web.caller import Caller
from codex_bridge.web.json_replies import send_json
from codex_bridge.web.prefixes import conversation_of
from codex_bridge.web.site import BridgeRequest
from codex_bridge.web.state import BridgeState


async def count_input_tokens(http: BridgeRequest, state: BridgeState) -> bytes:
    """Answer one request, whose body is that of a request for a response. Raises ApiError.

    Where the server counts nothing, four bytes of the body are taken for a token.
    """
    headers = http.requestHeaders
    caller = Caller(headers, traits_of(headers), state.memory_of(headers))
    intake = taken_in(http, caller, state)
    if intake.refusal is not None:
        raise intake.refusal
    request = await whole_request(intake, caller.memory, state)
    async with state.upstreams.serving(
        request.model, conversation_of(request, headers)
    ) as upstream:
        try:
            counted = await _counted(request, upstream, state)
        except UpstreamFailure as failure:
            raise from_upstream(failure, request.model, upstream.words) from failure
    counted = counted or request.size // BYTES_PER_TOKEN
    return send_json(http, 200, {"object": "response.input_tokens", "input_tokens": counted})


async def _counted(request: ResponsesRequest, upstream: Upstream, state: BridgeState) -> int:
    budget = state.upstreams.budget()
    info = await upstream.prepared(request.model, budget)
    chat = translate(request, info, directives=state.settings.directives).chat
    return await upstream.count(chat, info, budget)
