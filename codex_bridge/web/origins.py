"""Which web pages may use the bridge's own routes, by the rule that Ollama has for its own.

A page anywhere on the web can make its visitor's browser post to localhost. The browser sends
the page's origin along; programs that are no browsers send none.
"""

from __future__ import annotations

import re

from attrs import frozen
from twisted.web.http_headers import Headers

from codex_bridge.errors import ApiError
from codex_bridge.text import printable
from codex_bridge.web.site import BridgeRequest

LOCAL = re.compile(r"https?://(localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1\])(:\d+)?")
APP_SCHEMES = (
    "app://",
    "file://",
    "tauri://",
    "vscode-webview://",
    "vscode-file://",
    "chrome-extension://",
    "moz-extension://",
    "safari-web-extension://",
)
"""Schemes of programs on this machine and of browser extensions that their user installed."""
MAX_AGE = b"43200"
"""Seconds for which a browser may keep the answer to a preflight; Ollama sends the same."""


@frozen
class Origins:
    """The rule, with the patterns that --allow-origin adds to it."""

    allowed: tuple[str, ...] = ()

    def refusal(self, headers: Headers) -> ApiError | None:
        """Why a request with these headers is refused; None if it is not."""
        for origin in headers.getRawHeaders(b"origin", []):
            name = origin.decode("latin-1")
            if not self.allows(name):
                return ApiError(
                    403,
                    f"Pages of {printable(name)} may not use this bridge; "
                    f"--allow-origin lets them.",
                    code="foreign_origin",
                )
        return None

    def allows(self, origin: str) -> bool:
        """Whether pages of `origin` may use the bridge."""
        origin = origin.lower()
        return (
            LOCAL.fullmatch(origin) is not None
            or origin.startswith(APP_SCHEMES)
            or any(_matches(origin, pattern) for pattern in self.allowed)
        )


def _matches(origin: str, pattern: str) -> bool:
    """Whether `origin` is `pattern`, in which one * may stand for any characters."""
    start, star, end = pattern.partition("*")
    if not star:
        return origin == pattern
    return len(origin) >= len(start + end) and origin.startswith(start) and origin.endswith(end)


def is_preflight(method: bytes, headers: Headers) -> bool:
    """Whether this is a preflight: a browser asks what a page may send, before it sends it."""
    return method == b"OPTIONS" and headers.hasHeader(b"origin")


def let_page_read(request: BridgeRequest) -> None:
    """Have the browser show the reply to the page that asked, whose origin is allowed."""
    origin = request.getHeader(b"origin")
    if origin is not None:
        request.setHeader(b"access-control-allow-origin", origin)
        request.responseHeaders.addRawHeader(b"vary", b"Origin")


def reply_to_preflight(request: BridgeRequest) -> bytes:
    """The reply to a preflight: what a page may send, with any headers that it asks for."""
    request.setResponseCode(204)
    request.setHeader(b"access-control-allow-methods", b"GET, POST, DELETE, OPTIONS")
    request.setHeader(b"access-control-max-age", MAX_AGE)
    if asked_for := request.getHeader(b"access-control-request-headers"):
        request.setHeader(b"access-control-allow-headers", asked_for)
        request.responseHeaders.addRawHeader(b"vary", b"Access-Control-Request-Headers")
    return b""
