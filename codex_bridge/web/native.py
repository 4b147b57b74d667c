"""Ollama's own routes before a server that has none: answered by the bridge itself."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import orjson
from attrs import evolve
from twisted.internet.defer import Deferred, DeferredSemaphore, gatherResults
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
from codex_bridge.web.passthrough import PATIENCE, held
from codex_bridge.web.site import BridgeRequest

LISTS = ("/api/tags", "/api/ps")
READING = ("/api/version", *LISTS)
CHATS = ("/api/chat", "/api/generate")
POSTS = (*CHATS, "/api/show", "/api/pull")
OLLAMAS_ALONE = frozenset(
    {"/api/create", "/api/copy", "/api/delete", "/api/push", "/api/embed", "/api/embeddings"}
)
"""Routes that need an Ollama."""
AT_ONCE = 4
"""Models that are asked about at the same time; each takes some small requests."""
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

    def __init__(self, clock: IReactorTime, log: Logger, max_body_size: int) -> None:
        """`max_body_size`: the most bytes of a request that are kept."""
        self._clock = clock
        self._log = log
        self._max_body_size = max_body_size

    async def handle(self, request: BridgeRequest, upstream: Upstream) -> bytes | None:
        """Answer `request` for `upstream`; cancelling closes the connection to that."""
        started = self._clock.seconds()
        outcome = "client gone"
        try:
            reply = await self._reply(request, upstream)
            outcome = f"{request.code}, answered by codex-bridge"
            return reply
        except UpstreamFailure as failure:
            error = from_upstream(failure, "", upstream.words)
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

    async def _reply(self, request: BridgeRequest, upstream: Upstream) -> bytes | None:
        path = _path(request)
        if path == "/":
            return b""
        if path == "/api/version":
            return send_json(request, 200, {"version": ollama_api.VERSION})
        if path in LISTS:
            return send_json(
                request, 200, await held(partial(listed, upstream, path), self._clock, PATIENCE)
            )
        if path in OLLAMAS_ALONE:
            name = upstream.words.name
            raise ApiError(501, f"{path} needs an Ollama, and the upstream is {name}.")
        body = await self._body(request)
        if path == "/api/show":
            return await self._show(request, upstream, ollama_api.parsed(body)["model"])
        if path == "/api/pull":
            return await self._pull(request, upstream, ollama_api.parsed(body))
        with upstream.occupation.answering():
            return await self._chat(request, upstream, ollama_api.read(path, body))

    async def _body(self, request: BridgeRequest) -> bytes:
        if request.upload is None:
            return b""
        body = await request.upload.collect(self._max_body_size)
        if body is None:
            raise too_large(self._max_body_size)
        return body

    async def _show(self, request: BridgeRequest, upstream: Upstream, name: str) -> bytes:
        info = await upstream.info(await _found(upstream, name))
        return send_json(request, 200, ollama_api.shown(info, upstream.expected_context(info)))

    async def _pull(self, request: BridgeRequest, upstream: Upstream, asked: Json) -> bytes:
        """A model that is there needs no download; no other can be had."""
        try:
            await _found(upstream, asked["model"])
        except ApiError as error:
            if asked.get("stream") is False:
                raise
            # Codex and the `ollama` command read the reason only in the stream.
            return _one_line(request, {"error": error.message})
        return _one_line(request, {"status": "success"})

    async def _chat(
        self, request: BridgeRequest, upstream: Upstream, native: ollama_api.Native
    ) -> bytes:
        name = await _found(upstream, native.chat.model)
        info = await upstream.prepared(name, upstream.budget())
        lines = ollama_api.Lines(native)
        request.setHeader(b"content-type", LINES if native.stream else b"application/json")
        if native.is_empty:
            return b"".join(lines.end())
        chat = ollama_api.for_model(native.chat, info)
        answer = await _opened(upstream, chat, info, is_streamed=native.stream)

        def write(deltas: Sequence[Delta]) -> None:
            if said := b"".join(lines.feed(deltas)):
                request.write(said)

        try:
            request.registerProducer(answer, True)
            await answer.deliver_to(write)
        except UpstreamFailure as failure:
            if not request.startedWriting:
                raise
            error = from_upstream(failure, name, upstream.words)
            return orjson.dumps({"error": error.message}) + b"\n"
        except BaseException:
            # Without a reader the model would go on generating.
            answer.stopProducing()
            raise
        finally:
            if request.is_connected:
                request.unregisterProducer()
        return b"".join(lines.end())


async def _opened(
    upstream: Upstream, chat: ChatRequest, info: ModelInfo, *, is_streamed: bool
) -> Answer:
    budget = upstream.budget()
    try:
        return await upstream.open(chat, info, budget, stream=is_streamed)
    except UpstreamFailure as failure:
        if failure.kind is FailureKind.NO_EFFORT and chat.effort:
            chat = evolve(chat, effort=None)
        elif failure.kind is not FailureKind.STALE:
            raise
    return await upstream.open(chat, info, budget, stream=is_streamed)


async def _found(upstream: Upstream, name: str) -> str:
    """The listed name that `name` means. Raises ApiError where the server has no such model."""
    names = await upstream.names()
    found = ollama_api.named(name, names)
    if found is None:
        there = ", ".join(dict.fromkeys(names.values())) or "none"
        raise ApiError(
            404,
            f"{upstream.words.name} has no model {name}, and codex-bridge cannot get it one. Its "
            f"models: {there}.",
        )
    return found


async def listed(upstream: Upstream, path: str) -> Json:
    """The answer to /api/tags or /api/ps for an upstream that has neither.

    Raises UpstreamFailure.
    """
    names = dict.fromkeys((await upstream.names()).values())
    semaphore = DeferredSemaphore(AT_ONCE)
    asking = [
        semaphore.run(lambda name: Deferred.fromCoroutine(_info(upstream, name)), name)
        for name in names
    ]
    infos: list[ModelInfo] = await gatherResults(asking, consumeErrors=True)
    if path == "/api/tags":
        return ollama_api.tags(infos)
    loaded = [info for info in infos if info.is_loaded is not False]
    return ollama_api.running((info, upstream.expected_context(info)) for info in loaded)


async def _info(upstream: Upstream, name: str) -> ModelInfo:
    try:
        return await upstream.info(name)
    except UpstreamFailure:
        # A model that the server tells nothing about must not hide the others.
        return ModelInfo(name)


def _one_line(request: BridgeRequest, line: Json) -> bytes:
    request.setHeader(b"content-type", LINES)
    return orjson.dumps(line) + b"\n"


def _refused(request: BridgeRequest, error: ApiError) -> bytes:
    """An error in the form that Ollama's clients read."""
    body: Any = {"error": error.message}
    return send_json(request, error.status, body)
