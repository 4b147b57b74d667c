"""What a server would deliver of the text that a model wrote, with its calls in it. No I/O."""

from __future__ import annotations

from codex_bridge.leaks.styles import marks_of


class OwnWords:
    """Holds back what a server would not deliver: white space before calls, and calls it drops."""

    def __init__(self, dialect: frozenset[str] | None) -> None:
        """`dialect` names the forms in which the model was taught to call; None: nobody knows."""
        self._marks = marks_of(dialect)
        self._held = ""

    def delivered(self, text: str, *, has_unread: bool) -> str:
        """The part of what was held back, and of `text`, that a server would deliver by now.

        White space at its end waits for what follows. If it `has_unread`, a call in it could not be
        read: what stands behind the mark of a call is held back.
        """
        text = f"{self._held}{text}"
        mark = self._marks.search(text) if has_unread else None
        end = len(text[: mark.start()].rstrip() if mark else text.rstrip())
        self._held = text[end:]
        return text[:end]

    @property
    def unread(self) -> str:
        """The call that could not be read, from its mark on; "" if there is none."""
        return self._held.strip()
