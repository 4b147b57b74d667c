"""How a command for people fails."""

from __future__ import annotations


class Trouble(Exception):
    """What went wrong, as the one line that the user is told."""
