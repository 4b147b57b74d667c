"""HTTP requests as no decent client sends them."""

from __future__ import annotations

import random
from collections.abc import Iterator

BODY = b'{"model": "qwen3:14b", "input": "hi"}'
PATHS = (
    *(b"/v1/responses", b"/v1/models", b"/__health", b"/api/tags", b"/", b"/v1/responses/x"),
    *(b"/v1/models?client_version=1", b"/v1/chat/completions", b"/__x", b"//", b"/api/show"),
)
HEADERS = (
    *(b"User-Agent", b"Originator", b"X-Codex-Window-Id", b"Session_id", b"Thread-Id"),
    *(b"Authorization", b"X-Api-Key", b"Origin", b"Host", b"Content-Type", b"Accept"),
    *(b"Content-Encoding", b"Accept-Encoding", b"Connection", b"Cookie", b"Range", b"Via"),
    *(b"Access-Control-Request-Headers", b"Access-Control-Request-Method", b"Referer"),
)
VALUES = (
    *(b"caf\xe9", b"\xff\xfe", b"\xc3\xa9", b"", b" ", b"\t", b"a" * 3000, b"\x80" * 20),
    *(b"localhost..", b"[::1", b"[::1]", b"localhost:99999999999", b"xn--", b"a.", b".", b"::"),
    *(b"http://\xff", b"http://[x", b"null", b"http://localhost:x", b"*", b"%0a", b"%00", b"%"),
    *(b"gzip", b"close", b"keep-alive, upgrade", b"bytes=0-", b"Bearer \xff", b"Basic x"),
    *(b"text/plain", b'"', b"'", b";", b"\\", b"{}", b"codex\xff", b"\xe2\x80\xae"),
)
ESCAPES = (b"%0a", b"%0d%0a", b"%00", b"%ff", b"%", b"%zz", b"%2e%2e/", b"\xc3\xa9", b"\xff", b"\\")


def head(path: bytes, *headers: tuple[bytes, bytes], method: bytes = b"POST") -> bytes:
    """A request with these headers, besides those that it needs; a POST has a body."""
    body = BODY if method == b"POST" else b""
    named = {name.lower() for name, _ in headers}
    usual = [(b"Host", b"localhost"), (b"Content-Length", b"%d" % len(body))]
    pairs = [pair for pair in usual if pair[0].lower() not in named] + list(headers)
    lines = [method + b" " + path + b" HTTP/1.1", *(b": ".join(pair) for pair in pairs)]
    return b"\r\n".join([*lines, b"Connection: close", b"", b""]) + body


def vectors() -> Iterator[bytes]:
    """Every value in every header, and every escape in every path."""
    for name in HEADERS:
        for value in VALUES:
            yield head(b"/v1/responses", (name, value))
            yield head(b"/v1/models?client_version=1", (name, value), method=b"GET")
    for path in PATHS:
        for escape in ESCAPES:
            for method in (b"GET", b"POST", b"OPTIONS", b"HEAD", b"DELETE", b"G\xc9T"):
                yield head(path + escape, method=method)
                yield head(path + b"/" + escape + b"x?a=" + escape, method=method)


def mixed(seed: int) -> Iterator[bytes]:
    """Several of them at once, and bytes of a request changed, without an end."""
    choose = random.Random(seed)
    while True:
        pairs = [
            (choose.choice(HEADERS), choose.choice(VALUES)) for _ in range(choose.randint(1, 4))
        ]
        path = choose.choice(PATHS) + choose.choice((b"", *ESCAPES))
        raw = bytearray(head(path, *pairs, method=choose.choice((b"POST", b"GET", b"PUT"))))
        for _ in range(choose.randint(0, 3)):
            raw[choose.randrange(len(raw))] = choose.randrange(256)
        yield bytes(raw)
