"""Sends a server every request of `tests/hostile.py`, and counts how it takes them.

    python -m bench torture --against http://127.0.0.1:11434 [--mixed N] [--seed S]

The server may be a bridge or any other. Each request goes over a connection of its own, with line
ends behind it, for a server that waits for more. Exits with 1 if a request got a status of 500 or
more, or nothing within PATIENCE, or if a decent request fails afterwards.
"""

from __future__ import annotations

import argparse
import random
import re
import socket
import sys
from collections import Counter
from itertools import chain, islice
from urllib.parse import urlsplit

from tests.hostile import head, mixed, vectors

PATIENCE = 5.0
"""Seconds until the first bytes of an answer."""
PADDING = b"\r\n" * 200
STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")
SILENT, CLOSED = "no answer", "closed"
SHOWN = 5
"""Bad requests that are printed."""


def outcome(address: tuple[str, int], raw: bytes) -> str:
    """How the server takes a request: a status, CLOSED or SILENT."""
    with socket.create_connection(address, PATIENCE) as connection:
        try:
            connection.sendall(raw + PADDING)
            answer = connection.recv(65536)
        except TimeoutError:
            return SILENT
        except OSError:
            return CLOSED
    found = STATUS.match(answer)
    return found[1].decode() if found else CLOSED


def is_bad(result: str) -> bool:
    return result == SILENT or result.startswith("5")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", required=True, metavar="URL")
    parser.add_argument("--mixed", type=int, default=2000, help="random requests besides")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    options = parser.parse_args()
    url = urlsplit(options.against)
    address = (url.hostname or "127.0.0.1", url.port or 80)
    counts: Counter[str] = Counter()
    bad: list[tuple[str, bytes]] = []
    for raw in chain(vectors(), islice(mixed(options.seed), options.mixed)):
        result = outcome(address, raw)
        counts[result] += 1
        if is_bad(result):
            bad.append((result, raw))
    decent = outcome(address, head(b"/v1/responses"))
    print(f"seed {options.seed}, {counts.total()} requests; a decent one afterwards: {decent}")
    for result, count in sorted(counts.items()):
        print(f"{result:>10} {count:7,}")
    for result, raw in bad[:SHOWN]:
        print(f"{result}: {raw[:300]!r}")
    sys.exit(bool(bad) or decent != "200")


if __name__ == "__main__":
    main()
