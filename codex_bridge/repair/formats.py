"""The `format`s of JSON schemas that OpenAI's structured outputs allow."""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable
from ipaddress import AddressValueError, IPv4Address, IPv6Address

DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
TIME = re.compile(
    r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\.[0-9]+)?"
    r"(?:[zZ]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)
DURATION = re.compile(
    r"P(?:[0-9]+W|(?=[0-9T])(?:[0-9]+Y)?(?:[0-9]+M)?(?:[0-9]+D)?"
    r"(?:T(?=[0-9])(?:[0-9]+H)?(?:[0-9]+M)?(?:[0-9]+S)?)?)"
)
UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
HOSTNAME = re.compile(rf"(?=.{{1,253}}\Z){LABEL}(?:\.{LABEL})*")
LOCAL = r"[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]+"
EMAIL = re.compile(rf"{LOCAL}(?:\.{LOCAL})*@(.+)")


def is_date(text: str) -> bool:
    """Whether it is a day of the calendar, as 2024-02-29."""
    found = DATE.fullmatch(text)
    if not found:
        return False
    year, month, day = map(int, found.groups())
    return year > 0 and 1 <= month <= 12 and 1 <= day <= monthrange(year, month)[1]


def _is_date_time(text: str) -> bool:
    return text[10:11] in {"T", "t", " "} and is_date(text[:10]) and is_time(text[11:])


def is_time(text: str) -> bool:
    """Whether it is a time of the day with its distance from UTC."""
    return TIME.fullmatch(text) is not None


def _is_email(text: str) -> bool:
    found = EMAIL.fullmatch(text)
    return found is not None and HOSTNAME.fullmatch(found[1]) is not None


def _is_address(of_kind: type[IPv4Address | IPv6Address]) -> Callable[[str], bool]:
    def is_valid(text: str) -> bool:
        try:
            of_kind(text)
        except AddressValueError:
            return False
        # A zone (fe80::1%eth0) is Python's addition.
        return "%" not in text

    return is_valid


def _is_like(form: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda text: form.fullmatch(text) is not None


FORMATS: dict[str, Callable[[str], bool]] = {
    "date-time": _is_date_time,
    "time": is_time,
    "date": is_date,
    "duration": _is_like(DURATION),
    "email": _is_email,
    "hostname": _is_like(HOSTNAME),
    "ipv4": _is_address(IPv4Address),
    "ipv6": _is_address(IPv6Address),
    "uuid": _is_like(UUID),
}
"""Format -> whether a text has it."""
