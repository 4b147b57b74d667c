"""How the clients of the bridge are recognised, and which form of failures each needs."""

from __future__ import annotations

from attrs import frozen
from twisted.web.http_headers import Headers

from codex_bridge.errors import ApiError


@frozen
class ClientTraits:
    """What one kind of client expects, in the points in which clients differ."""

    name: str
    fails_in_stream: bool
    """Report every failure as an event, even one that is known before the stream begins."""
    length_completes: bool
    """End a reply whose answer was cut at the token limit as completed, not as incomplete."""
    empty_fails: bool
    """Report an empty answer as a failure: this client would end and print nothing."""
    repeat_prompt: bool
    """Repeat instructions and tools in the response objects."""

    def reads_in_stream(self, error: ApiError) -> bool:
        """Whether this client is told of `error` by an event, though no stream has begun."""
        # Codex then sends the whole conversation, but only if an error message tells it.
        return self.fails_in_stream and error.code != "previous_response_not_found"

    def failure_code(self, error: ApiError) -> str:
        """The code of `response.failed`, of those that OpenAI's own types list, and one more.

        An HTTP error has the more exact code, `ApiError.code`.
        """
        if error.code == "context_length_exceeded":
            # OpenAI sends it, too, though its types do not list it.
            return error.code
        if error.retry_after is not None:
            # Codex reads the wait from the sentence ("try again in 10s"), and retries five times.
            return "rate_limit_exceeded"
        if self is not CODEX:
            return "server_error" if error.status >= 500 else "invalid_prompt"
        # With invalid_prompt Codex shows the sentence once and sends no second request; it is
        # the only code of that kind. With server_error it retries five times within seconds.
        return "server_error" if error.is_temporary else "invalid_prompt"


# Codex retries a request that failed with an HTTP status 5 to 30 times, and mostly hides the body.
# It throws an incomplete reply away (0.130 also retries five times). Of a response object it reads
# only id, status, usage and error.
CODEX = ClientTraits(
    "codex", fails_in_stream=True, length_completes=True, empty_fails=True, repeat_prompt=False
)
SDK = ClientTraits(
    "sdk", fails_in_stream=False, length_completes=False, empty_fails=False, repeat_prompt=True
)


CODEX_HEADERS = ("x-codex-turn-metadata", "x-codex-window-id", "x-codex-beta-features")
"""They identify Codex inside an editor, where the editor sets the names in other headers."""


def traits_of(headers: Headers) -> ClientTraits:
    """The traits of the client that sent `headers`."""
    if any(headers.hasHeader(name) for name in CODEX_HEADERS):
        return CODEX
    for name in (b"originator", b"user-agent"):
        # As bytes: a header may hold what is no UTF-8.
        values = headers.getRawHeaders(name)
        if values and values[0].lower().startswith(b"codex"):
            return CODEX
    return SDK
