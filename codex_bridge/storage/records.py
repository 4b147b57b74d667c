"""Responses and their items as rows of the tables. Each call belongs into one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Any

import orjson
from attrs import field, frozen

from codex_bridge.ids import IdSource
from codex_bridge.storage.database import Damaged, StorageError
from codex_bridge.vocabulary import Json

PREFIXES = {
    "message": "msg",
    "reasoning": "rs",
    "compaction": "cmp",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
    "tool_search_call": "tsc",
    "tool_search_output": "tso",
    "local_shell_call": "lsc",
    "local_shell_call_output": "lsco",
}
"""Type of an item -> what the ids begin with that items get which came without one."""
ROOT = 0
"""The place where every conversation begins."""


@frozen
class Stats:
    """What is stored."""

    responses: int
    items: int
    bytes: int
    """Of the database, without what is free in it."""


@frozen
class Records:
    """The tables of one database, during one transaction."""

    db: sqlite3.Connection
    new_id: IdSource

    def save(self, owner: str, response: Json, input_items: Iterable[Json], now: float) -> int:
        """Add a response, in place of one with the same id; return its key.

        Raises StorageError for what cannot be written as JSON.
        """
        output = response["output"]
        body = _json(response | {"output": None})
        given = {_id_of(item) for items in (input_items, output) for item in items}
        unnamed = _Unnamed(self.db, self.new_id, given)
        inputs = self._place(owner, input_items, ROOT, unnamed)
        outputs = self._place(owner, output, inputs, unnamed)
        response_id = response["id"]
        replaced = self._find("key, output", owner, response_id)
        if replaced is not None:
            self.db.execute("DELETE FROM responses WHERE key = ?", replaced[:1])
        cursor = self.db.execute(
            "INSERT INTO responses (owner, id, saved, input, output, body) VALUES (?,?,?,?,?,?)",
            (owner, response_id, now, inputs, outputs, body),
        )
        if replaced is not None:
            # Only now: the new one may have the same places.
            self._release(replaced[1])
        assert cursor.lastrowid is not None  # noqa: S101
        return cursor.lastrowid

    def response(self, owner: str, response_id: str) -> Json | None:
        """The response object as it was saved; None if there is none."""
        row = self._find("input, output, body", owner, response_id)
        if row is None:
            return None
        inputs, outputs, body = row
        return _parsed(body) | {"output": self._items_between(inputs, outputs)}

    def context(self, owner: str, response_id: str) -> list[Json] | None:
        """The input and output items of a response; None if there is none."""
        row = self._find("output", owner, response_id)
        return None if row is None else self._items_between(ROOT, row[0])

    def input_items(self, owner: str, response_id: str) -> list[Json] | None:
        """The input items of a response; None if there is none."""
        row = self._find("input", owner, response_id)
        return None if row is None else self._items_between(ROOT, row[0])

    def items(self, owner: str, ids: Iterable[str]) -> dict[str, Json]:
        """Of the items with these ids those that are stored; of several the newest."""
        query = "SELECT body FROM items WHERE owner = ? AND id = ? ORDER BY key DESC LIMIT 1"
        rows = ((each, self.db.execute(query, (owner, each)).fetchone()) for each in ids)
        return {item_id: _parsed(row[0]) for item_id, row in rows if row is not None}

    def delete(self, owner: str, response_id: str) -> bool:
        """Remove a response, and the items that no other one has; False if there is none."""
        row = self._find("key, output", owner, response_id)
        if row is not None:
            self._remove(*row)
        return row is not None

    def delete_older(self, limit: float) -> None:
        """Remove the responses that were saved before `limit` (Unix time)."""
        query = "SELECT key, output FROM responses WHERE saved < ?"
        for key, output in self.db.execute(query, (limit,)).fetchall():
            self._remove(key, output)

    def delete_oldest(self, spared: int) -> bool:
        """Remove the response that was saved first, except that with the key `spared`.

        Returns False if there is no other one.
        """
        query = "SELECT key, output FROM responses WHERE key != ? ORDER BY saved, key LIMIT 1"
        row = self.db.execute(query, (spared,)).fetchone()
        if row is not None:
            self._remove(*row)
        return row is not None

    @property
    def size(self) -> int:
        """Bytes of the database, without what is free in it."""
        pages, free, page_size = (
            self.db.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        used: int = (pages - free) * page_size
        return used

    def stats(self) -> Stats:
        """What is stored now."""
        responses, items = (
            self.db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608
            for table in ("responses", "items")
        )
        return Stats(responses, items, self.size)

    def _find(self, columns: str, owner: str, response_id: str) -> Any:
        query = f"SELECT {columns} FROM responses WHERE owner = ? AND id = ?"  # noqa: S608
        return self.db.execute(query, (owner, response_id)).fetchone()

    def _place(self, owner: str, items: Iterable[Json], parent: int, unnamed: _Unnamed) -> int:
        """The place of the last of `items`, where the first follows `parent`."""
        for item in items:
            item_key = self._item(owner, item, unnamed)
            row = self.db.execute(
                "SELECT key FROM places WHERE parent = ? AND item = ?", (parent, item_key)
            ).fetchone()
            if row is None:
                query = "INSERT INTO places (parent, item) VALUES (?, ?)"
                row = (self.db.execute(query, (parent, item_key)).lastrowid,)
            parent = row[0]
        return parent

    def _item(self, owner: str, item: Json, unnamed: _Unnamed) -> int:
        """The key of an item, which is added unless it is there."""
        item_id = _id_of(item)
        content = _json({k: v for k, v in item.items() if k != "id"})
        digest = sha256(owner.encode() + b"\0" + content).digest()
        if item_id is None:
            item_id = unnamed.id_for(item, digest)
            item = {"id": item_id} | item | {"id": item_id}
        query = "SELECT key FROM items WHERE owner = ? AND id = ? AND digest = ?"
        row = self.db.execute(query, (owner, item_id, digest)).fetchone()
        if row is None:
            query = "INSERT INTO items (owner, id, digest, body) VALUES (?, ?, ?, ?)"
            row = (self.db.execute(query, (owner, item_id, digest, _json(item))).lastrowid,)
        key: int = row[0]
        return key

    def _items_between(self, place: int, last: int) -> list[Json]:
        """The items after `place`, up to that at `last`."""
        query = (
            "SELECT parent, body FROM places JOIN items ON items.key = item WHERE places.key = ?"
        )
        found: list[Json] = []
        while last != place:
            row = self.db.execute(query, (last,)).fetchone()
            if row is None or row[0] >= last:
                raise Damaged("an item is missing")
            last = row[0]
            found.append(_parsed(row[1]))
        return found[::-1]

    def _remove(self, response_key: int, place: int) -> None:
        """Remove a response whose last output item is at `place`."""
        self.db.execute("DELETE FROM responses WHERE key = ?", (response_key,))
        self._release(place)

    def _release(self, place: int) -> None:
        """Remove a place that no response has, and the items there, and so on with its parents."""
        while place != ROOT and not (
            # A response holds the place of its last input item by that of its last output item.
            self._has("responses WHERE output = ?", place)
            or self._has("places WHERE parent = ?", place)
        ):
            row = self.db.execute(
                "SELECT parent, item FROM places WHERE key = ?", (place,)
            ).fetchone()
            if row is None:
                raise Damaged("an item is missing")
            self.db.execute("DELETE FROM places WHERE key = ?", (place,))
            place, item = row
            if not self._has("places WHERE item = ?", item):
                self.db.execute("DELETE FROM items WHERE key = ?", (item,))

    def _has(self, rows: str, key: int) -> bool:
        query = f"SELECT 1 FROM {rows} LIMIT 1"  # noqa: S608
        return self.db.execute(query, (key,)).fetchone() is not None


@frozen
class _Unnamed:
    """Gives ids to the items of one response that came without.

    Such an item gets the id of the first one with the same content that the response does not have
    yet. So its id is the same when the conversation is sent again, and equal items of a
    conversation have ids of their own.
    """

    db: sqlite3.Connection
    new_id: IdSource
    taken: set[str | None]
    """The ids of the other items."""
    known: dict[bytes, Iterator[Any]] = field(factory=dict)
    """Digest of an item -> ids of the stored ones with this content that were not looked at."""

    def id_for(self, item: Json, digest: bytes) -> str:
        """The id for `item`, whose digest is `digest`."""
        if digest not in self.known:
            query = "SELECT id FROM items WHERE digest = ? ORDER BY key"
            self.known[digest] = self.db.execute(query, (digest,))
        found = (row[0] for row in self.known[digest] if row[0] not in self.taken)
        item_id = next(found, None) or self.new_id(PREFIXES.get(str(item.get("type")), "item"))
        self.taken.add(item_id)
        return item_id


def _id_of(item: Json) -> str | None:
    item_id = item.get("id")
    return item_id if isinstance(item_id, str) and item_id else None


def _json(value: Json) -> bytes:
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError as error:
        raise StorageError(f"the response cannot be written as JSON: {error}") from None


def _parsed(body: bytes) -> Json:
    try:
        value: Json = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Damaged("a part of it is no JSON") from None
    return value
