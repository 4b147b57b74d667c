"""Responses over one WebSocket, one after another: a text message for each request and each event.

A message of the client is one JSON object, `{"type": "response.create", …}` with the fields of the
body of a POST. Its events are those of a stream over HTTP. A request may go on from a response of
this socket that was stored nowhere, so that a client sends only what is new.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from typing import Any

import orjson
from attrs import evolve, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from wsproto.frame_protocol import CloseReason

from codex_bridge.clients.traits import traits_of
from codex_bridge.errors import ApiError, invalid, too_large
from codex_bridge.responses.request import parse
from codex_bridge.vocabulary import Json
from codex_bridge.web.accept import NewWriter, begin, event_reply
from codex_bridge.web.caller import Caller
from codex_bridge.web.intake import Intake, take_in_object
from codex_bridge.web.memory import Memory
from codex_bridge.web.reply import Reply
from codex_bridge.web.site import BridgeRequest
from codex_bridge.web.state import BridgeState
from codex_bridge.web.websocket import WebSocket, accept, no_websocket

MAX_WAITING = 16
"""Requests that may wait until the one before them is answered."""
MAX_REMEMBERED = 16
"""Responses of one socket that it can go on from; Codex goes on from the last one alone."""
ENVELOPE = ("type", "stream", "stream_id", "generate")
"""Fields of a message that are none of the body of a POST, or without a meaning here."""


def serve_websocket(http: BridgeRequest, state: BridgeState) -> Deferred[bytes]:
    """Make the connection of `http` a WebSocket. Raises ApiError if it cannot be one.

    Never fires: it is cancelled when the connection ends.
    """
    settings = state.settings
    if not settings.websocket:
        raise no_websocket("This codex-bridge serves no WebSocket (--websocket off); use POST.")
    state.drain.admit()
    extensions = accept(http, settings.max_body_size)
    socket = WebSocket(
        http.channel, extensions, settings.max_body_size, state.clock, settings.heartbeat
    )
    socket.start(Session(http, socket, state))
    return Deferred(lambda _: socket.connection_lost())


@frozen
class _Remembered:
    """What goes on from a response of this socket: the items of its conversation."""

    items: list[Json]
    size: int
    """Bytes."""


class SocketMemory:
    """What a client may refer back to over its socket: the last responses, and what is stored."""

    def __init__(self, stored: Memory, limit: int) -> None:
        """`limit`: bytes of all that is remembered here."""
        self._stored = stored
        self._limit = limit
        self._responses: dict[str, _Remembered] = {}

    def forget(self, response_id: Any) -> None:
        """A request that went on from this response failed, whatever it named."""
        if isinstance(response_id, str):
            self._responses.pop(response_id, None)

    async def context(self, response_id: str) -> list[Json] | None:
        remembered = self._responses.get(response_id)
        if remembered is not None:
            return remembered.items
        try:
            return await self._stored.context(response_id)
        except ApiError as error:
            if error.status != 400:
                raise
            # Nothing is stored at all. That nothing is known of it is what clients understand.
            return None

    async def items(self, ids: Collection[str]) -> dict[str, Json]:
        here = {
            item["id"]: item
            for each in self._responses.values()
            for item in each.items
            if isinstance(item.get("id"), str) and item["id"] in ids
        }
        if missing := set(ids) - here.keys():
            here |= await self._stored.items(missing)
        return here

    async def keep(self, items: list[Json], response: Json) -> bool:
        is_stored = await self._stored.keep(items, response)
        whole = items + response["output"]
        size = sum(len(orjson.dumps(each)) for each in whole)
        self._responses[response["id"]] = _Remembered(whole, size)
        while (
            len(self._responses) > MAX_REMEMBERED
            or sum(each.size for each in self._responses.values()) > self._limit
        ):
            del self._responses[next(iter(self._responses))]
        return is_stored


class TurnOutlet:
    """Sends the events of one reply over the socket."""

    mode = "streamed over WebSocket"

    def __init__(self, socket: WebSocket, memory: SocketMemory, intake: Intake, lane: Any) -> None:
        """`lane`: the stream_id of the request, which each event repeats; None if it has none."""
        self._socket = socket
        self._memory = memory
        self._previous = intake.body.get("previous_response_id")
        self._lane = {} if lane is None else {"stream_id": lane}

    @property
    def is_connected(self) -> bool:
        return self._socket.is_open

    def begin(self) -> None:
        """There is no head."""

    def write(self, events: list[Json]) -> None:
        if events[-1]["type"] == "response.failed":
            self._memory.forget(self._previous)
        self._socket.send(orjson.dumps(each | self._lane) for each in events)

    def refuse(self, error: ApiError) -> bytes:
        self._memory.forget(self._previous)
        self._socket.send([_error_message(error, self._lane)])
        return b""

    def register(self, producer: IPushProducer) -> None:
        channel = self._socket.channel
        channel.registerProducer(producer, True)
        if channel.is_unread:
            producer.pauseProducing()

    def unregister(self) -> None:
        self._socket.channel.unregisterProducer()


class Session:
    """The requests of one socket, answered in their order."""

    def __init__(self, http: BridgeRequest, socket: WebSocket, state: BridgeState) -> None:
        headers = http.requestHeaders
        self._socket = socket
        self._state = state
        self._memory = SocketMemory(state.memory_of(headers), state.settings.max_body_size)
        self._caller = Caller(headers, traits_of(headers), self._memory)
        self._waiting: deque[bytes] = deque()
        self._turn: Deferred[Any] | None = None
        """The reply that is running."""

    def message(self, data: bytes) -> None:
        """A request came; it is answered after those before it."""
        size = sum(map(len, self._waiting)) + len(data)
        if len(self._waiting) >= MAX_WAITING or size > self._state.settings.max_body_size:
            self._refuse(_too_many())
            return
        self._waiting.append(data)
        self._go_on()

    def oversized(self) -> None:
        """A request was too large to be read."""
        self._refuse(too_large(self._state.settings.max_body_size))

    def going_away(self) -> None:
        """The bridge is being stopped. What waits is not begun any more."""
        if self._turn is None:
            self._socket.close(CloseReason.GOING_AWAY, "codex-bridge is being stopped.")

    def closed(self) -> None:
        """The client is gone."""
        self._waiting.clear()
        if self._turn is not None:
            self._turn.cancel()

    def _go_on(self) -> None:
        """Answer what waits, one after another."""
        while self._turn is None and self._waiting and not self._state.drain.is_draining:
            turn = self._begun(self._waiting.popleft())
            if not turn.called:
                self._turn = turn
            turn.addErrback(Failure.trap, CancelledError)
            turn.addBoth(self._turn_ended, turn)
        if self._state.drain.is_draining:
            self.going_away()

    def _turn_ended(self, result: object, turn: Deferred[Any]) -> None:
        if isinstance(result, Failure):
            self._state.log.failure("a bug of codex-bridge, over WebSocket", result)
            self._socket.close(CloseReason.INTERNAL_ERROR, "codex-bridge has a bug; see its log.")
        if self._turn is turn:
            self._turn = None
            self._go_on()

    def _begun(self, data: bytes) -> Deferred[bytes]:
        """Begin the reply to a message."""
        traits = self._caller.traits
        try:
            message = _read(data)
        except ApiError as error:
            return self._reply({}, Intake(traits.fails_in_stream, refusal=error))
        body = {key: value for key, value in message.items() if key not in ENVELOPE}
        intake = take_in_object(body, len(data), traits, dict(self._state.settings.alias))
        return self._reply(message, evolve(intake, prepares=message.get("generate") is False))

    def _refuse(self, error: ApiError) -> None:
        """Refuse a message at once, even while the reply to another one is running."""
        if self._turn is None:
            self._reply({}, Intake(self._caller.traits.fails_in_stream, refusal=error))
        else:
            self._socket.send([_error_message(error)])

    def _reply(self, message: Json, intake: Intake) -> Deferred[bytes]:
        state, caller = self._state, self._caller
        outlet = TurnOutlet(self._socket, self._memory, intake, message.get("stream_id"))

        def new_reply(new_writer: NewWriter) -> Reply:
            return event_reply(outlet, new_writer(), caller, state)

        return begin(intake, caller, new_reply, state)


def _read(data: bytes) -> Json:
    """A message of the client. Raises ApiError if it is none that the bridge knows."""
    message = parse(data)
    kind = message.get("type")
    if kind != "response.create":
        raise invalid(
            f"The type of a message must be response.create, not {orjson.dumps(kind).decode()}.",
            "type",
        )
    if message.get("background"):
        raise invalid(
            "A response in the background is not made over WebSocket; use POST.", "background"
        )
    return message


def _error_message(error: ApiError, lane: Json | None = None) -> bytes:
    message = {"type": "error", "status": error.status, **error.body()}
    return orjson.dumps(message | (lane or {}))


def _too_many() -> ApiError:
    return ApiError(
        429,
        f"Too many requests wait on this WebSocket: at most {MAX_WAITING} may, with as many bytes "
        f"in all as one may have.",
        code="rate_limit_exceeded",
    )
