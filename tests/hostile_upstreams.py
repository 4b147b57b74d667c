"""Upstreams that no decent server is: what each says, and what a client of the bridge gets.

tests/web/test_upstream_table.py holds a bridge of this process against the table, and
`python -m bench torture` any other. The rule is docs/failures.md.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping
from functools import cache
from typing import Any

import orjson
from attrs import evolve, field, frozen

from tests.plays import Bytewise, Drip, Play, Repeat, Stage
from tests.upstream_bytes import (
    END,
    Dialect,
    Json,
    Part,
    answered,
    chunk,
    delta,
    encoded,
    event,
    line,
    message,
    sized,
    varied,
)
from tests.wires import NOT_OLLAMA

# What a decent answer is made of.

HEAD = Part(
    answered(b"200 OK", b"Content-Type: text/event-stream", b"Transfer-Encoding: chunked"),
    answered(b"200 OK", b"Content-Type: application/x-ndjson", b"Transfer-Encoding: chunked"),
)
HEAD_UNTIL_CLOSE = Part(
    answered(b"200 OK", b"Content-Type: text/event-stream"),
    answered(b"200 OK", b"Content-Type: application/x-ndjson"),
)
DONE_LINE = {"model": "m", "message": {"role": "assistant", "content": ""}, "done": True}
COUNTS = {"prompt_eval_count": 9, "eval_count": 1}


def said(text: Any) -> Part:
    return Part(delta({"content": text}), message({"content": text}))


def thought(text: str) -> Part:
    return Part(delta({"reasoning": text}), message({"content": "", "thinking": text}))


def called(calls: Any) -> Part:
    """What stands under `tool_calls`."""
    return Part(delta({"tool_calls": calls}), message({"content": "", "tool_calls": calls}))


def function(arguments: Any, **more: Any) -> Json:
    """A call of the tool that the client offers."""
    return {"id": "c1", "function": {"name": "exec_command", "arguments": arguments}} | more


def raw(payload: Any) -> Part:
    """An event, or a line."""
    return Part(event(payload), line(payload))


def finished(reason: Any, **more: Any) -> Part:
    return Part(
        delta({}, reason, **more), line(DONE_LINE | COUNTS | {"done_reason": reason} | more)
    )


TEXT, THOUGHT = said("Half"), thought("Hm.")
CALL = Part(
    delta({"tool_calls": [function('{"cmd":', index=0)]}),
    message({"content": "", "tool_calls": [function({"cmd": "ls"})]}),
)
"""The first half of a call; /api/chat knows only whole ones."""
STOP = finished("stop")
DONE = Part(event(b"[DONE]"), b"")
BLANK = chunk(b" " * 500 + b"\n")
"""A line that says nothing."""
GOOD: Play = (HEAD, said("Good."), STOP, DONE, END)
GOOD_BODY = Part(
    b'data: {"choices":[{"delta":{"content":"Good."},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n',
    b'{"message":{"content":"Good."},"done":true,"done_reason":"stop"}\n',
)
"""The same, before it is cut into chunks."""

# Data that is large or odd.

MIB = b"x" * 2**20
ESCAPES = "\x1b[31mred\x1b[0m\x07\x08 \x9b2J\r\nnext"


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


@cache
def bomb(mebibytes: int) -> bytes:
    """Few bytes that gzip makes many of."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    return b"".join([*(packer.compress(MIB) for _ in range(mebibytes)), packer.flush()])


def one_by_one(data: bytes) -> bytes:
    """Each byte in a chunk of its own."""
    return b"".join(chunk(bytes([byte])) for byte in data) + END


# What a client gets.

SILENCE = 60.0
"""Seconds of `--upstream-timeout` in the tests."""


@frozen
class Outcome:
    """What Codex gets in the end, and how often the model was asked."""

    code: str
    """That of `response.failed`; or "completed"; or "open", if only the client can end it."""
    requests: int
    says: str = ""
    """Words of the sentence of a failure."""
    text: str = ""
    """All the text that the client got."""
    calls: int = 0
    """How many calls it got."""
    seconds: float = 0.0
    """How long, at most, it takes by the clock, without the time between two attempts."""
    needs_silence: bool = False
    """Whether it comes only after the seconds of `--upstream-timeout`, besides these."""


VARIED = varied(100_000)
GOOD_ANSWER = Outcome("completed", 1, text="Good.")
HALF_ANSWER = Outcome("completed", 1, text="Half")
FAILED = Outcome("invalid_prompt", 1)
NO_HTTP = evolve(FAILED, says="no HTTP")
GARBLED = evolve(FAILED, says="cannot be read")
UNREACHABLE = Outcome("invalid_prompt", 6, "does not answer")
REFUSED = evolve(FAILED, says="refused the request")
BUSY = Outcome("rate_limit_exceeded", 5, "try again in 10s")
OVERSIZED = evolve(FAILED, says="is too large")
BROKEN = Outcome("invalid_prompt", 3, "broke off its answer")
CUT = Outcome("server_error", 1, "broke off its answer", "Half")
EMPTY = Outcome("invalid_prompt", 2, "answered with nothing")
SILENT = evolve(FAILED, says="nothing for", needs_silence=True)
OPEN = Outcome("open", 1)


@frozen
class Upstream:
    """One row of the table."""

    name: str
    play: Play
    """What it says to each chat request."""
    outcome: Outcome
    ollama: Outcome | None = None
    """The outcome in Ollama's dialect, where it is another one."""
    dialects: tuple[Dialect, ...] = ("chat", "ollama")
    questions: Mapping[str, Play] = field(factory=dict)
    """What it says to questions of the bridge: their path -> a play."""

    def outcome_in(self, dialect: Dialect) -> Outcome:
        return self.ollama or self.outcome if dialect == "ollama" else self.outcome


CHAT: tuple[Dialect, ...] = ("chat",)
OLLAMA: tuple[Dialect, ...] = ("ollama",)


def with_header(*headers: bytes) -> Play:
    """A good answer with these headers, whose body ends with the connection."""
    return (answered(b"200 OK", *headers), GOOD_BODY, "close")


def with_status(code: bytes) -> Play:
    return (sized(code, body=b"Sorry"),)


def interim(code: bytes, times: int) -> Play:
    return (Repeat(answered(code), times), *GOOD)


HEADS = [
    Upstream("closed without a word", ("close",), UNREACHABLE),
    Upstream("reset without a word", ("reset",), UNREACHABLE),
    Upstream("never a head", ("hang",), SILENT),
    Upstream("no HTTP", (b"SSH-2.0-x\r\n\r\n", "close"), NO_HTTP),
    Upstream("garbage bytes", (b"\0\xff\x01\x80\n\n\0", "close"), NO_HTTP),
    Upstream("a body without a head", (GOOD_BODY, "close"), NO_HTTP),
    Upstream("HTTP/2 frames", (b"\0\0\6\4\0\0\0\0\0\0\3\0\0\0\x64", "close"), UNREACHABLE),
    Upstream("half a status line", (b"HTTP/1.1 20", "close"), UNREACHABLE),
    Upstream("half a head", (b"HTTP/1.1 200 OK\r\nContent-Ty", "close"), UNREACHABLE),
    Upstream("an unknown version", (b"HTTP/9 abc\r\n\r\n", "close"), NO_HTTP),
    Upstream("status 0", with_status(b"0 X"), REFUSED),
    Upstream("status 99", with_status(b"99 X"), REFUSED),
    Upstream("status 999", with_status(b"999 X"), REFUSED),
    Upstream("a negative status", with_status(b"-200 X"), REFUSED),
    Upstream("a status of words", with_status(b"fine thanks"), NO_HTTP),
    Upstream("a status of 5,000 digits", with_status(b"2" * 5000 + b" X"), NO_HTTP),
    Upstream("no phrase", (b"HTTP/1.1 200\r\n\r\n", GOOD_BODY, "close"), GOOD_ANSWER),
    Upstream("line feeds alone", (b"HTTP/1.1 200 OK\n\n", GOOD_BODY, "close"), GOOD_ANSWER),
    Upstream("HTTP/1.0", (b"HTTP/1.0 200 OK\r\n\r\n", GOOD_BODY, "close"), GOOD_ANSWER),
    Upstream("a header without a colon", with_header(b"no colon", b"A: b"), NO_HTTP),
    Upstream("a folded header", with_header(b"A: b", b"  c", b"\td"), GOOD_ANSWER),
    Upstream("a folded first header", with_header(b"  c", b"A: b"), NO_HTTP),
    Upstream("a header of 100 kB", with_header(b"A: " + b"b" * 100_000), NO_HTTP),
    Upstream("5,000 headers", with_header(*[b"A: b"] * 5000), GOOD_ANSWER),
    Upstream(
        "headers without an end", (b"HTTP/1.1 200 OK\r\n", Repeat(b"A: b\r\n" * 999)), NO_HTTP
    ),
    Upstream("a header without an end", (b"HTTP/1.1 200 OK\r\nA: ", Repeat(MIB)), NO_HTTP),
    Upstream("a status line without an end", (Repeat(MIB),), NO_HTTP),
    Upstream("a header now and then", (b"HTTP/1.1 200 OK\r\n", Drip(b"A: b\r\n", 10)), SILENT),
    Upstream("NUL and high bytes in a header", with_header(b"A: \0\xff\x80"), GOOD_ANSWER),
    Upstream("NUL in the name of a header", with_header(b"A\0\xff: b"), NO_HTTP),
    Upstream("two lengths", with_header(b"Content-Length: 5", b"Content-Length: 500000"), NO_HTTP),
    Upstream("a negative length", with_header(b"Content-Length: -5"), NO_HTTP),
    Upstream("a length of words", with_header(b"Content-Length: long"), NO_HTTP),
    Upstream("a length of 5,000 digits", with_header(b"Content-Length: " + b"9" * 5000), NO_HTTP),
    Upstream("a huge length", with_header(b"Content-Length: " + b"9" * 30), GOOD_ANSWER),
    Upstream("too short a length", with_header(b"Content-Length: 9"), GARBLED),
    Upstream("a length of 0", with_header(b"Content-Length: 0"), BROKEN),
    Upstream("an unknown transfer encoding", with_header(b"Transfer-Encoding: x"), NO_HTTP),
    Upstream("two transfer encodings", with_header(b"Transfer-Encoding: gzip, chunked"), NO_HTTP),
    Upstream(
        "a length and chunks",
        (
            answered(b"200 OK", b"Content-Length: 9", b"Transfer-Encoding: chunked"),
            GOOD_BODY.through(chunk),
            END,
        ),
        GOOD_ANSWER,
    ),
    Upstream("100 once", interim(b"100 Continue", 1), GOOD_ANSWER),
    Upstream("102 once", interim(b"102 Processing", 1), GOOD_ANSWER),
    Upstream("103 once", interim(b"103 Early Hints", 1), GOOD_ANSWER),
    Upstream("100 by the thousand", interim(b"100 Continue", 5000), GOOD_ANSWER),
    Upstream("100 now and then", (Drip(answered(b"100 Continue"), 10),), SILENT),
    Upstream("100 without an end", (Repeat(answered(b"100 Continue") * 99),), NO_HTTP),
    Upstream(
        "101, and another protocol",
        (answered(b"101 Switching Protocols", b"Upgrade: x"), b"\x81\x05Hello\n", "close"),
        NO_HTTP,
    ),
    Upstream("204", (answered(b"204 No Content"),), REFUSED),
    Upstream("205", (answered(b"205 Reset Content"), "close"), REFUSED),
    Upstream("304", (answered(b"304 Not Modified"),), REFUSED),
    *[
        Upstream(
            f"a redirect by {code}",
            (sized(b"%d Away" % code, b"Location: http://127.0.0.1:1/v1/x", body=b""),),
            evolve(FAILED, says="redirects to http://127.0.0.1:1/v1/x"),
        )
        for code in (301, 302, 303, 307, 308)
    ],
    Upstream("a redirect to nowhere", (sized(b"302 Away", body=b""),), REFUSED),
    Upstream(
        "a page of HTML",
        (sized(b"200 OK", b"Content-Type: text/html", body=b"<!doctype html>\n<p>Hello\n"),),
        GARBLED,
    ),
    Upstream(
        "an error with status 200",
        (sized(b"200 OK", b"Content-Type: application/json", body=b'{"error":"boom"}'),),
        evolve(BROKEN, says="boom"),
    ),
    Upstream(
        "a stream that is called JSON",
        with_header(b"Content-Type: application/json"),
        GARBLED,
        GOOD_ANSWER,
    ),
    Upstream("each byte by itself", (Bytewise(HEAD_UNTIL_CLOSE + GOOD_BODY), "close"), GOOD_ANSWER),
    Upstream("bytes behind the answer", (*GOOD, b"HTTP/1.1 200 OK\r\n\r\nmore"), GOOD_ANSWER),
]


def coded(name: bytes, body: Part) -> Play:
    """An answer whose body is said to be encoded."""
    return (
        answered(b"200 OK", b"Content-Encoding: " + name, b"Transfer-Encoding: chunked"),
        body.through(chunk),
        END,
    )


ZIPPED_BODY = GOOD_BODY.through(gzip.compress)
FRAMING = [
    Upstream("a chunk size of no number", (HEAD, b"zz\r\nab\r\n", "hang"), BROKEN),
    Upstream("a chunk size below zero", (HEAD, b"-5\r\nabcde\r\n", "hang"), BROKEN),
    Upstream("a chunk size with a sign", (HEAD, b"+5\r\nabcde\r\n", "hang"), BROKEN),
    Upstream("an empty chunk size", (HEAD, b"\r\nabcde\r\n", "hang"), BROKEN),
    Upstream("a chunk size without an end", (HEAD, Repeat(b"0" * 9999)), BROKEN),
    Upstream("a huge chunk", (HEAD, b"ffffffffffffffff\r\n", GOOD_BODY), GOOD_ANSWER),
    Upstream("no line end behind a chunk", (HEAD, b"2\r\n\n\nxx5\r\n", "hang"), BROKEN),
    Upstream(
        "no line end behind a chunk, in mid-text", (HEAD, TEXT, b"2\r\n\n\nxx5\r\n", "hang"), CUT
    ),
    Upstream(
        "a chunk size of no number, behind the finish reason",
        (HEAD, TEXT, STOP, b"zz\r\n", "hang"),
        HALF_ANSWER,
    ),
    Upstream(
        "a chunk extension",
        (HEAD, b'1;a="b";c\r\n\n\r\n', GOOD_BODY.through(chunk), END),
        GOOD_ANSWER,
    ),
    Upstream("a long chunk extension", (HEAD, b"1;" + b"a" * 5000 + b"\r\n\n\r\n", "hang"), BROKEN),
    Upstream("trailers", (HEAD, GOOD_BODY.through(chunk), b"0\r\nA: b\r\n\r\n"), GOOD_ANSWER),
    Upstream(
        "trailers without an end",
        (HEAD, GOOD_BODY.through(chunk), b"0\r\n", Repeat(b"A: b\r\n" * 999)),
        GOOD_ANSWER,
    ),
    Upstream(
        "trailers without an end, and no answer",
        (HEAD, b"0\r\n", Repeat(b"A: b\r\n" * 999)),
        BROKEN,
    ),
    Upstream("chunks of one byte", (HEAD, GOOD_BODY.through(one_by_one)), GOOD_ANSWER),
    Upstream(
        "10,000 chunks of a line feed",
        (HEAD, Repeat(b"1\r\n\n\r\n", 10_000), *GOOD[1:]),
        GOOD_ANSWER,
    ),
    Upstream("no last chunk", (HEAD, GOOD_BODY.through(chunk), "close"), GOOD_ANSWER),
    Upstream("a last chunk at once", (HEAD, END, *GOOD[1:]), BROKEN),
    Upstream("gzip", coded(b"gzip", ZIPPED_BODY), GOOD_ANSWER),
    Upstream("gzip twice", coded(b"gzip, gzip", ZIPPED_BODY.through(gzip.compress)), GOOD_ANSWER),
    Upstream("gzip that is none", coded(b"gzip", GOOD_BODY), BROKEN),
    Upstream("half of gzip", coded(b"gzip", ZIPPED_BODY.through(lambda z: z[:20])), GARBLED),
    Upstream(
        "a gzip bomb",
        (
            answered(b"200 OK", b"Content-Encoding: gzip", b"Connection: close"),
            Part(bomb(200), bomb(200)),
            "close",
        ),
        OVERSIZED,
    ),
    Upstream(
        "a gzip bomb as an error",
        (
            answered(b"400 Bad", b"Content-Encoding: gzip", b"Connection: close"),
            Part(bomb(200), bomb(200)),
            "close",
        ),
        REFUSED,
    ),
    Upstream("deflate that is none", coded(b"deflate", GOOD_BODY), GOOD_ANSWER),
    Upstream("br that is none", coded(b"br", GOOD_BODY), GOOD_ANSWER),
    Upstream("deflate", coded(b"deflate", GOOD_BODY.through(zlib.compress)), GARBLED),
]


def error(body: Any, code: int = 400) -> Play:
    return (sized(b"%d Sorry" % code, body=encoded(body)),)


def endless_error(code: int) -> Play:
    return (answered(b"%d Sorry" % code, b"Content-Length: 100", body=b"not today"), "hang")


STATUSES = {400: REFUSED, 404: REFUSED, 429: BUSY, 500: REFUSED, 503: BUSY}
ERRORS = [
    *[
        Upstream(
            f"{code} whose body does not end",
            endless_error(code),
            Outcome(kind.code, kind.requests, "not today", seconds=5 * kind.requests),
        )
        for code, kind in STATUSES.items()
    ],
    *[
        Upstream(f"{code} with an empty body", error(b"", code), evolve(kind, says="Sorry"))
        for code, kind in {400: REFUSED, 404: REFUSED, 429: BUSY, 500: REFUSED, 502: BROKEN}.items()
    ],
    Upstream(
        "an error that drips",
        (answered(b"400 Sorry"), Drip(b"no ", 1)),
        evolve(REFUSED, says="no no", seconds=5),
    ),
    *[
        Upstream(f"{code} whose body is cut", (*endless_error(code)[:-1], "close"), kind)
        for code, kind in STATUSES.items()
    ],
    *[
        Upstream(
            f"{code} with a body of 10 MB",
            (answered(b"%d Sorry" % code, b"Content-Length: 10485760"), Repeat(MIB, 10)),
            kind,
        )
        for code, kind in STATUSES.items()
    ],
    Upstream("an error without an end", (answered(b"400 Sorry"), Repeat(b"no " * 999)), REFUSED),
    Upstream(
        "an error of 10 MB in JSON",
        (
            answered(b"400 Sorry", b"Content-Length: 10485773"),
            b'{"error": "',
            Repeat(MIB, 10),
            b'"}',
        ),
        REFUSED,
    ),
    Upstream("an error of 60,000 characters", error({"error": "x" * 60_000}), REFUSED),
    Upstream(
        "an error of no UTF-8", error(b"caf\xe9 \xff\xfe closed"), evolve(REFUSED, says="caf")
    ),
    Upstream("an error of HTML", error(b"<html><h1>Bad Gateway"), evolve(REFUSED, says="Bad Gat")),
    Upstream("an error of NULs", error(b"\0" * 100), REFUSED),
    Upstream("an error of terminal escapes", error(ESCAPES.encode()), evolve(REFUSED, says="red")),
    Upstream(
        "an error of terminal escapes in JSON",
        error({"error": {"message": ESCAPES}}),
        evolve(REFUSED, says="red"),
    ),
    *[
        Upstream(f"an error that is {name}", error({"error": value}), evolve(REFUSED, says=says))
        for name, value, says in (
            ("a string", "not today", "not today"),
            ("an object", {"message": "not today"}, "not today"),
            ("an object without a message", {"code": 5}, "5"),
            ("an object with a list as message", {"message": ["not today"]}, "not today"),
            ("an object with a number as message", {"message": 17}, "17"),
            ("a list", ["not today"], "not today"),
            ("a number", 17, "17"),
            ("null", None, "null"),
            ("true", True, "true"),
        )
    ],
    Upstream("an error that is a list in JSON", error(["not today"]), REFUSED),
    Upstream("an error nested 300 deep", error(b'{"error":%b}' % nested(300)), FAILED),
    Upstream("an error nested 1,000 deep", error(b'{"error":%b}' % nested(1000)), FAILED),
    Upstream("an error nested 10,000 deep", error(b'{"error":%b}' % nested(10_000)), REFUSED),
    Upstream(
        "an error whose object is nested 300 deep",
        error(b'{"error":{"a":%b}}' % nested(300)),
        FAILED,
    ),
    Upstream(
        "an error whose message is nested 300 deep",
        error(b'{"error":{"message":%b}}' % nested(300)),
        FAILED,
    ),
    Upstream(
        "an error in an error",
        error({"error": '{"error":{"message":"not today"}}'}),
        evolve(REFUSED, says="not today"),
    ),
]


def among(*odd: Any, text: str = "Half", **more: Any) -> tuple[Play, Outcome]:
    """A good answer with something odd in its middle, which changes nothing."""
    return (HEAD, TEXT, *odd, STOP, DONE, END), Outcome("completed", 1, text=text, **more)


def alone(odd: Any) -> Play:
    return (HEAD, odd, STOP, DONE, END)


def events(data: bytes) -> Play:
    """A stream of events that is just these bytes."""
    return (HEAD_UNTIL_CLOSE, data, "close")


HALF_EVENT = b'{"choices":[{"delta":{"content":"Half"},"finish_reason":"stop"}]}'
HALF_BODY = b"data: " + HALF_EVENT + b"\n\ndata: [DONE]\n\n"
PIECES = HALF_EVENT.replace(b",", b",\n")
STREAMS = [
    Upstream("silence behind the head", (HEAD, "hang"), SILENT),
    Upstream("silence behind text", (HEAD, TEXT, "hang"), evolve(SILENT, text="Half")),
    Upstream("silence behind reasoning", (HEAD, THOUGHT, "hang"), SILENT),
    Upstream("silence in a call", (HEAD, CALL, "hang"), SILENT),
    Upstream("a space now and then", (HEAD, Drip(chunk(b" "), 10)), OPEN),
    Upstream("comments now and then", (HEAD, Drip(chunk(b": x\n\n"), 10)), OPEN, dialects=CHAT),
    Upstream("empty lines now and then", (HEAD, Drip(chunk(b"\n"), 10)), OPEN),
    Upstream("reasoning now and then", (HEAD, Drip(THOUGHT, 10)), OPEN),
    Upstream("comments alone", (HEAD, chunk(b": x\n\n"), END), GARBLED, dialects=CHAT),
    Upstream("50,000 comments", among(chunk(b": x\n\n" * 50_000))[0], HALF_ANSWER, dialects=CHAT),
    Upstream("names of events alone", (HEAD, chunk(b"event: a\n\n"), END), GARBLED, dialects=CHAT),
    Upstream("other fields", *among(chunk(b"id: 1\nretry: 9\nx\n:\ndata\n\n")), dialects=CHAT),
    Upstream(
        "a byte order mark", (HEAD_UNTIL_CLOSE, b"\xef\xbb\xbf", GOOD_BODY, "close"), GOOD_ANSWER
    ),
    Upstream(
        "carriage returns alone",
        events(HALF_BODY.replace(b"\n", b"\r")),
        HALF_ANSWER,
        dialects=CHAT,
    ),
    Upstream(
        "CR LF, cut between them",
        (
            HEAD_UNTIL_CLOSE,
            GOOD_BODY.through(lambda body: body[:-1] + b"\r"),
            "pause",
            b"\n\r",
            "pause",
            b"\n",
            "close",
        ),
        GOOD_ANSWER,
    ),
    Upstream(
        "no last line end", (HEAD_UNTIL_CLOSE, GOOD_BODY.through(bytes.strip), "close"), GOOD_ANSWER
    ),
    Upstream("lines of spaces", *among(raw(b"   "), chunk(b"  \t \n")), dialects=OLLAMA),
    Upstream(
        "no space behind data:",
        events(HALF_BODY.replace(b": {", b":{")),
        HALF_ANSWER,
        dialects=CHAT,
    ),
    Upstream(
        "one event in many data lines",
        events(b"".join(b"data: %b\n" % each for each in PIECES.split(b"\n")) + b"\n"),
        HALF_ANSWER,
        dialects=CHAT,
    ),
    Upstream(
        "an event of 20,000 empty data lines",
        (HEAD, TEXT, chunk(b"data:\n" * 20_000 + b"\n"), STOP, DONE, END),
        evolve(GARBLED, text="Half"),
        dialects=CHAT,
    ),
    # Odd JSON.
    *[
        Upstream(f"JSON that is {name}", (HEAD, raw(data), STOP, DONE, END), GARBLED)
        for name, data in {
            "a list": b"[1]",
            "a number": b"5",
            "a string": b'"x"',
            "null": b"null",
            "true": b"true",
            "none": b"{",
            "two objects": b"{} {}",
            "nested 10,000 deep": nested(10_000),
            "nested 500 deep": nested(500),
            "an object nested 10,000 deep": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        }.items()
    ],
    Upstream(
        "JSON that is a list, in mid-text",
        (HEAD, TEXT, raw(b"[1]"), STOP, DONE, END),
        evolve(GARBLED, text="Half"),
    ),
    Upstream("deep nesting that nobody reads", *among(raw(b'{"x":%b}' % nested(200)))),
    Upstream("an empty object", *among(raw({}))),
    Upstream("NaN", *among(raw(b'{"a": NaN}'))),
    Upstream("infinite numbers", *among(raw(b'{"a": [Infinity, -Infinity, 1e999, -1e999]}'))),
    Upstream(
        "a number of 5,000 digits",
        among(raw(b'{"a": %b}' % (b"9" * 5000)))[0],
        evolve(GARBLED, text="Half"),
    ),
    Upstream("keys twice", *among(raw(b'{"a":1,"a":2,"model":"m","model":"n"}'))),
    Upstream("no UTF-8 outside of text", *among(raw(b'{"a":"\xff\xfe"}'))),
    Upstream(
        "no UTF-8 in text",
        *among(said("A").through(lambda b: b.replace(b'"A"', b'"\xff"')), text="Half\ufffd"),
    ),
    Upstream(
        "half a surrogate pair",
        *among(
            said("123456").through(lambda b: b.replace(b"123456", rb"\ud83d")), text="Half\ufffd"
        ),
    ),
    Upstream(
        "a raw control character in text",
        *among(said("A").through(lambda b: b.replace(b"A", b"\x01")), text="Half\x01"),
    ),
    Upstream("NUL in text", *among(said("\0"), text="Half\0")),
    Upstream(
        "a raw NUL in text",
        *among(said("A").through(lambda b: b.replace(b"A", b"\0")), text="Half\0"),
    ),
    Upstream(
        "a line of NUL",
        (HEAD, TEXT, chunk(b"\0\0\n"), STOP, DONE, END),
        HALF_ANSWER,
        evolve(GARBLED, text="Half"),
    ),
    # Odd shapes.
    *[
        Upstream(f"choices that are {name}", *among(raw({"choices": value})), dialects=CHAT)
        for name, value in {
            "null": None,
            "empty": [],
            "a string": "x",
            "a number": 5,
            "an object": {"0": {"delta": {"content": "no"}}},
            "a list of null": [None],
            "a list of lists": [[{"delta": {"content": "no"}}]],
            "a list of strings": ["x"],
        }.items()
    ],
    *[
        Upstream(
            f"a delta or message that is {name}",
            *among(Part(delta(value), message(value))),
        )
        for name, value in {"null": None, "a list": [1], "a string": "x", "a number": 5}.items()
    ],
    *[
        Upstream(f"content that is {name}", *among(said(value)))
        for name, value in {
            "null": None,
            "a list": [{"type": "text", "text": "no"}],
            "a number": 5,
            "an object": {"text": "no"},
            "true": True,
        }.items()
    ],
    Upstream(
        "content of 100,000 characters",
        among(said(VARIED))[0],
        Outcome("completed", 1, text="Half" + VARIED),
    ),
    Upstream(
        "reasoning of every type",
        *among(
            *[
                Part(
                    delta({"reasoning": value, "reasoning_content": value}),
                    message({"thinking": value}),
                )
                for value in (None, [], ["x"], 5, {"a": 1}, True)
            ]
        ),
    ),
    # Odd calls.
    *[
        Upstream(f"calls that are {name}", *among(called(value)))
        for name, value in {
            "null": None,
            "a string": "x",
            "a number": 5,
            "an object": function({"cmd": "ls"}),
            "a list of null": [None],
            "a list of lists": [[function({"cmd": "ls"})]],
            "a list of strings": ["x"],
        }.items()
    ],
    *[
        Upstream(f"a call with {name}", *among(called([value])))
        for name, value in {
            "no function": {"id": "c1"},
            "null as function": {"id": "c1", "function": None},
            "a string as function": {"id": "c1", "function": "exec_command"},
        }.items()
    ],
    *[
        Upstream(f"a call with {name}", *among(called([value]), calls=1))
        for name, value in {
            # The client tells the model that it has no such tool.
            "no name": {"id": "c1", "function": {"arguments": "{}"}},
            "null as name": {"id": "c1", "function": {"name": None, "arguments": "{}"}},
            "an object as name": function({}) | {"function": {"name": {"a": 1}, "arguments": {}}},
            "arguments null": function(None),
            "arguments that are a number": function(5),
            "arguments that are a list": function(["ls"]),
            "arguments that are true": function(True),
            "arguments that are no JSON": function("{"),
            "an index below zero": function({"cmd": "ls"}, index=-1),
            "a huge index": function({"cmd": "ls"}, index=10**18),
            "a string as index": function({"cmd": "ls"}, index="x"),
            "a list as index": function({"cmd": "ls"}, index=[1]),
            "no id": function({"cmd": "ls"}, id=None),
            "a number as id": function({"cmd": "ls"}, id=17),
            "a list as id": function({"cmd": "ls"}, id=["c1"]),
            "an object as id": function({"cmd": "ls"}, id={"a": 1}),
            "true as id": function({"cmd": "ls"}, id=True),
            "an id of 10,000 characters": function({"cmd": "ls"}, id="c" * 10_000),
        }.items()
    ],
    Upstream(
        "a call with arguments nested 300 deep",
        (HEAD, called([function(orjson.Fragment(nested(300)))]), STOP, DONE, END),
        GARBLED,
    ),
    Upstream(
        "a call with arguments nested 300 deep in a string",
        *among(called([function(nested(300).decode())]), calls=1),
        dialects=CHAT,
    ),
    Upstream(
        "1,000 calls",
        *among(
            *[called([function({"cmd": f"ls {i}"}, index=i, id=f"c{i}")]) for i in range(1000)],
            calls=1000,
        ),
    ),
    Upstream(
        "the same call 100 times",
        *among(
            *[called([function({"cmd": "ls"}, index=i, id=f"c{i}")]) for i in range(100)], calls=100
        ),
    ),
    Upstream(
        "100 fragments of one call under ever new indexes",
        *among(
            *[called([{"index": i, "function": {"arguments": "x"}}]) for i in range(100)], calls=100
        ),
        dialects=CHAT,
    ),
    # Odd ends.
    *[
        Upstream(
            f"a finish reason that is {name}", (HEAD, TEXT, finished(value), DONE, END), HALF_ANSWER
        )
        for name, value in {
            "an unknown word": "enough",
            "a number": 5,
            "an object": {"type": "stop"},
            "a list": ["stop"],
            "true": True,
        }.items()
    ],
    Upstream("a finish reason and nothing", (HEAD, STOP, DONE, END), EMPTY),
    Upstream("reasoning alone", (HEAD, THOUGHT, STOP, DONE, END), EMPTY),
    Upstream("spaces alone", (HEAD, said("  \n "), STOP, DONE, END), EMPTY),
    Upstream("no finish reason", (HEAD, TEXT, END), CUT),
    Upstream(
        "a finish reason that is null", (HEAD, TEXT, finished(None), DONE, END), CUT, HALF_ANSWER
    ),
    Upstream("done without a finish reason", (HEAD, TEXT, DONE, END), CUT, dialects=CHAT),
    *[
        Upstream(
            f"usage that is {name}",
            (
                HEAD,
                TEXT,
                Part(
                    delta({}, "stop", usage=value),
                    line(DONE_LINE | {"prompt_eval_count": value, "eval_count": value}),
                ),
                DONE,
                END,
            ),
            HALF_ANSWER,
        )
        for name, value in {
            "null": None,
            "a string": "x",
            "a list": [1],
            "a number": 5,
            "true": True,
            "an object of strings": {"prompt_tokens": "9", "completion_tokens": "x"},
            "negative": {"prompt_tokens": -9, "completion_tokens": -1},
            "huge": {"prompt_tokens": 10**18, "completion_tokens": 2**63},
            "of fractions": {"prompt_tokens": 9.7, "completion_tokens": 1e300},
            "an object of lists": {"prompt_tokens": [9], "prompt_tokens_details": [9]},
        }.items()
    ],
    Upstream(
        "an infinite usage",
        (
            HEAD,
            TEXT,
            Part(
                event(
                    b'{"choices":[{"delta":{},"finish_reason":"stop"}],'
                    b'"usage":{"prompt_tokens":Infinity,"completion_tokens":NaN}}'
                ),
                line(b'{"done":true,"prompt_eval_count":Infinity,"eval_count":NaN}'),
            ),
            DONE,
            END,
        ),
        HALF_ANSWER,
    ),
    Upstream(
        "events behind the end", (HEAD, TEXT, STOP, DONE, said("no"), raw(b"["), END), HALF_ANSWER
    ),
    Upstream(
        "text behind the finish reason",
        (HEAD, TEXT, STOP, said(" more"), DONE, END),
        evolve(HALF_ANSWER, text="Half more"),
        HALF_ANSWER,
    ),
    Upstream("two finish reasons", (HEAD, TEXT, STOP, finished("length"), DONE, END), HALF_ANSWER),
    Upstream(
        "the stream stays open behind the finish reason",
        (HEAD, TEXT, STOP, "hang"),
        evolve(HALF_ANSWER, seconds=3),
    ),
    Upstream(
        "lines without an end behind the finish reason",
        (HEAD, TEXT, STOP, Repeat(BLANK)),
        evolve(HALF_ANSWER, seconds=3),
    ),
    Upstream("an error at once", (HEAD, raw({"error": "boom"}), END), evolve(BROKEN, says="boom")),
    Upstream(
        "an error behind text", (HEAD, TEXT, raw({"error": "boom"}), END), evolve(CUT, says="boom")
    ),
    Upstream(
        "an error behind reasoning",
        (HEAD, THOUGHT, raw({"error": "boom"}), END),
        evolve(BROKEN, says="boom"),
    ),
    Upstream(
        "an error behind a call",
        (HEAD, CALL, raw({"error": "boom"}), END),
        evolve(BROKEN, says="boom"),
    ),
    Upstream(
        "an error behind the finish reason",
        (HEAD, TEXT, STOP, raw({"error": "boom"}), END),
        evolve(CUT, says="boom"),
        HALF_ANSWER,
    ),
    *[
        Upstream(
            f"an error in the stream that is {name}", (HEAD, raw({"error": value}), END), BROKEN
        )
        for name, value in {
            "a list": ["boom"],
            "a number": 5,
            "true": True,
            "an object": {"code": 5},
            "an object with a list as message": {"message": ["boom"]},
            "a string of terminal escapes": ESCAPES,
            "60,000 characters": "x" * 60_000,
        }.items()
    ],
    Upstream("an error in the stream that is null", *among(raw({"error": None}))),
    *[
        Upstream(f"an error in the stream {name} nested 300 deep", (HEAD, raw(data), END), FAILED)
        for name, data in (
            ("that is a list", b'{"error":%b}' % nested(300)),
            ("with an object", b'{"error":{"a":%b}}' % nested(300)),
            ("with a message", b'{"error":{"message":%b}}' % nested(300)),
        )
    ],
    # Floods.
    Upstream(
        "a line without an end",
        (HEAD_UNTIL_CLOSE, Part(b"data: ", b""), Repeat(MIB)),
        OVERSIZED,
    ),
    Upstream(
        "an event without an end",
        (HEAD_UNTIL_CLOSE, Repeat(b"data: %b\n" % MIB[:9999])),
        OVERSIZED,
        dialects=CHAT,
    ),
    Upstream(
        "a JSON answer without an end",
        (answered(b"200 OK", b"Content-Type: application/json"), b'{"a":"', Repeat(MIB)),
        OVERSIZED,
    ),
    Upstream("empty lines without an end", (HEAD, Repeat(BLANK)), OPEN),
    Upstream(
        "reasoning that repeats itself",
        (HEAD, Repeat(THOUGHT)),
        Outcome("invalid_prompt", 2, "its reasoning repeats itself"),
    ),
    Upstream(
        "5,000 tiny events",
        among(*map(said, VARIED[:5_000]))[0],
        Outcome("completed", 1, text="Half" + VARIED[:5_000]),
    ),
    Upstream(
        "5,000 fragments of a call",
        (
            HEAD,
            CALL,
            Repeat(called([{"index": 0, "function": {"arguments": " "}}]), 5_000),
            called([{"index": 0, "function": {"arguments": '"ls"}'}}]),
            STOP,
            DONE,
            END,
        ),
        Outcome("completed", 1, calls=1),
        dialects=CHAT,
    ),
]

DELIVERED: dict[str, tuple[tuple[Part, ...], Outcome]] = {
    "behind the head": ((), BROKEN),
    "in the reasoning": ((THOUGHT,), BROKEN),
    "in a call": ((CALL,), BROKEN),
    "in the text": ((TEXT,), CUT),
    "behind the finish reason": ((TEXT, STOP), HALF_ANSWER),
}
"""What was delivered when the connection ends."""
ENDS: list[Upstream] = [
    Upstream(f"{ending} {stage}", (HEAD, *parts, "pause", ending), outcome)
    for stage, (parts, outcome) in DELIVERED.items()
    for ending in ("close", "half-close", "reset")
]

# The questions of the bridge about an Ollama and its models.

FACTS: dict[str, Json] = {
    "/api/version": {"version": "0.33.0"},
    "/api/show": {
        "capabilities": ["completion", "tools", "thinking"],
        "details": {"family": "qwen3"},
        "model_info": {"general.architecture": "qwen3", "qwen3.context_length": 40960},
    },
    "/api/ps": {"models": []},
    "/api/generate": {"done": True},
}
"""What a decent Ollama says when it is asked about itself or a model, or to load one."""
MODELS = {"object": "list", "data": [{"id": "qwen3:14b", "object": "model"}]}
JSON_HEAD = (b"Content-Type: application/json",)
TROUBLES: dict[str, Play] = {
    "silence": ("hang",),
    "no HTTP": (b"\0\1\2 hello\r\n\r\n", "close"),
    "a closed connection": ("close",),
    "a body that does not end": (
        answered(b"200 OK", *JSON_HEAD, b"Content-Length: 100", body=b"{"),
        "hang",
    ),
    "a body that drips": (answered(b"200 OK", *JSON_HEAD), Drip(b" ", 1)),
    "a body that is cut": (
        answered(b"200 OK", *JSON_HEAD, b"Content-Length: 100", body=b"{"),
        "close",
    ),
    "a flood": (answered(b"200 OK", *JSON_HEAD), Repeat(MIB)),
    "500": error({"error": "boom"}, 500),
    "a redirect": (sized(b"302 Away", b"Location: /", body=b""),),
    "10 MB": (answered(b"200 OK", *JSON_HEAD, b"Content-Length: 10485760"), Repeat(MIB, 10)),
    "deep nesting": (sized(b"200 OK", *JSON_HEAD, body=nested(10_000)),),
    "no object": (sized(b"200 OK", *JSON_HEAD, body=b"[1]"),),
    "nothing": (sized(b"200 OK", *JSON_HEAD, body=b""),),
}
NOT_ASKED = Outcome("invalid_prompt", 0)
ANSWERS: dict[str, Outcome] = {
    # Without its version the bridge does not know how to ask; an error means another server.
    "/api/version silence": evolve(NOT_ASKED, says="no answer within", seconds=42),
    "/api/version a closed connection": evolve(NOT_ASKED, says="does not answer"),
    "/api/version a body that does not end": evolve(NOT_ASKED, says="no answer within", seconds=42),
    "/api/version a body that drips": evolve(NOT_ASKED, says="no answer within", seconds=42),
    "/api/version a body that is cut": evolve(NOT_ASKED, says="does not answer"),
    # Without facts the model is asked all the same.
    "/api/show silence": evolve(GOOD_ANSWER, seconds=42),
    "/api/show a body that does not end": evolve(GOOD_ANSWER, seconds=42),
    "/api/show a body that drips": evolve(GOOD_ANSWER, seconds=42),
    "/api/ps silence": evolve(GOOD_ANSWER, seconds=42),
    "/api/ps a body that does not end": evolve(GOOD_ANSWER, seconds=42),
    "/api/ps a body that drips": evolve(GOOD_ANSWER, seconds=42),
    # A model that cannot be loaded cannot be asked either.
    "/api/generate silence": evolve(NOT_ASKED, says="nothing for", needs_silence=True),
    "/api/generate no HTTP": evolve(NOT_ASKED, says="no HTTP"),
    "/api/generate a closed connection": evolve(NOT_ASKED, says="does not answer"),
    "/api/generate a body that does not end": evolve(GOOD_ANSWER, seconds=21),
    "/api/generate a body that drips": evolve(GOOD_ANSWER, seconds=21),
}
"""What comes of a trouble; where nothing is said, the exchange ends well at once."""
ODD_FACTS: dict[str, tuple[str, Json]] = {
    "a version that is a number": ("/api/version", {"version": 5}),
    "a version that is null": ("/api/version", {"version": None}),
    "a version that is a word": ("/api/version", {"version": "latest"}),
    "a version of 5,000 digits": ("/api/version", {"version": "9" * 5000 + ".1"}),
    "a version of many numbers": ("/api/version", {"version": "1." * 5000 + "1"}),
    "an error with 200 as version": ("/api/version", {"error": "boom"}),
    "capabilities that are an object": ("/api/show", {"capabilities": {"tools": True}}),
    "capabilities of every type": ("/api/show", {"capabilities": [None, 5, [], {}, "tools"]}),
    "facts of wrong types": (
        "/api/show",
        {"capabilities": 5, "details": [], "model_info": "x", "parameters": [1], "template": 5},
    ),
    "an architecture that is a list": ("/api/show", {"model_info": {"general.architecture": []}}),
    "a context that is a string": (
        "/api/show",
        {"model_info": {"general.architecture": "q", "q.context_length": "40960"}},
    ),
    "a context below zero": (
        "/api/show",
        {"model_info": {"general.architecture": "q", "q.context_length": -1}},
    ),
    "a huge context": (
        "/api/show",
        {"model_info": {"general.architecture": "q", "q.context_length": 10**18}},
    ),
    "parameters that are no numbers": (
        "/api/show",
        {"capabilities": ["tools"], "parameters": "num_ctx nan\ntemperature inf\ntop_p x"},
    ),
    "a template of 1 MB": (
        "/api/show",
        {"capabilities": ["tools"], "template": "{{ x }}" * 150_000},
    ),
    "loaded models that are a number": ("/api/ps", {"models": 5}),
    "loaded models of every type": ("/api/ps", {"models": [None, 5, "x", [], {}]}),
    "a loaded model of wrong types": (
        "/api/ps",
        {"models": [{"name": 5, "context_length": "x"}, {"name": ["qwen3:14b"]}]},
    ),
    "a load that says an error with 200": ("/api/generate", {"error": "boom"}),
}
QUESTIONS = [
    *[
        Upstream(
            f"{trouble} from {path}",
            GOOD,
            ANSWERS.get(f"{path} {trouble}", GOOD_ANSWER),
            dialects=OLLAMA,
            questions={path: play},
        )
        for path in FACTS
        for trouble, play in TROUBLES.items()
    ],
    *[
        Upstream(
            name,
            GOOD,
            GOOD_ANSWER,
            dialects=OLLAMA,
            questions={path: (sized(b"200 OK", *JSON_HEAD, body=encoded(facts)),)},
        )
        for name, (path, facts) in ODD_FACTS.items()
    ],
]

UPSTREAMS = [*HEADS, *FRAMING, *ERRORS, *STREAMS, *ENDS, *QUESTIONS]
DECENT = Upstream("decent", GOOD, GOOD_ANSWER)


class HostileStage(Stage):
    """Plays one upstream of the table; `upstream` may be changed between two exchanges."""

    def __init__(self, reactor: Any, upstream: Upstream, *, is_ollama: bool, **more: Any) -> None:
        super().__init__(reactor, **more)
        self.upstream = upstream
        self.is_ollama = is_ollama

    def answer(self, path: str, body: bytes) -> tuple[Play, Dialect]:
        if path in {"/v1/chat/completions", "/api/chat"} and b"_debug_render_only" not in body:
            self.requests += 1
            return self.upstream.play, "ollama" if path == "/api/chat" else "chat"
        facts = FACTS | {"/v1/models": MODELS}
        if not self.is_ollama or path not in facts:
            return (NOT_OLLAMA,), "chat"
        decent = sized(b"200 OK", *JSON_HEAD, body=encoded(facts[path]))
        return self.upstream.questions.get(path, (decent,)), "ollama"
