"""What a request refers back to: earlier responses and their items, put in their places."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import orjson
from attrs import frozen
from twisted.logger import Logger

from codex_bridge.errors import ApiError, invalid
from codex_bridge.responses.messages import CALL_KINDS, RESULT_KINDS
from codex_bridge.storage.database import StorageError
from codex_bridge.storage.store import ResponseStore
from codex_bridge.text import printable
from codex_bridge.vocabulary import Json
from codex_bridge.web.intake import Intake

REFERENCE = "item_reference"
SHOWN = 80
"""Characters of a client's id in a message."""
SEND_ALL = "Send the whole conversation as input."


class Memory(Protocol):
    """What one client may refer back to."""

    async def context(self, response_id: str) -> list[Json] | None:
        """The items that a request continues from which names this response; None: it is unknown.

        Raises ApiError where nothing is kept at all.
        """

    async def items(self, ids: Collection[str]) -> dict[str, Json]:
        """Of the items with these ids those that are known. Raises ApiError as `context` does."""

    async def keep(self, items: list[Json], response: Json) -> bool:
        """Remember a response object, and the input items it answers.

        Returns whether it is stored, when it is safe: the client may be told of it then.
        """


class StoredMemory:
    """The stored responses of one owner."""

    def __init__(self, store: ResponseStore, owner: str, log: Logger) -> None:
        self._store = store
        self._owner = owner
        self._log = log

    async def context(self, response_id: str) -> list[Json] | None:
        with told_of_failures():
            return await self._store.context(self._owner, response_id)

    async def items(self, ids: Collection[str]) -> dict[str, Json]:
        with told_of_failures():
            return await self._store.items(self._owner, ids)

    async def keep(self, items: list[Json], response: Json) -> bool:
        if not response["store"]:
            return False
        try:
            await self._store.save(self._owner, response, items)
        except StorageError as error:
            self._log.error(
                "{response} was not stored, and its client is told so: {reason}",
                response=response["id"],
                reason=str(error),
            )
            return False
        return True


class NoMemory:
    """The memory of a bridge that was told to keep nothing."""

    async def context(self, response_id: str) -> list[Json] | None:
        raise _nothing_kept(f"previous_response_id {printable(response_id, SHOWN)!r}")

    async def items(self, ids: Collection[str]) -> dict[str, Json]:
        raise _nothing_kept(f"the item {printable(next(iter(ids)), SHOWN)!r}")

    async def keep(self, items: list[Json], response: Json) -> bool:
        return False


@frozen
class Whole:
    """The body of a request, with all items of its conversation in it."""

    body: Json
    size: int
    """Bytes, as if the client had sent all of it."""
    before: int = 0
    """How many items stand before those of the client, from earlier responses."""


async def made_whole(intake: Intake, memory: Memory, limit: int) -> Whole:
    """The body of `intake`, with what it refers to in its places.

    Raises ApiError: for a reference to what is not known, for a result of a call that the
    conversation does not have, and for more than `limit` bytes in all.
    """
    body, size = intake.body, intake.size
    previous, given = body.get("previous_response_id"), body.get("input")
    if not isinstance(given, list | str | None):
        # It is refused when the request is read.
        return Whole(body, size)
    items: list[Any] = given if isinstance(given, list) else [given] if given else []
    wanted = _references(items)
    if previous is None and not wanted:
        return Whole(body, size)
    before: list[Json] = []
    if previous is not None:
        before = await _context(memory, previous)
    known = {each["id"]: each for each in before if isinstance(each.get("id"), str)}
    missing = wanted.keys() - known.keys()
    if missing:
        known |= await memory.items(missing)
    for wanted_id, n in wanted.items():
        if wanted_id not in known:
            raise _unknown_item(wanted_id, n)
    named = [known[each["id"]] if is_reference(each) else each for each in items]
    if previous is not None:
        _check_results(before, named)
    referred = [known[each["id"]] for each in items if is_reference(each)]
    size += sum(len(orjson.dumps(each)) for each in (*before, *referred))
    if size > limit:
        raise ApiError(
            413,
            f"With all that the request refers to, the conversation has more than {limit} bytes. "
            f"Start a new conversation, or raise --max-body-size.",
            code="request_too_large",
        )
    return Whole(body | {"input": before + named}, size, len(before))


def _references(items: list[Any]) -> dict[str, int]:
    """Id of each item that is only named -> its place. Raises ApiError for a name that is none."""
    for n, each in enumerate(items):
        if isinstance(each, dict) and each.get("type") == REFERENCE and not is_reference(each):
            raise invalid(f"input[{n}].id must be the id of an item.", f"input[{n}].id")
    return {each["id"]: n for n, each in enumerate(items) if is_reference(each)}


def is_reference(item: Any) -> bool:
    """Whether an input item only names another one. The API lets the type be left out."""
    if not isinstance(item, dict) or not isinstance(item.get("id"), str):
        return False
    kind = item.get("type")
    return kind == REFERENCE or (kind is None and item.keys() <= {"id", "type"})


async def _context(memory: Memory, previous: Any) -> list[Json]:
    if not isinstance(previous, str):
        raise invalid(
            "previous_response_id must be a string.", "previous_response_id", "invalid_type"
        )
    context = await memory.context(previous)
    if context is None:
        raise invalid(
            f"Previous response with id {printable(previous, SHOWN)!r} not found: it was not "
            f"stored, is no longer kept, or is still being made. {SEND_ALL}",
            "previous_response_id",
            "previous_response_not_found",
        )
    return context


@contextmanager
def told_of_failures() -> Iterator[None]:
    """Raises ApiError for a store that fails."""
    try:
        yield
    except StorageError as error:
        raise ApiError(
            503, f"The stored responses cannot be read: {error}.", code="storage_failed"
        ) from error


def _nothing_kept(what: str) -> ApiError:
    return invalid(
        f"This codex-bridge stores no responses (--store off), so it does not know {what}. "
        f"{SEND_ALL}",
        code="unsupported_parameter",
    )


def _unknown_item(item_id: str, n: int) -> ApiError:
    return ApiError(
        404,
        f"input[{n}] refers to an item with id {printable(item_id, SHOWN)!r}, which is not known: "
        f"its response was not stored (store: false), is no longer kept, or is still being made. "
        f"Send the item itself.",
        code="item_not_found",
        param=f"input[{n}]",
    )


def _check_results(before: Iterable[Json], named: list[Any]) -> None:
    """Raises ApiError for a result in `named` whose call is in neither of both.

    A client that sends the whole conversation is not checked: it may have dropped the call.
    """

    def id_of(item: Any, kinds: Collection[str]) -> str | None:
        is_of_kind = isinstance(item, dict) and str(item.get("type")) in kinds
        return str(item.get("call_id")) if is_of_kind else None

    called = {id_of(each, CALL_KINDS) for each in (*before, *named)}
    for n, each in enumerate(named):
        call_id = id_of(each, RESULT_KINDS)
        if call_id is not None and call_id not in called:
            raise invalid(
                f"input[{n}] is the result of a call with call_id {printable(call_id, SHOWN)!r}, "
                f"which the conversation before it does not have.",
                f"input[{n}]",
            )
