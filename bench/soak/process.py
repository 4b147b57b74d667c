"""The bridge of the soak as a process, and what Linux tells of it."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from attrs import define, field

from bench.soak import jumpy
from tests.processes import ROOT, environment, eventually, port_in

ALARMS = (
    "Unhandled",
    "Traceback",
    "Exception ignored",
    "Exception in",
    "a bug of codex-bridge",
    "recursion",
    "Unable to format",
)
"""Texts that no log may contain."""
LISTEN = "0A"
TWISTD = ["-c", "from twisted.scripts.twistd import run; run()"]
RSS_SLACK, RSS_SHARE = 8 * 1024, 0.15
"""Growth of memory that is no leak: KiB, and a share of what there was."""
WARM = 180.0
"""Seconds after which memory should be stable; it stays at the size of the worst moment."""


@define
class Bridge:
    """One bridge as a process, and the samples taken of it."""

    process: subprocess.Popen[bytes]
    folder: Path
    port: int = 0
    samples: list[tuple[float, int, int]] = field(factory=list)
    """Time in seconds, resident memory in KiB, open files."""

    @classmethod
    def start(cls, folder: Path, *options: str, clocks: Path | None = None) -> Bridge:
        """Start a bridge of this checkout, which need not be installed, until it listens.

        It has the clocks of the file `clocks`, if that is given.
        """
        twistd = [jumpy.__file__, str(clocks)] if clocks else TWISTD
        command = [sys.executable, "-P", *twistd, "-n", "--pidfile=", "--logfile", "log"]
        with (folder / "output").open("wb") as output:
            process = subprocess.Popen(
                [*command, "codex-bridge", "--port", "0", *options],
                cwd=folder,
                env=environment(PYTHONUNBUFFERED="1", PYTHONPATH=str(ROOT)),
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        bridge = cls(process, folder)
        bridge.port = eventually(lambda: port_in(bridge.log().splitlines()))
        return bridge

    def log(self) -> str:
        """Its log, up to now."""
        return (self.folder / "log").read_text()

    def sample(self) -> None:
        """Take a sample."""
        proc = Path(f"/proc/{self.process.pid}")
        pages = int((proc / "statm").read_text().split()[1])
        memory = pages * os.sysconf("SC_PAGE_SIZE") // 1024
        self.samples.append((time.monotonic(), memory, len(os.listdir(proc / "fd"))))

    def sockets(self, upstream: int) -> Counter[str]:
        """Its open sockets by kind: listening, clients, upstream, other."""
        proc = Path(f"/proc/{self.process.pid}")
        links = []
        for entry in (proc / "fd").iterdir():
            try:
                links.append(os.readlink(entry))
            except FileNotFoundError:
                continue
        inodes = {link[8:-1] for link in links if link.startswith("socket:[")}
        kinds: Counter[str] = Counter()
        for table in ("tcp", "tcp6"):
            for line in (proc / "net" / table).read_text().splitlines()[1:]:
                columns = line.split()
                if columns[9] in inodes:
                    local, remote = (int(end.rpartition(":")[2], 16) for end in columns[1:3])
                    kinds[self._kind(columns[3], local, remote, upstream)] += 1
        return kinds

    def _kind(self, state: str, local: int, remote: int, upstream: int) -> str:
        if local == self.port:
            return "listening" if state == LISTEN else "clients"
        return "upstream" if remote == upstream else "other"

    def alarms(self) -> list[str]:
        """The lines of its log that show a bug, each with the lines that follow."""
        found = []
        for path in [*sorted(self.folder.glob("log*")), self.folder / "output"]:
            lines = path.read_text(errors="replace").splitlines()
            for number, line in enumerate(lines):
                if any(word in line for word in ALARMS):
                    found.append("\n      ".join(lines[number : number + 25]))
        return found

    def terminate(self, seconds: float) -> tuple[int | None, float]:
        """Send SIGTERM; the exit code (None if it did not end) and the seconds until then."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            code: int | None = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            code = None
        return code, time.monotonic() - started

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@define
class Trend:
    """How a value of the samples developed after the first quarter of a run."""

    early: float
    late: float
    slope: float
    """Growth per minute."""
    most: float
    seconds: float

    @classmethod
    def of(cls, samples: list[tuple[float, int, int]], column: int) -> Trend:
        times = [sample[0] / 60 for sample in samples]
        values = [float(sample[column]) for sample in samples]
        quarter = len(values) // 4
        span = max(1, len(values) // 8)
        slope, _ = statistics.linear_regression(times[quarter:], values[quarter:])
        early = statistics.median(values[quarter : quarter + span])
        late = statistics.median(values[-span:])
        return cls(early, late, slope, max(values), samples[-1][0] - samples[0][0])

    def __str__(self) -> str:
        return (
            f"after the first quarter {self.early:,.0f}, at the end {self.late:,.0f}, "
            f"slope {self.slope:+,.1f} a minute, most {self.most:,.0f}"
        )

    @property
    def grows(self) -> bool:
        """Whether it grew by more than chance."""
        allowed = max(RSS_SLACK, RSS_SHARE * self.early)
        return self.seconds >= WARM and self.late - self.early > allowed
