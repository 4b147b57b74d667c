"""The part of `torture` that stands behind a bridge: plays every upstream of the table to it.

Each upstream is asked for as a model, hostile-017. What a case needs in seconds is in the table;
one that needs more than LONGEST is skipped.
"""

from __future__ import annotations

import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import orjson
from attrs import define, field, frozen

from tests.harness import CODEX, REQUEST
from tests.hostile_upstreams import DECENT, UPSTREAMS, HostileStage, Outcome, Upstream
from tests.plays import Play
from tests.upstream_bytes import Dialect

Address = tuple[str, int]
LONGEST = 60.0
"""Seconds."""
MARGIN = 20.0
"""Seconds for the waits between attempts, and for a slow machine."""
OPEN_FOR = 3.0
"""Seconds for which an exchange is watched that should not end."""
POLL = 0.05
"""Seconds between two questions for the bridge's health."""
MOST_MEMORY = 200
"""MiB that the bridge's process may take."""
KEPT = 8 * 2**20
"""Bytes of a reply's end that are looked at."""
NAME = re.compile(rb'"model": ?"(hostile|decent)-(\d+)"')
LAST_EVENT = re.compile(rb"event: (response\.(?:completed|incomplete|failed))\n")
CODE = re.compile(rb'"error":\{"code":"(\w+)"')
STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")
BUG = b"codex-bridge has a bug"
SILENT, CLOSED, OPEN = "silent", "closed", "open"


class NamedStage(HostileStage):
    """Plays the upstream that the name of the model tells; counts the requests for each name."""

    def __init__(self, reactor: Any, port: int) -> None:
        super().__init__(reactor, DECENT, is_ollama=True, port=port)
        self.counts: Counter[str] = Counter()
        self.dialect: Dialect = "chat"
        """In which it was last asked for an answer."""

    def answer(self, path: str, body: bytes) -> tuple[Play, Dialect]:
        name = NAME.search(body)
        before = self.requests
        if name:
            self.upstream = UPSTREAMS[int(name[2])] if name[1] == b"hostile" else DECENT
        answer = super().answer(path, body)
        if name:
            self.counts[b"-".join(name.groups()).decode()] += self.requests - before
        if self.requests > before:
            self.dialect = answer[1]
        return answer


@frozen
class Ended:
    """How an exchange ended: its last event and code, an HTTP status, or one of the words above."""

    how: str
    seconds: float
    has_bug: bool = False

    @property
    def is_proper(self) -> bool:
        return self.how.startswith("response.") and not self.has_bug


def exchange(address: Address, model: str, patience: float) -> Ended:
    """Ask the bridge, as Codex does, for an answer of `model`."""
    body = orjson.dumps(REQUEST | {"model": model})
    headers = CODEX | {"Host": "localhost", "Content-Length": len(body)}
    lines = ["POST /v1/responses HTTP/1.0", *(f"{name}: {headers[name]}" for name in headers)]
    begun, received = time.monotonic(), bytearray()

    def ended(how: str) -> Ended:
        return Ended(how, time.monotonic() - begun, BUG in received)

    with socket.create_connection(address, patience) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        while True:
            left = begun + patience - time.monotonic()
            if left <= 0:
                return ended(SILENT)
            connection.settimeout(left)
            try:
                data = connection.recv(2**20)
            except TimeoutError:
                return ended(SILENT)
            except OSError:
                return ended(CLOSED)
            if not data:
                return ended(_told(bytes(received)))
            received += data
            del received[:-KEPT]


def _told(reply: bytes) -> str:
    event, code, status = LAST_EVENT.search(reply), CODE.search(reply), STATUS.match(reply)
    if event and event[1] == b"response.failed":
        return f"response.failed {code[1].decode() if code else '?'}"
    if event:
        return event[1].decode()
    return status[1].decode() if status and status[1] != b"200" else CLOSED


@define
class Pulse:
    """How long the bridge took, at most, to tell its health, while something else went on."""

    address: Address
    longest: float = 0.0
    open: int = 0
    _is_over: threading.Event = field(factory=threading.Event)

    @contextmanager
    def felt(self) -> Iterator[Pulse]:
        thread = threading.Thread(target=self._feel, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._is_over.set()
            thread.join()

    def _feel(self) -> None:
        while not self._is_over.is_set():
            self.feel()
            self._is_over.wait(POLL)

    def feel(self) -> None:
        begun = time.monotonic()
        connection = HTTPConnection(*self.address, timeout=LONGEST)
        try:
            connection.request("GET", "/__health")
            told = orjson.loads(connection.getresponse().read())
            self.open = told["exchanges"]["open"]
        except (OSError, HTTPException, orjson.JSONDecodeError):
            self.longest = max(self.longest, LONGEST)
        finally:
            connection.close()
            self.longest = max(self.longest, time.monotonic() - begun)


class Memory:
    """The peak of the resident memory of a process, in MiB; 0 where none is watched."""

    def __init__(self, pid: int | None) -> None:
        self._folder = Path(f"/proc/{pid}") if pid else None

    def reset(self) -> None:
        if self._folder:
            (self._folder / "clear_refs").write_text("5")

    def peak(self) -> int:
        if not self._folder:
            return 0
        found = re.search(r"VmHWM:\s+(\d+) kB", (self._folder / "status").read_text())
        return int(found[1]) // 1024 if found else 0


def seconds_needed(expected: Outcome, upstream_timeout: float) -> float:
    return expected.seconds + (upstream_timeout if expected.needs_silence else 0.0)


def torture(
    stage: NamedStage, address: Address, pid: int | None, upstream_timeout: float, only: str
) -> bool:
    """Play the table, and print how each case went. Returns whether all went well."""
    memory, bad, skipped, unexpected = Memory(pid), 0, 0, 0
    longest, highest = 0.0, 0
    if fault := _decent(stage, address, 0):
        print(f"a decent exchange: {fault}")
        return False
    dialect = stage.dialect
    for number, upstream in enumerate(UPSTREAMS):
        if only not in upstream.name or dialect not in upstream.dialects:
            continue
        expected = upstream.outcome_in(dialect)
        needed = seconds_needed(expected, upstream_timeout)
        if needed > LONGEST:
            print(f"{number:03} {upstream.name:<58.58} skipped: it needs {needed:.0f} s")
            skipped += 1
            continue
        memory.reset()
        result, pulse = _played(stage, address, number, upstream, needed)
        peak, requests = memory.peak(), stage.counts[f"hostile-{number:03}"]
        faults = list(_faults(result, expected, peak))
        after = _decent(stage, address, number)
        if after:
            faults.append(after)
        bad += bool(faults)
        if not upstream.questions:
            # Otherwise the bridge may wait for the upstream to tell its health.
            longest = max(longest, pulse.longest)
        highest = max(highest, peak)
        note = ""
        if not faults and (result.how, requests) != (_word(expected), expected.requests):
            unexpected += 1
            note = f"expected {_word(expected)}, {expected.requests} requests"
        print(
            f"{number:03} {upstream.name:<58.58} {result.how:<36} {result.seconds:5.1f} s "
            f"{requests:2} requests, health {pulse.longest:5.2f} s"
            + (f", {peak:4} MiB" if pid else "")
            + "".join(f"  BAD: {fault}" for fault in faults)
            + (f"  ({note})" if note else ""),
            flush=True,
        )
    print(
        f"{bad} bad, {unexpected} others not as in the table, {skipped} skipped; longest wait for "
        f"the health {longest:.2f} s" + (f", peak memory {highest} MiB" if pid else "")
    )
    return not bad


def _word(expected: Outcome) -> str:
    if expected.code in {OPEN, "completed"}:
        return OPEN if expected.code == OPEN else "response.completed"
    return f"response.failed {expected.code}"


def _played(
    stage: NamedStage, address: Address, number: int, upstream: Upstream, needed: float
) -> tuple[Ended, Pulse]:
    is_open = upstream.outcome.code == OPEN
    stage.upstream = upstream
    with Pulse(address).felt() as pulse:
        patience = OPEN_FOR if is_open else needed + MARGIN
        result = exchange(address, f"hostile-{number:03}", patience)
    if is_open and result.how == SILENT:
        return Ended(OPEN, result.seconds, result.has_bug), pulse
    return result, pulse


def _faults(result: Ended, expected: Outcome, peak: int) -> Iterator[str]:
    if result.has_bug:
        yield "a bug of the bridge is told"
    elif not result.is_proper and result.how != OPEN:
        yield "no proper end"
    if peak > MOST_MEMORY:
        yield "too much memory"


def _decent(stage: NamedStage, address: Address, number: int) -> str:
    """What is wrong with a decent exchange afterwards; "" for nothing."""
    stage.upstream = DECENT
    result = exchange(address, f"decent-{number:03}", MARGIN)
    if result.how != "response.completed":
        return f"then a decent exchange: {result.how}"
    pulse = Pulse(address)
    for _ in range(20):
        pulse.feel()
        if pulse.open == 0:
            return ""
        time.sleep(POLL)
    return f"{pulse.open} exchanges stay open"
