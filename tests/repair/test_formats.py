"""The formats that structured outputs allow."""

from __future__ import annotations

import pytest

from codex_bridge.repair.formats import FORMATS

VALID = {
    "date": ["2024-02-29", "0001-01-01"],
    "time": ["23:59:60Z", "00:00:00.5+02:00"],
    "date-time": ["2024-02-29T12:00:00Z", "2024-02-29t12:00:00-00:30"],
    "duration": ["P3Y6M4DT12H30M5S", "P1W", "PT1S", "P1D"],
    "email": ["a.b+c@example.org", "a@localhost"],
    "hostname": ["localhost", "a-b.example.org"],
    "ipv4": ["127.0.0.1"],
    "ipv6": ["::1", "2001:db8::8:800:200c:417a", "::ffff:1.2.3.4"],
    "uuid": ["2EB8AA08-aa98-11ea-b4aa-73b441d16380"],
}
INVALID = {
    "date": [
        "2023-02-29",
        "2024-13-01",
        "2024-00-10",
        "0000-01-01",
        "20240229",
        "2024-02-29\n",
        "",
    ],
    "time": ["24:00:00Z", "12:60:00Z", "12:00:00", "12:00Z", "12:00:00Z\n"],
    "date-time": ["2024-02-30T12:00:00Z", "2024-02-29", "2024-02-29T12:00:00", "12:00:00Z"],
    "duration": ["P", "PT", "P1", "1D", "P1D1W", "P1YT"],
    "email": ["a", "@b", "a@", "a b@c", "a@b c", "a@-b", ".a@b"],
    "hostname": ["", "-a", "a-", "a..b", "a_b", "a" * 64, ("a" * 63 + ".") * 4 + "a"],
    "ipv4": ["127.0.0", "256.0.0.1", "01.2.3.4", "::1"],
    "ipv6": ["1.2.3.4", ":::", "fe80::1%eth0", "12345::"],
    "uuid": ["2eb8aa08aa9811eab4aa73b441d16380", "2eb8aa08-aa98-11ea-b4aa-73b441d1638g", ""],
}


def test_each_format_of_structured_outputs_is_known() -> None:
    assert set(FORMATS) == set(VALID) == set(INVALID)


@pytest.mark.parametrize("name", VALID)
def test_a_text_has_a_format(name: str) -> None:
    assert [text for text in VALID[name] if not FORMATS[name](text)] == []
    assert [text for text in INVALID[name] if FORMATS[name](text)] == []
