"""Ollama's own routes before a server that has none: answered by the bridge itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from codex_bridge.clients import ollama_api
from codex_bridge.engines.answer import Answer
from codex_bridge.engines.upstream import Upstream
from codex_bridge.errors import ApiError, from_upstream, too_large
from codex_bridge.text import printable
from codex_bridge.vocabulary import (
    ChatRequest,
    Delta,
    FailureKind,
    Json,
    ModelInfo,
    UpstreamFailure,
)
from codex_bridge.web.json_replies import send_json
from codex_bridge.web.site import BridgeRequest

READING = ("/api/version", "/api/tags", "/api/ps")
CHATS = ("/api/chat", "/api/generate")
POSTS = (*CHATS, "/api/show", "/api/pull")
OLLAMAS_ALONE = frozenset(
    {"/api/create", "/api/copy", "/api/delete", "/api/push", "/api/embed", "/api/embeddings"}
)
"""Routes that need an Ollama."""
LINES = b"application/x-ndjson"


def is_native(request: BridgeRequest) -> bool:
    """Whether a request is for a route that this module answers."""
    path, method = _path(request), request.method
    if path == "/":
        # The `ollama` command looks in this way whether the server is there.
        return method == b"HEAD"
    if path in READING:
        return method in {b"GET", b"HEAD"}
    return (path in POSTS and method == b"POST") or path in OLLAMAS_ALONE


def _path(request: BridgeRequest) -> str:
    return request.path.decode(errors="replace")


class NativeRoutes:
    """Answers Ollama's routes for the models of another server."""

    def __init__(
        self, upstream: Upstream, clock: IReactorTime, log: Logger, max_body_size: int
    ) -> None:
        """`max_body_size`: the most bytes of a request that are kept."""
        self._upstream = upstream
        self._clock = clock
        self._log = log
        self._max_body_size = max_body_size

    async def handle(self, request: BridgeRequest) -> bytes | None:
        """Answer `request`; cancelling closes the upstream connection."""
        started = self._clock.seconds()
        outcome = "client gone"
        try:
            reply = await self._reply(request)
            outcome = f"{request.code}, answered by codex-bridge"
            return reply
        except UpstreamFailure as failure:
            error = from_upstream(failure, "", self._upstream.words)
            outcome = f"{error.status}, {error.message}"
            return _refused(request, error)
        except ApiError as error:
            outcome = f"{error.status}, {error.message}"
            return _refused(request, error)
        finally:
            self._log.info(
                "{method} {path} {outcome}, {duration:.3f} s",
                method=printable(request.method),
                path=printable(request.path),
                outcome=outcome,
                duration=self._clock.seconds() - started,
            )

    async def _reply(self, request: BridgeRequest) -> bytes | None:
        path = _path(request)
        if path == "/":
            return b""
        if path == "/api/version":
            return send_json(request, 200, {"version": ollama_api.VERSION})
        if path == "/api/tags":
            return send_json(request, 200, ollama_api.tags(await self._infos()))
        if path == "/api/ps":
            loaded = [info for info in await self._infos() if info.is_loaded is not False]
            told = ((info, self._upstream.expected_context(info)) for info in loaded)
            return send_json(request, 200, ollama_api.running(told))
        if path in OLLAMAS_ALONE:
            name = self._upstream.words.name
            raise ApiError(501, f"{path} needs an Ollama, and the upstream is {name}.")
        body = await self._body(request)
        if path == "/api/show":
            return await self._show(request, ollama_api.parsed(body)["model"])
        if path == "/api/pull":
            return await self._pull(request, ollama_api.parsed(body))
        return await self._chat(request, ollama_api.read(path, body))

    async def _body(self, request: BridgeRequest) -> bytes:
        if request.upload is None:
            return b""
        body = await request.upload.collect(self._max_body_size)
        if body is None:
            raise too_large(self._max_body_size)
        return body

    async def _infos(self) -> list[ModelInfo]:
        """What is known of every model."""
        names = await self._upstream.names()
        asking = [Deferred.fromCoroutine(self._info(name)) for name in names]
        infos: list[ModelInfo] = await gatherResults(asking, consumeErrors=True)
        return infos

    async def _info(self, name: str) -> ModelInfo:
        try:
            return await self._upstream.info(name)
        except UpstreamFailure:
            # A model that the server tells nothing about must not hide the others.
            return ModelInfo(name)

    async def _found(self, name: str) -> str:
        """The listed name that `name` means. Raises ApiError where the server has no such model."""
        names = await self._upstream.names()
        found = ollama_api.named(name, names)
        if found is None:
            there = ", ".join(names) or "none"
            raise ApiError(
                404,
                f"{self._upstream.words.name} has no model {name}, and codex-bridge cannot get it "
                f"one. Its models: {there}.",
            )
        return found

    async def _show(self, request: BridgeRequest, name: str) -> bytes:
        info = await self._upstream.info(await self._found(name))
        return send_json(
            request, 200, ollama_api.shown(info, self._upstream.expected_context(info))
        )

    async def _pull(self, request: BridgeRequest, asked: Json) -> bytes:
        """A model that is there needs no download; no other can be had."""
        try:
            await self._found(asked["model"])
        except ApiError as error:
            if asked.get("stream") is False:
                raise
            # Codex and the `ollama` command read the reason only in the stream.
            return _one_line(request, {"error": error.message})
        return _one_line(request, {"status": "success"})

    async def _chat(self, request: BridgeRequest, native: ollama_api.Native) -> bytes:
        name = await self._found(native.chat.model)
        info = await self._upstream.prepared(name, self._upstream.budget())
        lines = ollama_api.Lines(native)
        request.setHeader(b"content-type", LINES if native.stream else b"application/json")
        if native.is_empty:
            return b"".join(lines.end())
        chat = ollama_api.for_model(native.chat, info)
        answer = await self._open(chat, info, is_streamed=native.stream)

        def write(deltas: Sequence[Delta]) -> None:
            if said := b"".join(lines.feed(deltas)):
                request.write(said)

        try:
            request.registerProducer(answer, True)
            await answer.deliver_to(write)
        except UpstreamFailure as failure:
            if not request.startedWriting:
                raise
            error = from_upstream(failure, name, self._upstream.words)
            return orjson.dumps({"error": error.message}) + b"\n"
        except BaseException:
            # Without a reader the model would go on generating.
            answer.stopProducing()
            raise
        finally:
            if request.is_connected:
                request.unregisterProducer()
        return b"".join(lines.end())

    async def _open(self, chat: ChatRequest, info: ModelInfo, *, is_streamed: bool) -> Answer:
        budget = self._upstream.budget()
        try:
            return await self._upstream.open(chat, info, budget, stream=is_streamed)
        except UpstreamFailure as failure:
            if failure.kind is not FailureKind.STALE:
                raise
        return await self._upstream.open(chat, info, budget, stream=is_streamed)


def _one_line(request: BridgeRequest, line: Json) -> bytes:
    request.setHeader(b"content-type", LINES)
    return orjson.dumps(line) + b"\n"


def _refused(request: BridgeRequest, error: ApiError) -> bytes:
    """An error in the form that Ollama's clients read."""
    body: Any = {"error": error.message}
    return send_json(request, error.status, body)
