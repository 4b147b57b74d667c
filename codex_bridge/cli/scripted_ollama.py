"""A small Ollama for `codex-bridge demo`: one model, which follows a script.

It answers what the bridge asks, and what the real Codex CLI asks through the bridge, nothing else.
It answers for every model name, and checks nothing in a request.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import orjson
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from codex_bridge.vocabulary import Json

MODEL = "qwen3:14b"
RUNNERS = ("exec_command", "shell")
"""Names that Codex versions give to the tool that runs a command."""
BYTES_PER_TOKEN = 4
DETAILS = {"family": "qwen3", "parameter_size": "14.8B", "quantization_level": "Q4_K_M"}
LOOKUPS: dict[str, Json] = {
    "/api/version": {"version": "0.33.0"},
    "/api/tags": {"models": [{"name": MODEL, "model": MODEL, "details": DETAILS}]},
    # No model is loaded and none sets a context: so the bridge asks for one by /api/chat.
    "/api/ps": {"models": []},
    "/v1/models": {
        "object": "list",
        "data": [{"id": MODEL, "object": "model", "created": 0, "owned_by": "library"}],
    },
}
"""Answers to GET by path."""
DESCRIPTION: Json = {
    "details": DETAILS,
    "model_info": {"general.architecture": "qwen3", "qwen3.context_length": 40960},
    "capabilities": ["completion", "tools", "thinking", "vision"],
}
"""The answer to POST /api/show."""


class ScriptedOllama(Resource):
    """The scripted model behind an HTTP server on a free port of 127.0.0.1.

    `url` is its address, `chats` holds the body of every POST /api/chat so far.
    """

    isLeaf = True

    def __init__(self, reactor: Any) -> None:
        """Listen at once."""
        super().__init__()
        self.chats: list[Json] = []
        self._listening = reactor.listenTCP(0, Site(self), interface="127.0.0.1")
        self.url = f"http://127.0.0.1:{self._listening.getHost().port}"

    def stop(self) -> Deferred[None]:
        """Stop listening; fires when the port is closed."""
        return maybeDeferred(self._listening.stopListening)

    def render(self, request: Any) -> Any:
        """Answer any request; an answer is written whole at once."""
        path = request.path.decode("ascii", "replace")
        if request.method != b"POST":
            if path == "/":
                return b"Ollama is running"
            return _json(request, LOOKUPS[path]) if path in LOOKUPS else _not_found(request)
        body = request.content.read()
        asked: Json = orjson.loads(body)
        if path == "/api/show":
            return _json(request, DESCRIPTION)
        if path == "/api/pull":
            return _lines(request, [{"status": "success"}])
        if path == "/api/generate":
            # The bridge asks without a prompt, which only loads the model.
            return _lines(request, [{"response": "", "done": True, "done_reason": "load"}])
        if path == "/api/chat":
            self.chats.append(asked)
            return _lines(request, _chat_lines(asked, len(body) // BYTES_PER_TOKEN))
        return _not_found(request)


def scripted_answer(asked: Json) -> Iterator[Json]:
    """What the model says to the body of a POST /api/chat, one message for each word or call.

    It calls a function for the command that the user wrote in backquotes, or for `ls /tmp`, and
    reports what the command printed. Where `format` asks for JSON, it answers with JSON.
    """
    last = asked["messages"][-1]
    functions = {tool["function"]["name"] for tool in asked.get("tools") or []}
    runner = next((name for name in RUNNERS if name in functions), None)
    if asked.get("format"):
        yield {"content": _json_answer(asked["format"])}
    elif last["role"] == "tool":
        # Codex puts facts about the run before the output itself.
        output = last["content"].rpartition("Output:\n")[2]
        lines = [line for line in output.splitlines() if line.strip()]
        yield from _words("thinking", "The command ran. I report.")
        yield from _words("content", f"It worked. I see: {', '.join(lines[-5:]) or 'nothing'}")
    elif runner and last["role"] == "user":
        quoted = re.search(r"`([^`\n]+)`", last["content"])
        command = quoted.group(1) if quoted else "ls /tmp"
        yield from _words("thinking", f"The user wants something done. I should run {command}.")
        yield from _words("content", "Let me look.")
        yield {"tool_calls": [{"function": {"name": runner, "arguments": {"cmd": command}}}]}
    else:
        yield from _words("thinking", "A plain question.")
        yield from _words("content", "Hello! I am a scripted model; I can run commands.")


def _words(key: str, text: str) -> Iterator[Json]:
    return ({key: word} for word in re.findall(r"\s*\S+|\s+", text))


def _json_answer(schema: Any) -> str:
    """The smallest object with all that a JSON schema requires; a title if it has no properties."""
    known: Json = schema if isinstance(schema, dict) else {}
    properties = known.get("properties") or {"title": {"type": "string"}}
    empty = {"array": [], "object": {}, "boolean": False, "integer": 0, "number": 0}
    answer = {}
    for name in known.get("required") or properties:
        kind = (properties.get(name) or {}).get("type")
        answer[name] = empty.get(str(kind), "A demonstration")
    return orjson.dumps(answer).decode()


def _chat_lines(asked: Json, prompt_tokens: int) -> Iterator[Json]:
    head = {"model": asked.get("model"), "created_at": datetime.now(UTC).isoformat()}
    empty = {"role": "assistant", "content": ""}
    messages = list(scripted_answer(asked))
    for message in messages:
        yield head | {"message": empty | message, "done": False}
    counts = {"prompt_eval_count": prompt_tokens, "eval_count": len(messages)}
    yield head | {"message": empty, "done": True, "done_reason": "stop"} | counts


def _lines(request: Any, lines: Iterable[Json]) -> int:
    request.setHeader(b"content-type", b"application/x-ndjson")
    for line in lines:
        request.write(orjson.dumps(line) + b"\n")
    request.finish()
    return NOT_DONE_YET


def _json(request: Any, answer: Json) -> bytes:
    request.setHeader(b"content-type", b"application/json; charset=utf-8")
    return orjson.dumps(answer)


def _not_found(request: Any) -> bytes:
    request.setResponseCode(404)
    return b"404 page not found"
