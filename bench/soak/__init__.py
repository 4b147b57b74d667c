"""Many clients of every kind at once, before an upstream that comes and goes.

    python -m bench soak --seconds 600

Starts a bridge as a process of its own and lets good and bad clients loose on it. Good ones must
get well-formed answers with a proper end, and never wait in silence. At the end the bridge must
have no open exchange, no socket, no error in its log and no more memory than before, and SIGTERM
must end it while clients of every kind are connected. Exit code 1 otherwise. Needs Linux.

With `--jumps` the wall clock of the bridge's process is set now and then, and its machine seems to
have slept. No client may notice.

A run takes about a minute longer than `--seconds`: the bridge keeps idle connections to the
upstream for that long, and the soak waits to see them closed.
"""

from __future__ import annotations

import asyncio
import random
import signal
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import orjson
from attrs import define, field
from twisted.internet import asyncioreactor
from twisted.logger import LogLevel, globalLogBeginner

from bench.soak.clients import CLIENTS, MARGIN, World, idler, statue
from bench.soak.jumpy import Clocks
from bench.soak.process import Bridge, Trend
from bench.soak.upstream import Upstream
from bench.soak.wire import GONE, Finding, encoded
from codex_bridge.engines.connections import KEEP_ALIVE
from codex_bridge.web.channel import KEPT_IDLE, STALL, STALL_CHECK

HEARTBEAT, CLIENT_TIMEOUT, DRAIN, UPSTREAM_TIMEOUT, MAX_BODY = 1, 3, 2, 6, 1_000_000
CALM = 6.0
"""Seconds at the end in which the upstream stays up, so that the bridge closes its sockets."""
LONGEST = 150.0
"""Seconds after which a client counts as stuck."""
SHOWN = 25
"""Findings that are printed in full."""
BACKGROUND = 4
"""Clients of each kind that are connected at SIGTERM."""
JUMPS = (7200.0, -3600.0, 1.5, -1.5, 0.1, -0.1)
SLEEPS = (7200.0, 3600.0, 20.0)
"""Seconds."""
SLEPT = f"the machine slept for {SLEEPS[0]:.0f} s"
"""What the log says after the first of them."""
UNTOUCHED = (0.5, 6.0)
"""Seconds between two changes of the clocks: least and most."""


@define
class Soak:
    """One run."""

    world: World
    bridge: Bridge
    upstream: Upstream
    outcomes: Counter[tuple[str, str]] = field(factory=Counter)
    findings: list[str] = field(factory=list)
    over: asyncio.Event = field(factory=asyncio.Event)
    changes: Counter[str] = field(factory=Counter)
    """How often the wall clock was set, and the machine slept."""

    async def run(self, seconds: float, clients: int) -> None:
        """Run the clients for so many seconds, and wait until all have ended."""
        calm = asyncio.Event()
        flapping = asyncio.ensure_future(self.upstream.flap(calm))
        sampling = asyncio.ensure_future(self.sample())
        tasks = [asyncio.ensure_future(self.work()) for _ in range(clients)]
        stall, kept = STALL + 2 * STALL_CHECK + MARGIN, KEPT_IDLE + MARGIN
        if seconds > stall:
            tasks.append(asyncio.ensure_future(self.watch("statue", statue(self.world, stall))))
        if seconds > kept:
            tasks.append(asyncio.ensure_future(self.watch("idler", idler(self.world, kept))))
        await asyncio.sleep(seconds - min(CALM, seconds / 4))
        calm.set()
        await flapping
        await asyncio.sleep(min(CALM, seconds / 4))
        self.over.set()
        sampling.cancel()
        await asyncio.gather(*tasks)

    async def work(self) -> None:
        """Run clients, each when the one before it has ended."""
        kinds = list(CLIENTS)
        weights = list(CLIENTS.values())
        while not self.over.is_set():
            client = self.world.rng.choices(kinds, weights)[0]
            async with self.world.late.timeout(LONGEST) as limit:
                await self.watch(client.__name__, client(self.world), limit)
            await asyncio.sleep(self.world.rng.expovariate(20))

    async def watch(
        self, name: str, client: Awaitable[str], limit: asyncio.Timeout | None = None
    ) -> None:
        """Record how a client ended."""
        try:
            outcome = await client
        except asyncio.CancelledError:
            if limit is None or not limit.expired():
                raise
            outcome = self.finding(name, f"not through after {LONGEST:.0f} s")
        except (Finding, *GONE) as error:
            outcome = self.finding(name, f"{type(error).__name__}: {error}")
        except Exception as error:
            outcome = self.finding(name, repr(error)[:2000])
        self.outcomes[name, outcome] += 1

    def finding(self, name: str, what: str) -> str:
        """Record a failure."""
        self.findings.append(f"{time.strftime('%H:%M:%S')} {name}: {what}")
        return "FINDING"

    async def sample(self) -> None:
        """Measure the bridge every second."""
        while True:
            self.bridge.sample()
            await asyncio.sleep(1)

    async def health(self) -> Any:
        """What GET /__health says."""
        async with self.world.connect() as it:
            await it.send(encoded("GET", "/__health", Connection="close"))
            return orjson.loads((await it.reply()).body)

    async def jump(self, clocks: Clocks, rng: random.Random) -> None:
        """Change the bridge's clocks until cancelled."""
        while True:
            if rng.random() < 0.3:
                clocks.sleep(rng.choice(SLEEPS))
                self.changes["sleeps"] += 1
            else:
                clocks.jump(rng.choice(JUMPS))
                self.changes["jumps"] += 1
            await asyncio.sleep(rng.uniform(*UNTOUCHED))

    async def check_clocks(self, clocks: Clocks) -> None:
        """Record if the bridge has other clocks than these."""
        clocks.jump(JUMPS[0])
        clocks.sleep(SLEEPS[0])
        async with self.world.connect() as it:
            await it.send(self.world.exchange(codex=True))
            ahead = (await it.reply()).response()["created_at"] - time.time()
        if abs(ahead - clocks.wall) > LONGEST:
            self.finding("clocks", f"{clocks.wall} s ahead, but for the bridge {ahead:.0f} s")
        try:
            async with self.world.late.timeout(MARGIN):
                while SLEPT not in self.bridge.log():
                    await asyncio.sleep(0.1)
        except TimeoutError:
            self.finding("clocks", f"not in the log: {SLEPT}")

    async def quiet(self) -> None:
        """Wait until nothing is open, and record what stays."""
        left: Counter[str] = Counter()
        for _ in range(20):
            health = await self.health()
            await asyncio.sleep(0.5)
            left = self.bridge.sockets(self.upstream.port)
            left["open exchanges"] = health["exchanges"]["open"]
            left["unanswered requests to the upstream"] = self.upstream.unanswered()
            if not any(left[what] for what in left if what not in {"listening", "upstream"}):
                break
        print(f"quiet: {dict(+left)}; {health['exchanges']}, repairs {health['repairs']}")
        for what, count in left.items():
            if what not in {"listening", "upstream"} and count:
                self.finding("left over", f"{count} {what}")
        end = time.monotonic() + KEEP_ALIVE + MARGIN
        while self.bridge.sockets(self.upstream.port)["upstream"] and time.monotonic() < end:
            await asyncio.sleep(1)
        if idle := self.bridge.sockets(self.upstream.port)["upstream"]:
            self.finding("left over", f"{idle} connections to the upstream that are never closed")

    async def end(self) -> None:
        """Send SIGTERM while clients of every kind are connected."""
        tasks = [
            asyncio.ensure_future(client(self.world))
            for client in CLIENTS
            for _ in range(BACKGROUND)
        ]
        await asyncio.sleep(0.7)
        limit = DRAIN + MARGIN
        code, seconds = await asyncio.to_thread(self.bridge.terminate, limit)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        print(f"SIGTERM with {len(tasks)} clients: exit code {code} after {seconds:.2f} s")
        # Twisted ends a process as the signal would have.
        if code not in {0, -signal.SIGTERM}:
            self.finding("SIGTERM", f"exit code {code}")

    def report(self, files_before: int, files_after: int) -> None:
        """Print the counts and the findings."""
        total = Counter[str]()
        for (name, _), count in self.outcomes.items():
            total[name] += count
        print(f"clients: {sum(total.values()):,}")
        for name, count in total.most_common():
            ends = {end: n for (who, end), n in self.outcomes.most_common() if who == name}
            print(f"  {name:<15} {count:>7,}  {', '.join(f'{n} {end}' for end, n in ends.items())}")
        up = self.upstream
        print(f"upstream: {up.requests:,} requests, {up.flaps} times gone, {dict(up.played)}")
        late = self.world.late
        print(f"this process was late by {late.total:.1f} s, by at most {late.most:.2f} s at once")
        if self.changes:
            print(f"clocks: {dict(self.changes)}")
        memory, files = (Trend.of(self.bridge.samples, column) for column in (1, 2))
        print(f"memory, KiB: {memory}")
        print(f"open files: {files}; {files_before} at the start, {files_after} at the end")
        if memory.grows:
            self.finding("memory", str(memory))
        if files_after > files_before:
            self.finding("open files", f"{files_before} at the start, {files_after} at the end")
        alarms = self.bridge.alarms()
        print(f"errors in the log: {len(alarms)}")
        for text, count in Counter(self.findings + alarms).most_common(SHOWN):
            print(f"  ! {count} x {text}")
        print(f"findings: {len(self.findings)}")


async def soak(reactor: Any, options: Namespace, folder: Path) -> bool:
    """Run the soak; whether nothing was found."""
    seed = options.seed
    upstream = Upstream(reactor, random.Random(seed + 1))
    flags = {
        "--upstream-url": upstream.url,
        "--heartbeat": HEARTBEAT,
        "--client-timeout": CLIENT_TIMEOUT,
        "--drain": DRAIN,
        "--upstream-timeout": UPSTREAM_TIMEOUT,
        "--max-body-size": MAX_BODY,
    }
    arguments = [str(word) for flag in flags.items() for word in flag]
    path = folder / "clocks"
    clocks = Clocks.make(path) if options.jumps else None
    bridge = await asyncio.to_thread(
        Bridge.start, folder, *arguments, clocks=path if clocks else None
    )
    tasks = []
    try:
        world = World(bridge.port, random.Random(seed), HEARTBEAT, CLIENT_TIMEOUT, MAX_BODY)
        it = Soak(world, bridge, upstream)
        tasks.append(asyncio.ensure_future(world.late.measure()))
        if clocks:
            await it.check_clocks(clocks)
            tasks.append(asyncio.ensure_future(it.jump(clocks, random.Random(seed + 2))))
        bridge.sample()
        files_before = bridge.samples.pop()[2]
        await it.run(options.seconds, options.clients)
        await it.quiet()
        bridge.sample()
        print(f"memory when all is quiet, KiB: {bridge.samples[-1][1]:,}")
        files_after = bridge.samples.pop()[2]
        await it.end()
        it.report(files_before, files_after)
        return not it.findings and not bridge.alarms()
    finally:
        for task in tasks:
            task.cancel()
        bridge.kill()
        await upstream.stop()


def main() -> None:
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="how long")
    parser.add_argument("--clients", type=int, default=40, help="at a time")
    parser.add_argument("--seed", type=int, default=random.getrandbits(32))
    parser.add_argument("--jumps", action="store_true", help="change the bridge's clocks")
    options = parser.parse_args()
    loop = asyncio.new_event_loop()
    reactor = asyncioreactor.AsyncioSelectorReactor(loop)
    globalLogBeginner.beginLoggingTo([_complain], redirectStandardIO=False)
    print(f"seed {options.seed}, {options.clients} clients, {options.seconds:.0f} s", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        is_well = loop.run_until_complete(soak(reactor, options, Path(folder)))
    sys.exit(not is_well)


def _complain(event: Any) -> None:
    """Print failures of this process, which are the upstream's."""
    if event["log_level"] >= LogLevel.error:
        print("in this process:", event.get("log_format"), event.get("log_failure"), flush=True)
