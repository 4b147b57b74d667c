"""Text that others wrote, made safe for a line."""

from __future__ import annotations

import pytest

from codex_bridge.text import printable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"/api/tags", "/api/tags"),
        (b"/\x1b[2J\r\n", "/\\x1b[2J\\r\\n"),
        (b"\xff", "\\xff"),
        ("a\u202eb\u2066c\u200fd", "a\\u202eb\\u2066c\\u200fd"),
        ("a\u009bb\x7fc\u2028d", "a\\x9bb\\x7fc\\u2028d"),
        (b"\xc2\x9b1m", "\\x9b1m"),
        ("\ud800", "\\ud800"),
        ("", "-"),
        (None, "-"),
        ("x" * 200, "x" * 100 + "…"),
    ],
)
def test_what_a_client_sends_cannot_forge_log_lines(
    text: bytes | str | None, expected: str
) -> None:
    assert printable(text) == expected
