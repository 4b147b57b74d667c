"""Sends a server every request of `tests/hostile.py`, and counts how it takes them.

    python -m bench torture --against http://127.0.0.1:11434 [--mixed N] [--seed S]

The server may be a bridge or any other. Each request goes over a connection of its own, with line
ends behind it, for a server that waits for more. Exits with 1 if a request got a status of 500 or
more, or nothing within PATIENCE, or if a decent request fails afterwards.

    python -m bench torture --against http://127.0.0.1:11434 --upstream 11433 [--pid FILE]

With --upstream this is also the server behind the bridge. A bridge looks for its server when it
starts, so start it after this, with a --pidfile for --pid. Then this plays every upstream of
`tests/hostile_upstreams.py`, in the dialect that the bridge asks in, and prints how each exchange
ends, after how many seconds and requests, and how long the bridge took to tell its health
meanwhile. Exits with 1 if an exchange has no proper end, tells of a bug, or leaves the bridge
unable to answer; with --pid also if the bridge takes too much memory.
"""

from __future__ import annotations

import argparse
import random
import re
import socket
import sys
import threading
import time
from collections import Counter
from itertools import chain, islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.torture_upstreams import Address, NamedStage, torture
from tests.hostile import head, mixed, vectors

PATIENCE = 5.0
"""Seconds until the first bytes of an answer."""
START = 60.0
"""Seconds until the bridge is there."""
PADDING = b"\r\n" * 200
STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")
SILENT, CLOSED = "no answer", "closed"
SHOWN = 5
"""Bad requests that are printed."""


def outcome(address: Address, raw: bytes) -> str:
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


def send_requests(address: Address, seed: int, count: int) -> bool:
    """Send all requests, and print how they are taken. Returns whether all went well."""
    counts: Counter[str] = Counter()
    bad: list[tuple[str, bytes]] = []
    for raw in chain(vectors(), islice(mixed(seed), count)):
        result = outcome(address, raw)
        counts[result] += 1
        if is_bad(result):
            bad.append((result, raw))
    decent = outcome(address, head(b"/v1/responses"))
    print(f"seed {seed}, {counts.total()} requests; a decent one afterwards: {decent}")
    for result, number in sorted(counts.items()):
        print(f"{result:>10} {number:7,}")
    for result, raw in bad[:SHOWN]:
        print(f"{result}: {raw[:300]!r}")
    return not bad and decent == "200"


def await_server(address: Address) -> None:
    """Wait until the server accepts connections. Raises OSError if it takes too long."""
    end = time.monotonic() + START
    while True:
        try:
            socket.create_connection(address, PATIENCE).close()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
        else:
            return


def pid_of(number_or_file: str | None) -> int | None:
    """A process id, as a number or in a file."""
    if number_or_file is None or number_or_file.isdigit():
        return int(number_or_file) if number_or_file else None
    return int(Path(number_or_file).read_text())


def torture_from_behind(address: Address, options: argparse.Namespace) -> bool:
    """Be the upstream of the bridge, too. Returns whether all went well."""
    from twisted.internet import reactor

    loop: Any = reactor
    stage = NamedStage(loop, options.upstream)
    results: list[bool] = []

    def work() -> None:
        try:
            await_server(address)
            results.append(send_requests(address, options.seed, options.mixed))
            timeout, pid = options.upstream_timeout, pid_of(options.pid)
            results.append(torture(stage, address, pid, timeout, options.only))
        finally:
            loop.callFromThread(loop.stop)

    threading.Thread(target=work, daemon=True).start()
    loop.run()
    return results == [True, True]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--against", required=True, metavar="URL")
    parser.add_argument("--mixed", type=int, default=2000, help="random requests besides")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--upstream", type=int, metavar="PORT", help="be the server behind it")
    parser.add_argument("--pid", help="of the bridge, or a file that has it: its memory is watched")
    parser.add_argument("--only", default="", metavar="WORDS", help="upstreams with these words")
    parser.add_argument(
        "--upstream-timeout",
        type=float,
        default=1800.0,
        metavar="SECONDS",
        help="that the bridge was started with",
    )
    options = parser.parse_args()
    url = urlsplit(options.against)
    address = (url.hostname or "127.0.0.1", url.port or 80)
    if options.upstream is None:
        is_well = send_requests(address, options.seed, options.mixed)
    else:
        is_well = torture_from_behind(address, options)
    sys.exit(not is_well)


if __name__ == "__main__":
    main()
