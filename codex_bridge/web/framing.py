"""Where a request begins and ends: what two programs could read in two ways is refused.

A request that the bridge and a proxy in front of it cut at different places can hide a second
one in it. twisted.web refuses most of what is ambiguous; this module refuses the rest.
"""

from __future__ import annotations

from typing import NoReturn

from twisted.web.http_headers import Headers

from codex_bridge.errors import ApiError, invalid
from codex_bridge.twisted_private import ReportingChannel, has_oversized_head, request_line

MAX_HEADERS_SIZE = 64 * 1024
"""Bytes. Codex puts JSON into header values; Twisted's default is 16 KiB."""


class StrictChannel(ReportingChannel):
    """Reads HTTP/1.1 and 1.0. `dataReceived` raises ApiError at the first request that is not
    plain HTTP or too large; nothing that comes behind it may be read."""

    totalHeadersSize = MAX_HEADERS_SIZE
    MAX_LENGTH = MAX_HEADERS_SIZE

    def lineReceived(self, line: bytes) -> None:
        """Take a line of a head. A folded one (RFC 9112, 5.2) is refused: it is ambiguous."""
        if line.startswith((b" ", b"\t")):
            self.bad_request()
        super().lineReceived(line)

    def headerReceived(self, line: bytes) -> bool:
        """A header is complete."""
        try:
            return bool(super().headerReceived(line))
        except ValueError:
            # int() refuses a Content-Length of thousands of digits.
            self.bad_request()

    def allHeadersReceived(self) -> None:
        """The head is complete."""
        _, _, version = request_line(self)
        if not is_clear(version, self.requests[-1].requestHeaders):
            self.bad_request()
        super().allHeadersReceived()

    def bad_request(self) -> NoReturn:
        """Raises ApiError: this is no valid HTTP request."""
        if has_oversized_head(self):
            self.lineLengthExceeded(b"")
        raise invalid("This is not a valid HTTP request.", code="invalid_http")

    def lineLengthExceeded(self, line: bytes) -> NoReturn:
        """Raises ApiError: the head is too large, in one line or in all of them."""
        raise ApiError(
            431,
            f"The request has too many headers: codex-bridge accepts at most {self.maxHeaders} of "
            f"them, with {self.totalHeadersSize} bytes in all.",
            code="headers_too_large",
        )


def is_clear(version: bytes, headers: Headers) -> bool:
    """Whether it is certain for whom a request is and how its body is framed."""
    hosts = headers.getRawHeaders(b"host", [])
    if len(hosts) > 1 or (not hosts and version == b"HTTP/1.1"):
        return False
    codings = [coding.lower() for coding in headers.getRawHeaders(b"transfer-encoding", [])]
    return not codings or (codings == [b"chunked"] and version == b"HTTP/1.1")
