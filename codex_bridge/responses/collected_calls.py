"""The calls of an answer, as their fragments give them. No I/O."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import define

from codex_bridge.leaks.json_calls import WrittenCall
from codex_bridge.vocabulary import FailureKind, ToolCallDelta, UpstreamFailure

MOST_CALLS, LARGEST_CALLS = 1000, 512 * 1024
"""How many calls an answer may have, and bytes of their names and arguments. To repair so many
takes up to 0.2 s, in which no other exchange goes on."""


@define
class Call:
    """A call as its fragments gave it so far."""

    id: str
    name: str
    fragments: list[str]
    style: str | None = None
    """The form in which it stood in the text; None for a call that the server sent as a call."""

    @property
    def arguments(self) -> str:
        return "".join(self.fragments)


class CollectedCalls:
    """All calls of one answer, in the order in which they came."""

    def __init__(self) -> None:
        self._calls: list[Call] = []
        self._size = 0
        self._latest: dict[tuple[int, str], Call] = {}
        """The call that a fragment with this index and id, or without an id, belongs to."""

    def __iter__(self) -> Iterator[Call]:
        return iter(self._calls)

    def __bool__(self) -> bool:
        return bool(self._calls)

    def add_fragment(self, delta: ToolCallDelta) -> None:
        """Join a fragment to its call. A new id under a known index is a new call.

        Raises UpstreamFailure if that is more than an answer may have.
        """
        if call := self._latest.get((delta.index, delta.id)):
            self._count(delta.name, delta.arguments)
            call.name = call.name or delta.name
            call.fragments.append(delta.arguments)
            return
        call = self._add(Call(delta.id, delta.name, [delta.arguments]))
        self._latest[delta.index, delta.id] = self._latest[delta.index, ""] = call

    def add(self, written: WrittenCall, style: str | None) -> None:
        """Add a call that stood in the text. Raises UpstreamFailure as `add_fragment`."""
        self._add(Call("", written.name, [written.arguments], style))

    def _add(self, call: Call) -> Call:
        self._count(call.name, call.arguments)
        if len(self._calls) == MOST_CALLS:
            raise UpstreamFailure(FailureKind.OVERSIZED, f"more than {MOST_CALLS:,} calls")
        self._calls.append(call)
        return call

    def _count(self, name: str, arguments: str) -> None:
        self._size += len(name) + len(arguments)
        if self._size > LARGEST_CALLS:
            text = f"more than {LARGEST_CALLS:,} bytes of calls"
            raise UpstreamFailure(FailureKind.OVERSIZED, text)
