"""How the clients of the bridge want to be told, and how they are recognised."""

from __future__ import annotations

from attrs import frozen
from twisted.web.http_headers import Headers

from codex_bridge.errors import ApiError


@frozen
class ClientTraits:
    """What one kind of client expects where clients differ."""

    name: str
    fails_in_stream: bool
    """Tell every failure as an event, even one that is known before the stream begins."""
    length_completes: bool
    """End an answer that was cut at the token limit as completed."""
    empty_fails: bool
    """Tell an answer that says nothing as a failure: this client would end without a word."""
    repeat_prompt: bool
    """Repeat instructions and tools in the response objects."""

    def failure_code(self, error: ApiError) -> str:
        """The code of `response.failed`."""
        if self is not CODEX:
            return error.code or "server_error"
        if error.code == "context_length_exceeded":
            return error.code
        if error.retry_after is not None:
            # Codex waits for as long as the sentence says ("try again in 10s"), five times.
            return "rate_limit_exceeded"
        # The one code with which Codex shows the sentence once and does not repeat the
        # request; with the other it repeats it five times within seconds.
        return "server_error" if error.passing else "invalid_prompt"


# Codex repeats a request that failed with an HTTP status 5 to 30 times and mostly hides the
# body; an incomplete answer it throws away (and 0.130 asks for it five more times). It reads
# nothing of a response object but id, status, usage and error.
CODEX = ClientTraits(
    "codex", fails_in_stream=True, length_completes=True, empty_fails=True, repeat_prompt=False
)
SDK = ClientTraits(
    "sdk", fails_in_stream=False, length_completes=False, empty_fails=False, repeat_prompt=True
)


CODEX_HEADERS = ("x-codex-turn-metadata", "x-codex-window-id", "x-codex-beta-features")
"""Programs that Codex runs inside of, as an editor does, give it a name of their own."""


def traits_of(headers: Headers) -> ClientTraits:
    """The profile of the client that sent `headers`."""
    if any(headers.hasHeader(name) for name in CODEX_HEADERS):
        return CODEX
    for name in ("originator", "user-agent"):
        values = headers.getRawHeaders(name)
        if values and values[0].lower().startswith("codex"):
            return CODEX
    return SDK
