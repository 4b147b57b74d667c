"""One WebSocket: its handshake, its frames, and clients that keep to no rule."""

from __future__ import annotations

import base64
import tracemalloc
import zlib
from typing import Any

import orjson
import pytest
import pytest_twisted
from twisted.internet.task import Clock, deferLater
from twisted.web.server import NOT_DONE_YET

from codex_bridge.web.site import BridgeSite
from codex_bridge.web.websocket import Deflate, WebSocket, accept
from tests import sockets
from tests.conftest import Start
from tests.fake_ollama import Playlist, Say
from tests.harness import CODEX, RawClient, Setup
from tests.sockets import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, SocketClient, frame
from tests.web.scene import Scene
from tests.web.test_robustness import EVENT, chunk
from tests.web.test_robustness import HEAD as STREAM
from tests.web.test_slow_clients import Transport

ASK = {"model": "qwen3:14b", "input": "hi"}
CREATE = orjson.dumps({"type": "response.create", **ASK})
KEY = base64.b64encode(b"0123456789abcdef")
HANDSHAKE = {
    b"Host": b"localhost",
    b"Connection": b"keep-alive, Upgrade",
    b"Upgrade": b"WebSocket",
    b"Sec-WebSocket-Version": b"13",
    b"Sec-WebSocket-Key": KEY,
}
ANSWER = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""What RFC 6455 (1.3) has for the key of its example."""
# Seconds and bytes. They are not imported, so that a change in the code is noticed.
CLIENT_TIMEOUT = 30
BYTES_A_SECOND = 65_536
STALL = 300
LINGER = 1


def head(
    changes: dict[bytes, bytes | None] | None = None,
    line: bytes = b"GET /v1/responses HTTP/1.1",
) -> bytes:
    headers = HANDSHAKE | (changes or {})
    lines = [name + b": " + value for name, value in headers.items() if value is not None]
    return b"\r\n".join([line, *lines, b"", b""])


async def shaken(setup: Setup, *arguments: Any) -> RawClient:
    client = await setup.connect()
    client.send(head(*arguments))
    return client


# The handshake.


@pytest_twisted.ensureDeferred
async def test_the_key_is_answered_as_the_standard_says(start: Start) -> None:
    setup = await start()
    client = await shaken(setup, {b"Sec-WebSocket-Key": b"dGhlIHNhbXBsZSBub25jZQ=="})
    answer = await client.until(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    lines = {line.lower() for line in answer.split(b"\r\n")}
    assert {b"upgrade: websocket", b"connection: upgrade"} <= lines
    assert b"sec-websocket-accept: " + ANSWER.lower() in lines
    assert b"extensions" not in answer.lower()


@pytest.mark.parametrize("path", ["/v1/responses", "/responses", "/v1/responses/?x=1"])
@pytest_twisted.ensureDeferred
async def test_it_is_served_where_a_post_is(start: Start, path: str) -> None:
    setup = await start(Playlist([Say("Hello.")]))
    client = await sockets.connect(setup, path=path)
    response = await client.ask(ASK)
    assert response["output"][0]["content"][0]["text"] == "Hello."


@pytest.mark.parametrize(
    ("changes", "line", "status", "code"),
    [
        ({b"Sec-WebSocket-Key": None}, b"GET /v1/responses HTTP/1.1", 400, "bad_handshake"),
        ({b"Sec-WebSocket-Key": b"c2hvcnQ="}, b"GET /responses HTTP/1.1", 400, "bad_handshake"),
        ({b"Sec-WebSocket-Key": b"%" * 24}, b"GET /responses HTTP/1.1", 400, "bad_handshake"),
        ({b"Connection": b"close"}, b"GET /v1/responses HTTP/1.1", 426, "websocket_unsupported"),
        ({b"Upgrade": None}, b"GET /v1/responses HTTP/1.1", 426, "websocket_unsupported"),
        ({b"Upgrade": b"h2c"}, b"GET /v1/responses HTTP/1.1", 426, "websocket_unsupported"),
        ({}, b"GET /v1/responses HTTP/1.0", 426, "websocket_unsupported"),
        (
            {b"Sec-WebSocket-Version": None},
            b"GET /v1/responses HTTP/1.1",
            426,
            "websocket_unsupported",
        ),
        (
            {b"Upgrade": None, b"Sec-WebSocket-Key": None},
            b"GET /v1/responses HTTP/1.1",
            405,
            "method_not_allowed",
        ),
        ({}, b"PUT /v1/responses HTTP/1.1", 405, "method_not_allowed"),
        ({}, b"GET /v1/realtime HTTP/1.1", 426, "websocket_unsupported"),
        ({b"Host": b"evil.example"}, b"GET /v1/responses HTTP/1.1", 403, "foreign_host"),
        (
            {b"Origin": b"https://evil.example"},
            b"GET /v1/responses HTTP/1.1",
            403,
            "foreign_origin",
        ),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_is_no_handshake_is_refused_in_words(
    start: Start, changes: Any, line: bytes, status: int, code: str
) -> None:
    setup = await start()
    client = await shaken(setup, changes, line)
    answer = await client.until(b"}}\n")
    assert answer.split(b" ")[1] == b"%d" % status
    assert orjson.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == code


@pytest_twisted.ensureDeferred
async def test_another_version_of_websocket_is_told_the_one_that_is_spoken(start: Start) -> None:
    setup = await start()
    client = await shaken(setup, {b"Sec-WebSocket-Version": b"8"})
    answer = (await client.until(b"}}\n")).lower()
    assert answer.startswith(b"http/1.1 426 ")
    assert b"\r\nsec-websocket-version: 13\r\n" in answer


@pytest_twisted.ensureDeferred
async def test_a_page_of_this_machine_may_use_it(start: Start) -> None:
    setup = await start()
    client = await sockets.connect(setup, {"origin": "http://localhost:3000"})
    assert (await client.ask(ASK))["status"] == "completed"


@pytest_twisted.ensureDeferred
async def test_the_key_of_the_bridge_is_asked_for(start: Start) -> None:
    setup = await start(api_key="secret")
    assert (await sockets.refused(setup))[0] == 401
    # Codex would try the same seven times, but goes on with HTTP after this.
    status, body = await sockets.refused(setup, CODEX)
    assert status == 426
    assert "asks for an API key" in body["error"]["message"]
    assert (await sockets.refused(setup, CODEX | {"origin": "https://evil.example"}))[0] == 403
    client = await sockets.connect(setup, {"authorization": "Bearer secret"})
    assert (await client.ask(ASK))["status"] == "completed"


@pytest_twisted.ensureDeferred
async def test_it_can_be_switched_off(start: Start) -> None:
    setup = await start(websocket=False)
    status, body = await sockets.refused(setup)
    assert (status, body["error"]["code"]) == (426, "websocket_unsupported")
    assert (await setup.request("GET", "/__health")).json["websocket"] is False


@pytest_twisted.ensureDeferred
async def test_health_tells_that_it_is_served(start: Start) -> None:
    setup = await start()
    assert (await setup.request("GET", "/__health")).json["websocket"] is True


@pytest_twisted.ensureDeferred
async def test_what_comes_together_with_the_handshake_is_read(start: Start) -> None:
    setup = await start()
    client = await setup.connect()
    client.send(head() + frame(PING, b"early") + frame(TEXT, CREATE))
    assert b"\x8a\x05early" in await client.until(b"response.completed")


# Frames. Each of these is sent by hand.


async def opened(start: Start, **options: Any) -> SocketClient:
    deflate = options.pop("deflate", False)
    return await sockets.connect(await start(**options), deflate=deflate)


@pytest_twisted.ensureDeferred
async def test_a_message_may_come_in_any_pieces(start: Start) -> None:
    client = await opened(start)
    first, middle, last = CREATE[:10], CREATE[10:11], CREATE[11:]
    data = frame(TEXT, first, fin=False) + frame(CONTINUATION, b"", fin=False)
    data += frame(PING, b"between") + frame(CONTINUATION, middle, fin=False)
    data += frame(CONTINUATION, last)
    for byte in data:
        client.send_bytes(bytes([byte]))
        await deferLater(client.transport.reactor, 0)
    assert (await client.reply())[-1]["type"] == "response.completed"
    assert client.pongs == [b"between"]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(BINARY, b"{}"), 1003),
        (frame(TEXT, b"\xff"), 1007),
        (frame(TEXT, b"\xc3", fin=False) + frame(CONTINUATION, b""), 1007),
        (b"\x81\x02{}", 1002),
        (frame(CONTINUATION, b"{}"), 1002),
        (frame(TEXT, b"{", fin=False) + frame(TEXT, b"}"), 1002),
        (frame(0x3), 1002),
        (frame(0xB), 1002),
        (frame(TEXT, b"{}", rsv=4), 1002),
        (frame(TEXT, b"{}", rsv=1), 1002),
        (frame(PING, b"x", fin=False), 1002),
        (frame(PING, b"x" * 126), 1002),
        (frame(CLOSE, b"x"), 1002),
        (frame(CLOSE, b"\x03\xed"), 1002),
        (frame(CLOSE, b"\x03\xe8\xff"), 1007),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_breaks_a_rule_ends_the_connection_with_its_code(
    start: Start, data: bytes, code: int
) -> None:
    client = await opened(start)
    client.send_bytes(data + frame(TEXT, CREATE))
    await client.lost
    assert client.closed is not None
    assert client.closed[0] == code
    assert client.events == []


@pytest_twisted.ensureDeferred
async def test_a_client_that_closes_is_answered(start: Start) -> None:
    client = await opened(start)
    client.close(1000)
    await client.lost
    assert client.closed == (1000, "")


@pytest_twisted.ensureDeferred
async def test_each_of_many_pings_is_answered(start: Start) -> None:
    client = await opened(start)
    client.send_bytes(b"".join(frame(PING, b"%d" % n) for n in range(10_000)))
    await client.ask(ASK)
    assert client.pongs == [b"%d" % n for n in range(10_000)]


# How large a message may be.


@pytest.mark.parametrize("pieces", [1, 7])
@pytest.mark.parametrize("excess", [0, 1])
@pytest_twisted.ensureDeferred
async def test_a_message_has_a_limit(start: Start, pieces: int, excess: int) -> None:
    client = await opened(start, max_body_size=7000)
    message = CREATE[:-1] + b" " * (7000 + excess - len(CREATE)) + b"}"
    size = -(-len(message) // pieces)
    for n in range(pieces):
        opcode = CONTINUATION if n else TEXT
        client.send_bytes(frame(opcode, message[n * size : (n + 1) * size], fin=n == pieces - 1))
    last = (await client.reply())[-1]
    if not excess:
        assert last["type"] == "response.completed"
        return
    assert (last["type"], last["status"]) == ("error", 413)
    assert last["error"]["code"] == "request_too_large"
    await client.lost
    assert client.closed is not None
    assert client.closed[0] == 1009


@pytest_twisted.ensureDeferred
async def test_codex_is_told_of_a_message_that_is_too_large_in_its_form(start: Start) -> None:
    client = await sockets.connect(await start(max_body_size=2000), CODEX)
    client.send("x" * 2001)
    events = await client.reply()
    assert events[-1]["type"] == "response.failed"
    assert events[-1]["response"]["error"]["code"] == "invalid_prompt"


@pytest_twisted.ensureDeferred
async def test_a_length_that_is_only_claimed_takes_no_memory(start: Start) -> None:
    setup = await start()
    client = await sockets.connect(setup)
    tracemalloc.start()
    client.send_bytes(frame(TEXT, b"{", length=1 << 40) + b"x" * 100)
    await setup.request("GET", "/__nothing")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


def deflated(*texts: bytes) -> list[bytes]:
    """Each as a compressed message, the window kept between them."""
    compressor = zlib.compressobj(wbits=-15)
    flushed = [compressor.compress(t) + compressor.flush(zlib.Z_SYNC_FLUSH) for t in texts]
    return [each[:-4] for each in flushed]


@pytest_twisted.ensureDeferred
async def test_a_compressed_bomb_is_inflated_up_to_the_limit_only(start: Start) -> None:
    client = await opened(start, deflate=True, max_body_size=100_000)
    (bomb,) = deflated(b" " * 50_000_000)
    assert len(bomb) < 60_000
    tracemalloc.start()
    client.send_bytes(frame(TEXT, bomb, rsv=4))
    last = (await client.reply())[-1]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert last["error"]["code"] == "request_too_large"
    await client.lost
    assert client.closed is not None
    assert client.closed[0] == 1009
    assert peak < 3_000_000


@pytest_twisted.ensureDeferred
async def test_compressed_messages_are_read(start: Start) -> None:
    client = await opened(start, deflate=True)
    one, two = deflated(CREATE, CREATE)
    assert len(two) < len(one) / 2
    client.send_bytes(frame(TEXT, one, rsv=4))
    assert (await client.reply())[-1]["type"] == "response.completed"
    # Uncompressed, and compressed in pieces with a ping between them.
    client.send_bytes(frame(TEXT, CREATE))
    assert (await client.reply())[-1]["type"] == "response.completed"
    client.send_bytes(frame(TEXT, two[:3], fin=False, rsv=4) + frame(PING, b"x"))
    client.send_bytes(frame(CONTINUATION, two[3:]))
    assert (await client.reply())[-1]["type"] == "response.completed"
    assert client.pongs == [b"x"]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(TEXT, b"\xff\xff\xff", rsv=4), 1007),
        (frame(TEXT, deflated(b"\xff")[0], rsv=4), 1007),
        (frame(PING, b"", rsv=4), 1002),
        (frame(TEXT, deflated(b"{")[0], fin=False, rsv=4) + frame(CONTINUATION, b"", rsv=4), 1002),
        (frame(TEXT, b"{}", rsv=2), 1002),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_is_badly_compressed_ends_the_connection(
    start: Start, data: bytes, code: int
) -> None:
    client = await opened(start, deflate=True)
    client.send_bytes(data)
    await client.lost
    assert client.closed is not None
    assert client.closed[0] == code


@pytest_twisted.ensureDeferred
async def test_a_compressor_may_end_its_stream(start: Start) -> None:
    """RFC 7692, 7.2.3.4 and 7.2.3.5."""
    client = await opened(start, deflate=True)
    for _ in range(2):
        compressor = zlib.compressobj(wbits=-15)
        ended = compressor.compress(CREATE) + compressor.flush(zlib.Z_FINISH)
        client.send_bytes(frame(TEXT, ended + b"\x00", rsv=4))
        assert (await client.reply())[-1]["type"] == "response.completed"


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        ("permessage-deflate", "permessage-deflate"),
        ("permessage-deflate; client_max_window_bits", "permessage-deflate"),
        ("permessage-deflate; client_max_window_bits=15", "permessage-deflate"),
        (
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            "permessage-deflate; server_no_context_takeover",
        ),
        (
            'permessage-deflate; server_max_window_bits="10"',
            "permessage-deflate; server_max_window_bits=10",
        ),
        ("permessage-deflate; server_max_window_bits=16", None),
        ("permessage-deflate; server_max_window_bits", None),
        ("permessage-deflate; client_max_window_bits=x", None),
        ("permessage-deflate; client_no_context_takeover=1", None),
        ("permessage-deflate; client_max_window_bits; client_max_window_bits=9", None),
        ("permessage-deflate; something", None),
        ("x-webkit-deflate-frame", None),
        ("", None),
    ],
)
def test_an_offer_to_compress_is_answered_or_declined(offer: str, answer: str | None) -> None:
    assert Deflate(1000).accept(offer) == answer


@pytest_twisted.ensureDeferred
async def test_the_first_offer_that_suits_is_taken(start: Start) -> None:
    setup = await start()
    offers = b"foo, permessage-deflate; bar, permessage-deflate; client_no_context_takeover"
    client = await shaken(setup, {b"Sec-WebSocket-Extensions": offers})
    answer = (await client.until(b"\r\n\r\n")).lower()
    assert b"extensions: permessage-deflate\r\n" in answer
    for _ in range(2):
        client.send(frame(TEXT, deflated(CREATE)[0], rsv=4))
    await client.until_count(b'"type":"response.completed"', 2)


# Time: under a clock, with a transport that is none.


class Line:
    """A WebSocket whose listener keeps what it is told."""

    isLeaf = True

    def __init__(self, limit: int = 1 << 30, ping_after: float = 15) -> None:
        self.clock = Clock()
        self.messages: list[bytes] = []
        self.told: list[str] = []
        self._limit, self._ping_after = limit, ping_after
        site = BridgeSite(self, limit, CLIENT_TIMEOUT, self.clock)  # type: ignore[arg-type]
        self.channel = site.buildProtocol(None)
        self.transport = Transport()
        self.channel.makeConnection(self.transport)
        self.channel.dataReceived(head())
        self.said()

    def getChildWithDefault(self, name: bytes, request: Any) -> Any:
        return self

    def render(self, request: Any) -> int:
        extensions = accept(request, self._limit)
        self.socket = WebSocket(
            request.channel, extensions, self._limit, self.clock, self._ping_after
        )
        self.socket.start(self)
        return NOT_DONE_YET

    def message(self, data: bytes) -> None:
        self.messages.append(data)

    def oversized(self) -> None:
        self.told.append("oversized")

    def going_away(self) -> None:
        self.told.append("going away")

    def closed(self) -> None:
        self.told.append("closed")

    def say(self, data: bytes) -> None:
        self.channel.dataReceived(data)

    def said(self) -> bytes:
        """What was written since the last call."""
        data: bytes = self.transport.value()
        self.transport.clear()
        return data

    def pass_time(self, seconds: float) -> None:
        """Answer each ping, second by second."""
        for _ in range(int(seconds)):
            self.clock.advance(1)
            if b"\x89\x00" in self.said():
                self.say(frame(PONG))


def test_a_silent_connection_is_pinged_and_kept_for_hours() -> None:
    line = Line()
    line.clock.advance(14.9)
    assert line.said() == b""
    line.clock.advance(0.1)
    assert line.said() == b"\x89\x00"
    line.say(frame(PONG))
    line.pass_time(3 * 3600)
    line.say(frame(TEXT, b"{}"))
    assert (line.messages, line.told) == ([b"{}"], [])
    assert line.transport.connected


def test_nothing_is_pinged_while_something_is_sent() -> None:
    line = Line()
    for _ in range(10):
        line.clock.advance(14)
        line.socket.send([b"{}"])
    assert b"\x89\x00" not in line.said()


def test_a_client_that_answers_no_ping_is_gone() -> None:
    line = Line()
    line.clock.pump([15] * (1 + STALL // 15 - 1))
    assert not line.transport.disconnected
    line.clock.advance(15)
    assert line.transport.disconnected


def test_any_byte_is_a_sign_of_life() -> None:
    line = Line()
    for _ in range(10):
        line.clock.advance(STALL - 1)
        line.say(frame(PING))
    assert not line.transport.disconnected


def test_half_a_message_is_not_waited_for() -> None:
    line = Line()
    line.say(frame(TEXT, b"{", fin=False))
    line.clock.advance(CLIENT_TIMEOUT - 0.1)
    assert line.told == []
    line.clock.advance(0.1)
    assert line.told == ["closed"]
    assert line.said().endswith(b"\x03\xf0The message did not arrive in time.")
    # It has a moment to answer the close frame, and no more.
    line.clock.advance(LINGER)
    assert line.transport.disconnecting


def test_half_a_message_is_not_waited_for_because_of_empty_pieces() -> None:
    line = Line()
    line.say(frame(TEXT, b"{", fin=False))
    for _ in range(CLIENT_TIMEOUT):
        assert line.told == []
        line.clock.advance(1.01)
        line.say(frame(CONTINUATION, b"", fin=False))
    assert line.told == ["closed"]


def test_a_large_message_gets_more_time() -> None:
    line = Line()
    line.say(frame(TEXT, b" ", fin=False))
    line.say(frame(CONTINUATION, b" " * (10 * BYTES_A_SECOND), fin=False))
    line.clock.advance(CLIENT_TIMEOUT + 9)
    assert line.told == []
    line.clock.advance(2)
    assert line.told == ["closed"]


def test_between_two_messages_there_is_no_deadline() -> None:
    line = Line()
    line.say(frame(TEXT, b"{", fin=False))
    line.say(frame(CONTINUATION, b"}"))
    line.pass_time(10 * CLIENT_TIMEOUT)
    assert (line.messages, line.told) == ([b"{}"], [])


def test_nothing_is_read_from_a_client_that_does_not_read() -> None:
    line = Line()
    line.clock.advance(15)
    line.channel.pauseProducing()
    assert line.transport.producerState == "paused"
    # No ping: whether it reads is looked at in another way.
    line.said()
    line.clock.advance(STALL - 1)
    assert line.said() == b""
    line.channel.resumeProducing()
    assert line.transport.producerState == "producing"
    line.pass_time(30)
    assert not line.transport.disconnected


def test_a_client_that_does_not_read_is_cut_off() -> None:
    line = Line()
    line.transport.write(b"x" * 1000)
    line.channel.pauseProducing()
    line.clock.pump([30] * (STALL // 30))
    assert line.transport.disconnected


def test_the_end_of_the_connection_is_told_once() -> None:
    for end in (frame(CLOSE), frame(BINARY), frame(CLOSE, b"\x03\xe8bye")):
        line = Line()
        line.say(end)
        line.channel.connectionLost()
        line.socket.connection_lost()
        assert line.told == ["closed"]
        assert line.clock.getDelayedCalls() == []


def test_nothing_is_read_or_sent_behind_the_end() -> None:
    line = Line()
    line.say(frame(BINARY, b"x") + frame(TEXT, b"{}"))
    line.said()
    line.socket.send([b"{}"])
    line.say(frame(TEXT, b"{}") + frame(PING))
    line.say(frame(CLOSE) + frame(TEXT, b"{}") + b"\xff" * 1000)
    assert (line.messages, line.said()) == ([], b"")
    assert line.transport.disconnecting


# Clients that never read.


@pytest_twisted.ensureDeferred
async def test_an_answer_waits_for_a_client_that_does_not_read(scene: Scene) -> None:
    client = await sockets.connect(scene.setup)
    client.create(ASK)
    client.transport.pauseProducing()
    wire = await scene.upstream()
    await wire.until(b"include_usage")
    wire.say(STREAM)
    piece = chunk(EVENT % (b"x" * 20_000))
    assert await scene.flood(wire.transport, piece, 50_000_000) < 25_000_000
    client.transport.abortConnection()
    await wire.lost


@pytest.mark.parametrize(
    "piece", [frame(PING, b"x" * 125) * 500, frame(TEXT, b"{}") * 500], ids=["pings", "messages"]
)
@pytest_twisted.ensureDeferred
async def test_a_client_is_not_read_that_does_not_read_what_it_is_told(
    scene: Scene, piece: bytes
) -> None:
    client = await sockets.connect(scene.setup)
    client.transport.pauseProducing()
    assert await scene.flood(client.transport, piece, 100_000_000) < 60_000_000
