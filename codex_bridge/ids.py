"""Identifiers for responses, items and calls."""

from __future__ import annotations

import secrets
from collections.abc import Callable

IdSource = Callable[[str], str]
"""Given a prefix such as "msg", an identifier such as "msg_9f2c…" never given before."""


def random_id(prefix: str) -> str:
    """An identifier with 96 random bits: unique over every conversation, not only over one."""
    return f"{prefix}_{secrets.token_hex(12)}"
