"""A server that answers as one of the model servers in `kinds.py` does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orjson
from attrs import frozen

from tests.answering import AnsweringServer
from tests.servers.own_words import prompt_of, refusal

Json = dict[str, Any]
Event = Json | str
"""An event of a stream: its data, or its lines as they stand in the stream."""


@frozen
class Kind:
    """How a server speaks."""

    name: str
    """As the bridge calls it."""
    headers: tuple[str, ...]
    """What every answer has."""
    missing: bytes
    """The answer to a route that it does not have."""
    routes: dict[str, Any]
    """Path -> the JSON that it answers."""
    is_http_1_0: bool = False
    """Whether an answer ends with its connection."""

    def whole(self, status: str, body: Any, content_type: str = "application/json") -> bytes:
        """An answer with a length. A `body` that is neither bytes nor text is sent as JSON."""
        data = body.encode() if isinstance(body, str) else body
        data = data if isinstance(data, bytes) else orjson.dumps(data)
        return self._head(status, content_type, f"Content-Length: {len(data)}") + data

    def stream(self, *events: Event) -> bytes:
        """A stream of these events, each a chunk of its own."""
        lines = [
            event if isinstance(event, str) else f"data: {orjson.dumps(event).decode()}\n\n"
            for event in events
        ]
        if self.is_http_1_0:
            return self._head("200 OK", "text/event-stream") + "".join(lines).encode()
        chunks = [b"%x\r\n%b\r\n" % (len(data), data) for data in map(str.encode, lines)]
        head = self._head("200 OK", "text/event-stream", "Transfer-Encoding: chunked")
        return head + b"".join(chunks) + b"0\r\n\r\n"

    def _head(self, status: str, content_type: str, *more: str) -> bytes:
        version = "HTTP/1.0" if self.is_http_1_0 else "HTTP/1.1"
        lines = [f"{version} {status}", *self.headers, f"Content-Type: {content_type}", *more]
        return "\r\n".join([*lines, "", ""]).encode()


Said = bytes | Callable[["Double"], bytes]
CHAT = "/v1/chat/completions"
COMPLETION, TEMPLATE = "/completion", "/apply-template"
PROBE = "codex_bridge_probe"
"""The function of the bridge's own requests, which learn whether a model is shown functions."""


class Double(AnsweringServer):
    """A server of one kind, on a real socket."""

    def __init__(self, reactor: Any, kind: Kind, *said: Said) -> None:
        """`said` are its answers to requests for an answer; the last one is given for ever."""
        super().__init__(reactor, self._answer)
        self.kind = kind
        self.closes = kind.is_http_1_0
        self.routes = dict(kind.routes)
        self.refuses_all: bytes | None = None
        """The answer to every request while it is set."""
        self.own_words: Sequence[Said] = ()
        """Its answers to requests for the model's own words, as `said`; see own_words.py."""
        self.on_short: Callable[[Double, Json], bytes] = one_token
        """Answers the bridge's own requests, which are for a single token, by their bodies."""
        self.paths: list[str] = []
        """Those that were asked."""
        self._said = said

    @property
    def asked(self) -> list[Json]:
        """The bodies of the requests for an answer."""
        return [body for body in self._chats() if not is_short(body)]

    @property
    def short(self) -> list[Json]:
        """The bodies of the requests for a single token."""
        return [body for body in self._chats() if is_short(body)]

    @property
    def completions(self) -> list[Json]:
        """The bodies of the requests for the model's own words."""
        return self._sent(COMPLETION)

    @property
    def renderings(self) -> list[Json]:
        """The bodies of the requests for the prompt of a chat, without the bridge's own."""
        return [body for body in self._sent(TEMPLATE) if PROBE not in str(body.get("tools"))]

    def _chats(self) -> list[Json]:
        return self._sent(CHAT)

    def _sent(self, path: str) -> list[Json]:
        pairs = zip(self.paths, self.bodies, strict=True)
        return [orjson.loads(body) for asked, body in pairs if asked == path]

    def _answer(self, path: str) -> bytes:
        self.paths.append(path)
        if self.refuses_all is not None:
            return self.refuses_all
        if path == CHAT:
            return self._say(orjson.loads(self.bodies[-1]))
        if path == COMPLETION and self.own_words:
            return self._complete(orjson.loads(self.bodies[-1]))
        if path not in self.routes:
            return self.kind.missing
        if path == TEMPLATE:
            prompt = prompt_of(orjson.loads(self.bodies[-1]))
            return self.kind.whole("200 OK", {"prompt": prompt})
        return self.kind.whole("200 OK", self.routes[path])

    def _say(self, body: Json) -> bytes:
        if is_short(body):
            return self.on_short(self, body)
        return self._nth(self._said, len(self.asked))

    def _complete(self, body: Json) -> bytes:
        if message := refusal(body):
            error = {"code": 400, "message": message, "type": "invalid_request_error"}
            return self.kind.whole("400 Bad Request", {"error": error})
        return self._nth(self.own_words, len(self.completions))

    def _nth(self, answers: Sequence[Said], n: int) -> bytes:
        """The answer to the `n`th request; the last one is given for ever."""
        said = answers[min(n, len(answers)) - 1]
        return said if isinstance(said, bytes) else said(self)


def is_short(body: Json) -> bool:
    """Whether a request is for a single token."""
    return body.get("max_tokens") == 1


def one_token(double: Double, body: Json) -> bytes:
    """An answer of one token to a prompt that shows the functions."""
    usage = {"prompt_tokens": 150 if "tools" in body else 9, "completion_tokens": 1}
    message = {"role": "assistant", "content": "H", "tool_calls": []}
    choices = [{"index": 0, "message": message, "finish_reason": "length"}]
    return double.kind.whole("200 OK", {"choices": choices, "usage": usage})
