"""Where a request begins and ends: what two programs could read in two ways is refused.

A request that the bridge and a proxy in front of it cut at different places can hide a second
one in it. twisted.web refuses most of what is ambiguous; this is the rest.
"""

from __future__ import annotations

from twisted.web.http import HTTPChannel
from twisted.web.http_headers import Headers


class StrictChannel(HTTPChannel):
    """Ends the connection at the first request that is not plain HTTP/1.1 or 1.0."""

    _is_over = False
    """Set by `_respondToBadRequestAndDisconnect`: what still comes is no request."""

    def lineReceived(self, line: bytes) -> None:
        """A line of a head. A folded one (RFC 9112, 5.2) is two headers to some, one to others."""
        if line.startswith((b" ", b"\t")):
            self._respondToBadRequestAndDisconnect()
        if not self._is_over:
            super().lineReceived(line)

    def headerReceived(self, line: bytes) -> bool:
        """A whole header."""
        try:
            return not self._is_over and super().headerReceived(line)
        except ValueError:
            # int() takes no number of thousands of digits.
            self._respondToBadRequestAndDisconnect()
            return False

    def allHeadersReceived(self) -> None:
        """The head is whole."""
        if not is_clear(self._version, self.requests[-1].requestHeaders):
            self._respondToBadRequestAndDisconnect()
        if not self._is_over:
            super().allHeadersReceived()

    def allContentReceived(self) -> None:
        """The body is in; where there is none, right after a head that was refused, too."""
        if not self._is_over:
            super().allContentReceived()


def is_clear(version: bytes, headers: Headers) -> bool:
    """Whether it is certain for whom a request is and how its body is framed."""
    hosts = headers.getRawHeaders(b"host", [])
    if len(hosts) > 1 or (not hosts and version == b"HTTP/1.1"):
        return False
    codings = [coding.lower() for coding in headers.getRawHeaders(b"transfer-encoding", [])]
    return not codings or (codings == [b"chunked"] and version == b"HTTP/1.1")
