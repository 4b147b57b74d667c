"""Words of a shell's command line as `shlex.quote` writes them, read back in linear time."""

from __future__ import annotations

import re

WORD = r"(?:'[^']*+'|\"'\"|[\w@%+=:,./-]+)++"
"""The pattern of such a word, for ASCII alone."""
PIECE = re.compile(r"'([^']*+)'|\"(')\"|([\w@%+=:,./-]+)", re.ASCII)


def unquoted(word: str) -> str:
    """The text that a word stands for."""
    return "".join(piece[1] or piece[2] or piece[3] or "" for piece in PIECE.finditer(word))
