"""The routes of stored responses: get, delete and cancel one, and list its input items."""

from __future__ import annotations

from codex_bridge.errors import ApiError, invalid
from codex_bridge.vocabulary import Json
from codex_bridge.web.access import owner_of
from codex_bridge.web.json_replies import send_json
from codex_bridge.web.memory import told_of_failures
from codex_bridge.web.site import BridgeRequest
from codex_bridge.web.state import BridgeState

DEFAULT_LIMIT, MAX_LIMIT = 20, 100
"""Input items in one list."""


class StoredResponses:
    """Answers the requests for stored responses, and for those that are being made."""

    def __init__(self, state: BridgeState) -> None:
        self._state = state

    async def handle(self, http: BridgeRequest, rest: str) -> bytes:
        """Answer a request for /v1/responses/`rest`. Raises ApiError."""
        response_id, _, action = rest.rstrip("/").partition("/")
        handlers = {
            (b"GET", ""): self._get,
            (b"DELETE", ""): self._delete,
            (b"GET", "input_items"): self._input_items,
            (b"POST", "cancel"): self._cancel,
        }
        handler = handlers.get((http.method, action))
        if handler is None:
            allowed = {method for method, known in handlers if known == action}
            if not allowed:
                raise ApiError(404, f"There is nothing at /v1/responses/{rest}.", code="not_found")
            http.setHeader(b"allow", b", ".join(sorted(allowed)))
            raise ApiError(405, "This method is not supported here.", code="method_not_allowed")
        with told_of_failures():
            return await handler(http, owner_of(http.requestHeaders), response_id)

    async def _get(self, http: BridgeRequest, owner: str, response_id: str) -> bytes:
        job = self._state.background.job(owner, response_id)
        if _argument(http, b"stream") == "true":
            if job is None:
                await self._stored(owner, response_id)
                raise invalid(
                    "The events of this response are not kept; get it without stream=true. Only "
                    "those of a response in the background are, for a while.",
                    "stream",
                )
            return await job.recording.read(http, _whole_number(http, b"starting_after", -1))
        if job is not None:
            return send_json(http, 200, job.recording.snapshot())
        return send_json(http, 200, await self._stored(owner, response_id))

    async def _delete(self, http: BridgeRequest, owner: str, response_id: str) -> bytes:
        is_known = self._state.background.drop(owner, response_id)
        store = self._state.store
        if store is not None and await store.delete(owner, response_id):
            is_known = True
        if not is_known:
            raise _unknown(response_id)
        return send_json(http, 200, {"id": response_id, "object": "response", "deleted": True})

    async def _cancel(self, http: BridgeRequest, owner: str, response_id: str) -> bytes:
        job = self._state.background.job(owner, response_id)
        if job is None:
            response = await self._stored(owner, response_id)
            if not response.get("background"):
                raise invalid(
                    "Only a response that is made in the background can be cancelled; end any "
                    "other one by closing its connection."
                )
            return send_json(http, 200, response)
        job.cancel()
        return send_json(http, 200, job.recording.snapshot())

    async def _input_items(self, http: BridgeRequest, owner: str, response_id: str) -> bytes:
        store = self._state.store
        items = None if store is None else await store.input_items(owner, response_id)
        if items is None:
            job = self._state.background.job(owner, response_id)
            if job is not None and job.is_running:
                raise invalid("The response is still in progress; its input is listed at its end.")
            raise _unknown(response_id)
        limit = _whole_number(http, b"limit", DEFAULT_LIMIT)
        if not 1 <= limit <= MAX_LIMIT:
            raise invalid(f"limit must be a number from 1 to {MAX_LIMIT}.", "limit")
        order = _argument(http, b"order") or "desc"
        if order not in ("asc", "desc"):
            raise invalid("order must be asc or desc.", "order")
        ordered = items if order == "asc" else items[::-1]
        after = _argument(http, b"after")
        if after is not None:
            ids = [item["id"] for item in ordered]
            if after not in ids:
                raise invalid(f"after names no input item of this response: {after!r}.", "after")
            ordered = ordered[ids.index(after) + 1 :]
        page = [_listed(item) for item in ordered[:limit]]
        return send_json(http, 200, _list(page, has_more=len(ordered) > limit))

    async def _stored(self, owner: str, response_id: str) -> Json:
        store = self._state.store
        response = None if store is None else await store.response(owner, response_id)
        if response is None:
            raise _unknown(response_id)
        return response


def _listed(item: Json) -> Json:
    """An input item as the API lists it: a message's content is a list of parts, never a text."""
    content = item.get("content")
    if item.get("type") != "message" or not isinstance(content, str):
        return item
    kind = "output_text" if item.get("role") == "assistant" else "input_text"
    return item | {"content": [{"type": kind, "text": content}]}


def _list(items: list[Json], *, has_more: bool) -> Json:
    ids = [item["id"] for item in items]
    return {
        "object": "list",
        "data": items,
        "first_id": ids[0] if ids else None,
        "last_id": ids[-1] if ids else None,
        "has_more": has_more,
    }


def _unknown(response_id: str) -> ApiError:
    return ApiError(
        404,
        f"Response with id {response_id!r} not found: it was not stored, or is no longer kept.",
        code="not_found",
    )


def _argument(http: BridgeRequest, name: bytes) -> str | None:
    values = http.args.get(name)
    return values[-1].decode(errors="replace") if values else None


def _whole_number(http: BridgeRequest, name: bytes, default: int) -> int:
    text = _argument(http, name)
    if text is None:
        return default
    try:
        return int(text)
    except ValueError:
        raise invalid(f"{name.decode()} must be a whole number.", name.decode()) from None
